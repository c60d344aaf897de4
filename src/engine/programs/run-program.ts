import { untilAborted, within } from '../../scheduling';
import { EngineError } from '../port/engine-error';
import type { ContainerProcess, ExecRequest, ProgramExit } from '../port/container-process';
import type { EnginePrograms } from '../port/engine-programs';

/** See {@link ExecRequest.graceMs}. */
const GRACE_MS = 5_000;
/** How long the supervisor may take beyond that. */
const ENDED_WITHIN_MS = 10_000;

/** Implements {@link EnginePrograms.run} by the other methods. */
export async function runProgram(
  programs: Pick<EnginePrograms, 'start' | 'end'>,
  engineId: string,
  request: ExecRequest,
): Promise<ProgramExit> {
  const { user, timeoutMs, graceMs = GRACE_MS, signal, ...rest } = request;
  const { maxOutputBytes: _most, onOutput: _onOutput, ...program } = rest;
  const late = AbortSignal.timeout(timeoutMs);
  const over = signal ? AbortSignal.any([late, signal]) : late;
  const aborted = (): EngineError =>
    signal?.aborted === true
      ? new EngineError('aborted', 'the caller does not wait for the command any more')
      : new EngineError('timed_out', `the command did not end within ${String(timeoutMs)} ms`);
  if (over.aborted) throw aborted();
  const orOver = <T>(work: Promise<T>): Promise<T> => untilAborted(work, { signal: over, aborted });
  const starting = Promise.resolve(programs.start(engineId, { ...program, user }));
  const begun: { program?: ContainerProcess } = {};
  // A program may still start after the caller has stopped waiting; without a reader it ends.
  const close = (): void => void starting.then((started) => started.close()).catch(() => undefined);
  try {
    begun.program = await orOver(starting);
    await orOver(readOutput(begun.program, request, over));
    return await orOver(begun.program.exit());
  } catch (error) {
    const code = error instanceof EngineError ? error.code : null;
    const isOver = code === 'timed_out' || code === 'output_too_large' || code === 'aborted';
    if (!isOver || !begun.program) throw error;
    const { id } = begun.program;
    const ending = programs.end(engineId, { id, user, signal: 'TERM', graceMs });
    const ended = within(ending, { ms: graceMs + ENDED_WITHIN_MS }).catch(() => 'still_running' as const);
    // An abort is not waited for: the caller has gone.
    if (code === 'aborted' || (await ended) === 'ended' || code === 'timed_out') throw error;
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
