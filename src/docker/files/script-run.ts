import { randomBytes, randomUUID } from 'node:crypto';
import { Readable } from 'node:stream';
import { untilAborted, within } from '../../scheduling';
import { EngineError, saysUnavailable } from '../engine-error';
import type { FilesCall } from '../port/engine-files';
import type { EnginePrograms } from '../port/engine-programs';
import { type ContainerProcess, type ExecOutput, flowOf, type OutputFlow } from '../port/container-process';
import { SCRIPTS_NAME } from '../programs/login-shell';
import { untilGone } from './script-end';
import { failure } from './script-failure';
import { feed } from './script-input';
import { BEGUN } from './scripts';

/** How long a transfer may stall on either side, and how long a script that should answer at once may print nothing. */
export const IDLE_MS = 60_000;
/** How long a program may work without output: to delete, move or copy many files. */
export const WORK_MS = 15 * 60_000;
/** Maximum output of a script in bytes, apart from file contents; our scripts never print more. */
const MOST_WORDS = 8 * 1024;
/** Maximum stderr output of a script's programs in bytes. The last {@link MOST_WORDS} are kept. */
const MOST_COMPLAINTS = 4 * 1024 * 1024;
/** Maximum output that waits for its reader, in bytes. */
const MOST_AHEAD = 256 * 1024;
/** How long a shell may take to begin a script: one that never does must not hold up its caller. */
const BEGIN_MS = 10_000;
/** How long a script may take to exit after its result, and how many bytes it may print meanwhile. */
const EXIT_MS = 2_000;
const MOST_AFTER = 64 * 1024;
/** Between SIGTERM and SIGKILL. `cleaning` is for scripts that have to delete files of their own. */
const KILL_GRACE_MS = { plain: 2_000, cleaning: 5_000 } as const;
/** How long a response waits for a killed script: usually enough for the script to be gone by then. */
const KILL_WAIT_MS = 2_000;

/** A script and its arguments. */
interface ScriptRequest {
  readonly script: string;
  readonly args: readonly string[];
  readonly stdin?: true;
  /** Maximum bytes on stdout, if that is more than a few lines; Infinity if the reader counts them itself. */
  readonly most?: number;
  /** Whether the script deletes files of its own when it is killed. */
  readonly isCleaning?: true;
}

/**
 * One of our scripts, run in a container by the image's own shell as the image's user. The shell and all other
 * programs belong to the image and may do anything. Their output, on stdout and stderr, and their time are limited
 * here. They are killed if they exceed a limit, or do not exit after their result.
 */
export class ScriptRun {
  private readonly flow: OutputFlow;
  private readonly graceMs: number;
  /** Unread output. */
  private readonly said: Buffer[] = [];
  private words = '';
  /** How many more bytes the script may write. */
  private readonly left: Record<ExecOutput['stream'], number>;
  /** Whether the output has ended. */
  private isOver = false;
  private hasExited = false;
  /** In the state `ending`, output is discarded. */
  private state: 'running' | 'flooded' | 'ending' = 'running';
  /** Called at output, and at its end. */
  private readonly listeners = new Set<() => void>();
  /** Takes output instead of `said`. */
  private taker: ((data: Buffer) => void) | undefined;
  private resolveGone = (): void => undefined;
  /** Resolves when the script does not run any more. */
  private readonly gone = new Promise<void>((resolve) => (this.resolveGone = resolve));

  private constructor(
    private readonly programs: EnginePrograms,
    private readonly call: FilesCall,
    private readonly marker: string,
    private readonly process: ContainerProcess,
    { most = MOST_WORDS, isCleaning }: ScriptRequest,
  ) {
    this.left = { stdout: most, stderr: MOST_COMPLAINTS };
    this.graceMs = isCleaning ? KILL_GRACE_MS.cleaning : KILL_GRACE_MS.plain;
    this.flow = flowOf(process.output, {
      take: (output) => this.take(output),
      over: () => {
        this.isOver = true;
        this.tell();
      },
    });
    process.stdin?.on('error', () => undefined);
    call.onStart?.(this.gone);
  }

  /**
   * Starts a script and waits until it has begun.
   *
   * @throws EngineError `tools_missing`; `tools_failed` if the script does not begin; as {@link EnginePrograms.start}
   */
  static async start(programs: EnginePrograms, call: FilesCall, request: ScriptRequest): Promise<ScriptRun> {
    const { script, args, stdin } = request;
    const { dockerId } = call;
    const marker = call.marker ?? randomUUID();
    const command = ['sh', '-c', script, SCRIPTS_NAME, ...args];
    let process: ContainerProcess;
    try {
      process = await programs.start(dockerId, { command, id: marker, ...(stdin && { stdin }) });
    } catch (error) {
      // The script may have started.
      if (saysUnavailable(error)) call.endLater({ dockerId, marker });
      if (!(error instanceof EngineError) || error.code !== 'command_not_started') throw error;
      throw new EngineError('tools_missing', 'the image has no shell', { cause: error });
    }
    const run = new ScriptRun(programs, call, marker, process, request);
    await run.begin();
    return run;
  }

