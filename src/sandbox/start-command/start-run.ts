import { setMaxListeners } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import type { StartCommandRun } from '../../containers';
import { type ContainerEngine, EngineError, KILLED, nodeOf, saysNotRunning, saysUnavailable } from '../../docker';
import { endInContainer, type HeldProgramEntity } from '../program-registry';
import { BackgroundProcess } from '../processes/background-process';
import type { Processes } from '../processes/processes';
import { exitCodeOf } from '../program-end';
import type { StartEnd } from './start-policy';
import { untilReady } from './start-readiness';

/** Between SIGTERM and SIGKILL of a start command whose place another one takes. */
const GRACE_MS = 10_000;

const LONGEST_PAUSE_MS = 10_000;

/** What a run reports as it goes on. Must not throw. */
export interface RunListener {
  started(): Promise<void>;
  ready(outcome: { readonly afterMs: number } | 'too_late'): Promise<void>;
  /** Its machine does not answer: whoever ends what is left in containers ends it, and tells of its loss. */
  handOver(): void;
}

/** The end of what has run. */
type RanEnd = Exclude<StartEnd, { readonly reason: 'command_not_started' }>;

/** The end of a run: how, and after how long. */
export interface RunEnd {
  readonly end: StartEnd;
  /** From its start; null if it never started. */
  readonly ranMs: number | null;
}

/** One run of a start command, from its start to its end, by the process that holds it. */
export class StartRun {
  private readonly over = new AbortController();
  private kept: BackgroundProcess | undefined;
  private isEnding = false;
  private isBeingEnded = false;
  private isHandedOver = false;
  private listener: RunListener | undefined;

  /**
   * @param entry in the ledger, under which it runs
   * @param closing aborted when this process closes
   */
  constructor(
    private readonly engine: ContainerEngine,
    private readonly processes: Processes,
    readonly course: StartCommandRun,
    private readonly entry: HeldProgramEntity,
    private readonly closing: AbortSignal,
  ) {
    // Each run may wait for it, and Node.js takes an eleventh listener for a leak.
    setMaxListeners(0, closing);
  }

  /**
   * Runs it.
   *
   * @returns null if this process is closing, or it was handed over: what runs is left to whoever takes the entry over
   */
  async toEnd(listener: RunListener): Promise<RunEnd | null> {
    this.listener = listener;
    const startedIn = await this.runsSince();
    // Asked for its end before it began.
    if (startedIn === null || this.isEnding) return { end: { reason: 'container_stopped' }, ranMs: null };
    let kept: BackgroundProcess;
    try {
      const { command } = this.course.start;
      kept = new BackgroundProcess(
        this.entry,
        await this.engine.startProcess(this.dockerId, { command, marker: this.entry.id }),
      );
    } catch (error) {
      return this.notStarted(error);
    }
    const startedAt = performance.now();
    if (this.isClosing) kept.program.close();
    // How it ended, and whether it did, says what follows.
    const reading = kept.readOutput().catch(() => undefined);
    this.processes.keep(kept);
    this.kept = kept;
    this.endIfUnwanted();
    const watching = this.watch(listener);
    await reading;
    this.over.abort();
    await watching;
    if (this.isClosing) return null;
    const end = await this.endOf(kept, startedIn);
    this.processes.finish(kept, { reason: end.reason, exitCode: 'exitCode' in end ? end.exitCode : null });
    if (end.reason === 'lost') await this.untilEnded();
    return this.unlessClosing({ end, ranMs: performance.now() - startedAt });
  }

  /** Ends it, as another one, or none, is to run from now on. */
  end(): void {
    this.isEnding = true;
    this.endIfUnwanted();
  }

  /** Ends what may have started, or go on, with nobody who has its streams. @returns null as {@link toEnd} does */
  async lost(): Promise<RunEnd | null> {
    if (this.kept?.end === null) this.processes.finish(this.kept, { reason: 'lost', exitCode: null });
    await this.untilEnded();
    return this.unlessClosing({ end: { reason: 'lost' }, ranMs: null });
  }

  /** Before it has begun there is nothing to end yet, and afterwards there is. */
  private endIfUnwanted(): void {
    if (!this.isEnding || this.isBeingEnded || !this.kept) return;
    this.isBeingEnded = true;
    this.kept.isEndWanted = true;
    void this.untilEnded();
  }

  private unlessClosing(end: RunEnd): RunEnd | null {
    return this.isClosing || this.isHandedOver ? null : end;
  }

  private get isClosing(): boolean {
    return this.closing.aborted || this.processes.isClosing;
  }

  private get dockerId(): string {
    return this.course.container.dockerId;
  }

  private async watch(listener: RunListener): Promise<void> {
    await listener.started();
    const { ready } = this.course.start;
    if (ready === null || this.over.signal.aborted) return;
    const { signal } = this.over;
    const outcome = await untilReady(this.engine, { dockerId: this.dockerId, marker: this.entry.id, ready, signal });
    if (outcome !== 'ended') await listener.ready(outcome === 'too_late' ? outcome : { afterMs: outcome });
  }

  private async notStarted(error: unknown): Promise<RunEnd | null> {
    if (saysNotRunning(error)) return { end: { reason: 'container_stopped' }, ranMs: null };
    if (error instanceof EngineError && error.code === 'command_not_started') {
      return { end: { reason: 'command_not_started' }, ranMs: null };
    }
    return this.lost();
  }

  private async endOf(kept: BackgroundProcess, startedIn: string): Promise<RanEnd> {
    try {
      const exitCode = await exitCodeOf(kept.program);
      // Also if it runs again by now.
      if (exitCode > KILLED && (await this.runsSince()) !== startedIn) return { reason: 'container_stopped' };
      // By a client too.
      return { reason: kept.isEndWanted ? 'ended' : 'exited', exitCode };
    } catch (error) {
      return { reason: saysNotRunning(error) ? 'container_stopped' : 'lost' };
    }
  }

  /** Two must never run: nothing goes on before it has ended in its container, or this process closes. */
  private async untilEnded(): Promise<void> {
    for (let pause = 500; !this.isClosing; pause = Math.min(2 * pause, LONGEST_PAUSE_MS)) {
      try {
        if ((await endInContainer(this.engine, this.entry, GRACE_MS)) === 'ended') return;
      } catch (error) {
        // Of a single machine tried again below, as of what does not end.
        if (nodeOf(this.entry.dockerId) !== null && saysUnavailable(error)) {
          this.isHandedOver = true;
          this.listener?.handOver();
          return;
        }
      }
      await delay(pause, undefined, { signal: this.closing, ref: false }).catch(() => undefined);
    }
  }

  /** Docker's time of the container's start; null if it does not run. */
  private async runsSince(): Promise<string | null> {
    try {
      const observed = await this.engine.inspectContainer(this.dockerId);
      return observed?.state === 'running' ? (observed.startedAt ?? '') : null;
    } catch (error) {
      if (error instanceof EngineError) return null;
      throw error;
    }
  }
}
