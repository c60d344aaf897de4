import { DATA_PATH } from '../supervisor/supervisor-paths';
import { EngineError } from '../engine-error';
import type { FileAttributes, FilesCall, FileShell, FileSystemSpace } from '../port/engine-files';
import type { EnginePrograms } from '../port/engine-programs';
import { failure } from './script-failure';
import { badTools, encodeArgument, IDLE_MS, newToken, ScriptRun } from './script-run';
import { FILE_SHELL, SHELL_BLOCK } from './scripts';

/** Maximum bytes of an answer that is not the contents of a file: a list of some 60,000 entries. */
const MOST_LISTED = 8 * 1024 * 1024;
const MOST_WORDS = 64 * 1024;

/** The digits of the exit code, which follows the token. */
const STATUS_DIGITS = 3;

/** The time limit of one answer. */
const ANSWER_MS = 2 * IDLE_MS;

/** The permissions of a file that a shell makes with its `umask`. */
const USUAL_MODE = 0o644;

/** How an absent argument is written. */
const ABSENT = '-';

const ATTRIBUTES = /^([0-9a-f]{1,8}) (\d{1,20}) (\d{1,10}) (\d{1,10}) (-?\d{1,12}) (-?\d{1,12})/;
const ENTRY = /([0-9a-f]{1,8}(?: -?\d{1,20}){5}) \.\/([^/]+)\/\n/y;

type Argument = Buffer | number | string;

interface Answer {
  readonly code: number;
  readonly said: Buffer;
}

/** Implements {@link EngineFiles.session}. */
export async function openFileShell(
  programs: EnginePrograms,
  call: FilesCall,
  work: (shell: FileShell) => Promise<void>,
): Promise<void> {
  const token = newToken();
  const args = [token, DATA_PATH];
  const run = await ScriptRun.start(programs, call, { script: FILE_SHELL, args, stdin: true, most: Infinity });
  await run.guarded(async () => {
    const shell = new ScriptedShell(run, token);
    await shell.begin();
    await work(shell);
  });
}

/** The shell of {@link FILE_SHELL}. Requests are answered one after the other. */
class ScriptedShell implements FileShell {
  home = Buffer.from('/');
  isOpen = true;
  private readonly end: Buffer;
  private last: Promise<unknown> = Promise.resolve();

  constructor(
    private readonly run: ScriptRun,
    token: string,
  ) {
    this.end = Buffer.from(token);
  }

  /** Reads the answer that comes without a request. */
  async begin(): Promise<void> {
    this.home = Buffer.from(line((await this.answer(MOST_WORDS)).said));
  }

  async describe(path: Buffer, { follow }: { readonly follow: boolean }): Promise<FileAttributes> {
    return attributesOf((await this.ask([follow ? 'stat' : 'lstat', path])).toString('latin1'));
  }

  async list(path: Buffer): ReturnType<FileShell['list']> {
    const text = (await this.ask(['list', path], { most: MOST_LISTED })).toString('latin1');
    const entries: { name: string; attributes: FileAttributes }[] = [];
    ENTRY.lastIndex = 0;
    let at = 0;
    for (let match = ENTRY.exec(text); match; match = ENTRY.exec(text)) {
      const [, words = '', name = ''] = match;
      entries.push({ name, attributes: attributesOf(words) });
      at = ENTRY.lastIndex;
    }
    if (at !== text.length) throw badTools('the script prints no listing');
    return entries;
  }

  async create(
    path: Buffer,
    { existing, mode }: { readonly existing: 'keep' | 'empty' | 'refuse'; readonly mode: number | undefined },
  ): Promise<void> {
    // What the shell's umask leaves is not asked for.
    await this.ask(['create', path, existing, octal(mode === USUAL_MODE ? undefined : mode)]);
  }

  async read(path: Buffer, { offset, blocks }: { readonly offset: number; readonly blocks: number }): Promise<Buffer> {
    return this.ask(['read', path, ...offsetOf(offset), blocks], { most: blocks * SHELL_BLOCK });
  }

  async write(path: Buffer, { offset, data }: { readonly offset: number; readonly data: Buffer }): Promise<void> {
    const rest = data.length % SHELL_BLOCK;
    const blocks = (data.length - rest) / SHELL_BLOCK;
    const from = blocks === 0 ? [0, offset] : offsetOf(offset);
    await this.ask(['write', path, ...from, blocks, rest], { data });
  }

  async resize(path: Buffer, size: number): Promise<void> {
    await this.ask(['resize', path, size]);
  }

  async setMode(path: Buffer, mode: number): Promise<void> {
    await this.ask(['chmod', path, octal(mode)]);
  }

  async setOwner(path: Buffer, { uid, gid }: { readonly uid: number; readonly gid: number }): Promise<void> {
    await this.ask(['chown', path, `${String(uid)}:${String(gid)}`]);
  }

