import type Docker from 'dockerode';
import { setTimeout as delay } from 'node:timers/promises';
import { EngineError } from '../engine-error';
import type { ExecCall } from './exec-calls';

/** What Berth knows of the end of a command's container before Docker says so. */
export interface ContainerEnd {
  /** Whether it is being ended. */
  isNear(): boolean;
  /** Whether it can still be entered, whatever Docker says of it. */
  canEnter(): Promise<boolean>;
}

const NOTHING_KNOWN: ContainerEnd = { isNear: () => false, canEnter: () => Promise.resolve(true) };

/**
 * When the container of a command is inspected, beside the moments at which its end is heard of: Docker may leave the
 * stream open, and the command running, after its container has ended (20.10 with gVisor of 2022 always, 26.1 seldom).
 * First to know since when it runs: what ends sooner costs no call. Then ten times as late, and at intervals that
 * double.
 */
const LOOKS_MS = { first: 1_000, every: 60_000, onceStopped: 1_000 } as const;

/** How often a container that is being ended is inspected where a command in it was killed. */
const ENDING_LOOK_MS = 100;

/** How often it is tried whether the container of a command that was killed can be entered. */
const ENTER_EVERY_MS = 1_000;

/** The container in which a command runs: whether it has ended under it, also if it was started again since. */
export class ExecContainer {
  private isKnownOver = false;
  /** Docker's time of its start, once that was looked at. */
  private startedAt: string | null = null;
  /** When it is tried next whether it can be entered. */
  private nextEntry = 0;
  /** Ends the wait for the next look. */
  private lookNow = new AbortController();

  constructor(
    private readonly container: Docker.Container,
    private readonly call: ExecCall,
    private readonly end: ContainerEnd = NOTHING_KNOWN,
  ) {}

  /** Whether it is known already that it has ended. */
  get isOver(): boolean {
    return this.isKnownOver;
  }

  /** Whether it is running, and was not started again since it was first looked at. */
  async runsOn(): Promise<boolean> {
    try {
      const { State } = await this.call((signal) => this.container.inspect({ abortSignal: signal }));
      return State.Running && (this.startedAt === null || State.StartedAt === this.startedAt);
    } catch (error) {
      if (error instanceof EngineError && error.code === 'container_not_found') return false;
      throw error;
    }
  }

  /**
   * Whether it has ended. Docker (26.1) says that a container runs as long as nobody reads what a dead command in it
   * has written, and of such a command that it runs too.
   */
  async hasEnded(): Promise<boolean> {
    if (this.isKnownOver || !(await this.runsOn())) return true;
    if (performance.now() < this.nextEntry) return false;
    this.nextEntry = performance.now() + ENTER_EVERY_MS;
    this.isKnownOver = !(await this.end.canEnter());
    return this.isKnownOver;
  }

  /** The same once a command in it was killed: waits for the end of one that is being ended. */
  async ends(): Promise<boolean> {
    for (;;) {
      // Asked first, so that a container which has just ended is looked at once more.
      const isNear = this.end.isNear();
      if (await this.hasEnded()) return true;
      if (!isNear) return false;
      await delay(ENDING_LOOK_MS);
    }
  }

  /** Has {@link untilEnded} look at it soon, as it may have ended. */
  lookSoon(): void {
    this.lookNow.abort();
  }

  /** Resolves once it was not running, or was started again, at two looks in a row, or when `signal` aborts. */
  async untilEnded(signal: AbortSignal, firstMs: number = LOOKS_MS.first): Promise<void> {
    let stoppedBefore = false;
    for (let wait = firstMs, next = 10 * firstMs; !this.isKnownOver;) {
      const early = AbortSignal.any([signal, this.lookNow.signal]);
      await delay(wait, undefined, { signal: early, ref: false }).catch(() => undefined);
      if (signal.aborted) return;
      this.lookNow = new AbortController();
      wait = next;
      next = Math.min(2 * next, LOOKS_MS.every);
      try {
        const { State } = await this.call((abort) => this.container.inspect({ abortSignal: abort }));
        this.startedAt ??= State.StartedAt;
        const stopped = !State.Running || State.StartedAt !== this.startedAt;
        this.isKnownOver = stopped && stoppedBefore;
        stoppedBefore = stopped;
        // Its last output may be on its way.
        if (stopped) wait = Math.min(firstMs, LOOKS_MS.onceStopped);
      } catch (error) {
        // Where Docker does not answer, the command may well go on.
        if (error instanceof EngineError && error.code === 'container_not_found') this.isKnownOver = true;
      }
    }
  }
}
