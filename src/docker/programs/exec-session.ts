import type Docker from 'dockerode';
import type { Duplex, Readable, Writable } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import { within } from '../../scheduling';
import { abortable } from '../connection/client';
import {
  type ContainerProcess,
  type ExecOutput,
  type OutputFlow,
  type OutputTaker,
  type ProcessOutput,
  type ProcessRequest,
  type TerminalSize,
  wasKilled,
} from '../port/container-process';
import { EngineError } from '../engine-error';
import { hasStatus } from '../connection/errors';
import {
  execCreateOptions,
  type ExecCall,
  type ExecState,
  hasBegun,
  hasEnded,
  isSandboxLost,
  lostWordsLength,
  refusedWith,
  startHijacked,
} from './exec-calls';
import { type ContainerEnd, ExecContainer } from './exec-container';
import { OutputFrames } from '../connection/streams';

/** `call` runs each call to Docker. Only tests set the times. */
export interface ExecOptions {
  readonly call: ExecCall;
  readonly end?: ContainerEnd;
  /** Changes to the variables of the container's create call, made before the request's: see `withoutCreated`. */
  readonly created?: Readonly<Record<string, string | null>>;
  /** Whether Docker itself answers; asked if a command does not start. By default it does. */
  readonly answers?: () => Promise<boolean>;
  readonly lookAfterMs?: number;
  /** Leaves the container unobserved until {@link ExecSession.watch} is called. */
  readonly isUnwatched?: true;
  /** Awaited before Docker starts the command; rejects if it must not. */
  readonly mayStart?: Promise<void>;
  readonly startWithinMs?: number;
  readonly refusedWithinMs?: number;
}

/** Docker closes the stream a moment before the exit code is known, above all under load. */
const EXIT_CODE_WITHIN_MS = 10_000;
/**
 * Limits of the interval between inspections meanwhile. The interval is an eighth of the time waited so far, so
 * polling adds about an eighth to the wait.
 */
const ASK_EVERY_MS = { min: 3, max: 50 } as const;

/** How long a command may take to start. On an overloaded machine, gVisor takes more than ten seconds. */
const START_WITHIN_MS = 40_000;
/** How long Docker may take to say why a command has not started. */
const REFUSED_WITHIN_MS = 10_000;
/** How long Docker may take to start a command after it has opened the connection. */
const NOT_BEGUN_MS = 5_000;

/** How soon the exit code is normally known after the end of the stream. */
const EXIT_CODE_SOON_MS = 1_000;

/** How long Docker may take for the last inspection, at the end of a command's time to start. */
const LAST_LOOK_MS = 2_000;

const UNREAD_AFTER_MS = 1_000;

const SIGKILL_CODE = 137;

/** Limit of Docker's message in place of the output; far more than such a message ever has. */
const MAX_REFUSAL_BYTES = 64 * 1024;

/**
 * A command of Docker's exec API, over a hijacked connection. Docker cannot kill the command, and the end of the
 * connection does not end it.
 */
export class ExecSession implements ContainerProcess {
  readonly output: ProcessOutput;
  /** Writing copies the data (into the kernel, or during TLS), so the caller may reuse the buffer. */
  readonly isInputCopied = true;

  /** Docker's message in place of the command's output; empty if the command has started. */
  private refusal = '';
  private writer: 'unknown' | 'command' | 'docker' = 'unknown';
  /** Output at which the runtime may have ended the command's: its exit code shows who wrote it. */
  private held: ExecOutput | null = null;
  private readonly closed = new AbortController();
  /**
   * Since when the reader has been busy with the output that it got; null if it waits for more, or the stream has
   * closed.
   */
  private busySince: number | null = performance.now();
  /** Whether the command's time to start is over. */
  private isOverdue = false;

  private constructor(
    private readonly container: ExecContainer,
    private readonly exec: Docker.Exec,
    private readonly stream: Duplex,
    private readonly request: ProcessRequest,
    private readonly call: ExecCall,
    private readonly times: { readonly startBy: number; readonly refusedWithinMs: number },
    private readonly answers: () => Promise<boolean>,
  ) {
    // Without a listener, an error of the connection while there is no reader would end this process.
    stream.on('error', () => undefined);
    stream.once('close', () => {
      this.closed.abort();
      this.busySince = null;
    });
    const read = this.read();
    this.output = {
      [Symbol.asyncIterator]: () => read,
      flowTo: (taker) => this.flowTo(taker),
    };
  }

