import { randomUUID } from 'node:crypto';
import { finished, Readable, type Writable } from 'node:stream';
import { MessageChannel, type MessagePort } from 'node:worker_threads';
import {
  type ContainerEngine,
  type ContainerProcess,
  EngineError,
  type ExecOutput,
  flowOf,
  type OutputFlow,
  saysUnavailable,
} from '../../docker';
import { DomainError, type ErrorCode, invalidParameters } from '../../errors';
import { within } from '../../scheduling';
import { exitCodeOf } from '../program-end';
import { BEGUN, EXIT } from './scripts';

/** How long neither side may take a byte, or a program say nothing that answers at once. */
export const IDLE_MS = 60_000;
/** How long a program may work without a word: to remove, to move or to copy many files. */
export const WORK_MS = 15 * 60_000;
/** What a script says besides the bytes of a file; more is not of our scripts. */
const MOST_WORDS = 8 * 1024;
const END_GRACE_MS = 2_000;
/** How many bytes of its input may wait to be taken: what is ready is on its way while more is being read. */
const INPUT_AHEAD = 1024 * 1024;
/** How much of its output may wait for its reader. */
const MOST_AHEAD = 256 * 1024;
/** How long a shell may take to begin with a script: one that never does must not keep anybody waiting. */
const BEGIN_MS = 10_000;

/** Where scripts run. */
export interface ScriptHost {
  readonly engine: ContainerEngine;
  /** Of its one script, where that is in the ledger of what is held; otherwise it gets one of its own. */
  readonly marker?: string;
  /** Ends what was left as Docker does not answer, once it does. */
  endLater(left: { readonly dockerId: string; readonly marker: string }): void;
}

/** One of our scripts, run in a container by its own shell as its image's user. */
export class ScriptRun {
  private readonly flow: OutputFlow;
  /** What it has said and nobody has read yet. */
  private readonly said: Buffer[] = [];
  private words = '';
  /** Whether its output has come to its end. */
  private isOver = false;
  /** Told when it says something, and at its end. */
  private readonly listeners = new Set<() => void>();
  /** Takes what it says in place of those who read. */
  private taker: ((data: Buffer) => void) | undefined;

  private constructor(
    private readonly host: ScriptHost,
    private readonly dockerId: string,
    private readonly marker: string,
    private readonly process: ContainerProcess,
  ) {
    this.flow = flowOf(process.output, {
      take: (output) => this.take(output),
      over: () => {
        this.isOver = true;
        this.tell();
      },
    });
    process.stdin?.on('error', () => undefined);
  }

  /** Waits until it has begun. @throws DomainError `tools_missing`, `tools_failed` if it does not begin; EngineError */
  static async start(
    host: ScriptHost,
    dockerId: string,
    { script, args, stdin }: { script: string; args: readonly string[]; stdin?: true },
  ): Promise<ScriptRun> {
    const marker = host.marker ?? randomUUID();
    const command = ['sh', '-c', script, 'berth', ...args];
    let process: ContainerProcess;
    try {
      process = await host.engine.startProcess(dockerId, { command, marker, ...(stdin && { stdin }) });
    } catch (error) {
      // It may have started.
      if (saysUnavailable(error)) host.endLater({ dockerId, marker });
      if (!(error instanceof EngineError) || error.code !== 'command_not_started') throw error;
      throw new DomainError('tools_missing', { cause: error });
    }
    const run = new ScriptRun(host, dockerId, marker, process);
    await run.begin();
    return run;
  }

  private async begin(): Promise<void> {
    const late = () => new DomainError('tools_failed');
    try {
      if ((await within(this.line(), { ms: BEGIN_MS, late })) !== BEGUN) throw late();
    } catch (error) {
      const isOver = this.isOver;
      this.process.close();
      // Not awaited: what ends programs is the same shell.
      if (!isOver) void this.end();
      else this.endLaterIf(error);
      throw error;
    }
  }

  /** Runs a script that has no input. @returns all that it says. @throws DomainError */
  static async words(
    host: ScriptHost,
    dockerId: string,
    request: { script: string; args: readonly string[] },
  ): Promise<string> {
    const run = await ScriptRun.start(host, dockerId, request);
    return run.guarded(() => run.rest());
  }

