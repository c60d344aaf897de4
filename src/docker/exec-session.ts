import type Docker from 'dockerode';
import type { Duplex, Readable, Writable } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import { within } from '../scheduling';
import { abortable } from './client';
import type {
  ContainerProcess,
  ExecOutput,
  OutputFlow,
  OutputTaker,
  ProcessOutput,
  ProcessRequest,
  TerminalSize,
} from './container-process';
import { EngineError } from './engine-error';
import { hasStatus } from './errors';
import { createOptions, type ExecCall, type ExecState, hasEnded, refusedWith, startHijacked } from './exec-calls';
import { OutputFrames } from './streams';

/** What Berth knows of the end of a command's container before Docker says so. */
interface ContainerEnd {
  /** Whether it is being ended. */
  isNear(): boolean;
  /** Whether it can still be entered, whatever Docker says of it. */
  canEnter(): Promise<boolean>;
}

const NOTHING_KNOWN: ContainerEnd = { isNear: () => false, canEnter: () => Promise.resolve(true) };

/** `call`: each call to Docker goes through it. The times are for tests. */
export interface ExecOptions {
  readonly call: ExecCall;
  readonly end?: ContainerEnd;
  readonly lookAfterMs?: number;
  readonly startWithinMs?: number;
  readonly refusedWithinMs?: number;
}

/** Docker closes the stream a moment before the exit code is known, above all under load. */
const EXIT_CODE_WITHIN_MS = 10_000;
/** How often it is asked meanwhile: the sooner, the shorter it was waited, so that the wait itself adds an eighth. */
const ASK_EVERY_MS = { min: 3, max: 50 } as const;

/**
 * When the container of a command is inspected, beside the moments at which its end is heard of: Docker may leave the
 * stream open, and the command running, after its container has ended (20.10 with gVisor of 2022 always, 26.1 seldom).
 * First to know since when it runs: what ends sooner costs no call. Then ten times as late, and at intervals that
 * double.
 */
const LOOKS_MS = { first: 1_000, every: 60_000, onceStopped: 1_000 } as const;

/** The exit code of a command that was ended by a signal is greater, as that of all is when their container ends. */
const KILLED = 128;

/** How long a command may take to start: gVisor's, on a machine with too much to do, takes more than ten seconds. */
const START_WITHIN_MS = 40_000;
/** How long Docker may take to say why a command has not started. */
const REFUSED_WITHIN_MS = 10_000;
/** How long Docker may take to begin with a command whose connection it has opened. */
const NOT_BEGUN_MS = 5_000;

/** How often a container that is being ended is inspected where a command in it was killed. */
const ENDING_LOOK_MS = 100;

/** How soon the exit code of a command whose stream has ended is known, unless Docker is kept from telling it. */
const EXIT_CODE_SOON_MS = 1_000;
/** How often it is tried whether the container of a command that was killed can be entered. */
const ENTER_EVERY_MS = 1_000;

const UNREAD_AFTER_MS = 1_000;

/** Docker's message in place of an output; far more than it ever is. */
const MAX_REFUSAL_BYTES = 64 * 1024;

/**
 * One command of Docker's exec API with its connection hijacked. Docker cannot kill it, and a connection that ends does
 * not end it.
 */
export class ExecSession implements ContainerProcess {
  readonly output: ProcessOutput;
  /** By the kernel, or by what encrypts it. */
  readonly isInputCopied = true;

  /** Docker's message in place of the command's output; empty if the command has started. */
  private refusal = '';
  private writer: 'unknown' | 'command' | 'docker' = 'unknown';
  private readonly closed = new AbortController();
  private containerEnded = false;
  /** When it is tried next whether its container can be entered. */
  private nextEntry = 0;
  /** Docker's time of its container's start, once that was looked at. */
  private startedAt: string | null = null;
  /** Ends the wait for the next look at the container. */
  private lookNow = new AbortController();
  /** Since when its reader is busy with what it has got; null while it waits for more, or has ended. */
  private busySince: number | null = performance.now();