  private async begin(): Promise<void> {
    try {
      const late = (): Error => badTools('the script does not begin');
      if ((await within(this.line(), { ms: BEGIN_MS, late })) !== BEGUN) throw late();
    } catch (error) {
      // Not awaited, because the same shell is needed to kill programs.
      this.end();
      throw error;
    }
  }

  /** Runs a script that needs no input. @returns its whole output. @throws EngineError */
  static async words(programs: EnginePrograms, call: FilesCall, request: ScriptRequest): Promise<string> {
    const run = await ScriptRun.start(programs, call, request);
    return run.guarded(() => run.rest());
  }

  /** Runs `work`, and then lets the script exit. Kills the script if `work` fails or the call's signal aborts. */
  async guarded<T>(work: () => Promise<T>): Promise<T> {
    const { signal } = this.call;
    try {
      const done = await untilAborted(work(), { signal, aborted: () => signal.reason as Error });
      this.release();
      return done;
    } catch (error) {
      await this.abandon();
      throw error;
    }
  }

  private take({ stream, data }: ExecOutput): void {
    this.left[stream] -= data.length;
    if (this.left[stream] < 0) this.flood();
    else if (this.state !== 'running') return;
    else if (stream === 'stderr') this.words = (this.words + data.toString()).slice(-MOST_WORDS);
    else if (this.taker) this.taker(data);
    else {
      this.said.push(data);
      if (this.saidBytes >= MOST_AHEAD) this.flow.pause();
      this.tell();
    }
  }

  /** The script writes more than it may. */
  private flood(): void {
    this.flow.pause();
    if (this.state === 'running') this.state = 'flooded';
    this.tell();
  }

  private tell(): void {
    for (const listener of this.listeners) listener();
  }

  private get saidBytes(): number {
    return this.said.reduce((sum, { length }) => sum + length, 0);
  }

  /** The next output; null at the end. @throws EngineError `tools_failed` if there is none in time, or too much */
  async read(withinMs = IDLE_MS): Promise<Buffer | null> {
    await this.hasMore(withinMs);
    const data = this.said.shift() ?? null;
    if (this.said.length === 0) this.flow.resume();
    return data;
  }

  /**
   * Waits until there is output to read, or the output has ended.
   *
   * @throws EngineError `tools_failed` as {@link read}
   */
  async hasMore(withinMs = IDLE_MS): Promise<boolean> {
    // Only stdout counts: a script that keeps writing to stderr is silent.
    if (this.said.length === 0 && !this.isOver && this.state === 'running') await this.speaks(withinMs);
    if (this.state !== 'running') throw badTools('the script printed too much');
    return this.said.length > 0;
  }

  private async speaks(ms: number): Promise<void> {
    let listener = (): void => undefined;
    const spoken = new Promise<void>((resolve) => (listener = resolve));
    this.listeners.add(listener);
    try {
      await within(spoken, { ms: Math.max(ms, 0), late: () => badTools('the script prints nothing') });
    } finally {
      this.listeners.delete(listener);
    }
  }

  /**
   * The next line of output.
   *
   * @param withinMs for the whole line
   * @throws EngineError the error that the script ended with instead; `tools_failed`
   */
  async line(withinMs = IDLE_MS): Promise<string> {
    const until = performance.now() + withinMs;
    let line: Buffer = Buffer.alloc(0);
    while (!line.includes(0x0a)) {
      if (line.length > MOST_WORDS) throw badTools('the script prints no line');
      const more = await this.read(until - performance.now());
      if (more === null) {
        await this.succeeded();
        throw badTools('the script exited without a result');
      }
      line = Buffer.concat([line, more]);
    }
    const end = line.indexOf(0x0a);
    if (end + 1 < line.length) this.said.unshift(line.subarray(end + 1));
    return line.subarray(0, end).toString();
  }

  /**
   * The rest of the output, once the script has exited successfully.
   *
   * @throws EngineError the error that the script ended with instead
   */
  async rest(): Promise<string> {
    const until = performance.now() + WORK_MS;
    let said: Buffer = Buffer.alloc(0);
    for (;;) {
      const more = await this.read(until - performance.now());
      if (more === null) break;
      said = Buffer.concat([said, more]);
    }
    await this.succeeded();
    return said.toString();
  }

  /**
   * Waits for a successful exit; called after the end of the output.
   *
   * @throws EngineError the error that the script ended with
   */
  async succeeded(): Promise<void> {
    const { exitCode } = await this.process.exit();
    this.hasExited = true;
    if (exitCode !== 0) throw failure(exitCode, this.words);
  }

  /**
   * Ends the input after the result.
   *
   * @returns the messages on stderr
   * @throws EngineError `tools_failed` if more output follows
   */
  async complaints(): Promise<string> {
    this.endInput();
    if (await this.hasMore(EXIT_MS)) throw badTools('the script prints more after its result');
    return this.words;
  }

  /** Writes a short input. */
  say(words: string): void {
    const { stdin } = this.process;
    if (stdin?.writable === true) stdin.write(words);
  }

