import { posix } from 'node:path';
import { Readable } from 'node:stream';
import { extract, type Headers, pack } from 'tar-stream';
import {
  type AttributeChange,
  DATA_PATH,
  EngineError,
  type EngineFiles,
  FILE_TYPE,
  type FileAttributes,
  type FileChange,
  type FileContent,
  type FileErrorCode,
  type FilesCall,
  type FileSearch,
  type FileState,
  type FileSystemSpace,
  type FoundFile,
  type OpenFile,
} from '../../../src/engine';
import { type ContainerFiles, Errno, errnoOf, type SavedFile } from './files';
import { matches, quoted } from './patterns';

const CODES: Partial<Record<Errno['code'], FileErrorCode>> = {
  EACCES: 'path_denied',
  EEXIST: 'path_exists',
  EISDIR: 'path_is_directory',
  ENOENT: 'path_not_found',
  ENOSPC: 'no_space',
  ENOTDIR: 'path_not_directory',
  ENOTEMPTY: 'directory_not_empty',
};

const BLOCK = 4096;
/** Changes that wait for a watch's reader. */
const MOST_UNTOLD = 1000;
const USUAL_MODE = 0o644;

/**
 * The files of simulated containers. Names are text here: bytes that are not UTF-8 are replaced. The methods of
 * {@link EngineFiles} are documented there.
 */
export class SimulatedFiles implements EngineFiles {
  /** Settled when the last file is written. */
  private last: Promise<unknown> = Promise.resolve();

  /**
   * @param of the files of a running container. @throws EngineError if it does not run
   * @param mostBytes of a volume
   * @param overOf aborts when the container ends. @throws EngineError if it does not run
   */
  constructor(
    private readonly of: (engineId: string) => Promise<ContainerFiles>,
    private readonly mostBytes: number,
    private readonly overOf: (engineId: string) => AbortSignal,
  ) {}

  stat(call: FilesCall, path: Buffer, { follow }: { readonly follow: boolean }): Promise<FileAttributes> {
    return this.in(call, (files) => stateOf(files, path.toString(), { follow }));
  }

  open(call: FilesCall, path: Buffer): Promise<OpenFile> {
    return this.in(call, async (files) => {
      const state = await stateOf(files, path.toString());
      if (isDirectory(state)) throw new Errno('EISDIR');
      const content = Buffer.from(await files.readFileBuffer(path.toString()));
      return {
        state,
        range: ({ offset, length }, onBytes) => {
          onBytes(length);
          return Promise.resolve(Readable.from([content.subarray(offset, offset + length)]));
        },
        beginning: (most) => Promise.resolve(content.subarray(0, most)),
        close: () => undefined,
      };
    });
  }

  write(call: FilesCall, { path, nameInDirectory, ...file }: FileContent): ReturnType<EngineFiles['write']> {
    return this.in(call, async (files) => {
      const given = await present(files, path.toString());
      const isInside = given !== null && isDirectory(given) && nameInDirectory !== null;
      const at = isInside ? 'directory' : 'file';
      const target = isInside ? posix.join(path.toString(), nameInDirectory.toString()) : path.toString();
      const before = isInside ? await present(files, target) : given;
      if (file.decide && !file.decide(before, at)) throw refused();
      if (before && isDirectory(before)) throw new Errno('EISDIR');
      const content = await this.contentOf(file);
      if (file.length !== undefined && content.length !== file.length) throw new EngineError('tools_failed', 'cut off');
      return this.inTurn(async () => {
        const now = await present(files, target);
        if (file.decide && now?.version !== before?.version) throw refused();
        await files.mkdir(posix.dirname(target), { recursive: true });
        await files.writeFile(target, content);
        if (!now) await files.chmod(target, USUAL_MODE);
        // Times have milliseconds here: another content of the same size must not be the same version.
        const later = new Date(Math.max(Date.now(), Number(now?.version.split('-')[1] ?? 0) + 1));
        await files.utimes(target, later, later);
        return { became: now ? 'replaced' : 'created', at, attributes: await stateOf(files, target) } as const;
      });
    });
  }

