import { DATA_PATH, type EngineFiles, FILE_TYPE, type FilesCall } from '../../engine';
import { DomainError } from '../../errors';
import {
  attributesPacket,
  dataPacket,
  extendedPacket,
  FLAG,
  type GivenAttributes,
  handlePacket,
  isInit,
  MalformedPacket,
  MOST_DATA,
  MOST_PACKET,
  namePacket,
  type NamedEntry,
  PacketReader,
  parseRequest,
  type SftpRequest,
  STATUS,
  type StatusCode,
  statusPacket,
  versionPacket,
} from './sftp-protocol';

/** Less is never read of a file at once. */
const LEAST_PART = 64 * 1024;

/**
 * Writes that follow each other are gathered up to this size while the ones before are written, and reads in order are
 * answered from parts of this size, while the next one is read.
 */
const MOST_PART = 4 * 1024 * 1024;
/** The part that a first read of a file gets. */
const FIRST_PART = 256 * 1024;
/** How long such a part is used: the file may change. */
const PART_KEPT_MS = 1_000;
/** Files of which parts are kept. */
const MOST_READ = 4;

/** Open files and directories of a session. */
const MOST_HANDLES = 256;
const HOME = Buffer.from(`${DATA_PATH}/`);

/** Entries in one answer to `readdir`. */
const ENTRIES_AT_ONCE = 100;

/** The permissions that new files and directories do not get, as with `umask`. */
const UMASK = 0o022;

/** Entries of a directory that is open. */
const MOST_ENTRIES = 100_000;

/** Runs `work` with the files of the session's container. @throws DomainError */
export type UseFiles = <T>(work: (files: EngineFiles, inside: FilesCall) => Promise<T>) => Promise<T>;

/** Where the packets come from and go to. */
export interface SftpChannel {
  /** @returns what has arrived; null if nothing has. */
  readNow(): Buffer | null;
  /** Waits until something has arrived. @returns false at the end */
  arrives(): Promise<boolean>;
  write(data: Buffer): Promise<void>;
}

interface SftpOptions {
  /** Maximum bytes of a file that is written. */
  readonly sizeLimit: number;
  /** Called with the bytes of files that were read or written. */
  readonly onBytes: (bytes: number) => void;
  /** Called once for a file that is open, when a write beyond the limit is refused. */
  readonly onTooLarge: (limit: number) => void;
}

interface OpenFile {
  readonly path: Buffer;
  readonly isReadable: boolean;
  readonly isWritable: boolean;
  /** Whether a write beyond the limit was refused. */
  isTooLarge: boolean;
  /** Where the next bytes go if the file was opened to append; otherwise null. */
  appendAt: number | null;
  /** Whether the kernel generates the file, so that a short read is not its end. */
  readonly isGenerated: boolean;
  /** What was read last, and what is being read behind it. */
  part: Part | null;
  next: { readonly offset: number; readonly part: Promise<Part> } | null;
  /** The end of the last answer. */
  readTo: number;
  /** The size of the next part, if the client goes on reading in order. */
  ahead: number;
}

interface Part {
  readonly offset: number;
  readonly data: Buffer;
  /** Whether the file ends with it. */
  readonly isLast: boolean;
  readonly at: number;
}

interface OpenDirectory {
  readonly entries: NamedEntry[];
}

/** Writes that wait to be written together. */
interface Gathered {
  readonly file: OpenFile;
  readonly offset: number;
  readonly parts: Buffer[];
  readonly ids: number[];
  bytes: number;
}

class Refused extends Error {
  constructor(
    readonly code: StatusCode,
    message: string,
  ) {
    super(message);
  }
}

/**
 * Serves one SFTP session. Requests are answered in order, so what a client has written is what it reads. Files are
 * named by their paths also while they are open: one that is moved meanwhile is not found.
 */