  /** Writes bytes to the script's input, and waits until the script takes them. @throws EngineError `tools_failed` */
  async write(data: Buffer): Promise<void> {
    const { stdin } = this.process;
    if (stdin?.writable !== true || this.isOver) throw badTools('the script has ended');
    const written = new Promise<void>((resolve, reject) => {
      stdin.write(data, (error) => (error ? reject(badTools(error.message)) : resolve()));
    });
    await within(written, { ms: IDLE_MS, late: () => badTools('the script takes no input') });
  }

  /**
   * Writes content to the script's input: see {@link feed}.
   *
   * @param isOwned whether nothing else uses the memory of the content's chunks, so that it may be freed once they are
   *   written
   */
  async feed(
    content: Readable,
    { onBytes, isOwned = false }: { onBytes?: (bytes: number) => void; isOwned?: boolean } = {},
  ): Promise<number | null> {
    const { stdin } = this.process;
    if (!stdin || this.isOver || !stdin.writable) {
      content.destroy();
      return null;
    }
    const onEnd = (listener: (fault: Error | null) => void): (() => void) => {
      const spoken = (): void => {
        if (this.state !== 'running') listener(badTools('the script printed too much'));
        else if (this.isOver) listener(null);
      };
      this.listeners.add(spoken);
      return () => this.listeners.delete(spoken);
    };
    const isFreed = isOwned && this.process.isInputCopied === true;
    return feed(stdin, content, { onBytes, isFreed, idleMs: IDLE_MS, onEnd });
  }

  /**
   * Streams the next `length` bytes of output; then the script should exit. The stream fails with `tools_failed` if
   * there are fewer.
   *
   * @param onBytes called with the size of each chunk
   */
  bytes(length: number, onBytes: (bytes: number) => void): Readable {
    let left = length;
    const body = new Readable({ highWaterMark: MOST_AHEAD, read: () => this.flow.resume() });
    const ended = (): void => {
      if ((this.isOver || this.state !== 'running') && left > 0) body.destroy(badTools('the file has become shorter'));
    };
    const take = (data: Buffer): void => {
      const part = data.length > left ? data.subarray(0, left) : data;
      left -= part.length;
      onBytes(part.length);
      if (!body.push(part)) this.flow.pause();
      if (left > 0) return;
      body.push(null);
      this.release();
    };
    this.taker = take;
    this.listeners.add(ended);
    for (let data = this.said.shift(); data && left > 0; data = this.said.shift()) take(data);
    ended();
    return body;
  }

  /** Ends the script's input. */
  endInput(): void {
    this.process.stdin?.end();
  }

  /**
   * Closes stdin and lets the script exit in the background. A script that does not exit, or prints much meanwhile, is
   * killed.
   */
  release(): void {
    this.endInput();
    if (this.state === 'ending') return;
    const isFlooded = this.state === 'flooded';
    this.discard();
    if (isFlooded || this.isOver) {
      this.kill();
      return;
    }
    const timer = setTimeout(() => this.kill(), EXIT_MS).unref();
    this.listeners.add(() => {
      if (!this.isOver && this.left.stdout >= 0 && this.left.stderr >= 0) return;
      clearTimeout(timer);
      this.kill();
    });
    this.flow.resume();
  }

  /** Kills the script and waits briefly for its end. Never throws. */
  async abandon(): Promise<void> {
    // It was released already, and is killed if it does not exit.
    if (this.state === 'ending') return;
    const isOver = this.isOver;
    this.end();
    // Not awaited if the output has ended: the script has probably exited, unless only its connection broke.
    if (!isOver) await within(this.gone, { ms: KILL_WAIT_MS }).catch(() => undefined);
  }

  /** Kills the script in the background. */
  private end(): void {
    this.endInput();
    this.discard();
    this.kill();
  }

  private discard(): void {
    this.state = 'ending';
    this.tell();
    this.said.length = 0;
    this.listeners.clear();
    this.left.stdout = MOST_AFTER;
    this.left.stderr = MOST_AFTER;
  }

  private isKilled = false;

  /** @see untilGone */
  private kill(): void {
    if (this.isKilled) return;
    this.isKilled = true;
    this.listeners.clear();
    if (this.hasExited) {
      this.process.close();
      this.resolveGone();
      return;
    }
    const { programs, call, marker, process, graceMs, isOver } = this;
    const { dockerId } = call;
    const killLater = (): void => call.endLater({ dockerId, marker });
    void untilGone({ programs, dockerId, marker, process, graceMs, isOver, killLater }).then(this.resolveGone);
  }
}

/** @param why for the log */
export function badTools(why: string): EngineError {
  return new EngineError('tools_failed', why);
}

/** @returns text that `printf '%b'` in any shell turns back into the bytes */
export function encodeArgument(bytes: Buffer): string {
  return bytes.toString('latin1').replace(/[^\x21-\x5b\x5d-\x7e]/g, (char) => {
    return `\\0${char.charCodeAt(0).toString(8).padStart(3, '0')}`;
  });
}

/**
 * Makes a token that marks a script's input, or its output, as complete: a client that hangs up or the death of this
 * process cannot produce it.
 */
export function newToken(): string {
  return randomBytes(16).toString('hex');
}
