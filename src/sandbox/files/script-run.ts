import { randomUUID } from 'node:crypto';
import { Readable } from 'node:stream';
import {
  type ContainerEngine,
  type ContainerProcess,
  EngineError,
  type ExecOutput,
  flowOf,
  type OutputFlow,
  saysUnavailable,
} from '../../docker';
import { DomainError } from '../../errors';
import { untilAborted, within } from '../../scheduling';
import { exitCodeOf } from '../program-end';
import { untilGone } from './script-end';
import { failure } from './script-failure';
import { feed } from './script-input';
import { BEGUN } from './scripts';

/** How long neither side may take a byte, or a program say nothing that answers at once. */
export const IDLE_MS = 60_000;
/** How long a program may work without a word: to remove, to move or to copy many files. */
export const WORK_MS = 15 * 60_000;
/** What a script says besides the bytes of a file; more is not of our scripts. */
const MOST_WORDS = 8 * 1024;
/** What a script's programs may complain in all, of which the last {@link MOST_WORDS} are kept. */
const MOST_COMPLAINTS = 4 * 1024 * 1024;
/** How much of its output may wait for its reader. */
const MOST_AHEAD = 256 * 1024;
/** How long a shell may take to begin with a script: one that never does must not keep anybody waiting. */
const BEGIN_MS = 10_000;
/** How long a script may take to exit once it has said its result, and what it may say meanwhile. */
const EXIT_MS = 2_000;
const MOST_AFTER = 64 * 1024;
/** Between SIGTERM and SIGKILL; of a script that has files of its own to remove. */
const KILL_GRACE_MS = { plain: 2_000, cleaning: 5_000 } as const;
/** How long an answer waits for a killed script, so that nothing of it is left where that takes as long as usual. */
const KILL_WAIT_MS = 2_000;

/** Where scripts run. */
export interface ScriptHost {
  readonly engine: ContainerEngine;
  /** Of its one script, where that is in the ledger of what is held; otherwise it gets one of its own. */
  readonly marker?: string;
  /** Ends what was left as Docker does not answer, once it does. */
  endLater(left: { readonly dockerId: string; readonly marker: string }): void;
  /** Told of each script: `gone` resolves when it runs no more, and never rejects. */
  onStart?(gone: Promise<void>): void;
}

/** A script and its arguments. */
export interface ScriptRequest {
  readonly script: string;
  readonly args: readonly string[];
  readonly stdin?: true;
  /** How many bytes it may write to stdout, where that is more than some lines; Infinity: its reader counts them. */
  readonly most?: number;
  /** Whether it removes files of its own when it is ended. */
  readonly isCleaning?: true;
}

/**
 * One of our scripts, run in a container by its own shell as its image's user. The shell and all other programs are the
 * image's, and may do anything: how much they write and how long they take is bounded here, on both of their outputs,
 * and they are killed where they go on beyond it, or when their result is there and they do not exit.
 */
export class ScriptRun {
  private readonly flow: OutputFlow;
  private readonly graceMs: number;
  /** Output that has not been read yet. */
  private readonly said: Buffer[] = [];
  private words = '';
  /** How many bytes it may yet write. */
  private readonly left: Record<ExecOutput['stream'], number>;
  /** Whether its output has come to its end. */
  private isOver = false;
  private hasExited = false;
  /** `ending`: its output is discarded. */
  private state: 'running' | 'flooded' | 'ending' = 'running';
  /** Called when it says something, and at its end. */
  private readonly listeners = new Set<() => void>();
  /** Takes its output in the place of `said`. */
  private taker: ((data: Buffer) => void) | undefined;
  private resolveGone = (): void => undefined;
  /** Resolves when it runs no more. */
  private readonly gone = new Promise<void>((resolve) => (this.resolveGone = resolve));

  private constructor(
    private readonly host: ScriptHost,
    private readonly where: { readonly dockerId: string; readonly marker: string },
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
    host.onStart?.(this.gone);
  }

  /** Waits until it has begun. @throws DomainError `tools_missing`, `tools_failed` if it does not begin; EngineError */
  static async start(host: ScriptHost, dockerId: string, request: ScriptRequest): Promise<ScriptRun> {
    const { script, args, stdin } = request;
    const where = { dockerId, marker: host.marker ?? randomUUID() };
    const command = ['sh', '-c', script, 'berth', ...args];
    let process: ContainerProcess;
    try {
      process = await host.engine.startProcess(dockerId, {
        command,
        marker: where.marker,
        ...(stdin && { stdin }),
      });
    } catch (error) {
      // It may have started.
      if (saysUnavailable(error)) host.endLater(where);
      if (!(error instanceof EngineError) || error.code !== 'command_not_started') throw error;
      throw new DomainError('tools_missing', { cause: error });
    }
    const run = new ScriptRun(host, where, process, request);
    await run.begin();
    return run;
  }

  private async begin(): Promise<void> {
    try {
      const late = (): Error => new DomainError('tools_failed');
      if ((await within(this.line(), { ms: BEGIN_MS, late })) !== BEGUN) throw late();
    } catch (error) {
      // Not awaited: what kills programs is the same shell.
      this.end();
      throw error;
    }
  }

