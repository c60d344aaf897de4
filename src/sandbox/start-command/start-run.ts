import { setMaxListeners } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import type { StartCommandRun } from '../../containers';
import {
  type ContainerEngine,
  endOf,
  EngineError,
  nodeOf,
  type ProcessRequest,
  saysNotRunning,
  saysPaused,
  saysUnavailable,
} from '../../docker';
import { endInContainer, type HeldProgramEntity } from '../program-registry';
import { BackgroundProcess } from '../processes/background-process';
import type { BackgroundProcesses } from '../processes/background-processes';
import type { StartEnd } from './start-policy';
import { untilReady } from './start-readiness';

/** Between SIGTERM and SIGKILL when a start command is ended. */
const GRACE_MS = 10_000;

const LONGEST_PAUSE_MS = 10_000;

/** Receives the progress of a run. Its methods must not throw. */
interface RunListener {
  started(): Promise<void>;
  ready(outcome: { readonly afterMs: number } | 'too_late'): Promise<void>;
  /** The container's node does not answer. The program registry kills the program later, and emits its loss. */
  handOver(): void;
}

/** The end of a command that was started. */
type RanEnd = Exclude<StartEnd, { readonly reason: 'command_not_started' }>;

/** How a run ended, and how long it took. */
export interface RunEnd {
  readonly end: StartEnd;
  /** Milliseconds from its start; null if it never started, or if that is not known. */
  readonly ranMs: number | null;
}

/** One run of a start command from its start to its end, in the process that holds it. */
export class StartRun {
  private readonly over = new AbortController();
  private kept: BackgroundProcess | undefined;
  private isEnding = false;
  private isBeingEnded = false;
  private isHandedOver = false;
  private listener: RunListener | undefined;

  /**
   * @param entry the run's row in the program registry
   * @param closing aborted when this process closes
   */
  constructor(
    private readonly engine: ContainerEngine,
    private readonly processes: BackgroundProcesses,
    readonly course: StartCommandRun,
    private readonly entry: HeldProgramEntity,
    private readonly closing: AbortSignal,
  ) {
    // Every run may listen to this signal, and Node.js reports the eleventh listener as a leak.
    setMaxListeners(0, closing);
  }

  /**
   * Runs the command until its end.
   *
   * @returns null if this process is closing, because the next process then takes over the row and kills the program;
   *   null also if the run was handed over
   */
  async toEnd(listener: RunListener): Promise<RunEnd | null> {
    this.listener = listener;
    // The container does not run, or `end` was called before the command was started.
    if (this.isEnding || !(await this.runs())) return { end: { reason: 'container_stopped' }, ranMs: null };
    let kept: BackgroundProcess;
    const env = this.course.container.environment();
    try {
      const { command } = this.course.start;
      kept = new BackgroundProcess(
        this.entry,
        await this.engine.programs.start(this.dockerId, { command, env, id: this.entry.id }),
        command,
      );
    } catch (error) {
      return this.notStarted(error);
    }
    const startedAt = performance.now();
    if (this.isClosing) kept.program.close();
    // A failed read is ignored here: `endOf` finds out how the program ended, and whether it did.
    const reading = kept.readOutput().catch(() => undefined);
    this.processes.keep(kept);
    this.kept = kept;
    this.endIfUnwanted();
    const watching = this.watch(listener, env);
    await reading;
    this.over.abort();
    await watching;
    if (this.isClosing) return null;
    const end = await this.endOf(kept);
    this.processes.finish(kept, { reason: end.reason, exitCode: 'exitCode' in end ? end.exitCode : null });
    if (end.reason === 'lost') await this.untilEnded();
    return this.unlessClosing({ end, ranMs: performance.now() - startedAt });
  }

  /** Ends the run, because another command, or none, has to run from now on. */
  end(): void {
    this.isEnding = true;
    this.endIfUnwanted();
  }

  /**
   * Kills a program that may be running without an attached stream.
   *
   * @returns null as {@link toEnd} does
   */
  async lost(): Promise<RunEnd | null> {
    if (this.kept?.end === null) this.processes.finish(this.kept, { reason: 'lost', exitCode: null });
    await this.untilEnded();
    return this.unlessClosing({ end: { reason: 'lost' }, ranMs: null });
  }

  /**
   * Kills the program if `end` was called. Before the program has started this does nothing; {@link toEnd} calls it
   * again after the start.
   */
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

  private async watch(listener: RunListener, env: ProcessRequest['env']): Promise<void> {
    await listener.started();
    const { ready } = this.course.start;
    if (ready === null || this.over.signal.aborted) return;
    const { signal } = this.over;
    const outcome = await untilReady(this.engine, {
      dockerId: this.dockerId,
      id: this.entry.id,
      ready,
      env,
      signal,
    });
    if (outcome !== 'ended') await listener.ready(outcome === 'too_late' ? outcome : { afterMs: outcome });
  }

  private async notStarted(error: unknown): Promise<RunEnd | null> {
    // Nothing was started in a paused container either. The command is due again once the container runs.
    if (saysNotRunning(error) || saysPaused(error)) return { end: { reason: 'container_stopped' }, ranMs: null };
    if (error instanceof EngineError && error.code === 'command_not_started') {
      return { end: { reason: 'command_not_started' }, ranMs: null };
    }
    return this.lost();
  }

  private async endOf(kept: BackgroundProcess): Promise<RanEnd> {
    const end = await endOf(kept.program);
    if (end.kind === 'lost') return { reason: 'lost' };
    if (end.kind === 'container_ended') return { reason: 'container_stopped' };
    // `isEndWanted` is also set when a client ends the process.
    return { reason: kept.isEndWanted ? 'ended' : 'exited', exitCode: end.code };
  }

  /**
   * Kills the program until it has ended in its container, this process closes, or the run is handed over. The next
   * run waits for this, because two runs must never overlap.
   */
  private async untilEnded(): Promise<void> {
    for (let pause = 500; !this.isClosing; pause = Math.min(2 * pause, LONGEST_PAUSE_MS)) {
      try {
        if ((await endInContainer(this.engine, this.entry, GRACE_MS)) === 'ended') return;
      } catch (error) {
        // Without nodes (`null`), an unavailable Docker is retried below, like a program that does not end.
        if (nodeOf(this.entry.dockerId) !== null && saysUnavailable(error)) {
          this.isHandedOver = true;
          this.listener?.handOver();
          return;
        }
      }
      await delay(pause, undefined, { signal: this.closing, ref: false }).catch(() => undefined);
    }
  }

  /** Whether the container runs, as far as Docker says. */
  private async runs(): Promise<boolean> {
    try {
      const observed = await this.engine.containers.inspect(this.dockerId);
      return observed?.state === 'running' || observed?.state === 'paused';
    } catch (error) {
      if (error instanceof EngineError) return false;
      throw error;
    }
  }
}
