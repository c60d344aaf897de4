import { setTimeout as delay } from 'node:timers/promises';
import type { StartCommand } from '../../containers';
import type { ContainerEngine, ProcessRequest } from '../../engine';
import { within } from '../../scheduling';
import { pauseBeforeProbeMs } from './start-policy';

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
export async function untilReady(engine: ContainerEngine, started: Started): Promise<number | 'too_late' | 'ended'> {
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