  /** Runs a script that has no input. @returns all that it says. @throws DomainError */
  static async words(
    host: ScriptHost,
    dockerId: string,
    request: ScriptRequest & { readonly end: AbortSignal },
  ): Promise<string> {
    const run = await ScriptRun.start(host, dockerId, request);
    return run.guarded(() => run.rest(), request.end);
  }

  /** Does `work`, and then lets the script exit. Kills it if `work` fails, or when the signal aborts. */
  async guarded<T>(work: () => Promise<T>, end: AbortSignal): Promise<T> {
    try {
      const done = await untilAborted(work(), { signal: end, aborted: () => reasonOf(end) });
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

  /** It writes more than any of our scripts. */
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

  /** The next of its output; null at the end. @throws DomainError `tools_failed` if nothing comes, or too much */
  async read(withinMs = IDLE_MS): Promise<Buffer | null> {
    await this.hasMore(withinMs);
    const data = this.said.shift() ?? null;
    if (this.said.length === 0) this.flow.resume();
    return data;
  }

  /** Waits until there is something to read, or its output has ended. @throws DomainError `tools_failed` as `read` */
  async hasMore(withinMs = IDLE_MS): Promise<boolean> {
    // Of its output alone: one that goes on to complain says nothing.
    if (this.said.length === 0 && !this.isOver && this.state === 'running') await this.speaks(withinMs);
    if (this.state !== 'running') throw new DomainError('tools_failed');
    return this.said.length > 0;
  }

  private async speaks(ms: number): Promise<void> {
    let listener = (): void => undefined;
    const spoken = new Promise<void>((resolve) => (listener = resolve));
    this.listeners.add(listener);
    try {
      await within(spoken, { ms: Math.max(ms, 0), late: () => new DomainError('tools_failed') });
    } finally {
      this.listeners.delete(listener);
    }
  }

  /**
   * The next line of its output.
   *
   * @param withinMs for all of it
   * @throws DomainError what the script ended with instead, `tools_failed`
   */
  async line(withinMs = IDLE_MS): Promise<string> {
    const until = performance.now() + withinMs;
    let line: Buffer = Buffer.alloc(0);
    while (!line.includes(0x0a)) {
      if (line.length > MOST_WORDS) throw new DomainError('tools_failed');
      const more = await this.read(until - performance.now());
      if (more === null) {
        await this.succeeded();
        throw new DomainError('tools_failed');
      }
      line = Buffer.concat([line, more]);
    }
    const end = line.indexOf(0x0a);
    if (end + 1 < line.length) this.said.unshift(line.subarray(end + 1));
    return line.subarray(0, end).toString();
  }

  /** All that it goes on to say, once it has ended well. @throws DomainError what it ended with instead */
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

  /** After the end of its output. @throws DomainError what it ended with instead */
  async succeeded(): Promise<void> {
    const exitCode = await exitCodeOf(this.process);
    this.hasExited = true;
    if (exitCode !== 0) throw failure(exitCode, this.words);
  }

  /** After its result, when it has nothing more to say: all that its programs complained of. @throws DomainError */
  async complaints(): Promise<string> {
    this.endInput();
    if (await this.hasMore(EXIT_MS)) throw new DomainError('tools_failed');
    return this.words;
  }

  /** Gives it a few words of input. */
  say(words: string): void {
    const { stdin } = this.process;
    if (stdin?.writable === true) stdin.write(words);
  }

  /**
   * Gives it some content as input: see {@link feed}.
   *
   * @param isOwned whether nothing else uses the content's pieces: their memory is freed once they are taken
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
        if (this.state !== 'running') listener(new DomainError('tools_failed'));
        else if (this.isOver) listener(null);
      };
      this.listeners.add(spoken);
      return () => this.listeners.delete(spoken);
    };
    const isFreed = isOwned && this.process.isInputCopied === true;
    return feed(stdin, content, { onBytes, isFreed, idleMs: IDLE_MS, onEnd });
  }

  /**
   * The next bytes of its output as they come; then it should exit. Fails with `tools_failed` if there are fewer.
   *
   * @param onBytes is told of each piece
   */
  bytes(length: number, onBytes: (bytes: number) => void): Readable {
    let left = length;
    const body = new Readable({ highWaterMark: MOST_AHEAD, read: () => this.flow.resume() });
    const ended = (): void => {
      if ((this.isOver || this.state !== 'running') && left > 0) body.destroy(new DomainError('tools_failed'));
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

  /** The end of its input. */
  endInput(): void {
    this.process.stdin?.end();
  }

  /** Closes stdin and lets the script exit in the background. It is killed if it does not, or writes much meanwhile. */
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

  /** Kills the script, and waits a moment for its end. Never throws. */
  async abandon(): Promise<void> {
    // It was let go of already, and is killed if it does not exit.
    if (this.state === 'ending') return;
    const isOver = this.isOver;
    this.end();
    // It may be its connection alone that has ended; that need not be known.
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
    const { host, where, process, graceMs, isOver } = this;
    const killLater = (): void => host.endLater(where);
    void untilGone({ engine: host.engine, ...where, process, graceMs, isOver, killLater }).then(this.resolveGone);
  }
}

/** Why nobody may have the answer of a script any more. */
export function reasonOf({ reason }: AbortSignal): DomainError {
  // For the audit: the client has gone.
  return reason instanceof DomainError ? reason : new DomainError('tools_failed', { code: 'broken_off' });
}