export class SftpServer {
  private readonly packets = new PacketReader();
  private readonly files = new Map<string, OpenFile>();
  private readonly directories = new Map<string, OpenDirectory>();
  private gathered: Gathered | null = null;
  /** The write that is under way; null if none is. Never rejects. */
  private writing: Promise<void> | null = null;
  private fault: { readonly error: unknown } | null = null;
  /** The files of which parts are kept; the last one was read last. */
  private readonly recent: OpenFile[] = [];
  private lastHandle = 0;
  private hasBegun = false;

  constructor(
    private readonly channel: SftpChannel,
    private readonly use: UseFiles,
    private readonly options: SftpOptions,
  ) {}

  /** Serves until the client has closed its side. @throws MalformedPacket */
  async run(): Promise<void> {
    for (;;) {
      if (this.fault) throw this.fault.error;
      const packet = this.packets.next();
      if (packet) {
        await this.handle(packet);
        continue;
      }
      const data = this.channel.readNow();
      if (data) {
        this.packets.push(data);
        continue;
      }
      // The client may wait for the answers to what is gathered.
      if (!this.writing) this.beginWrite();
      const more = this.channel.arrives();
      const written = this.gathered && this.writing?.then(() => true);
      if (!(await (written ? Promise.race([written, more]) : more))) break;
    }
    await this.settle();
  }

  private async handle(packet: Buffer): Promise<void> {
    if (!this.hasBegun) {
      if (!isInit(packet)) throw new MalformedPacket('the first packet is another one');
      this.hasBegun = true;
      await this.channel.write(versionPacket());
      return;
    }
    const request = parseRequest(packet);
    try {
      if (request.kind === 'write') await this.gather(request);
      else {
        await this.settle();
        await this.channel.write(await this.answer(request));
      }
    } catch (error) {
      await this.channel.write(failurePacket(request.id, error));
    }
  }

  private async gather({ id, handle, offset: asked, data }: SftpRequest & { kind: 'write' }): Promise<void> {
    const file = this.fileOf(handle);
    if (!file.isWritable) throw new Refused(STATUS.permissionDenied, 'the file is not open for writing');
    const offset = file.appendAt ?? asked;
    const { sizeLimit } = this.options;
    if (offset + data.length > sizeLimit) {
      if (!file.isTooLarge) this.options.onTooLarge(sizeLimit);
      file.isTooLarge = true;
      throw new DomainError('file_too_large', { fields: { limit: sizeLimit } });
    }
    const { gathered } = this;
    const follows = gathered?.file === file && gathered.offset + gathered.bytes === offset;
    if (gathered && !follows) await this.settle();
    this.gathered ??= { file, offset, parts: [], ids: [], bytes: 0 };
    this.gathered.parts.push(data);
    this.gathered.ids.push(id);
    this.gathered.bytes += data.length;
    if (file.appendAt !== null) file.appendAt += data.length;
    if (this.gathered.bytes < MOST_PART) return;
    await this.writing;
    this.beginWrite();
  }

  /** Waits until all that was gathered is written. */
  private async settle(): Promise<void> {
    await this.writing;
    this.beginWrite();
    await this.writing;
  }

  private beginWrite(): void {
    const { gathered } = this;
    this.gathered = null;
    if (!gathered) return;
    this.writing = this.write(gathered)
      .catch((error: unknown) => (this.fault = { error }))
      .then(() => {
        this.writing = null;
      });
  }

  /** Writes what was gathered, and answers its requests. */
  private async write({ file, offset, parts, ids, bytes }: Gathered): Promise<void> {
    let answerOf = (id: number): Buffer => statusPacket(id, STATUS.ok, 'ok');
    try {
      await this.changing((files, at) => files.writePart(at, file.path, { offset, data: Buffer.concat(parts, bytes) }));
      this.options.onBytes(bytes);
    } catch (error) {
      answerOf = (id) => failurePacket(id, error);
    }
    await this.channel.write(Buffer.concat(ids.map(answerOf)));
  }