  /** Runs `work` after what was given before: of two conditional writes at once, the second one sees the first. */
  private inTurn<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.last.then(work);
    this.last = turn.catch(() => undefined);
    return turn;
  }

  list(call: FilesCall, path: Buffer, take: (name: string, attributes: FileAttributes) => void): Promise<void> {
    return this.in(call, async (files) => {
      if (!isDirectory(await stateOf(files, path.toString()))) throw new Errno('ENOTDIR');
      for (const name of await files.readdir(path.toString())) {
        const attributes = await stateOf(files, posix.join(path.toString(), name), { follow: false });
        take(Buffer.from(name).toString('latin1'), attributes);
      }
    });
  }

  makeDirectory(
    call: FilesCall,
    path: Buffer,
    { parents, mode }: { readonly parents: boolean; readonly mode?: number | undefined },
  ): Promise<FileAttributes> {
    return this.in(call, async (files) => {
      const name = path.toString();
      if (await present(files, name, { follow: false })) throw new Errno('EEXIST');
      await files.mkdir(name, { recursive: parents });
      if (mode !== undefined) await files.chmod(name, mode);
      return stateOf(files, name);
    });
  }

  move(
    call: FilesCall,
    paths: { readonly from: Buffer; readonly to: Buffer },
    { parents, replace }: { readonly parents: boolean; readonly replace: boolean },
  ): Promise<FileAttributes> {
    return this.in(call, async (files) => {
      const [from, to] = [paths.from.toString(), paths.to.toString()];
      await stateOf(files, from, { follow: false });
      assertFree(from);
      const there = await present(files, to, { follow: false });
      if (there && !replace) throw new Errno('EEXIST');
      if (there && isDirectory(there) && (await files.readdir(to)).length > 0) throw new Errno('ENOTEMPTY');
      if (there) await files.rm(to, { recursive: true });
      if (parents) await files.mkdir(posix.dirname(to), { recursive: true });
      await files.mv(from, to);
      return stateOf(files, to, { follow: false });
    });
  }

  remove(
    call: FilesCall,
    path: Buffer,
    { kind, recursive, decide }: Parameters<EngineFiles['remove']>[2],
  ): Promise<void> {
    return this.in(call, async (files) => {
      const name = path.toString();
      const state = await stateOf(files, name, { follow: false });
      if (decide && !decide(state, 'file')) throw refused();
      if (kind === 'file' && isDirectory(state)) throw new Errno('EISDIR');
      if (kind === 'directory' && !isDirectory(state)) throw new Errno('ENOTDIR');
      assertFree(name);
      if (isDirectory(state) && !recursive && (await files.readdir(name)).length > 0) throw new Errno('ENOTEMPTY');
      await files.rm(name, { recursive: true });
    });
  }

  pack(call: FilesCall, path: Buffer, onBytes: (bytes: number) => void): Promise<Readable> {
    return this.in(call, async (files) => {
      const root = await files.realpath(path.toString());
      if (!isDirectory(await stateOf(files, root))) throw new Errno('ENOTDIR');
      const archive = pack();
      archive.entry({ name: './', type: 'directory', mode: 0o755 });
      const prefix = root === '/' ? '' : root;
      for (const { path: at, mode, modifiedMs, data, link } of await files.save(prefix)) {
        const header = { name: `.${at.slice(prefix.length)}`, mode: mode & 0o7777, mtime: new Date(modifiedMs) };
        if (link !== undefined) archive.entry({ ...header, type: 'symlink', linkname: link });
        else if (data === undefined) archive.entry({ ...header, type: 'directory', name: `${header.name}/` });
        else archive.entry(header, Buffer.from(data, 'base64'));
      }
      archive.finalize();
      async function* told(): AsyncGenerator<Buffer> {
        for await (const data of archive) {
          onBytes(data.length);
          yield data;
        }
      }
      return Readable.from(told(), { objectMode: false });
    });
  }

  unpack(
    call: FilesCall,
    path: Buffer,
    archive: Pick<FileContent, 'content' | 'onBytes'>,
  ): ReturnType<EngineFiles['unpack']> {
    return this.in(call, async (files) => {
      const entries = await entriesOf(await this.contentOf(archive));
      await files.mkdir(path.toString(), { recursive: true });
      const root = await files.realpath(path.toString());
      for (const { path: name, data, link } of entries) {
        const there = await present(files, posix.join(root, name), { follow: false });
        if (there && isDirectory(there) !== (data === undefined && link === undefined)) throw new Errno('EEXIST');
        if (there && link !== undefined) await files.rm(posix.join(root, name));
      }
      await files.restore(entries.map((entry) => ({ ...entry, path: posix.join(root, entry.path) })));
      const bytes = entries.reduce((sum, { data = '' }) => sum + Buffer.byteLength(data, 'base64'), 0);
      return { entries: entries.length, bytes };
    });
  }

  create(
    call: FilesCall,
    path: Buffer,
    { existing, mode = USUAL_MODE }: { readonly existing: string; readonly mode: number | undefined },
  ): Promise<void> {
    return this.in(call, async (files) => {
      const name = path.toString();
      const there = await present(files, name);
      if (there && existing === 'refuse') throw new Errno('EEXIST');
      if (there && isDirectory(there)) throw new Errno('EISDIR');
      if (!there || existing === 'empty') await files.writeFile(name, '');
      if (!there) await files.chmod(name, mode);
    });
  }

  readPart(
    call: FilesCall,
    path: Buffer,
    { offset, length }: { readonly offset: number; readonly length: number },
  ): Promise<Buffer> {
    return this.in(call, async (files) => {
      const content = await files.readFileBuffer(path.toString());
      return Buffer.from(content.subarray(offset, offset + length));
    });
  }

  writePart(
    call: FilesCall,
    path: Buffer,
    { offset, data }: { readonly offset: number; readonly data: Buffer },
  ): Promise<void> {
    return this.in(call, async (files) => {
      const before = await files.readFileBuffer(path.toString());
      const whole = this.resized(before, Math.max(before.length, offset + data.length));
      data.copy(whole, offset);
      await files.writeFile(path.toString(), whole);
    });
  }

  truncate(call: FilesCall, path: Buffer, size: number): Promise<void> {
    return this.in(call, async (files) => {
      const before = await files.readFileBuffer(path.toString());
      await files.writeFile(path.toString(), this.resized(before, size));
    });
  }

  /** Files have no owners here. */
  change(call: FilesCall, path: Buffer, { mode, times }: AttributeChange): Promise<void> {
    return this.in(call, async (files) => {
      const name = path.toString();
      await stateOf(files, name);
      if (mode !== undefined) await files.chmod(name, mode);
      if (!times) return;
      await files.utimes(name, new Date(times.accessedAt * 1000), new Date(times.modifiedAt * 1000));
    });
  }

  readLink(call: FilesCall, path: Buffer): Promise<Buffer> {
    return this.in(call, async (files) => Buffer.from(await files.readlink(path.toString())));
  }

  makeLink(
    call: FilesCall,
    { path, target, kind }: { readonly path: Buffer; readonly target: Buffer; readonly kind: 'hard' | 'symbolic' },
  ): Promise<void> {
    return this.in(call, async (files) => {
      if (await present(files, path.toString(), { follow: false })) throw new Errno('EEXIST');
      if (kind === 'hard') await files.link(target.toString(), path.toString());
      else await files.symlink(target.toString(), path.toString());
    });
  }

  resolve(call: FilesCall, path: Buffer): Promise<Buffer> {
    return this.in(call, async (files) => {
      const name = posix.normalize(path.toString());
      const parent = async (): Promise<string> =>
        posix.join(await files.realpath(posix.dirname(name)), posix.basename(name));
      return Buffer.from(
        await files
          .realpath(name)
          .catch(parent)
          .catch(() => name),
      );
    });
  }

  space(call: FilesCall, path: Buffer): Promise<FileSystemSpace> {
    return this.in(call, async (files) => {
      await stateOf(files, path.toString());
      const blocks = Math.floor(this.mostBytes / BLOCK);
      const freeBlocks = Math.max(0, blocks - Math.ceil(files.bytes / BLOCK));
      const inodes = { files: 100_000, freeFiles: 90_000 };
      return { blockSize: BLOCK, blocks, freeBlocks, availableBlocks: freeBlocks, ...inodes, longestName: 255 };
    });
  }

  search(
    call: FilesCall,
    path: Buffer,
    { name = '', content, limit }: FileSearch,
  ): Promise<{ found: FoundFile[]; isComplete: boolean }> {
    return this.in(call, async (files) => {
      const prefix = path.toString() === '/' ? '/' : `${path.toString()}/`;
      if (!isDirectory(await stateOf(files, path.toString()))) throw new Errno('ENOTDIR');
      const pattern = /[*?[]/.test(name) ? name : `*${quoted(name)}*`;
      const found: FoundFile[] = [];
      const below = files.getAllPaths().filter((each) => each.startsWith(prefix) && each !== prefix);
      for (const each of below.sort()) {
        if (!matches(posix.basename(each).toLowerCase(), pattern.toLowerCase())) continue;
        const { mode, size } = await stateOf(files, each, { follow: false });
        const file = { path: Buffer.from(each.slice(prefix.length)), mode, size };
        if (content === undefined) found.push({ ...file, line: null });
        else if ((mode & FILE_TYPE.mask) === FILE_TYPE.regular) {
          const lines = Buffer.from(await files.readFileBuffer(each))
            .toString()
            .split('\n');
          for (const [index, line] of lines.entries()) {
            const text = Buffer.from(line).subarray(0, 256);
            if (line.includes(content)) found.push({ ...file, line: { number: index + 1, text } });
          }
        }
      }
      return { found: found.slice(0, limit), isComplete: found.length <= limit };
    });
  }

  usage(call: FilesCall, path: Buffer): Promise<{ bytes: number; isComplete: boolean }> {
    return this.in(call, async (files) => {
      await stateOf(files, path.toString());
      const below = files.getAllPaths().filter((each) => each.startsWith(`${path.toString()}/`));
      const sizes = await Promise.all(below.map(async (each) => (await files.lstat(each)).size));
      return { bytes: sizes.reduce((sum, size) => sum + size, 0), isComplete: true };
    });
  }

  watch(
    call: FilesCall,
    path: Buffer,
    { recursive }: { readonly recursive: boolean },
  ): Promise<AsyncIterableIterator<readonly FileChange[]>> {
    return this.in(call, async (files) => {
      if (!isDirectory(await stateOf(files, path.toString()))) throw new Errno('ENOTDIR');
      const top = await files.realpath(path.toString());
      return new SimulatedWatch(files, { top, recursive, signals: [call.signal, this.overOf(call.engineId)] });
    });
  }

  /** @throws EngineError */
  private async in<T>({ engineId, signal }: FilesCall, work: (files: ContainerFiles) => Promise<T>): Promise<T> {
    signal.throwIfAborted();
    const files = await this.of(engineId);
    try {
      return await work(files);
    } catch (error) {
      const errno = await errnoOf(Promise.reject(error as Error)).catch((each: unknown) => each);
      const isOfFiles = error instanceof Errno || (error instanceof Error && /^E[A-Z]+: /.test(error.message));
      if (!isOfFiles || !(errno instanceof Errno)) throw error;
      throw new EngineError(CODES[errno.code] ?? 'tools_failed', errno.message, { cause: error });
    }
  }

  /** @throws EngineError `no_space` */
  private async contentOf({ content, onBytes }: Pick<FileContent, 'content' | 'onBytes'>): Promise<Buffer> {
    const parts: Buffer[] = [];
    let bytes = 0;
    for await (const chunk of content) {
      const data = chunk as Buffer;
      onBytes(data.length);
      bytes += data.length;
      if (bytes > this.mostBytes) throw new Errno('ENOSPC');
      parts.push(Buffer.from(data));
    }
    return Buffer.concat(parts, bytes);
  }

  private resized(before: Uint8Array, size: number): Buffer {
    if (size > this.mostBytes) throw new Errno('ENOSPC');
    const whole = Buffer.alloc(size);
    whole.set(before.subarray(0, size));
    return whole;
  }
}

