import { setTimeout as delay } from 'node:timers/promises';
import type { StartCommand } from '../../containers';
import type { ContainerEngine, ProcessRequest } from '../../docker';
import { untilAborted } from '../../scheduling';
import { isListening, pauseBeforeProbeMs } from './start-policy';

/** The longest time that one probe may take. */
const LOOK_MS = 10_000;
/** The most output of a probe that is kept: the tables of thousands of connections. */
const MOST_READ_BYTES = 1024 * 1024;

/**
 * Both tables, because a server that listens on all IPv6 addresses is in the second one only. One of the files may be
 * missing.
 */
const TABLES = ['cat', '/proc/net/tcp', '/proc/net/tcp6'];

/** A running start command. */
interface Started {
  readonly dockerId: string;
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

/** Probes once. @throws EngineError such as `command_not_started` */
async function look(engine: ContainerEngine, { dockerId, id, ready, env, signal }: Started): Promise<boolean> {
  const probe = 'port' in ready ? { command: TABLES } : { command: ready.command, env };
  const own = `${id}-ready`;
  const program = await engine.programs.start(dockerId, { ...probe, id: own });
  const within = AbortSignal.any([signal, AbortSignal.timeout(LOOK_MS)]);
  let text = '';
  const read = async (): Promise<boolean> => {
    for await (const { data } of program.output) if (text.length < MOST_READ_BYTES) text += data.toString('latin1');
    const { exitCode } = await program.exit();
    return 'port' in ready ? isListening(text, ready.port) : exitCode === 0;
  };
  const reading = read().catch(() => false);
  try {
    return await untilAborted(reading, { signal: within, aborted: () => new Error('it took too long') });
  } catch {
    // The probe is killed below.
  }
  program.close();
  await engine.programs.end(dockerId, { id: own, signal: 'KILL', graceMs: 0 });
  return false;
}
