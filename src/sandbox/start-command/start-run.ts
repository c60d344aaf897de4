import { setTimeout as delay } from 'node:timers/promises';
import type { StartCommand, StartCommandRun } from '../../containers';
import {
  type ContainerEngine,
  type ContainerProcess,
  EngineError,
  type ProcessRequest,
  saysNotRunning,
  saysPaused,
} from '../../engine';
import { within } from '../../scheduling';
import type { ProcessRow } from '../processes/process-rows';
import type { ProcessWatch } from '../processes/process-watch';
import type { KeptPrograms } from '../programs/kept-programs';
import { pauseBeforeProbeMs, type StartEnd } from './start-policy';

/** Between SIGTERM and SIGKILL when a start command is ended. */
const GRACE_MS = 10_000;

const PAUSE_MS = { first: 500, longest: 10_000 } as const;

/** Receives the progress of a run. Its methods must not throw. */
interface RunListener {
  started(): Promise<void>;
  ready(outcome: { readonly afterMs: number } | 'too_late'): Promise<void>;
}

/** How a run ended, and how long it took. */
export interface RunEnd {
  readonly end: StartEnd;
  /** Milliseconds from its start; null if it never started, or if that is not known. */
  readonly ranMs: number | null;
}

/** What a run works with. */
export interface RunTools {
  readonly engine: ContainerEngine;
  readonly programs: KeptPrograms;
  readonly watch: ProcessWatch;
  /** Aborted when this process closes. */
  readonly closing: AbortSignal;
}

/** One run of a start command from its start, or from when it was taken over, to its end. */
export class StartRun {
  private readonly over = new AbortController();
  private hasStarted = false;
  private isEnding = false;
  private isBeingEnded = false;

  /** @param row of the run */
  constructor(
    private readonly tools: RunTools,
    readonly course: StartCommandRun,
    private readonly row: ProcessRow,
  ) {}

  /**
   * Runs the command until its end.
   *
   * @param options.ranMs of a run that another process has started: for how long it has run
   * @returns null if this process is closing: the next one takes over the run
   */
  async toEnd(listener: RunListener, { ranMs = null }: { ranMs?: number | null } = {}): Promise<RunEnd | null> {
    const env = this.course.container.environment();
    const startedAt = performance.now() - (ranMs ?? 0);
    let program: ContainerProcess | null = null;
    if (ranMs === null) {
      const started = await this.start();
      if (started !== null && 'end' in started) return started;
      program = started;
    }
    this.hasStarted = true;
    this.endIfUnwanted();
    const watching =
      program === null ? this.watchTaken(listener, env, startedAt) : this.watch(listener, env, startedAt);
    const end = await this.tools.watch.untilEnd(this.row, program);
    this.over.abort();
    await watching;
    if (end === null) return null;
    const isRequested = this.isEnding || this.row.isEnding;
    return { end: ended(end, isRequested), ranMs: end.reason === 'lost' ? null : performance.now() - startedAt };
  }

  /** Ends the run, because another command, or none, has to run from now on. */
  end(): void {
    this.isEnding = true;
    this.endIfUnwanted();
  }

  /** @returns null if it is not known whether the command was started */
  private async start(): Promise<ContainerProcess | RunEnd | null> {
    const { container, start } = this.course;
    const stopped: RunEnd = { end: { reason: 'container_stopped' }, ranMs: null };
    // The container does not run, or `end` was called before the command was started.
    if (this.isEnding || !(await this.runs())) return stopped;
    try {
      const { id } = this.row;
      return (await this.tools.programs.start(container, { kind: 'start', id, command: start.command })).program;
    } catch (error) {
      // Nothing was started in a paused container either. The command is due again once the container runs.
      if (saysNotRunning(error) || saysPaused(error)) return stopped;
      if (error instanceof EngineError && error.code === 'command_not_started') {
        return { end: { reason: 'command_not_started' }, ranMs: null };
      }
      return null;
    }
  }

  /**
   * Ends the program if `end` was called. Before the program has started this does nothing; {@link toEnd} calls it
   * again after the start.
   */
  private endIfUnwanted(): void {
    if (!this.isEnding || this.isBeingEnded || !this.hasStarted) return;
    this.isBeingEnded = true;
    void this.untilEnded();
  }

  /** Of a run that was taken over, or may not have started, the start is known once its program is found. */
  private async watchTaken(...[listener, env, startedAt]: Parameters<StartRun['watch']>): Promise<void> {
    for (
      let pause = PAUSE_MS.first as number;
      !this.over.signal.aborted;
      pause = Math.min(2 * pause, PAUSE_MS.longest)
    ) {
      const found = await this.tools.engine.programs.list(this.engineId).catch(() => []);
      if (found.some(({ id }) => id === this.row.id)) return this.watch(listener, env, startedAt);
      await delay(pause, undefined, { signal: this.over.signal, ref: false }).catch(() => undefined);
    }
  }

