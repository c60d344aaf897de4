import type Docker from 'dockerode';
import { Duplex, Readable } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import { untilAborted } from '../scheduling';
import { abortable } from './client';
import { EngineError, type ExecOutput, type ExecRequest } from './container-engine';
import { hasStatus } from './errors';
import { OutputFrames } from './streams';

/** One Docker call, bounded in time, with errors in the port's terms. */
type ExecCall = <T>(run: (signal: AbortSignal) => Promise<T>) => Promise<T>;

/** Docker closes the stream a moment before the exit code is known, above all under load. */
const EXIT_CODE_WITHIN_MS = 10_000;
const EXIT_CODE_EVERY_MS = 50;

/**
 * How often the container of a command is inspected. Docker 20.10 with gVisor of 2022 leaves the stream open, and the
 * command running, after its container has ended.
 */
const LOOK_EVERY_MS = 10_000;

/** For the command that ends another one and has no output. */
const END_WITHIN_MS = 60_000;
const END_OUTPUT_BYTES = 64 * 1024;

/**
 * The messages of runc and gVisor (20240729) about a program, its file or its working directory, as passed on by Docker
 * 26.1.
 */
const NOT_RUNNABLE =
  /executable file not found|error finding executable|no such file or directory|is a directory|permission denied|exec format error|unable to find user/i;
/** Their messages about a container that is just ending. */
const ENDING = /stopped|not running|connection refused|connection reset|broken pipe|setns|no such (container|process)/i;

/**
 * Runs a command in a container and waits for its end: create, start with the connection hijacked and no stdin, read
 * both outputs, get the exit code. The daemon cannot kill it: a command that takes too long or writes too much is ended
 * by another one, {@link ExecRequest.end}; after an abort it may continue in the container.
 *
 * @throws EngineError `command_not_started`, `container_not_running`, `timed_out`, `output_too_large`,
 *   `output_endless`, `aborted`, and what `call` throws
 */
export async function runExec(
  container: Docker.Container,
  request: ExecRequest,
  call: ExecCall,
  { lookEveryMs = LOOK_EVERY_MS }: { lookEveryMs?: number } = {},
): Promise<{ exitCode: number }> {
  const ending = endOf(request);
  void untilStopped(container, { call, lookEveryMs, signal: ending.over }).then((stopped) => {
    if (stopped) ending.endWith(new EngineError('container_not_running', 'the container ended under the command'));
  });
  try {
    const exec = await ending.orWork(call((signal) => container.exec(createOptions(request, signal))));
    const starting = call((signal) => startHijacked(exec, signal));
    const output = new CommandOutput(request, () => isStarted(exec, call));
    try {
      await ending.orWork(output.readToEnd(await ending.orWork(starting)));
      return { exitCode: await ending.orWork(exitCodeOf(exec, { output, call })) };
    } catch (error) {
      output.stop();
      const code = error instanceof EngineError ? error.code : null;
      // First: as long as nobody reads what it has written, Docker reports no command's end in the container.
      if (code === 'output_too_large') void starting.then((stream) => stream.destroy()).catch(() => undefined);
      if (code === 'timed_out' || code === 'output_too_large') await endCommand(container, request, call);
      if (code !== 'output_too_large' || !request.end) throw error;
      if (await isEnded(exec, call)) throw error;
      throw new EngineError('output_endless', 'the command writes without end, and could not be ended', {
        cause: error,
      });
    } finally {
      void starting.then((stream) => stream.destroy()).catch(() => undefined);
    }
  } finally {
    ending.forget();
  }
}

/** A separate body, or dockerode writes it, secrets in `Env` included, wherever it also writes options. */
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

/**
 * Passes on a command's output, up to a limit. Docker writes the reason why it could not start a command into the same
 * stream, so the first bytes are buffered until their origin is known.
 */
class CommandOutput {
  /** Docker's own message; empty if the command has started. */
  refusal = '';
  private writer: 'unknown' | 'command' | 'docker' = 'unknown';
  private readonly buffered: ExecOutput[] = [];
  private bytes = 0;
  private stream: Readable | undefined;

  constructor(
    private readonly request: Pick<ExecRequest, 'onOutput' | 'maxOutputBytes'>,
    private readonly hasStarted: () => Promise<boolean>,
  ) {}

  /**
   * A connection that breaks is not an error yet: Docker is asked afterwards whether the command has ended.
   *
   * @throws EngineError `output_too_large`, and the errors of that inspection
   */
  async readToEnd(stream: Readable): Promise<void> {
    this.stream = stream;
    const frames = new OutputFrames((output) => this.take(output));
    const { maxOutputBytes } = this.request;
    await new Promise<void>((resolve, reject) => {
      const end = (): void => void this.settle().then(resolve, reject);
      stream.once('end', end).once('close', end).once('error', end);
      stream.on('data', (chunk: Buffer) => {
        frames.take(chunk);
        if (this.bytes > maxOutputBytes) {
          this.stop();
          reject(new EngineError('output_too_large', `the command said more than ${String(maxOutputBytes)} bytes`));
        } else if (this.writer === 'unknown' && this.buffered.length > 0) {
          stream.pause();
          this.settle().then(() => stream.resume(), reject);
        }
      });
    });
  }

  /** Stops reading, so that the command blocks on a write. */
  stop(): void {
    this.stream?.removeAllListeners('data').pause();
  }

  private take(output: ExecOutput): void {
    this.bytes += output.data.length;
    if (this.bytes > this.request.maxOutputBytes) return;
    if (this.writer === 'command') this.request.onOutput?.(output);
    else this.buffered.push(output);
  }