  private async answer(request: Exclude<SftpRequest, { kind: 'write' }>): Promise<Buffer> {
    const { id } = request;
    const ok = (): Buffer => statusPacket(id, STATUS.ok, 'ok');
    switch (request.kind) {
      case 'open':
        return handlePacket(id, await this.open(request));
      case 'read':
        return this.answerRead(request);
      case 'close': {
        const file = this.files.get(request.handle);
        if (file) forgetParts(file);
        if (!this.files.delete(request.handle) && !this.directories.delete(request.handle)) throw noHandle();
        return ok();
      }
      case 'stat':
      case 'lstat': {
        const follow = request.kind === 'stat';
        const path = absolute(request.path);
        return attributesPacket(id, await this.use((files, at) => files.stat(at, path, { follow })));
      }
      case 'fstat': {
        const { path } = this.fileOf(request.handle);
        return attributesPacket(id, await this.use((files, at) => files.stat(at, path, { follow: true })));
      }
      case 'setstat':
        await this.setAttributes(absolute(request.path), request.attributes);
        return ok();
      case 'fsetstat': {
        const { path } = this.fileOf(request.handle);
        await this.setAttributes(path, request.attributes);
        return ok();
      }
      case 'opendir': {
        const entries = await this.list(absolute(request.path));
        return handlePacket(id, this.enter(this.directories, { entries }));
      }
      case 'readdir': {
        const directory = this.directories.get(request.handle);
        if (!directory) throw noHandle();
        const entries = directory.entries.splice(0, ENTRIES_AT_ONCE);
        return entries.length > 0 ? namePacket(id, entries) : statusPacket(id, STATUS.eof, 'end of directory');
      }
      case 'remove':
        await this.remove(absolute(request.path), 'file');
        return ok();
      case 'rmdir':
        await this.remove(absolute(request.path), 'directory');
        return ok();
      case 'mkdir': {
        const path = absolute(request.path);
        const options = { parents: false, mode: masked(request.attributes.mode) };
        await this.changing((files, at) => files.makeDirectory(at, path, options));
        return ok();
      }
      case 'realpath': {
        const path = absolute(request.path);
        const name = await this.use((files, at) => files.resolve(at, path));
        return namePacket(id, [{ name, attributes: null }]);
      }
      case 'readlink': {
        const path = absolute(request.path);
        const name = await this.use((files, at) => files.readLink(at, path));
        return namePacket(id, [{ name, attributes: null }]);
      }
      case 'rename':
      case 'posix-rename': {
        const paths = { from: absolute(request.from), to: absolute(request.to) };
        const options = { parents: false, replace: request.kind === 'posix-rename' };
        await this.changing((files, at) => files.move(at, paths, options));
        return ok();
      }
      case 'symlink':
        // The target stays as it is: it may be relative to the link.
        await this.link({ path: absolute(request.to), target: pathOf(request.from), kind: 'symbolic' });
        return ok();
      case 'hardlink':
        await this.link({ path: absolute(request.to), target: absolute(request.from), kind: 'hard' });
        return ok();
      case 'statvfs': {
        const path = absolute(request.path);
        const space = await this.use((files, at) => files.space(at, path));
        const { blockSize, blocks, freeBlocks, availableBlocks, files, freeFiles, longestName } = space;
        const counts = [blocks, freeBlocks, availableBlocks, files, freeFiles, freeFiles];
        return extendedPacket(id, [blockSize, blockSize, ...counts, 0, 0, longestName]);
      }
      case 'limits':
        return extendedPacket(id, [MOST_PACKET, MOST_DATA, MOST_DATA, MOST_HANDLES]);
      case 'unknown':
        throw new Refused(STATUS.unsupported, 'the request is not supported');
    }
  }