  async setTimes(
    path: Buffer,
    { accessedAt, modifiedAt }: Pick<FileAttributes, 'accessedAt' | 'modifiedAt'>,
  ): Promise<void> {
    await this.ask(['times', path, accessedAt, modifiedAt]);
  }

  async makeDirectory(path: Buffer, mode: number | undefined): Promise<void> {
    await this.ask(['mkdir', path, octal(mode)]);
  }

  async removeDirectory(path: Buffer): Promise<void> {
    await this.ask(['rmdir', path]);
  }

  async removeFile(path: Buffer): Promise<void> {
    await this.ask(['remove', path]);
  }

  async rename({ from, to, replace }: Parameters<FileShell['rename']>[0]): Promise<void> {
    await this.ask(['rename', from, to, replace ? 'replace' : ABSENT]);
  }

  async readLink(path: Buffer): Promise<Buffer> {
    return line(await this.ask(['readlink', path]));
  }

  async makeLink({ path, target, kind }: Parameters<FileShell['makeLink']>[0]): Promise<void> {
    await this.ask([kind === 'hard' ? 'link' : 'symlink', path, target]);
  }

  async resolve(path: Buffer): Promise<Buffer> {
    return line(await this.ask(['resolve', path]));
  }

  async space(path: Buffer): Promise<FileSystemSpace> {
    const words = (await this.ask(['space', path])).toString('latin1').trim().split(' ').map(Number);
    if (words.length < 6 || words.some((word) => !Number.isSafeInteger(word)))
      throw badTools('no file system is shown');
    const [blockSize = 0, blocks = 0, freeBlocks = 0, availableBlocks = 0, files = 0, freeFiles = 0] = words;
    return { blockSize, blocks, freeBlocks, availableBlocks, files, freeFiles, longestName: words[6] ?? 255 };
  }

  /**
   * Sends a request after the answers of the requests before it.
   *
   * @param options.most maximum bytes of the answer
   * @throws EngineError
   */
  private ask(
    request: readonly Argument[],
    { most = MOST_WORDS, data }: { most?: number; data?: Buffer } = {},
  ): Promise<Buffer> {
    const asked = this.last.then(async () => {
      if (!this.isOpen) throw badTools('the shell has ended');
      let answer: Answer;
      try {
        this.run.say(`${request.map(encode).join(' ')}\n`);
        const taking = data ? this.run.write(data) : Promise.resolve();
        taking.catch(() => undefined);
        answer = await this.answer(most);
      } catch (error) {
        // The next answer could not be told from this one's rest.
        this.isOpen = false;
        throw error;
      }
      // A script that could not write has exited.
      if (answer.code !== 0 && data) this.isOpen = false;
      if (answer.code !== 0) throw failure(answer.code, answer.said.toString('latin1').trimEnd().slice(-MOST_WORDS));
      return answer.said;
    });
    this.last = asked.catch(() => undefined);
    return asked;
  }

  /** @throws EngineError `tools_failed` */
  private async answer(most: number): Promise<Answer> {
    const until = performance.now() + ANSWER_MS;
    const parts: Buffer[] = [];
    let bytes = 0;
    const marked = this.end.length + STATUS_DIGITS;
    for (;;) {
      const part = await this.run.read(Math.min(IDLE_MS, until - performance.now()));
      if (!part) throw badTools('the shell has ended');
      parts.push(part);
      bytes += part.length;
      if (bytes > most + marked) throw badTools('the shell answers too much');
      if (bytes < marked) continue;
      const tail = part.length >= marked ? part : Buffer.concat(parts);
      const end = tail.subarray(tail.length - marked);
      if (!end.subarray(0, this.end.length).equals(this.end)) continue;
      const code = Number(end.subarray(this.end.length).toString('latin1'));
      return { code, said: Buffer.concat(parts, bytes - marked) };
    }
  }
}

/** @returns the offset in blocks, and in bytes; one of them is 0 */
function offsetOf(offset: number): [blocks: number, bytes: number] {
  return offset % SHELL_BLOCK === 0 ? [offset / SHELL_BLOCK, 0] : [0, offset];
}

function encode(argument: Argument): string {
  return Buffer.isBuffer(argument) ? encodeArgument(argument) : String(argument);
}

function octal(mode: number | undefined): string {
  return mode === undefined ? ABSENT : (mode & 0o7777).toString(8);
}

/** @returns the output without its last newline */
function line(said: Buffer): Buffer {
  return said.at(-1) === 0x0a ? said.subarray(0, -1) : said;
}

/** @throws EngineError `tools_failed` */
function attributesOf(words: string): FileAttributes {
  const [, mode, ...numbers] = ATTRIBUTES.exec(words) ?? [];
  if (mode === undefined) throw new EngineError('tools_failed', 'the script describes no file');
  const [size = 0, uid = 0, gid = 0, accessedAt = 0, modifiedAt = 0] = numbers.map(Number);
  return { mode: parseInt(mode, 16), size, uid, gid, accessedAt, modifiedAt };
}
