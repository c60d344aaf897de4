import { randomUUID } from 'node:crypto';
import {
  type ContainerEngine,
  type ContainerProcess,
  EngineError,
  type ExecOutput,
  saysUnavailable,
} from '../../docker';
import { DomainError, type ErrorCode, invalidParameters } from '../../errors';
import { within } from '../../scheduling';
import { exitCodeOf } from '../program-end';
import { BEGUN, EXIT } from './scripts';

/** How long neither side may take a byte, or a program say nothing that answers at once. */
export const IDLE_MS = 60_000;
/** How long a program may work without a word: to remove, to move or to copy many files. */
const WORK_MS = 15 * 60_000;
/** What a script says besides the bytes of a file; more is not of our scripts. */
const MOST_WORDS = 8 * 1024;
const END_GRACE_MS = 2_000;
/** How many bytes of its input may wait to be taken: what is ready is on its way while more is being read. */
const INPUT_AHEAD = 1024 * 1024;
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
  private readonly output: AsyncIterator<ExecOutput>;
  /** Of its output, what is on its way. */
  private upcoming: Promise<IteratorResult<ExecOutput>> | undefined;
  /** Called when it has come. One at a time: what waited for it otherwise would be kept until then, chunk by chunk. */
  private onUpcoming: (() => void) | undefined;
  private hasCome = false;
  private pending: Buffer = Buffer.alloc(0);
  private words = '';
  /** Whether its output has come to its end. */
  private isOver = false;

  private constructor(
    private readonly host: ScriptHost,
    private readonly dockerId: string,
    private readonly marker: string,
    private readonly process: ContainerProcess,
  ) {
    this.output = process.output[Symbol.asyncIterator]();
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

  /** The next of its output; null at the end. @throws DomainError `tools_failed` if nothing comes */
  async read(withinMs = IDLE_MS): Promise<Buffer | null> {
    if (this.pending.length > 0) {
      const data = this.pending;
      this.pending = Buffer.alloc(0);
      return data;
    }
    // Of its output alone: one that goes on to complain says nothing.
    const deadline = performance.now() + withinMs;
    while (!this.isOver) {
      const ms = Math.max(0, deadline - performance.now());
      await within(this.comes(), { ms, late: () => new DomainError('tools_failed') });
      const said = await this.take();
      if (said === 'end') break;
      if (said !== 'complaint') return said;
    }
    return null;
  }

  /** Waits for some output, or its end. */
  private async comes(): Promise<void> {
    await this.next();
  }

  private next(): Promise<IteratorResult<ExecOutput>> {
    if (this.upcoming) return this.upcoming;
    this.upcoming = this.output.next();
    const tell = (): void => {
      this.hasCome = true;
      this.onUpcoming?.();
    };
    this.upcoming.then(tell, tell);
    return this.upcoming;
  }

  /** @returns null if some output, or its end, comes before `work` is done */
  private async unlessItSpeaks<T>(work: Promise<T>): Promise<{ readonly value: T } | null> {
    void this.next();
    if (this.hasCome) return null;
    try {
      return await new Promise((resolve, reject) => {
        this.onUpcoming = () => resolve(null);
        work.then((value) => resolve({ value }), reject);
      });
    } finally {
      this.onUpcoming = undefined;
    }
  }

  /** Takes the output that has come, or its end. */
  private async take(): Promise<Buffer | 'complaint' | 'end'> {
    const next = await this.next();
    this.upcoming = undefined;
    this.hasCome = false;
    if (next.done === true) {
      this.isOver = true;
      return 'end';
    }
    const { stream, data } = next.value;
    if (stream === 'stdout') return data;
    this.words = (this.words + data.toString()).slice(-MOST_WORDS);
    return 'complaint';
  }

  /** The next line of its output. @throws DomainError what the script ended with instead, `tools_failed` */
  async line(): Promise<string> {
    let line: Buffer = Buffer.alloc(0);
    while (!line.includes(0x0a)) {
      if (line.length > MOST_WORDS) throw new DomainError('tools_failed');
      const more = await this.read();
      if (more === null) {
        await this.succeeded();
        throw new DomainError('tools_failed');
      }
      line = Buffer.concat([line, more]);
    }
    const end = line.indexOf(0x0a);
    this.pending = line.subarray(end + 1);
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

  /**
   * Gives it some input.
   *
   * @returns false if it takes no more, because it has ended: {@link rest} says why
   * @throws DomainError `tools_failed` if it neither takes it nor ends
   */
  async write(data: Buffer | string): Promise<boolean> {
    const { stdin } = this.process;
    if (!stdin || this.isOver || stdin.destroyed || stdin.writableEnded) return false;
    if (stdin.write(data) || stdin.writableLength < INPUT_AHEAD) return true;
    let taken: () => void = () => undefined;
    const free = new Promise<true>((resolve) => (taken = () => resolve(true)));
    stdin.once('drain', taken).once('close', taken);
    const late = () => new DomainError('tools_failed');
    try {
      // One that has ended takes nothing, and only its output says so.
      while (!(await within(this.unlessItSpeaks(free), { ms: IDLE_MS, late }))) {
        const said = await this.take();
        if (said === 'end') return false;
        if (said !== 'complaint') this.keep(said);
      }
    } finally {
      stdin.off('drain', taken).off('close', taken);
    }
    return !stdin.destroyed;
  }

  /** Waits for `work`, but not beyond the end of the script. */
  async unlessOver<T>(work: Promise<T>): Promise<{ readonly value: T } | 'over'> {
    work.catch(() => undefined);
    while (!this.isOver) {
      const done = await this.unlessItSpeaks(work);
      if (done) return done;
      const said = await this.take();
      if (said instanceof Buffer) this.keep(said);
    }
    return 'over';
  }

  private keep(said: Buffer): void {
    if (this.pending.length > MOST_WORDS) throw new DomainError('tools_failed');
    this.pending = Buffer.concat([this.pending, said]);
  }

  /** The end of its input. */
  endInput(): void {
    this.process.stdin?.end();
  }

  /** Lets it end by itself once its input has ended, on nobody's time. */
  release(): void {
    this.endInput();
    void this.drain();
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
    void this.drain();
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

  private async drain(): Promise<void> {
    try {
      for (;;) if ((await this.read()) === null) return;
    } catch {
      this.process.close();
    }
  }
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