  private async open({ path: given, flags, attributes }: SftpRequest & { kind: 'open' }): Promise<string> {
    const isWritable = (flags & (FLAG.write | FLAG.append)) !== 0;
    const path = absolute(given);
    const file = await this.changing(async (files, at) => {
      const mode = masked(attributes.mode);
      if (isWritable && flags & (FLAG.create | FLAG.truncate)) {
        // Without the flag to create it, a file that is not there is an error.
        if (!(flags & FLAG.create)) await files.stat(at, path, { follow: true });
        const present = flags & FLAG.truncate ? 'empty' : 'keep';
        const existing = flags & FLAG.create && flags & FLAG.exclusive ? 'refuse' : present;
        await files.create(at, path, { existing, mode });
        if (!(flags & FLAG.append)) return { size: 0, isGenerated: false };
      }
      const { mode: found, size } = await files.stat(at, path, { follow: true });
      if ((found & FILE_TYPE.mask) === FILE_TYPE.directory) throw new DomainError('path_is_directory');
      if ((found & FILE_TYPE.mask) !== FILE_TYPE.regular) throw new DomainError('path_not_file');
      return { size, isGenerated: size === 0 };
    });
    return this.enter(this.files, {
      path,
      isReadable: (flags & FLAG.read) !== 0,
      isWritable,
      isTooLarge: false,
      appendAt: flags & FLAG.append ? file.size : null,
      isGenerated: file.isGenerated,
      part: null,
      next: null,
      readTo: 0,
      ahead: FIRST_PART,
    });
  }

  /** A short answer means the end of the file: clients ask for the rest out of order. */
  private async answerRead({ id, handle, offset, length }: SftpRequest & { kind: 'read' }): Promise<Buffer> {
    const file = this.fileOf(handle);
    if (!file.isReadable) throw new Refused(STATUS.permissionDenied, 'the file is not open for reading');
    const wanted = Math.min(length, MOST_DATA);
    const found: Buffer[] = [];
    let bytes = 0;
    while (bytes < wanted) {
      const at = offset + bytes;
      const part = await this.partAt(file, at, wanted - bytes);
      const data = part.data.subarray(at - part.offset, at - part.offset + wanted - bytes);
      if (data.length === 0) break;
      found.push(data);
      bytes += data.length;
      file.readTo = offset + bytes;
    }
    if (bytes === 0) return statusPacket(id, STATUS.eof, 'end of file');
    this.options.onBytes(bytes);
    return dataPacket(id, found.length === 1 ? (found[0] ?? Buffer.alloc(0)) : Buffer.concat(found, bytes));
  }

  /** The part of the file that has the offset. If the client reads in order, the next part is read meanwhile. */
  private async partAt(file: OpenFile, offset: number, wanted: number): Promise<Part> {
    if (isIn(file.part, offset)) return file.part;
    const isInOrder = offset === file.readTo;
    if (!isInOrder) file.ahead = FIRST_PART;
    const { next } = file;
    file.next = null;
    this.noteRead(file);
    const part = await (next?.offset === offset
      ? next.part
      : this.fetch(file, offset, isInOrder ? file.ahead : wanted));
    file.part = part;
    if (isInOrder && !part.isLast && part.data.length > 0) {
      file.ahead = Math.min(2 * file.ahead, MOST_PART);
      const end = offset + part.data.length;
      const following = this.fetch(file, end, file.ahead);
      // Reported to the request that needs it.
      following.catch(() => undefined);
      file.next = { offset: end, part: following };
    }
    return part;
  }

  private async fetch(file: OpenFile, offset: number, bytes: number): Promise<Part> {
    const length = Math.max(bytes, LEAST_PART);
    const data = await this.use((files, at) => files.readPart(at, file.path, { offset, length }));
    const isLast = data.length === 0 || (!file.isGenerated && data.length < length);
    return { offset, data, isLast, at: performance.now() };
  }

  /** Forgets the parts of the file that was not read for longest, if there are too many. */
  private noteRead(file: OpenFile): void {
    const at = this.recent.indexOf(file);
    if (at >= 0) this.recent.splice(at, 1);
    this.recent.push(file);
    const oldest = this.recent.length > MOST_READ ? this.recent.shift() : undefined;
    if (oldest) forgetParts(oldest);
  }