/** The changes below a directory, until it is gone, the call is over or the container has ended. */
class SimulatedWatch implements AsyncIterableIterator<readonly FileChange[]> {
  private untold: FileChange[] = [];
  private isOver = false;
  private fault: Error | undefined;
  private wake = (): void => undefined;
  private readonly prefix: string;
  private readonly removeListeners: () => void;

  constructor(
    files: ContainerFiles,
    private readonly options: {
      readonly top: string;
      readonly recursive: boolean;
      readonly signals: readonly [call: AbortSignal, container: AbortSignal];
    },
  ) {
    const { top, signals } = options;
    const [call, container] = signals;
    this.prefix = top === '/' ? '/' : `${top}/`;
    const onCallOver = (): void => this.end(call.reason as Error);
    const onContainerOver = (): void => this.end(new EngineError('container_not_running', 'the container has ended'));
    const onChange = (type: FileChange['type'], path: string): void => this.take(type, path);
    files.listeners.add(onChange);
    call.addEventListener('abort', onCallOver, { once: true });
    container.addEventListener('abort', onContainerOver, { once: true });
    this.removeListeners = () => {
      files.listeners.delete(onChange);
      call.removeEventListener('abort', onCallOver);
      container.removeEventListener('abort', onContainerOver);
    };
    if (call.aborted) onCallOver();
    else if (container.aborted) onContainerOver();
  }

