import { randomBytes } from 'node:crypto';
import type { Writable } from 'node:stream';
import { within } from '../../../scheduling';
import { EngineError } from '../../engine-error';
import type {
  ContainerProcess,
  ExecOutput,
  OutputFlow,
  OutputTaker,
  ProcessOutput,
  ProcessRequest,
  TerminalSize,
} from '../../port/container-process';
import type { ExecSession } from '../exec-session';
import { sessionCommand, type SessionTerms, signalsOf } from './session-line';

/** How long a session may take to open; one that takes longer is closed. */
const OPEN_WITHIN_MS = 10_000;
/** How long a program waits for its session to open. */
const READY_WITHIN_MS = 4_000;
/** How long a session may take to become the program: on an overloaded machine, gVisor takes seconds. */
const BEGIN_WITHIN_MS = 4_000;
/** How long it may take to kill a session that does not; after that, its container does not respond. */
const KILL_WITHIN_MS = 6_000;
/** How long the connection of a terminal stays open for the shell to end. */
const END_WITHIN_MS = 1_000;
/** How soon a shell reports that it could not execute a program. */
const EXECUTED_WITHIN_MS = 20;
/** Exit codes of a shell that could not execute a program. */
const NOT_EXECUTED = [126, 127];
/** Maximum bytes that a session may write before it becomes the program. */
const MOST_HEARD = 16 * 1024;
/** Maximum output that waits for its reader, in bytes. */
const MOST_HELD = 256 * 1024;

/** How a session begins with its program. `not_run`: it certainly did not, so that Docker's exec may run it. */
export type Beginning = 'begun' | 'not_run';

/** What is opened in the container. */
export interface SessionSpec {
  readonly dockerId: string;
  readonly terms: SessionTerms;
  /** Name or id; by default the image's user. */
  readonly user: string | undefined;
  readonly terminal: boolean;
  readonly marker: string;
}

/** The calls that a session needs of its container. */
export interface SessionCalls {
  open(request: ProcessRequest): Promise<ExecSession>;
  /** Kills the session, or the program that it has become. @throws EngineError if that may still be running */
  kill(marker: string): Promise<void>;
}

/**
 * An exec that is opened before its program is known: a shell that waits for one line, and then becomes the program.
 * Starting a program in it takes a tenth of the time of a new exec. It is for one program.
 *
 * A session that has signalled `begun` has become the program, or is just about to; from then on the program is never
 * started again. Without that signal, the program did not run if the shell declined, or is known to have ended.
 */
export class AheadSession implements ContainerProcess {
  readonly isInputCopied = true;
  readonly output: ProcessOutput;
  private readonly token = `berth-${randomBytes(6).toString('hex')}`;
  private readonly signals = signalsOf(this.token);
  private readonly opening: Promise<ExecSession>;
  private opened: ExecSession | null = null;
  private flow: OutputFlow | null = null;
  private state: 'opening' | 'waiting' | 'beginning' | 'begun' = 'opening';
  /** Output of the shell on stderr (of a terminal: all output). */
  private heard = '';
  /** Whether the shell could execute the program; null before its first output on stderr. */
  private executed: boolean | null = null;
  private isOver = false;
  private isClosed = false;
  private hasInput = false;
  private readonly ready = new Signal<boolean>();
  private readonly outcome = new Signal<'begun' | 'declined' | 'over'>();
  /** Sent at the program's first output, at a failure to execute it, and at the end. */
  private readonly first = new Signal<void>();
  private readonly gone = new Signal<void>();
  private held: ExecOutput[] = [];
  private taker: OutputTaker | null = null;

  constructor(
    readonly spec: SessionSpec,
    private readonly calls: SessionCalls,
  ) {
    this.output = {
      [Symbol.asyncIterator]: () => this.read(),
      flowTo: (taker) => this.flowTo(taker),
    };
    this.opening = this.open();
    this.opening.catch(() => this.end());
  }

  /** Resolves when the session waits for its line (true), or will not (false). */
  whenReady(): Promise<boolean> {
    return this.ready.promise;
  }

  get isReady(): boolean {
    return this.state === 'waiting' && !this.isOver;
  }

  /** The exec of a program that has begun. */
  get exec(): ExecSession | null {
    return this.opened;
  }

  /** Resolves when the connection has closed. */
  whenGone(): Promise<void> {
    return this.gone.promise;
  }