  /**
   * Opens the connection without waiting for the command to start: its first output, or its end, shows whether it
   * did.
   *
   * @throws EngineError `command_not_started` if the program's name is empty, `container_not_found`,
   *   `container_not_running`, `container_paused`, `container_not_responding`, and what `call` throws
   */
  static async open(container: Docker.Container, request: ProcessRequest, options: ExecOptions): Promise<ExecSession> {
    const { call, end, created } = options;
    // Docker's runtimes treat an empty program name differently.
    if (request.command[0] === '') throw new EngineError('command_not_started', 'the program has no name');
    const { refusedWithinMs = REFUSED_WITHIN_MS, answers = () => Promise.resolve(true) } = options;
    const startWithinMs = request.startWithinMs ?? options.startWithinMs ?? START_WITHIN_MS;
    const startBy = performance.now() + startWithinMs;
    const bounds = { ms: startWithinMs, answers };
    const exec = await inTime(
      call((signal) => container.exec(execCreateOptions(request, { signal, created }))),
      bounds,
    );
    await options.mayStart;
    const starting = call((signal) => startHijacked(exec, request, signal));
    const stream = await inTime(starting, bounds).catch((error: unknown) => {
      void starting.then((late) => late.destroy()).catch(() => undefined);
      throw error;
    });
    const times = { startBy, refusedWithinMs };
    const observed = new ExecContainer(container, call, end, request.runningSince);
    const session = new ExecSession(observed, exec, stream, request, call, times, answers);
    if (options.isUnwatched !== true) session.watch(options.lookAfterMs);
    return session;
  }

  /** Closes the connection once the container has ended, even if Docker does not. */
  watch(lookAfterMs?: number): void {
    void this.container.untilEnded(this.closed.signal, lookAfterMs).then(() => this.close());
  }

  get marker(): string | undefined {
    return this.request.marker;
  }

  /** Calls `listener` when the connection has closed. */
  onClosed(listener: () => void): void {
    this.stream.once('close', listener);
  }

  get isClosed(): boolean {
    return this.stream.closed;
  }

  /** Whether Docker itself has ended the output, as it does after the command's end. */
  get isWhole(): boolean {
    return this.stream.readableEnded;
  }

  /** Whether the reader has not read on for `UNREAD_AFTER_MS`. */
  get isUnread(): boolean {
    return this.busySince !== null && performance.now() - this.busySince > UNREAD_AFTER_MS;
  }

  get stdin(): Writable | null {
    return this.request.stdin === true ? this.stream : null;
  }

  /**
   * Waits until the command has started.
   *
   * @throws EngineError `command_not_started`, `container_not_running`, `docker_error`; and as {@link hasStarted},
   *   after which the command may still start
   */
  async started(): Promise<void> {
    if (await this.hasStarted()) return;
    this.writer = 'docker';
    const refusal = (async () => {
      for await (const output of this.output) void output;
    })();
    // Docker may leave the stream of a command open that has not started.
    await within(refusal, { ms: this.times.refusedWithinMs }).catch(() => this.close());
    await this.exit();
  }

  /**
   * Waits until Docker reports that the command has started, or failed to.
   *
   * @throws EngineError `container_not_responding` if Docker reports neither in time, `docker_unavailable` if Docker
   *   does not answer
   */
  async hasStarted(): Promise<boolean> {
    const writer = await this.whoWrites();
    if (writer === 'unknown') throw notStarted(await this.answers());
    return writer === 'command';
  }

