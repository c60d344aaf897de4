import type Docker from 'dockerode';
import { setTimeout as delay } from 'node:timers/promises';
import { EngineError } from '../engine-error';
import type { ExecCall } from './exec-calls';

/** What Berth knows about the end of a command's container before Docker reports it. */
export interface ContainerEnd {
  /** Whether a stop, a removal or a signal is ending the container. */
  isNear(): boolean;
  /** Whether a command can still be run in the container, whatever state Docker reports. */
  canEnter(): Promise<boolean>;
}

const NOTHING_KNOWN: ContainerEnd = { isNear: () => false, canEnter: () => Promise.resolve(true) };

/**
 * Intervals between inspections of a command's container, in milliseconds, besides those that
 * {@link ExecContainer.lookSoon} requests. They are needed because Docker may keep the stream open, and report the
 * command as running, after the container has ended (20.10 with gVisor of 2022 always, 26.1 seldom). The first
 * inspection records the container's start time; a command that ends earlier costs no call. The second follows after
 * ten times that interval, and later intervals double.
 */
const LOOKS_MS = { first: 1_000, every: 60_000, onceStopped: 1_000 } as const;

/** Interval between inspections of a container that is being ended, after a command in it was killed. */
const ENDING_LOOK_MS = 100;

/** Minimum interval between attempts to run a command in the container, to test whether it has ended. */
const ENTER_EVERY_MS = 1_000;

/** The container of a command: whether it has ended under the command, even if it was started again since. */
export class ExecContainer {
  private isKnownOver = false;
  /** When the next attempt to enter the container is allowed. */
  private nextEntry = 0;
  /** Aborted to end the wait for the next inspection. */
  private lookNow = new AbortController();

  /** @param startedAt the container's start time as Docker writes it; null if it is not known yet */
  constructor(
    private readonly container: Docker.Container,
    private readonly call: ExecCall,
    private readonly end: ContainerEnd = NOTHING_KNOWN,
    private startedAt: string | null = null,
  ) {}

  /** Whether the container is known to have ended, without asking Docker. */
  get isOver(): boolean {
    return this.isKnownOver;
  }

  /** Whether the container runs, and has not been started again since the first inspection. */
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
   * Whether the container has ended. As long as the output of a dead command in a container is unread, Docker (26.1)
   * reports both the container and the command as running. So this also tests whether the container can be entered.
   */
  async hasEnded(): Promise<boolean> {
    if (this.isKnownOver || !(await this.runsOn())) return true;
    if (performance.now() < this.nextEntry) return false;
    this.nextEntry = performance.now() + ENTER_EVERY_MS;
    this.isKnownOver = !(await this.end.canEnter());
    return this.isKnownOver;
  }

  /** Like {@link hasEnded}, for a command that was killed: if the container is being ended, waits for its end. */
  async ends(): Promise<boolean> {
    for (;;) {
      // Read before the inspection, so that a container that has just ended is inspected once more.
      const isNear = this.end.isNear();
      if (await this.hasEnded()) return true;
      if (!isNear) return false;
      await delay(ENDING_LOOK_MS);
    }
  }

  /** Makes {@link untilEnded} inspect the container soon, as it may have ended. */
  lookSoon(): void {
    this.lookNow.abort();
  }

  /**
   * Resolves when two successive inspections find the container stopped or started again, when the container is gone,
   * or when `signal` aborts.
   */
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
        // The command's last output may still be on its way.
        if (stopped) wait = Math.min(firstMs, LOOKS_MS.onceStopped);
      } catch (error) {
        // If Docker does not answer, the command may still run.
        if (error instanceof EngineError && error.code === 'container_not_found') this.isKnownOver = true;
      }
    }
  }
}