  /** Whether the session ended by itself, as far as Docker knows; if not, its shell may still wait. */
  async hasEnded(): Promise<boolean> {
    const { opened } = this;
    const isGone = opened === null || (await opened.isGone().catch(() => false));
    return isGone && opened?.isWhole !== false;
  }

  /**
   * Makes the session become a program.
   *
   * @param isEvaluated whether the session's shell itself runs the program, one of Berth's own scripts
   * @returns `not_run` if the program certainly has not run, nor will: another exec may run it
   * @throws EngineError `container_not_running`; `container_not_responding` and `docker_unavailable`, after which the
   *   program may be running
   */
  async begin(
    line: string,
    { hasInput, isEvaluated = false }: { hasInput: boolean; isEvaluated?: boolean | undefined },
  ): Promise<Beginning> {
    const isReady = await within(this.ready.promise, { ms: READY_WITHIN_MS }).catch(() => false);
    const exec = this.opened;
    const stdin = exec?.stdin;
    if (!isReady || !exec || stdin?.writable !== true) {
      this.close();
      return 'not_run';
    }
    this.hasInput = hasInput;
    // The shell's own messages are then the script's.
    if (isEvaluated) this.executed = true;
    this.state = 'beginning';
    if (hasInput) stdin.write(line);
    else stdin.end(line);
    const outcome = await within(this.outcome.promise, { ms: BEGIN_WITHIN_MS }).catch(() => null);
    if (outcome === 'begun') {
      exec.watch();
      return 'begun';
    }
    if (outcome === null) await this.killLate(exec);
    else if (outcome === 'over') await this.assertNotRun(exec);
    this.close();
    return 'not_run';
  }

  /**
   * Waits until the program has shown that it was executed, or a moment, in which a shell reports a failure.
   *
   * @throws EngineError as {@link exit}, if the program could not be executed
   */
  async started(): Promise<void> {
    if (this.executed === null) await within(this.first.promise, { ms: EXECUTED_WITHIN_MS }).catch(() => undefined);
    if (this.executed === false) await this.exit();
  }

  /** The session does not answer. @throws EngineError unless it ended without becoming the program */
  private async killLate(exec: ExecSession): Promise<void> {
    const late = (): Error => new EngineError('container_not_responding', 'the session could not be killed in time');
    await within(this.calls.kill(this.spec.marker), { ms: KILL_WITHIN_MS, late });
    // The rest of its output may tell that it did become the program.
    const outcome = await within(this.outcome.promise, { ms: BEGIN_WITHIN_MS }).catch(() => null);
    if (outcome === 'over') return this.assertNotRun(exec);
    if (outcome === 'declined') return;
    this.close();
    throw new EngineError('container_not_responding', 'the command did not begin in time, and was killed');
  }

  /** @throws EngineError unless the shell has ended, and its whole output is known */
  private async assertNotRun(exec: ExecSession): Promise<void> {
    await exec.exit();
    if (exec.isWhole) return;
    throw new EngineError('docker_unavailable', 'the connection broke while the command was about to begin');
  }

  get stdin(): Writable | null {
    return this.hasInput ? (this.opened?.stdin ?? null) : null;
  }

  hasStarted(): Promise<boolean> {
    return Promise.resolve(true);
  }

  async exit(): Promise<{ exitCode: number }> {
    const end = await (await this.opening).exit();
    if (this.executed === false && NOT_EXECUTED.includes(end.exitCode)) {
      throw new EngineError('command_not_started', `exec: the shell could not execute it: ${this.heard.slice(0, 256)}`);
    }
    return end;
  }

  async isGone(): Promise<boolean> {
    return (await this.opening).isGone();
  }

  async resize(size: TerminalSize): Promise<void> {
    return (await this.opening).resize(size);
  }

  /** Closes the connection. A shell that waits for its line reads the end of its input, and ends. */
  close(): void {
    this.isClosed = true;
    const { opened, state } = this;
    if (!opened) this.end();
    else if (this.spec.terminal && (state === 'opening' || state === 'waiting')) endTerminal(opened);
    else opened.close();
  }

  private async open(): Promise<ExecSession> {
    const { terms, user, terminal, marker } = this.spec;
    const command = sessionCommand(this.token, terms, terminal);
    const exec = await this.calls.open({ ...command, user, marker, stdin: true, terminal: terminal || undefined });
    this.opened = exec;
    exec.onClosed(() => this.end());
    // The program may end without having read its input.
    exec.stdin?.on('error', () => undefined);
    this.flow = exec.output.flowTo?.({ take: (output) => this.take(output), over: () => this.finish() }) ?? null;
    if (this.isClosed) this.close();
    const timer = setTimeout(() => {
      if (this.state === 'opening') this.close();
    }, OPEN_WITHIN_MS).unref();
    void this.ready.promise.then(() => clearTimeout(timer));
    return exec;
  }

