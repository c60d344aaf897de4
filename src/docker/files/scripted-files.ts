import { once } from 'node:events';
import { Readable } from 'node:stream';
import { type Pack, pack } from 'tar-stream';
import { DATA_PATH } from '../supervisor/supervisor-paths';
import { EngineError } from '../engine-error';
import type {
  ArchiveEntry,
  ChangeDecision,
  EngineFiles,
  FileContent,
  FileInfo,
  FilesCall,
  FileShell,
  FileState,
  OpenFile,
  PackedDirectory,
} from '../port/engine-files';
import type { EnginePrograms } from '../port/engine-programs';
import { openFileShell } from './file-shell';
import { badTools, encodeArgument, IDLE_MS, newToken, ScriptRun, WORK_MS } from './script-run';
import {
  endOfFile,
  LIST,
  MAKE_DIRECTORY,
  MOVE,
  NOTHING,
  PACK,
  READ_FILE,
  READING,
  REMOVE,
  SMALL,
  UNPACK,
  UNPACKING,
  UPLOAD,
  WRITE_FILE,
} from './scripts';

/** Limits of listing a directory, in time and in bytes: a manipulated program may print without end. */
const LIST_MS = 120_000;
const MOST_LISTED = 64 * 1024 * 1024;

/** Maximum bytes of an archive: more than a container's disk holds. The limit ends a program that never stops. */
const MOST_PACKED = 2 ** 40;

/** The digits of tar's exit code, which follows the token. */
const STATUS_DIGITS = 3;

/** Messages of GNU tar about files that changed while they were packed. The archive is well-formed all the same. */
const CHANGED =
  /(file changed as we read it|socket ignored|File removed before we read it|file is the archive; not dumped)$/;

/**
 * Files in containers, read and written by the image's own programs. Docker's archive API is not used: what it writes
 * into a running gVisor container is lost (Docker 26.1, gVisor 20240729). The methods of {@link EngineFiles} are
 * documented there.
 */
export class ScriptedFiles implements EngineFiles {
  constructor(private readonly programs: EnginePrograms) {}

  async read(call: FilesCall, path: Buffer, work: (file: OpenFile) => Promise<void>): Promise<void> {
    const args = [encodeArgument(path)];
    const run = await ScriptRun.start(this.programs, call, { script: READ_FILE, args, stdin: true, most: Infinity });
    await run.guarded(async () => work(openFile(run, stateOf(path, await run.line()))));
  }

  async write(call: FilesCall, file: FileContent): ReturnType<EngineFiles['write']> {
    const { path, nameInDirectory, content, length, decide } = file;
    const token = newToken();
    const name = nameInDirectory ?? Buffer.alloc(0);
    const args = [
      encodeArgument(path),
      String(length ?? ''),
      conditionOf(decide),
      encodeArgument(name),
      length === undefined ? token : '',
    ];
    // A session opened ahead reads a short line faster.
    while (args.at(-1) === '') args.pop();
    const run = await ScriptRun.start(this.programs, call, { script: WRITE_FILE, args, stdin: true, isCleaning: true });
    return run.guarded(async () => {
      if (decide) {
        const [at, ...words] = (await run.line()).split(' ');
        answer(run, decide, { path: at === 'directory' ? below(path, name) : path, words: words.join(' ') });
      }
      const bytes = await run.feed(content, { onBytes: file.onBytes, isOwned: file.isOwned });
      if (bytes !== null && length === undefined) run.say(endOfFile(token, bytes));
      run.endInput();
      // This line is the result; the script's exit is not awaited.
      const [became, at, ...words] = (await run.line(WORK_MS)).split(' ');
      if (became !== 'created' && became !== 'replaced') throw badTools('the script does not say what it wrote');
      return { became, at: at === 'directory' ? 'directory' : 'file', info: infoOf(words.join(' ')) };
    });
  }

  async list(call: FilesCall, path: Buffer, take: (name: string, info: FileInfo) => void): Promise<void> {
    const args = [encodeArgument(path)];
    const run = await ScriptRun.start(this.programs, call, { script: LIST, args, stdin: true, most: MOST_LISTED });
    const entries = new DirectoryEntries(take);
    await run.guarded(async () => {
      const until = performance.now() + LIST_MS;
      const next = (): Promise<Buffer | null> => run.read(Math.min(IDLE_MS, until - performance.now()));
      for (let data = await next(); data; data = await next()) {
        if (!entries.take(data) || performance.now() > until) throw badTools('the script prints no listing');
      }
      await run.succeeded();
    });
    if (!entries.isWhole) throw badTools('the listing is incomplete');
  }

  async makeDirectory(call: FilesCall, path: Buffer): Promise<FileInfo> {
    return infoOf(await ScriptRun.words(this.programs, call, { script: MAKE_DIRECTORY, args: [encodeArgument(path)] }));
  }

