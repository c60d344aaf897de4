import { setTimeout as delay } from 'node:timers/promises';
import { Duplex, Readable } from 'node:stream';
import type Docker from 'dockerode';
import type { ExecRequest } from './container-engine';
import { abortable } from './docker-client';
import { hasStatus } from './docker-refusals';
import { EngineError } from './engine-error';
import { OutputFrames } from './output-frames';

/** One call to Docker, bounded in time, its errors in the port's words. */
type ExecCall = <T>(run: (signal: AbortSignal) => Promise<T>) => Promise<T>;

/** Docker closes the stream a moment before it knows the exit code, above all under load. */
const EXIT_CODE_WITHIN_MS = 10_000;
const EXIT_CODE_EVERY_MS = 50;

/**
 * Runs a command in a container and waits for its end: create, start with the connection hijacked and no stdin, read both
 * outputs, ask for the exit code. The daemon cannot kill what it started, so after a timeout or an abort the command may go
 * on in the container.
 *
 * @throws EngineError `timed_out`, `aborted`, and what `call` throws
 */
export async function runExec(
  container: Docker.Container,
  request: ExecRequest,
  call: ExecCall,
): Promise<{ exitCode: number }> {
  const ending = endOf(request);
  try {
    const exec = await ending.orWork(call((signal) => container.exec(createOptions(request, signal))));
    const starting = call((signal) => startHijacked(exec, signal));
    try {
      await ending.orWork(readToEnd(await ending.orWork(starting), request));
    } finally {
      void starting.then((stream) => stream.destroy()).catch(() => undefined);
    }
    return { exitCode: await ending.orWork(exitCodeOf(exec, call)) };
  } finally {
    ending.forget();
  }
}

/** The body apart, or dockerode writes it, secrets in `Env` included, where it also writes options. */
function createOptions(request: ExecRequest, signal: AbortSignal): Docker.ExecCreateOptions {
  const body = {
    Cmd: request.command,
    AttachStdout: true,
    AttachStderr: true,
    Env: Object.entries(request.env ?? {}).map(([name, value]) => `${name}=${value}`),
    ...(request.user !== undefined && { User: request.user }),
  };
  return abortable(signal, { _body: body });
}

async function startHijacked(exec: Docker.Exec, signal: AbortSignal): Promise<Readable> {
  const options = { hijack: true, stdin: false, _body: { Detach: false, Tty: false } };
  const stream: unknown = await exec.start(abortable(signal, options));
  if (stream instanceof Readable || stream instanceof Duplex) return stream;
  throw new EngineError('docker_error', 'Docker gave no stream');
}

/** A connection that breaks off is no fault yet: whether the command has ended, Docker is asked afterwards. */
async function readToEnd(stream: Readable, { onOutput }: ExecRequest): Promise<void> {
  const frames = new OutputFrames((output) => onOutput?.(output));
  await new Promise<void>((resolve) => {
    stream.on('data', (chunk: Buffer) => frames.take(chunk));
    stream.once('end', resolve).once('close', resolve).once('error', resolve);
  });
}

async function exitCodeOf(exec: Docker.Exec, call: ExecCall): Promise<number> {
  const deadline = Date.now() + EXIT_CODE_WITHIN_MS;
  for (;;) {
    const { Running, ExitCode } = await call((signal) => inspect(exec, signal));
    if (!Running && ExitCode !== null) return ExitCode;
    if (Date.now() >= deadline) {
      throw new EngineError('docker_unavailable', 'the connection to the command broke off before its end');
    }
    await delay(EXIT_CODE_EVERY_MS);
  }
}

async function inspect(exec: Docker.Exec, signal: AbortSignal): Promise<{ Running: boolean; ExitCode: number | null }> {
  try {
    return await exec.inspect(abortable(signal, {}));
  } catch (error) {
    // Docker forgets the commands of a container that ended.
    if (hasStatus(error, 404)) throw new EngineError('container_not_running', 'the container ended under the command');
    throw error;
  }
}

/** What ends the wait for a command before the command does. */
function endOf({ timeoutMs, signal }: ExecRequest): {
  orWork: <T>(work: Promise<T>) => Promise<T>;
  forget: () => void;
} {
  let end: (error: EngineError) => void = () => undefined;
  const ended = new Promise<never>((_resolve, reject) => (end = reject));
  ended.catch(() => undefined);
  const timer = setTimeout(() => {
    end(new EngineError('timed_out', `the command did not end within ${String(timeoutMs)} ms`));
  }, timeoutMs);
  const abort = (): void => end(new EngineError('aborted', 'nobody waits for the command any more'));
  if (signal?.aborted === true) abort();
  signal?.addEventListener('abort', abort, { once: true });
  return {
    orWork: (work) => {
      work.catch(() => undefined);
      return Promise.race([ended, work]);
    },
    forget: () => {
      clearTimeout(timer);
      signal?.removeEventListener('abort', abort);
    },
  };
}