  private take(output: ExecOutput): void {
    const isProgramsOwn = output.stream === 'stdout' && !this.spec.terminal;
    if (this.state === 'begun' && (isProgramsOwn || this.isExecuted(output))) {
      this.pass(output);
    } else if (this.state === 'beginning' && isProgramsOwn) {
      // stdout and stderr take different ways through Docker, so this may arrive before the signal.
      this.pass(output);
      this.outcome.send('begun');
    } else if (this.state !== 'begun') {
      this.heard += output.data.toString('latin1');
      const isSignal = this.hear(output.stream);
      if (!isSignal && this.heard.length > MOST_HEARD) this.close();
    }
  }

  /** Looks for the shell's signals in what was heard, which may have much of the program's output behind them. */
  private hear(stream: ExecOutput['stream']): boolean {
    const { ready, begun, declined } = this.signals;
    const lines = this.heard.replaceAll('\r\n', '\n');
    if (this.state === 'opening' && lines.includes(`${ready}\n`)) {
      this.heard = '';
      this.state = 'waiting';
      this.ready.send(true);
      return true;
    }
    if (this.state !== 'beginning') return false;
    if (lines.includes(`${declined}\n`)) {
      this.outcome.send('declined');
      return true;
    }
    const [signal] = new RegExp(`^[^]*?${begun}\\r?\\n`).exec(this.heard) ?? [];
    if (signal === undefined) return false;
    const rest = Buffer.from(this.heard.slice(signal.length), 'latin1');
    this.heard = '';
    this.state = 'begun';
    if (rest.length > 0) this.take({ stream, data: rest });
    this.outcome.send('begun');
    return true;
  }

  /**
   * Whether the program was executed, shown by its first output on stderr: a shell that cannot execute it begins its
   * message with its own name.
   */
  private isExecuted({ data }: ExecOutput): boolean {
    if (this.executed === null) {
      this.executed = data.subarray(0, this.signals.failed.length).toString('latin1') !== this.signals.failed;
      if (!this.executed) this.first.send();
    }
    if (!this.executed && this.heard.length < MOST_HEARD) this.heard += data.toString('latin1');
    return this.executed;
  }

  private pass(output: ExecOutput): void {
    this.first.send();
    if (this.taker) {
      this.taker.take(output);
      return;
    }
    this.held.push(output);
    this.flow?.pause();
  }

  private finish(): void {
    if (this.isOver) return;
    this.isOver = true;
    this.ready.send(false);
    this.outcome.send('over');
    this.first.send();
    this.taker?.over();
  }

  private end(): void {
    this.finish();
    this.gone.send();
  }

  private flowTo(taker: OutputTaker): OutputFlow {
    this.taker = taker;
    const { held } = this;
    this.held = [];
    for (const output of held) taker.take(output);
    if (this.isOver) taker.over();
    else this.flow?.resume();
    return this.flow ?? { pause: () => undefined, resume: () => undefined };
  }

  private async *read(): AsyncGenerator<ExecOutput> {
    let queue: ExecOutput[] = [];
    let bytes = 0;
    let more = new Signal<void>();
    const state = { isOver: false };
    const flow = this.flowTo({
      take: (output) => {
        queue.push(output);
        bytes += output.data.length;
        if (bytes > MOST_HELD) flow.pause();
        more.send();
      },
      over: () => {
        state.isOver = true;
        more.send();
      },
    });
    for (;;) {
      const read = queue;
      queue = [];
      bytes = 0;
      yield* read;
      if (queue.length > 0) continue;
      if (state.isOver) return;
      more = new Signal();
      flow.resume();
      await more.promise;
    }
  }
}

/** Of a terminal, the end of the connection is not the end of the input; Ctrl-D at the beginning of a line is. */
function endTerminal(exec: ExecSession): void {
  exec.stdin?.end('\x04');
  setTimeout(() => exec.close(), END_WITHIN_MS).unref();
}

/** A promise that is resolved from outside, once. */
class Signal<T> {
  send = (_value: T): void => undefined;
  readonly promise = new Promise<T>((resolve) => (this.send = resolve));
}
