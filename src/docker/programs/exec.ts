import type Docker from 'dockerode';
import { untilAborted } from '../../scheduling';
import type { ExecRequest } from '../port/container-process';
import { EngineError } from '../engine-error';
import { type ExecOptions, ExecSession } from './exec-session';

/** Limits of the command that kills another one; it has no output. */
const END_WITHIN_MS = 60_000;
const END_OUTPUT_BYTES = 64 * 1024;

/**
 * Runs a command in a container and waits for its end. A command that takes too long or writes too much is killed by
 * another command, {@link ExecRequest.end}. After an abort the command may still run in the container.
 *
 * @throws EngineError `command_not_started`, `container_not_running`, `container_not_responding`, `timed_out`,
 *   `output_too_large`, `output_endless`, `aborted`, and what `call` throws
 */
export async function runExec(
  container: Docker.Container,
  request: ExecRequest,
  options: ExecOptions,
): Promise<{ exitCode: number }> {
  const ending = endOf(request);
  const opening = ExecSession.open(container, request, options);
  const close = (): void => void opening.then((session) => session.close()).catch(() => undefined);
  try {
    const session = await ending.orWork(opening);
    ending.failUnlessStarted(session);
    await ending.orWork(readOutput(session, request, ending.over));
    return await ending.orWork(session.exit());
  } catch (error) {
    // First, because Docker reports no command's end in the container as long as this output is unread.
    close();
    const code = error instanceof EngineError ? error.code : null;
    if (code === 'timed_out' || code === 'output_too_large') await endCommand(container, request, options);
    if (code !== 'output_too_large' || !request.end) throw error;
    if (await (await opening).hasEnded()) throw error;
    throw new EngineError('output_endless', 'the command writes without end, and could not be ended', { cause: error });
  } finally {
    close();
    ending.forget();
  }
}

/**
 * @param over aborted when the output is no longer wanted
 * @throws EngineError `output_too_large`
 */
async function readOutput(
  session: ExecSession,
  { maxOutputBytes, onOutput }: ExecRequest,
  over: AbortSignal,
): Promise<void> {
  let bytes = 0;
  for await (const output of session.output) {
    if (over.aborted) return;
    bytes += output.data.length;
    if (bytes > maxOutputBytes) {
      throw new EngineError('output_too_large', `the command said more than ${String(maxOutputBytes)} bytes`);
    }
    onOutput?.(output);
  }
}

/** Runs the request's `end`, if it has one, to kill the command; ignores errors. */
async function endCommand(
  container: Docker.Container,
  { end, user }: ExecRequest,
  options: ExecOptions,
): Promise<void> {
  if (!end) return;
  const limits = { timeoutMs: END_WITHIN_MS, maxOutputBytes: END_OUTPUT_BYTES };
  const request = { ...end, ...limits, user };
  await runExec(container, request, options).catch(() => undefined);
}

/**
 * Ends the wait for a command on a timeout, on an abort, or if the command does not start in time. `over` aborts when
 * the wait is over for any reason.
 */
function endOf({ timeoutMs, startWithinMs, signal }: ExecRequest): {
  orWork: <T>(work: Promise<T>) => Promise<T>;
  over: AbortSignal;
  failUnlessStarted: (session: ExecSession) => void;
  forget: () => void;
} {
  const end = new AbortController();
  const over = new AbortController();
  const timer = setTimeout(() => {
    end.abort(new EngineError('timed_out', `the command did not end within ${String(timeoutMs)} ms`));
  }, timeoutMs);
  let starting: NodeJS.Timeout | undefined;
  const abort = (): void => end.abort(new EngineError('aborted', 'nobody waits for the command any more'));
  if (signal?.aborted === true) abort();
  signal?.addEventListener('abort', abort, { once: true });
  return {
    orWork: (work) => untilAborted(work, { signal: end.signal, aborted: () => end.signal.reason as EngineError }),
    over: over.signal,
    failUnlessStarted: (session) => {
      if (startWithinMs === undefined) return;
      const look = (): void => void session.hasStarted().catch((error: unknown) => end.abort(error));
      starting = setTimeout(look, startWithinMs).unref();
    },
    forget: () => {
      over.abort();
      clearTimeout(timer);
      clearTimeout(starting);
      signal?.removeEventListener('abort', abort);
    },
  };
}
