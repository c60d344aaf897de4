import { randomUUID } from 'node:crypto';
import { untilAborted } from '../../scheduling';
import { EngineError } from '../engine-error';
import type { ContainerProcess, ExecRequest } from '../port/container-process';
import type { EnginePrograms } from '../port/engine-programs';
import { exitCodeOf, isGoneWithin } from './program-end';

/** Between SIGTERM and SIGKILL of a program that exceeds a limit. */
const GRACE_MS = 5_000;
/** How long the engine may take to report the end of a killed program. */
const GONE_WITHIN_MS = 10_000;

/**
 * Implements {@link EnginePrograms.run} by the other methods. Without `end`, a program that exceeds a limit is not
 * killed.
 */
export async function runProgram(
  programs: Pick<EnginePrograms, 'start'> & Partial<Pick<EnginePrograms, 'end'>>,
  dockerId: string,
  { marker = randomUUID(), ...request }: ExecRequest,
): Promise<{ exitCode: number }> {
  const { user, timeoutMs, signal } = request;
  const late = AbortSignal.timeout(timeoutMs);
  const over = signal ? AbortSignal.any([late, signal]) : late;
  const aborted = (): EngineError =>
    signal?.aborted === true
      ? new EngineError('aborted', 'the caller does not wait for the command any more')
      : new EngineError('timed_out', `the command did not end within ${String(timeoutMs)} ms`);
  if (over.aborted) throw aborted();
  const orOver = <T>(work: Promise<T>): Promise<T> => untilAborted(work, { signal: over, aborted });
  const starting = Promise.resolve(programs.start(dockerId, { ...request, marker }));
  // A program may still start after the caller has stopped waiting.
  const close = (): void => void starting.then((program) => program.close()).catch(() => undefined);
  try {
    const program = await orOver(starting);
    await orOver(readOutput(program, request, over));
    return { exitCode: await orOver(exitCodeOf(program)) };
  } catch (error) {
    // First, because Docker reports no program's end in the container as long as this output is unread.
    close();
    const code = error instanceof EngineError ? error.code : null;
    if (!programs.end || (code !== 'timed_out' && code !== 'output_too_large')) throw error;
    await programs.end(dockerId, { marker, user, signal: 'TERM', graceMs: GRACE_MS }).catch(() => undefined);
    if (code === 'timed_out' || (await isGoneWithin(await starting, GONE_WITHIN_MS))) throw error;
    throw new EngineError('output_endless', 'the command writes without end, and could not be ended', { cause: error });
  } finally {
    close();
  }
}

/**
 * @param over aborted when the output is no longer wanted
 * @throws EngineError `output_too_large`
 */
async function readOutput(
  program: ContainerProcess,
  { maxOutputBytes, onOutput }: Pick<ExecRequest, 'maxOutputBytes' | 'onOutput'>,
  over: AbortSignal,
): Promise<void> {
  let bytes = 0;
  for await (const output of program.output) {
    if (over.aborted) return;
    bytes += output.data.length;
    if (bytes > maxOutputBytes) {
      throw new EngineError('output_too_large', `the command said more than ${String(maxOutputBytes)} bytes`);
    }
    onOutput?.(output);
  }
}