  async move(call: FilesCall, { from, to }: { readonly from: Buffer; readonly to: Buffer }): Promise<FileInfo> {
    return infoOf(
      await ScriptRun.words(this.programs, call, {
        script: MOVE,
        args: [encodeArgument(from), encodeArgument(to), DATA_PATH],
      }),
    );
  }

  async remove(
    call: FilesCall,
    path: Buffer,
    { recursive, decide }: { readonly recursive: boolean; readonly decide: ChangeDecision | null },
  ): Promise<void> {
    const args = [encodeArgument(path), recursive ? 'recursive' : '', DATA_PATH, conditionOf(decide)];
    if (!decide) {
      await ScriptRun.words(this.programs, call, { script: REMOVE, args });
      return;
    }
    const run = await ScriptRun.start(this.programs, call, { script: REMOVE, args, stdin: true });
    await run.guarded(async () => {
      answer(run, decide, { path, words: await run.line() });
      run.endInput();
      await run.rest();
    });
  }

  async pack(call: FilesCall, path: Buffer, work: (archive: PackedDirectory) => Promise<void>): Promise<void> {
    const token = newToken();
    const args = [encodeArgument(path), token];
    const run = await ScriptRun.start(this.programs, call, { script: PACK, args, stdin: true, most: MOST_PACKED });
    await run.guarded(async () => {
      if ((await run.line()) !== 'ready') throw badTools('the script does not begin to pack');
      await work({ read: () => packed(run, token), close: () => run.abandon() });
    });
  }

  /**
   * The script unpacks the archive into a temporary directory first, so that an archive that is refused or cut off
   * leaves nothing behind.
   */
  async unpack(call: FilesCall, path: Buffer, entries: AsyncIterable<ArchiveEntry>): Promise<void> {
    const token = newToken();
    const args = [encodeArgument(path), token];
    const run = await ScriptRun.start(this.programs, call, { script: UNPACK, args, stdin: true, isCleaning: true });
    await run.guarded(async () => {
      await run.feed(Readable.from(archived(entries, token), { objectMode: false }));
      run.endInput();
      await run.rest();
    });
  }

  session(call: FilesCall, work: (shell: FileShell) => Promise<void>): Promise<void> {
    return openFileShell(this.programs, call, work);
  }
}

function below(directory: Buffer, name: Buffer): Buffer {
  return Buffer.concat(directory.length === 1 ? [directory, name] : [directory, Buffer.from('/'), name]);
}

const FORM = /^([a-zA-Z-]{10}) (\d{1,20}) (-?\d{1,12})/;

/** @param words the mode, the size, and the seconds. @throws EngineError `tools_failed` */
function infoOf(words: string): FileInfo {
  const [, mode, size, seconds] = FORM.exec(words) ?? [];
  if (mode === undefined) throw badTools('the script describes no file');
  return { mode, size: Number(size), modifiedAt: Number(seconds) };
}

/** @param words the mode, the size, the seconds, and the full time. @throws EngineError `tools_failed` */
function stateOf(path: Buffer, words: string): FileState {
  return { ...infoOf(words), version: `${encodeArgument(path)} ${words.slice(words.indexOf(' ') + 1)}` };
}

function openFile(run: ScriptRun, state: FileState): OpenFile {
  return {
    state,
    range: async ({ offset, length }) => {
      if (state.size <= SMALL) {
        const part = (await wholeOf(run, state.size)).subarray(offset, offset + length);
        return (onBytes) => {
          onBytes(part.length);
          run.release();
          return Readable.from([part]);
        };
      }
      run.say(READING.bytes(offset, length));
      if (!(await run.hasMore())) throw badTools('the file has become shorter');
      return (onBytes) => run.bytes(length, onBytes);
    },
    beginning: (most) => beginningOf(run, most),
    close: () => run.release(),
  };
}

/** A small file, which the script prints at once. @throws EngineError `tools_failed` if it has become shorter */
async function wholeOf(run: ScriptRun, size: number): Promise<Buffer> {
  const parts: Buffer[] = [];
  const until = performance.now() + IDLE_MS;
  for (let left = size; left > 0;) {
    const part = await run.read(until - performance.now());
    if (!part) {
      await run.succeeded();
      throw badTools('the file has become shorter');
    }
    parts.push(part.subarray(0, left));
    left -= Math.min(left, part.length);
  }
  return Buffer.concat(parts);
}

async function beginningOf(run: ScriptRun, most: number): Promise<Buffer> {
  const parts: Buffer[] = [];
  let left = most;
  run.say(READING.most(most));
  run.endInput();
  const until = performance.now() + IDLE_MS;
  while (left > 0) {
    const part = await run.read(until - performance.now());
    if (!part) {
      await run.succeeded();
      break;
    }
    parts.push(part.subarray(0, left));
    left -= Math.min(left, part.length);
  }
  return Buffer.concat(parts);
}