  async exit(): Promise<{ exitCode: number }> {
    if (this.container.isOver) throw containerEnded();
    let state = await this.stateOnce(hasEnded, EXIT_CODE_SOON_MS);
    if (!hasEnded(state)) {
      if (await this.container.hasEnded()) throw containerEnded();
      state = await this.stateOnce(hasEnded);
    }
    const { ExitCode, Running, Pid } = state;
    if (Running || ExitCode === null) {
      throw new EngineError('docker_unavailable', 'the connection to the command broke off before its end');
    }
    const exitCode = this.held && isSandboxLost(ExitCode) ? SIGKILL_CODE : ExitCode;
    if (Pid > 0 && wasKilled(exitCode) && (await this.container.ends())) throw containerEnded();
    if (hasBegun(state)) return { exitCode };
    const refused = refusedWith(this.refusal.trim(), this.request.command);
    if (refused.code === 'container_not_responding' && !(await this.container.runsOn())) throw containerEnded();
    throw refused;
  }

  async isGone(): Promise<boolean> {
    if (this.container.isOver) return true;
    const state = await this.call(async (signal) => {
      try {
        const found: ExecState = await this.exec.inspect(abortable(signal, {}));
        return found;
      } catch (error) {
        // Docker forgets the commands of an ended container, and all commands when Docker itself restarts.
        if (hasStatus(error, 404)) return null;
        throw error;
      }
    });
    return state === null || hasEnded(state) || !(await this.container.runsOn());
  }

  async resize({ columns, rows }: TerminalSize): Promise<void> {
    await this.call(async (signal) => {
      try {
        await this.exec.resize(abortable(signal, { h: rows, w: columns }));
      } catch (error) {
        if (hasStatus(error, 404)) throw await this.forgotten();
        throw error;
      }
    });
  }

  close(): void {
    this.stream.destroy();
  }

  /** The command has started, so every frame is its output. */
  private flowTo(taker: OutputTaker): OutputFlow {
    const { stream } = this;
    const pass = (output: ExecOutput): void => taker.take(output);
    const frames = new OutputFrames((output) => this.holdBack(output, pass));
    const hasTerminal = this.request.terminal === true;
    let isOver = false;
    const end = (): void => {
      if (isOver) return;
      isOver = true;
      if (this.held) void this.released(pass).then(() => taker.over());
      else taker.over();
    };
    this.busySince = null;
    stream.on('data', (data: Buffer) => {
      if (hasTerminal) taker.take({ stream: 'stdout', data });
      else frames.take(data);
    });
    stream.once('end', end).once('close', end);
    return {
      pause: () => {
        stream.pause();
        this.busySince ??= performance.now();
      },
      resume: () => {
        this.busySince = null;
        if (stream.isPaused()) stream.resume();
      },
    };
  }

  /**
   * Yields the output. A broken connection is not an error yet: {@link exit} then asks Docker whether the command has
   * ended.
   */
  private async *read(): AsyncGenerator<ExecOutput> {
    let read: ExecOutput[] = [];
    const take = (output: ExecOutput): void => void read.push(output);
    const frames = new OutputFrames((output) => this.holdBack(output, take));
    const hasTerminal = this.request.terminal === true;
    this.busySince = null;
    for await (const data of untilBroken(this.stream)) {
      if (hasTerminal) take({ stream: 'stdout', data });
      else frames.take(data);
      if (read.length === 0) continue;
      this.busySince = performance.now();
      if (this.writer === 'unknown') this.writer = await this.whoWrites();
      if (this.writer === 'docker') this.noteRefusal(read);
      else yield* read;
      read = [];
      this.busySince = null;
    }
    await this.released(take);
    yield* read;
  }

  /** Passes output on, but for the runtime's words at its end: see {@link released}. */
  private holdBack(output: ExecOutput, pass: (output: ExecOutput) => void): void {
    if (this.held) pass(this.held);
    this.held = null;
    const length = lostWordsLength(output);
    const at = output.data.length - length;
    if (at > 0) pass({ ...output, data: output.data.subarray(0, at) });
    // The memory of the output is used again.
    if (length > 0) this.held = { ...output, data: Buffer.from(output.data.subarray(at)) };
  }

  /** Passes on at the end of the output what was held back, if the command itself has written it. Never throws. */
  private async released(pass: (output: ExecOutput) => void): Promise<void> {
    if (!this.held) return;
    const state = await this.stateOnce(hasEnded, EXIT_CODE_SOON_MS).catch(() => null);
    if (isSandboxLost(state?.ExitCode ?? null)) return;
    pass(this.held);
    this.held = null;
  }