  /** Determines the origin of the first bytes. */
  private async settle(): Promise<void> {
    if (this.writer === 'unknown' && this.buffered.length > 0) {
      this.writer = (await this.hasStarted()) ? 'command' : 'docker';
    }
    for (const output of this.buffered.splice(0)) {
      if (this.writer === 'command') this.request.onOutput?.(output);
      else this.refusal += output.data.toString();
    }
  }
}

interface ExecState {
  readonly Running: boolean;
  readonly ExitCode: number | null;
  /** 0 for a command that never started. */
  readonly Pid: number;
}

/** Docker knows of a process a moment after its first output. */
async function isStarted(exec: Docker.Exec, call: ExecCall): Promise<boolean> {
  const { Pid } = await stateOf(exec, { until: ({ Running, Pid }) => Pid > 0 || !Running, call });
  return Pid > 0;
}

async function exitCodeOf(
  exec: Docker.Exec,
  { output, call }: { output: CommandOutput; call: ExecCall },
): Promise<number> {
  const { ExitCode, Running, Pid } = await stateOf(exec, { until: (state) => hasEnded(state), call });
  if (Running || ExitCode === null) {
    throw new EngineError('docker_unavailable', 'the connection to the command broke off before its end');
  }
  if (Pid > 0) return ExitCode;
  const words = output.refusal.trim();
  if (ENDING.test(words) && !NOT_RUNNABLE.test(words)) throw new EngineError('container_not_running', `exec: ${words}`);
  throw new EngineError(NOT_RUNNABLE.test(words) ? 'command_not_started' : 'docker_error', `exec: ${words}`);
}

function hasEnded({ Running, ExitCode }: ExecState): boolean {
  return !Running && ExitCode !== null;
}

async function isEnded(exec: Docker.Exec, call: ExecCall): Promise<boolean> {
  try {
    return hasEnded(await stateOf(exec, { until: (state) => hasEnded(state), call }));
  } catch (error) {
    // It ended with its container.
    if (error instanceof EngineError && error.code === 'container_not_running') return true;
    throw error;
  }
}

/** @returns the first awaited state, or the last one before the deadline */
async function stateOf(
  exec: Docker.Exec,
  { until, call }: { until: (state: ExecState) => boolean; call: ExecCall },
): Promise<ExecState> {
  const deadline = performance.now() + EXIT_CODE_WITHIN_MS;
  for (;;) {
    const state = await call((signal) => inspect(exec, signal));
    if (until(state) || performance.now() >= deadline) return state;
    await delay(EXIT_CODE_EVERY_MS);
  }
}

async function inspect(exec: Docker.Exec, signal: AbortSignal): Promise<ExecState> {
  try {
    return await exec.inspect(abortable(signal, {}));
  } catch (error) {
    // Docker forgets the commands of an ended container.
    if (hasStatus(error, 404)) throw new EngineError('container_not_running', 'the container ended under the command');
    throw error;
  }
}

/** Ends a command by another one, as far as possible. */
async function endCommand(container: Docker.Container, { end, user }: ExecRequest, call: ExecCall): Promise<void> {
  if (!end) return;
  const limits = { timeoutMs: END_WITHIN_MS, maxOutputBytes: END_OUTPUT_BYTES };
  const request = { ...end, ...limits, ...(user !== undefined && { user }) };
  await runExec(container, request, call).catch(() => undefined);
}

/**
 * Returns when the container is not running, or has been started again, at two inspections in a row: where the stream
 * ends with the container, that comes first.
 *
 * @returns false if `signal` aborted first
 */
async function untilStopped(
  container: Docker.Container,
  { call, lookEveryMs, signal }: { call: ExecCall; lookEveryMs: number; signal: AbortSignal },
): Promise<boolean> {
  let startedAt: string | null = null;
  let stoppedBefore = false;
  while (!signal.aborted) {
    try {
      await delay(lookEveryMs, undefined, { signal });
      const { State } = await call((within) => container.inspect({ abortSignal: within }));
      startedAt ??= State.StartedAt;
      const stopped = !State.Running || State.StartedAt !== startedAt;
      if (stopped && stoppedBefore) return true;
      stoppedBefore = stopped;
    } catch (error) {
      if (error instanceof EngineError && error.code === 'container_not_found') return true;
      // Docker does not answer: the command may well go on.
    }
  }
  return false;
}

/** Aborts the wait for a command: timeout, signal, or `endWith`. `over` aborts when nobody waits any more. */
function endOf({ timeoutMs, signal }: ExecRequest): {
  orWork: <T>(work: Promise<T>) => Promise<T>;
  endWith: (error: EngineError) => void;
  over: AbortSignal;
  forget: () => void;
} {
  const end = new AbortController();
  const over = new AbortController();
  const endWith = (error: EngineError): void => end.abort(error);
  const timer = setTimeout(() => {
    endWith(new EngineError('timed_out', `the command did not end within ${String(timeoutMs)} ms`));
  }, timeoutMs);
  const abort = (): void => endWith(new EngineError('aborted', 'nobody waits for the command any more'));
  if (signal?.aborted === true) abort();
  signal?.addEventListener('abort', abort, { once: true });
  return {
    orWork: (work) => untilAborted(work, { signal: end.signal, aborted: () => end.signal.reason as EngineError }),
    endWith,
    over: over.signal,
    forget: () => {
      over.abort();
      clearTimeout(timer);
      signal?.removeEventListener('abort', abort);
    },
  };
}