  private constructor(
    private readonly container: Docker.Container,
    private readonly exec: Docker.Exec,
    private readonly stream: Duplex,
    private readonly request: ProcessRequest,
    private readonly call: ExecCall,
    private readonly times: { readonly startWithinMs: number; readonly refusedWithinMs: number },
    private readonly end: ContainerEnd,
  ) {
    // Without a listener the error of a connection that breaks while nobody reads would end this process.
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
   * Does not wait for the command to start: whether it did shows at its first output, or its end.
   *
   * @throws EngineError `container_not_found`, `container_not_running`, `container_paused`, and what `call` throws
   */
  static async open(container: Docker.Container, request: ProcessRequest, options: ExecOptions): Promise<ExecSession> {
    const { call, lookAfterMs = LOOKS_MS.first, end = NOTHING_KNOWN } = options;
    const { startWithinMs = START_WITHIN_MS, refusedWithinMs = REFUSED_WITHIN_MS } = options;
    const exec = await call((signal) => container.exec(createOptions(request, signal)));
    const stream = await call((signal) => startHijacked(exec, request, signal));
    const times = { startWithinMs, refusedWithinMs };
    const session = new ExecSession(container, exec, stream, request, call, times, end);
    void session.watchContainer(lookAfterMs);
    return session;
  }

  get marker(): string | undefined {
    return this.request.marker;
  }

  /** Calls back when the connection has ended. */
  onClosed(listener: () => void): void {
    this.stream.once('close', listener);
  }

  get isClosed(): boolean {
    return this.stream.closed;
  }

  /** Whether its output has not been read for a while. */
  get isUnread(): boolean {
    return this.busySince !== null && performance.now() - this.busySince > UNREAD_AFTER_MS;
  }

  get stdin(): Writable | null {
    return this.request.stdin === true ? this.stream : null;
  }

  /** @throws EngineError `command_not_started`, `container_not_running`, `docker_unavailable`: it may start yet */
  async started(): Promise<void> {
    if (await this.hasStarted()) return;
    this.writer = 'docker';
    const refusal = (async () => {
      for await (const output of this.output) void output;
    })();
    // Docker need not end the stream of what has not started.
    await within(refusal, { ms: this.times.refusedWithinMs }).catch(() => this.close());
    await this.exit();
  }

  /** Docker answers once it has started, or failed to. */
  async hasStarted(): Promise<boolean> {
    const writer = await this.whoWrites();
    if (writer === 'unknown') throw new EngineError('docker_unavailable', 'the command did not start in time');
    return writer === 'command';
  }

  async exit(): Promise<{ exitCode: number }> {
    if (this.containerEnded) throw containerEnded();
    let state = await this.stateOnce(hasEnded, EXIT_CODE_SOON_MS);
    if (!hasEnded(state)) {
      if (await this.endedWithContainer()) throw containerEnded();
      state = await this.stateOnce(hasEnded);
    }
    const { ExitCode, Running, Pid } = state;
    if (Running || ExitCode === null) {
      throw new EngineError('docker_unavailable', 'the connection to the command broke off before its end');
    }
    if (Pid > 0 && ExitCode > KILLED && (await this.endsWithContainer())) throw containerEnded();
    if (Pid > 0) return { exitCode: ExitCode };
    throw refusedWith(this.refusal.trim());
  }

  /** Waits a moment for it. */
  async hasEnded(): Promise<boolean> {
    try {
      return hasEnded(await this.stateOnce(hasEnded));
    } catch (error) {
      // It ended with its container.
      if (error instanceof EngineError && error.code === 'container_not_running') return true;
      throw error;
    }
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

  /** That it has started is known by now, so all of it is the command's. */
  private flowTo(taker: OutputTaker): OutputFlow {
    const { stream } = this;
    const frames = new OutputFrames((output) => taker.take(output));
    const hasTerminal = this.request.terminal === true;
    let isOver = false;
    const end = (): void => {
      if (isOver) return;
      isOver = true;
      taker.over();
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

  /** A connection that breaks is not an error yet: Docker is asked afterwards whether the command has ended. */
  private async *read(): AsyncGenerator<ExecOutput> {
    let read: ExecOutput[] = [];
    const take = (output: ExecOutput): void => void read.push(output);
    const frames = new OutputFrames(take);
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
  }

  private noteRefusal(read: readonly ExecOutput[]): void {
    if (this.refusal.length > MAX_REFUSAL_BYTES) return;
    this.refusal += Buffer.concat(read.map(({ data }) => data)).toString();
  }

  /**
   * Docker knows of a process a moment after its first output. And it opens the connection before it begins with the
   * command, which until then neither runs nor has an exit code (26.1; 126 of one that could not be started).
   *
   * @returns `unknown` if it neither starts nor fails
   */
  private async whoWrites(): Promise<typeof this.writer> {
    if (this.writer !== 'unknown') return this.writer;
    const began = performance.now();
    const isRefused = (state: ExecState): boolean => {
      if (state.Running) return false;
      // Without a code where the container ended before Docker began with the command.
      return state.ExitCode !== null || this.stream.closed || performance.now() - began > NOT_BEGUN_MS;
    };
    const known = (state: ExecState): boolean => state.Pid > 0 || isRefused(state);
    const { Pid, Running } = await this.stateOnce(known, this.times.startWithinMs);
    // Known from here on, whoever asks next.
    if (Pid > 0) this.writer = 'command';
    return Pid === 0 && !Running ? 'docker' : this.writer;
  }

  /** @returns the first awaited state, or the last one before the deadline */
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

  /** Docker forgets the commands of an ended container, and all of them when it is restarted itself. */
  private async forgotten(): Promise<EngineError> {
    const runsOn = await this.runsOn().catch(() => false);
    return runsOn ? new EngineError('docker_unavailable', 'Docker has forgotten the command') : containerEnded();
  }

  /** Whether the container is running, and was not started again since it was first looked at. */
  private async runsOn(): Promise<boolean> {
    try {
      const { State } = await this.call((signal) => this.container.inspect({ abortSignal: signal }));
      return State.Running && (this.startedAt === null || State.StartedAt === this.startedAt);
    } catch (error) {
      if (error instanceof EngineError && error.code === 'container_not_found') return false;
      throw error;
    }
  }

  /**
   * Whether it was the end of its container that ended it. Docker (26.1) says that a container runs as long as nobody
   * reads what a dead command in it has written, and of such a command that it runs too.
   */
  private async endedWithContainer(): Promise<boolean> {
    if (this.containerEnded || !(await this.runsOn())) return true;
    if (performance.now() < this.nextEntry) return false;
    this.nextEntry = performance.now() + ENTER_EVERY_MS;
    this.containerEnded = !(await this.end.canEnter());
    return this.containerEnded;
  }

  /** The same of a command that was killed: the end of a container that is being ended may still come. */
  private async endsWithContainer(): Promise<boolean> {
    for (;;) {
      // Asked first, so that a container which has just ended is looked at once more.
      const isNear = this.end.isNear();
      if (await this.endedWithContainer()) return true;
      if (!isNear) return false;
      await delay(ENDING_LOOK_MS);
    }
  }

  /** Looks at the container soon, as it may have ended. */
  noteContainerEnd(): void {
    this.lookNow.abort();
  }

  /** Closes the session when the container is not running, or has been started again, at two looks in a row. */
  private async watchContainer(firstMs: number): Promise<void> {
    const { signal } = this.closed;
    let stoppedBefore = false;
    for (let wait = firstMs, next = 10 * firstMs; !this.containerEnded;) {
      const early = AbortSignal.any([signal, this.lookNow.signal]);
      await delay(wait, undefined, { signal: early, ref: false }).catch(() => undefined);
      if (signal.aborted) return;
      this.lookNow = new AbortController();
      wait = next;
      next = Math.min(2 * next, LOOKS_MS.every);
      try {
        const { State } = await this.call((abort) => this.container.inspect({ abortSignal: abort }));
        this.startedAt ??= State.StartedAt;
        const stopped = !State.Running || State.StartedAt !== this.startedAt;
        this.containerEnded = stopped && stoppedBefore;
        stoppedBefore = stopped;
        // Its last output may be on its way.
        if (stopped) wait = Math.min(firstMs, LOOKS_MS.onceStopped);
      } catch (error) {
        // Where Docker does not answer, the command may well go on.
        if (error instanceof EngineError && error.code === 'container_not_found') this.containerEnded = true;
      }
    }
    this.close();
  }
}

function containerEnded(): EngineError {
  return new EngineError('container_not_running', 'the container ended under the command');
}

async function* untilBroken(stream: Readable): AsyncGenerator<Buffer> {
  try {
    for await (const chunk of stream) yield chunk as Buffer;
  } catch {
    // The connection broke, or was closed here.
  }
}