  private noteRefusal(read: readonly ExecOutput[]): void {
    if (this.refusal.length > MAX_REFUSAL_BYTES) return;
    this.refusal += Buffer.concat(read.map(({ data }) => data)).toString();
  }

  /**
   * Determines who writes the output. Docker reports a command's PID a moment after the command's first output.
   * Docker (26.1) also opens the connection before it starts the command; until then the command neither runs nor has
   * an exit code. A command that could not be started has exit code 126.
   *
   * @returns `unknown` if the command neither starts nor fails in time
   */
  private async whoWrites(): Promise<typeof this.writer> {
    if (this.writer !== 'unknown' || this.isOverdue) return this.writer;
    const began = performance.now();
    const isRefused = (state: ExecState): boolean => {
      if (state.Running) return false;
      // Without an exit code if the container ended before Docker began with the command.
      return state.ExitCode !== null || this.stream.closed || performance.now() - began > NOT_BEGUN_MS;
    };
    const known = (state: ExecState): boolean => hasBegun(state) || isRefused(state);
    const leftMs = Math.max(0, this.times.startBy - performance.now());
    // Docker (26.1) does not answer an inspection of a command while a hung sandbox keeps it from starting the
    // command.
    const looking = this.stateOnce(known, leftMs);
    const state = await within(looking, { ms: leftMs + LAST_LOOK_MS, late: () => new Overdue() }).catch(ifOverdue);
    if (state === null || !known(state)) {
      this.isOverdue = true;
      return this.writer;
    }
    // Stored for later calls.
    if (hasBegun(state)) this.writer = 'command';
    else if (!state.Running) return 'docker';
    return this.writer;
  }

  /** @returns the first state that `until` accepts, or the last one before the deadline */
  private async stateOnce(until: (state: ExecState) => boolean, withinMs = EXIT_CODE_WITHIN_MS): Promise<ExecState> {
    const began = performance.now();
    for (;;) {
      const state = await this.call((signal) => this.inspect(signal));
      const waited = performance.now() - began;
      if (until(state) || waited >= withinMs) return state;
      await delay(Math.min(Math.max(waited / 8, ASK_EVERY_MS.min), ASK_EVERY_MS.max));
    }
  }

  private async inspect(signal: AbortSignal): Promise<ExecState> {
    try {
      return await this.exec.inspect(abortable(signal, {}));
    } catch (error) {
      if (hasStatus(error, 404)) throw await this.forgotten();
      throw error;
    }
  }

  /** Docker forgets the commands of an ended container, and all commands when Docker itself restarts. */
  private async forgotten(): Promise<EngineError> {
    const runsOn = await this.container.runsOn().catch(() => false);
    return runsOn ? new EngineError('docker_unavailable', 'Docker has forgotten the command') : containerEnded();
  }

  /** Inspects the container soon, as it may have ended. */
  noteContainerEnd(): void {
    this.container.lookSoon();
  }
}

class Overdue extends Error {}

function ifOverdue(error: unknown): null {
  if (error instanceof Overdue) return null;
  throw error;
}

/**
 * Waits for a call that a hung sandbox may delay.
 *
 * @throws EngineError `container_not_responding`, `docker_unavailable`
 */
async function inTime<T>(
  work: Promise<T>,
  { ms, answers }: { readonly ms: number; readonly answers: () => Promise<boolean> },
): Promise<T> {
  try {
    return await within(work, { ms, late: () => new Overdue() });
  } catch (error) {
    ifOverdue(error);
    throw notStarted(await answers());
  }
}

function notStarted(dockerAnswers: boolean): EngineError {
  const code = dockerAnswers ? 'container_not_responding' : 'docker_unavailable';
  return new EngineError(code, 'the command did not start in time');
}

function containerEnded(): EngineError {
  return new EngineError('container_not_running', 'the container ended under the command');
}

async function* untilBroken(stream: Readable): AsyncGenerator<Buffer> {
  try {
    for await (const chunk of stream) yield chunk as Buffer;
  } catch {
    // The connection broke, or this process closed it.
  }
}