  async next(): Promise<IteratorResult<readonly FileChange[], undefined>> {
    while (this.untold.length === 0 && !this.isOver) await new Promise<void>((resolve) => (this.wake = resolve));
    if (this.untold.length > 0) return { value: this.untold.splice(0) };
    if (this.fault) throw this.fault;
    return { value: undefined, done: true };
  }

  return(): Promise<IteratorResult<readonly FileChange[], undefined>> {
    this.untold = [];
    this.end();
    return Promise.resolve({ value: undefined, done: true });
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  private take(type: FileChange['type'], path: string): void {
    const isGone = type === 'remove' || type === 'rename';
    if (isGone && this.prefix.startsWith(`${path}/`)) this.end();
    if (!path.startsWith(this.prefix)) return;
    const below = path.slice(this.prefix.length);
    if (!this.options.recursive && below.includes('/')) return;
    if (this.untold.length < MOST_UNTOLD) this.untold.push({ type, path: Buffer.from(below) });
    else if (this.untold.length === MOST_UNTOLD) this.untold.push({ type: 'overflow', path: Buffer.alloc(0) });
    this.wake();
  }

  private end(fault?: Error): void {
    if (this.isOver) return;
    this.isOver = true;
    this.fault = fault;
    this.removeListeners();
    this.wake();
  }
}

async function stateOf(
  files: ContainerFiles,
  path: string,
  { follow }: { follow: boolean } = { follow: true },
): Promise<FileState> {
  const {
    mode,
    size,
    mtime,
    isDirectory: isFolder,
    isSymbolicLink,
  } = await errnoOf(follow ? files.stat(path) : files.lstat(path));
  const type = isFolder ? FILE_TYPE.directory : isSymbolicLink ? FILE_TYPE.link : FILE_TYPE.regular;
  const modifiedAt = Math.floor(mtime.getTime() / 1000);
  return {
    mode: type | (mode & 0o7777),
    size,
    uid: 0,
    gid: 0,
    accessedAt: modifiedAt,
    modifiedAt,
    version: `${String(size)}-${String(mtime.getTime())}`,
  };
}

/** @returns null if nothing is at the path */
async function present(files: ContainerFiles, path: string, options?: { follow: boolean }): Promise<FileState | null> {
  return stateOf(files, path, options).catch((error: unknown) => {
    if (error instanceof Errno && error.code === 'ENOENT') return null;
    throw error;
  });
}

function isDirectory({ mode }: FileAttributes): boolean {
  return (mode & FILE_TYPE.mask) === FILE_TYPE.directory;
}

/** @throws EngineError `path_protected` */
function assertFree(path: string): void {
  const name = posix.normalize(path).replace(/\/$/, '');
  if (name !== '/proc' && !`${DATA_PATH}/`.startsWith(`${name}/`)) return;
  throw new EngineError('path_protected', `${path} is a mount point, or above one`);
}

function refused(): EngineError {
  return new EngineError('precondition_failed', 'the file is not in the state in which it may be changed');
}

/** The entries of an archive, below its directory. @throws EngineError `invalid_parameters` */
async function entriesOf(archive: Buffer): Promise<SavedFile[]> {
  const found = new Map<string, SavedFile>();
  const reader = extract();
  reader.end(archive);
  try {
    for await (const entry of reader) {
      const parts: Buffer[] = [];
      for await (const data of entry) parts.push(data);
      const saved = entryOf(entry.header, { content: Buffer.concat(parts), found });
      if (saved) found.set(saved.path, saved);
    }
  } catch (error) {
    if (error instanceof EngineError) throw error;
    throw new EngineError('invalid_parameters', 'the archive is malformed', { cause: error });
  }
  return [...found.values()];
}

/** @returns null for the directory itself. @throws EngineError `invalid_parameters` */
function entryOf(
  { name, type, linkname: link, mode = USUAL_MODE, mtime = new Date() }: Headers,
  { content, found }: { content: Buffer; found: ReadonlyMap<string, SavedFile> },
): SavedFile | null {
  const path = localName(name);
  const linkname = link ?? '';
  if (path === '') return null;
  for (let parent = posix.dirname(path); parent !== '.'; parent = posix.dirname(parent)) {
    if (found.get(parent)?.link !== undefined) throw leaves();
  }
  const saved = { path, mode, modifiedMs: mtime.getTime() };
  const data = content.toString('base64');
  if (type === 'directory') return saved;
  if (type === 'file' || type === 'contiguous-file') return { ...saved, data };
  if (type === 'symlink') {
    const target = posix.join('/', 'inside', posix.dirname(path), linkname);
    if (linkname === '' || linkname.startsWith('/') || !`${target}/`.startsWith('/inside/')) throw leaves();
    return { ...saved, link: linkname };
  }
  const linked = type === 'link' ? found.get(localName(linkname))?.data : undefined;
  if (linked === undefined) throw leaves();
  return { ...saved, data: linked };
}

function localName(name: string): string {
  const parts = name.split('/').filter((part) => part !== '' && part !== '.');
  if (name.startsWith('/') || parts.includes('..')) throw leaves();
  return parts.join('/');
}

function leaves(): EngineError {
  return new EngineError('invalid_parameters', 'an entry leaves the directory, or is of another type');
}