  /** Does `work`, and ends the script if it fails. */
  async guarded<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      await this.abandon();
      throw error;
    }
  }

  private take({ stream, data }: ExecOutput): void {
    if (stream === 'stderr') {
      this.words = (this.words + data.toString()).slice(-MOST_WORDS);
    } else if (this.taker) {
      this.taker(data);
    } else {
      this.said.push(data);
      if (this.saidBytes >= MOST_AHEAD) this.flow.pause();
      this.tell();
    }
  }

  private tell(): void {
    for (const listener of this.listeners) listener();
  }

  private get saidBytes(): number {
    return this.said.reduce((sum, { length }) => sum + length, 0);
  }

  /** The next of its output; null at the end. @throws DomainError `tools_failed` if nothing comes */
  async read(withinMs = IDLE_MS): Promise<Buffer | null> {
    await this.hasMore(withinMs);
    const data = this.said.shift() ?? null;
    if (this.said.length === 0) this.flow.resume();
    return data;
  }

  /** Waits until there is something to read, or its output has ended. @throws DomainError `tools_failed` as `read` */
  async hasMore(withinMs = IDLE_MS): Promise<boolean> {
    // Of its output alone: one that goes on to complain says nothing.
    if (this.said.length === 0 && !this.isOver) await this.speaks(withinMs);
    return this.said.length > 0;
  }

  private async speaks(ms: number): Promise<void> {
    let listener = (): void => undefined;
    const spoken = new Promise<void>((resolve) => (listener = resolve));
    this.listeners.add(listener);
    try {
      await within(spoken, { ms, late: () => new DomainError('tools_failed') });
    } finally {
      this.listeners.delete(listener);
    }
  }

  /** The next line of its output. @throws DomainError what the script ended with instead, `tools_failed` */
  async line(withinMs = IDLE_MS): Promise<string> {
    let line: Buffer = Buffer.alloc(0);
    while (!line.includes(0x0a)) {
      if (line.length > MOST_WORDS) throw new DomainError('tools_failed');
      const more = await this.read(withinMs);
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
    let said: Buffer = Buffer.alloc(0);
    for (;;) {
      const more = await this.read(WORK_MS);
      if (more === null) break;
      said = Buffer.concat([said, more]);
      if (said.length > MOST_WORDS) throw new DomainError('tools_failed');
    }
    await this.succeeded();
    return said.toString();
  }

  /** After the end of its output. @throws DomainError what it ended with instead */
  async succeeded(): Promise<void> {
    const exitCode = await exitCodeOf(this.process);
    if (exitCode !== 0) throw failure(exitCode, this.words);
  }

  /** What it said of what failed. */
  get complaints(): string {
    return this.words;
  }

  /** Gives it a few words of input. */
  say(words: string): void {
    const { stdin } = this.process;
    if (stdin?.writable === true) stdin.write(words);
  }

  /**
   * Gives it some content as input, as fast as it takes it.
   *
   * @param onBytes is told of each piece before it is given; what it throws is the end of all
   * @param isOwned whether the content's pieces are nobody else's: their memory is freed once they are taken
   * @returns how many bytes; null if it has ended before it had all, whether or not there is more to come
   * @throws DomainError `tools_failed` if it neither takes it nor ends; what the content fails with
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
    let bytes = 0;
    let stalled: NodeJS.Timeout | undefined;
    let forget = (): void => undefined;
    try {
      return await new Promise((resolve, reject) => {
        const isFreed = isOwned && this.process.isInputCopied === true;
        const take = (data: Buffer): void => {
          bytes += data.length;
          try {
            onBytes?.(data.length);
          } catch (error) {
            content.off('data', take);
            content.destroy(error as Error);
            return;
          }
          gather(stdin);
          const written = (error?: Error | null): void => {
            if (isFreed && !error) free(data);
            taken();
          };
          if (stdin.write(data, written) || stdin.writableLength < INPUT_AHEAD) return;
          content.pause();
          stalled ??= setTimeout(() => reject(new DomainError('tools_failed')), IDLE_MS);
        };
        // Before all is taken: more is read while what has waited is being written.
        const taken = (): void => {
          if (stalled === undefined || stdin.writableLength >= INPUT_AHEAD) return;
          clearTimeout(stalled);
          stalled = undefined;
          content.resume();
        };
        const closed = (): void => resolve(null);
        const spoken = (): void => {
          if (this.isOver) resolve(null);
          else if (this.saidBytes > MOST_WORDS) reject(new DomainError('tools_failed'));
        };
        const unlisten = finished(content, { writable: false }, (error) => (error ? reject(error) : resolve(bytes)));
        this.listeners.add(spoken);
        stdin.on('close', closed);
        content.on('data', take);
        forget = () => {
          unlisten();
          this.listeners.delete(spoken);
          stdin.off('close', closed);
          content.off('data', take);
        };
      });
    } finally {
      clearTimeout(stalled);
      forget();
      content.on('error', () => undefined).destroy();
    }
  }

  /**
   * The next bytes of its output as they come; then it is let go of. Fails with `tools_failed` if there are fewer.
   *
   * @param onBytes is told of each piece
   */
  bytes(length: number, onBytes: (bytes: number) => void): Readable {
    let left = length;
    const body = new Readable({ highWaterMark: MOST_AHEAD, read: () => this.flow.resume() });
    const ended = (): void => {
      if (this.isOver && left > 0) body.destroy(new DomainError('tools_failed'));
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

  /** Lets it end by itself once its input has ended, on nobody's time. */
  release(): void {
    this.endInput();
    this.discard();
  }

  /** Ends it, whatever it does. Never throws. */
  async abandon(): Promise<void> {
    this.endInput();
    if (this.isOver) {
      // It may be its connection alone that has ended; nobody waits to know.
      void this.process.exit().catch((error: unknown) => this.endLaterIf(error));
      this.process.close();
      return;
    }
    this.discard();
    await this.end();
    this.process.close();
  }

  private async end(): Promise<void> {
    const processes = { marker: this.marker, signal: 'TERM', graceMs: END_GRACE_MS } as const;
    // Where the container has ended, so has the script.
    await this.host.engine.endProcesses(this.dockerId, processes).catch((error: unknown) => this.endLaterIf(error));
  }

  private endLaterIf(error: unknown): void {
    const { dockerId, marker } = this;
    if (saysUnavailable(error)) this.host.endLater({ dockerId, marker });
  }

  /** Reads what it goes on to say for nobody, and drops its connection where it says nothing and does not end. */
  private discard(): void {
    const idle = setTimeout(() => this.process.close(), IDLE_MS).unref();
    const ended = (): void => {
      if (this.isOver) clearTimeout(idle);
    };
    this.said.length = 0;
    this.taker = () => void idle.refresh();
    this.listeners.add(ended);
    ended();
    this.flow.resume();
  }
}

/** A closed one: what is handed over to it is dropped. */
const nowhere = closedPort();

function closedPort(): MessagePort {
  const { port1 } = new MessageChannel();
  port1.close();
  return port1;
}

/**
 * Frees a piece's memory at once. V8 (Node.js 20) counts memory outside its heap that waits to be collected as if it
 * were in it, so that some 32 MiB of it make V8 collect the whole heap, which takes longer than to pass them on.
 */
function free({ buffer, length }: Buffer): void {
  // Small pieces share theirs.
  if (buffer.byteLength === length) nowhere.postMessage(null, [buffer as ArrayBuffer]);
}

/** Lets a stream write together what it is given in this turn of the event loop: each write is several system calls. */
function gather(stream: Writable): void {
  if (stream.writableCorked > 0) return;
  stream.cork();
  setImmediate(() => stream.uncork());
}

const BY_EXIT: Readonly<Record<number, ErrorCode>> = {
  [EXIT.exists]: 'path_exists',
  [EXIT.isDirectory]: 'path_is_directory',
  [EXIT.notDirectory]: 'path_not_directory',
  [EXIT.notFile]: 'path_not_file',
  [EXIT.protected]: 'path_protected',
  [EXIT.toolsMissing]: 'tools_missing',
  126: 'tools_missing',
  127: 'tools_missing',
};

/** The words of the C library in the locale C, with which GNU's programs and busybox's end their complaints. */
const BY_WORDS: readonly [RegExp, ErrorCode][] = [
  [/No space left on device|Disk quota exceeded/, 'no_space'],
  [/Permission denied|Operation not permitted|Read-only file system/, 'path_denied'],
  [/No such file or directory|Too many levels of symbolic links/, 'path_not_found'],
  [/Not a directory/, 'path_not_directory'],
  [/Directory not empty/, 'directory_not_empty'],
  [/Is a directory/, 'path_is_directory'],
  [/File exists|annot overwrite|subdirectory of itself/, 'path_exists'],
  [/resource busy/, 'path_protected'],
];

/** What a script's end means to the caller. Its words stay here: they are the image's. */
export function failure(exitCode: number, words: string): DomainError {
  const byExit = BY_EXIT[exitCode];
  if (byExit !== undefined) return new DomainError(byExit);
  if (/name too long/i.test(words))
    return invalidParameters([{ field: 'path', message: 'has a name that is too long' }]);
  const known = BY_WORDS.find(([pattern]) => pattern.test(words));
  return new DomainError(known?.[1] ?? 'tools_failed');
}