  private async watch(listener: RunListener, env: Readonly<Record<string, string>>, startedAt: number): Promise<void> {
    await listener.started();
    const { start, isReadinessKnown } = this.course;
    if (start.ready === null || isReadinessKnown || this.over.signal.aborted) return;
    const outcome = await untilReady(this.tools.engine, {
      engineId: this.engineId,
      id: this.row.id,
      ready: start.ready,
      env,
      startedAt,
      signal: this.over.signal,
    });
    if (outcome !== 'ended') await listener.ready(outcome === 'too_late' ? outcome : { afterMs: outcome });
  }

  /**
   * Kills the program until it has ended in its container, or this process closes. The next run waits for this, because
   * two runs must never overlap.
   */
  private async untilEnded(): Promise<void> {
    const { watch, closing } = this.tools;
    for (let pause = PAUSE_MS.first as number; !closing.aborted; pause = Math.min(2 * pause, PAUSE_MS.longest)) {
      try {
        if ((await watch.end(this.row, GRACE_MS)) === 'ended') return;
      } catch {
        // Tried again.
      }
      if (this.over.signal.aborted) return;
      await delay(pause, undefined, { signal: this.over.signal, ref: false }).catch(() => undefined);
    }
  }

  private get engineId(): string {
    return this.course.container.engineId;
  }

  /** Whether the container runs, as far as Docker says. */
  private async runs(): Promise<boolean> {
    try {
      const observed = await this.tools.engine.containers.inspect(this.engineId);
      return observed?.state === 'running' || observed?.state === 'paused';
    } catch (error) {
      if (error instanceof EngineError) return false;
      throw error;
    }
  }
}

function ended(
  { reason, exitCode }: { readonly reason: string; readonly exitCode: number | null },
  isRequested: boolean,
): StartEnd {
  if (reason === 'container_stopped' || reason === 'lost') return { reason };
  return { reason: isRequested ? 'ended' : 'exited', exitCode: exitCode ?? 0 };
}

/** The longest time that one probe may take. */
const LOOK_MS = 10_000;

/** A running start command. */
interface Started {
  readonly engineId: string;
  /** The start command's. */
  readonly id: string;
  readonly ready: NonNullable<StartCommand['ready']>;
  /** The start command's variables, which a command of the condition gets too. */
  readonly env: ProcessRequest['env'];
  /** When it started, in the time of `performance.now()`. */
  readonly startedAt: number;
  /** Aborted when the command has ended. */
  readonly signal: AbortSignal;
}

/**
 * Waits until a start command is ready.
 *
 * @returns after how many milliseconds it was ready; `too_late` after `within_seconds`; `ended` if the command ended
 *   before
 */
async function untilReady(engine: ContainerEngine, started: Started): Promise<number | 'too_late' | 'ended'> {
  const { ready, signal, startedAt } = started;
  const deadline = startedAt + ready.within_seconds * 1000;
  for (;;) {
    const isReady = await look(engine, started).catch(() => false);
    if (signal.aborted) return 'ended';
    const now = performance.now();
    if (isReady) return now - startedAt;
    if (now >= deadline) return 'too_late';
    const pause = Math.min(pauseBeforeProbeMs(now - startedAt), deadline - now);
    await delay(pause, undefined, { signal, ref: false }).catch(() => undefined);
  }
}

/** Probes once. @throws EngineError as `EnginePorts.listening`, `EnginePrograms.run`; Error if it takes too long */
async function look(engine: ContainerEngine, started: Started): Promise<boolean> {
  const { engineId, ready } = started;
  if ('command' in ready) return exitsWell(engine, started, ready.command);
  const listening = await within(engine.ports.listening(engineId), { ms: LOOK_MS });
  return listening.some(({ port }) => port === ready.port);
}

/**
 * Runs the command of the condition once. Probes of one run share an id, so that they never run at the same time: after
 * a probe that could not be killed, or that another server process had begun, the sandbox refuses the next one
 * (`program_exists`) until that one has ended, within ten seconds if it has no reader.
 *
 * @throws EngineError as `EnginePrograms.run`
 */
async function exitsWell(
  engine: ContainerEngine,
  { engineId, id, env, signal }: Started,
  command: readonly string[],
): Promise<boolean> {
  const bounds = { timeoutMs: LOOK_MS, graceMs: 0, maxOutputBytes: Infinity, signal };
  return (await engine.programs.run(engineId, { command, env, id: `${id}-ready`, ...bounds })).exitCode === 0;
}