/**
 * The argument of a script that changes a file: `conditional` if the script has to ask first, and waits for
 * {@link answer}.
 */
function conditionOf(decide: ChangeDecision | null): '' | 'conditional' {
  return decide ? 'conditional' : '';
}

/**
 * Tells a script, which has described what is at its path, whether it may change that.
 *
 * @throws EngineError `precondition_failed`; `tools_failed` if the description is malformed
 */
function answer(run: ScriptRun, decide: ChangeDecision, { path, words }: { path: Buffer; words: string }): void {
  if (!decide(words === NOTHING ? null : stateOf(path, words))) {
    run.release();
    throw new EngineError('precondition_failed', 'the file is not in the state in which it may be changed');
  }
  run.say('go\n');
}

/** The longest entry in bytes: some dozens of characters, and a name of at most 255 bytes. */
const LONGEST_ENTRY = 1_024;
const ENTRY = /([a-zA-Z-]{10} \d{1,20} -?\d{1,12}) \.\/([^/]+)\/\n/y;
const OWN = new RegExp(`^(?:${UPLOAD}|${UNPACKING})[0-9a-f-]{36}$`);

/** Parses the entries of a directory, without the temporary ones of the scripts. */
export class DirectoryEntries {
  private rest = '';

  constructor(private readonly onEntry: (name: string, info: FileInfo) => void) {}

  /** @returns false if the data is no listing */
  take(data: Buffer): boolean {
    // Latin-1, one character for each byte, because a name may contain any bytes.
    this.rest += data.toString('latin1');
    let end = 0;
    ENTRY.lastIndex = 0;
    for (let match = ENTRY.exec(this.rest); match; match = ENTRY.exec(this.rest)) {
      end = ENTRY.lastIndex;
      const [, words = '', name = ''] = match;
      if (!OWN.test(name)) this.onEntry(name, infoOf(words));
    }
    this.rest = this.rest.slice(end);
    return this.rest.length <= LONGEST_ENTRY;
  }

  /** Whether all data has been parsed. */
  get isWhole(): boolean {
    return this.rest === '';
  }
}

/**
 * Reads the archive that {@link PACK} prints.
 *
 * @throws EngineError in the middle of the stream if the archive is incomplete
 */
async function* packed(run: ScriptRun, token: string): AsyncGenerator<Buffer> {
  const mark = token.length + STATUS_DIGITS;
  let held: Buffer = Buffer.alloc(0);
  for (;;) {
    const data = await run.read();
    if (!data) throw badTools('the archive is incomplete');
    held = Buffer.concat([held, data]);
    if (held.length <= mark) continue;
    const end = held.subarray(held.length - mark).toString('latin1');
    const isEnd = end.startsWith(token);
    const whole = held.subarray(0, held.length - mark);
    if (!isEnd) {
      yield whole;
      held = held.subarray(whole.length);
      continue;
    }
    const isPacked = Number(end.slice(token.length)) === 0 || isOnlyChanged(await run.complaints());
    if (!isPacked) throw new EngineError('path_denied', 'the archive lacks files');
    yield whole;
    return;
  }
}

function isOnlyChanged(words: string): boolean {
  const lines = words.split('\n').filter((line) => line !== '');
  return lines.length > 0 && lines.every((line) => CHANGED.test(line));
}

/** Encodes entries as an archive with a last file, named by the token, that marks it as complete. */
async function* archived(entries: AsyncIterable<ArchiveEntry>, token: string): AsyncGenerator<Buffer> {
  const archive = pack();
  // A reader gets the error too. Without a listener, it would end this process.
  archive.on('error', () => undefined);
  const copying = copyEntries(entries, archive).then(
    () => {
      archive.entry({ name: token, mode: 0o600 }, Buffer.alloc(0));
      archive.finalize();
    },
    (error: unknown) => archive.destroy(error as Error),
  );
  try {
    for await (const data of archive) yield data;
    await copying;
  } finally {
    archive.destroy();
  }
}

async function copyEntries(entries: AsyncIterable<ArchiveEntry>, archive: Pack): Promise<void> {
  for await (const entry of entries) await copyEntry(entry, archive);
}

async function copyEntry({ header, content }: ArchiveEntry, archive: Pack): Promise<void> {
  let settle = (_error?: Error | null): void => undefined;
  const copied = new Promise<void>((resolve, reject) => (settle = (error) => (error ? reject(error) : resolve())));
  copied.catch(() => undefined);
  const target = archive.entry(header, (error) => settle(error)).on('error', (error: Error) => settle(error));
  for await (const data of content) {
    // `copied` rejects if the archive is destroyed meanwhile.
    if (!target.write(data)) await Promise.race([once(target, 'drain'), copied]);
  }
  target.end();
  await copied;
}