  /** Runs `work`, which changes files: what was read ahead may not be true any more. */
  private async changing<T>(work: (files: EngineFiles, inside: FilesCall) => Promise<T>): Promise<T> {
    this.recent.splice(0).forEach(forgetParts);
    return this.use(work);
  }

  private async list(path: Buffer): Promise<NamedEntry[]> {
    const entries: NamedEntry[] = [];
    await this.use((files, at) =>
      files.list(at, path, (name, attributes) => {
        if (entries.length >= MOST_ENTRIES) throw new Refused(STATUS.failure, 'the directory is too large');
        entries.push({ name: Buffer.from(name, 'latin1'), attributes });
      }),
    );
    return entries;
  }

  private async remove(path: Buffer, kind: 'file' | 'directory'): Promise<void> {
    await this.changing((files, at) => files.remove(at, path, { kind, recursive: false, decide: null }));
  }

  private async link(link: { path: Buffer; target: Buffer; kind: 'hard' | 'symbolic' }): Promise<void> {
    await this.changing((files, at) => files.makeLink(at, link));
  }

  private async setAttributes(
    path: Buffer,
    { size, mode, uid, gid, accessedAt, modifiedAt }: GivenAttributes,
  ): Promise<void> {
    const owner = uid === undefined || gid === undefined ? undefined : { uid, gid };
    const times = accessedAt === undefined || modifiedAt === undefined ? undefined : { accessedAt, modifiedAt };
    await this.changing(async (files, at) => {
      if (size !== undefined) await files.truncate(at, path, size);
      if (mode === undefined && !owner && !times) return;
      await files.change(at, path, { mode: mode === undefined ? undefined : mode & 0o7777, owner, times });
    });
  }

  private enter<T>(handles: Map<string, T>, opened: T): string {
    if (this.files.size + this.directories.size >= MOST_HANDLES) {
      throw new Refused(STATUS.failure, 'too many files are open');
    }
    this.lastHandle += 1;
    const handle = String(this.lastHandle);
    handles.set(handle, opened);
    return handle;
  }

  private fileOf(handle: string): OpenFile {
    const file = this.files.get(handle);
    if (!file) throw noHandle();
    return file;
  }
}

/** @throws Refused for paths that no file can have */
function pathOf(path: Buffer): Buffer {
  if (path.length > 4095 || path.includes(0)) throw new Refused(STATUS.badMessage, 'the path is too long');
  return path.length === 0 ? Buffer.from('.') : path;
}

/** The absolute form of a path, which may be relative to the home directory. @throws Refused */
function absolute(path: Buffer): Buffer {
  const given = pathOf(path);
  return given[0] === 0x2f ? given : Buffer.concat([HOME, given]);
}

function masked(mode: number | undefined): number | undefined {
  return mode === undefined ? undefined : mode & 0o7777 & ~UMASK;
}

function forgetParts(file: OpenFile): void {
  file.part = null;
  file.next = null;
}

function isIn(part: Part | null, offset: number): part is Part {
  if (!part || performance.now() - part.at > PART_KEPT_MS) return false;
  const end = part.offset + part.data.length;
  return offset >= part.offset && (offset < end || (offset === end && part.isLast));
}

function noHandle(): Refused {
  return new Refused(STATUS.failure, 'there is no such handle');
}

function failurePacket(id: number, error: unknown): Buffer {
  if (error instanceof Refused) return statusPacket(id, error.code, error.message);
  // What is no refusal ends the session.
  if (!(error instanceof DomainError)) throw error;
  return statusPacket(id, statusOf(error), error.message);
}

function statusOf({ kind }: DomainError): StatusCode {
  if (kind === 'path_not_found') return STATUS.noSuchFile;
  return kind === 'path_denied' ? STATUS.permissionDenied : STATUS.failure;
}
