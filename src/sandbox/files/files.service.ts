import { Inject, Injectable } from '@nestjs/common';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { notedBytes } from '../../audit';
import { OpenConnections, type Principal } from '../../auth';
import { type Config, CONFIG } from '../../config';
import { ContainersService, type RunningContainer } from '../../containers';
import {
  ContainerEngine,
  EngineError,
  type EngineFiles,
  type FileContent,
  type FilesCall,
  isFileError,
} from '../../engine';
import { DomainError, invalidParameters } from '../../errors';
import type { BodyStream } from '../../http';
import { KeyedLimiter, untilAborted } from '../../scheduling';
import { failedAs } from '../access/inside-errors';
import { ContainerPath } from './container-path';
import { attachment, MOST_UNKNOWN, sendAsTaken, sendFile } from './download';
import {
  decodeNameCursor,
  describe,
  describeFound,
  encodeNameCursor,
  type FileDescription,
  type FoundDescription,
  Listing,
} from './listing';
import { type ConditionalRequest, decisionOf, representationOf } from './validators';
import { bounded, formFile, IDLE_MS, MOST_FORM, tooLarge, type Written } from './upload';

const MB = 1024 * 1024;

/** Maximum concurrent calls in one container, for each Berth process. */
const MOST_TRANSFERS = 16;

/** A call inside a container. `signal` aborts when the caller loses access or has gone. */
interface ContainerFiles extends FilesCall {
  readonly container: RunningContainer;
}

/** The container of a call, and its caller. */
interface Call {
  readonly caller: Principal;
  readonly id: string;
  /** Aborts when the client has gone; absent for a call that continues without it. */
  readonly gone?: AbortSignal;
  /** The request whose conditions are evaluated if the call changes a file. */
  readonly request?: ConditionalRequest;
}

/** A part of a file, in memory. */
interface FilePart {
  readonly data: Buffer;
  /** Of the whole file, in bytes; null if only reading it tells. */
  readonly size: number | null;
  readonly etag: string;
}

interface Client {
  readonly request: FastifyRequest;
  readonly reply: FastifyReply;
}

/**
 * Files in running containers: who may access them, how many at once, how large, and under which conditions.
 *
 * All methods throw {@link DomainError}: `container_not_found`, `container_not_running`, `invalid_parameters`,
 * `path_not_found`, `path_denied`, `tools_failed`, `too_many_transfers`, `file_access_failed`.
 */
@Injectable()
export class FilesService {
  private readonly transfers = new KeyedLimiter(MOST_TRANSFERS);

  constructor(
    private readonly containers: ContainersService,
    private readonly engine: ContainerEngine,
    private readonly connections: OpenConnections,
    @Inject(CONFIG) private readonly config: Pick<Config, 'FILE_SIZE_LIMIT_MB' | 'ARCHIVE_SIZE_LIMIT_MB'>,
  ) {}

  /**
   * Maximum bytes of a file that is written to a container: by the settings and its disk, whichever is less.
   *
   * @throws DomainError `container_not_found`, `not_authorized`
   */
  async sizeLimit({ caller, id }: Pick<Call, 'caller' | 'id'>): Promise<number> {
    return this.limitOf('FILE', await this.containers.find(caller, id));
  }

  /** The limit of the settings, or the disk, whichever is less; in bytes. */
  private limitOf(what: 'FILE' | 'ARCHIVE', { diskMb }: Pick<RunningContainer, 'diskMb'>): number {
    return Math.min(this.config[`${what}_SIZE_LIMIT_MB`], diskMb) * MB;
  }

  /**
   * Runs `work` with the engine's files, for one request of a session, which has limits of its own.
   *
   * @throws DomainError
   */
  use<T>(call: Call, work: (files: EngineFiles, inside: FilesCall) => Promise<T>): Promise<T> {
    return this.inside(call, (inside) => work(this.engine.files, inside));
  }

  /** Sends a file, or a range of it. @throws DomainError `range_not_satisfiable`, `path_is_directory` */
  async download(call: Call, given: Buffer | undefined, client: Client): Promise<void> {
    const path = ContainerPath.parse(required(given), 'path');
    await this.transfer(call, async (inside) => {
      const file = await this.engine.files.open(inside, path.bytes);
      try {
        await breakingOff(client.reply, inside.signal, () => sendFile(file, path, client));
      } finally {
        file.close();
      }
    });
  }

  /** @throws DomainError `file_too_large`, `no_space`, `path_is_directory`, `path_exists`, `request_timeout` */
  async upload(call: Call, given: Buffer | undefined, body: BodyStream): Promise<Written> {
    return this.taking(body, async () => {
      const path = ContainerPath.parseEntry(required(given), 'path');
      // The work may be called again; a body can be read once.
      let content: Readable | undefined;
      return this.transfer(call, (inside) => {
        const limit = this.limitOf('FILE', inside.container);
        // Before anything is read: most clients begin to send only then.
        if ((body.length ?? 0) > limit) throw tooLarge(limit);
        content ??= body.read(IDLE_MS);
        const file = { content: until(content, inside.signal), length: body.length };
        return this.write(inside, call, { ...file, path, nameInDirectory: null });
      });
    });
  }

  /**
   * Reads a part of a file into memory.
   *
   * @param range in bytes; `length` ends at the end of the file
   * @returns the part, and the file's size and entity tag; a file that the kernel generates has no size (null)
   * @throws DomainError `path_is_directory`, `path_not_file`, `range_not_satisfiable`
   */
  async read(call: Call, given: string, { offset, length }: { offset: number; length: number }): Promise<FilePart> {
    const path = ContainerPath.parse(given, 'path');
    return this.transfer(call, async (inside) => {
      const file = await this.engine.files.open(inside, path.bytes);
      try {
        const { size } = file.state;
        const { etag } = representationOf(path, file.state);
        if (etag === null) throw new DomainError('tools_failed');
        const note = notedBytes();
        if (size === 0) {
          const data = (await file.beginning(MOST_UNKNOWN)).subarray(offset, offset + length);
          note(data.length);
          return { data, size: null, etag };
        }
        if (offset > size) throw new DomainError('range_not_satisfiable', { fields: { size } });
        const part = { offset, length: Math.min(length, size - offset) };
        if (part.length === 0) return { data: Buffer.alloc(0), size, etag };
        return { data: await buffer(until(await file.range(part, note), inside.signal)), size, etag };
      } finally {
        file.close();
      }
    });
  }

  /** Like {@link upload}, for content in memory. */
  async put(call: Call, given: string, data: Buffer): Promise<Written> {
    const path = ContainerPath.parseEntry(given, 'path');
    return this.transfer(call, (inside) => {
      const limit = this.limitOf('FILE', inside.container);
      if (data.length > limit) throw tooLarge(limit);
      const content = Readable.from(data.length === 0 ? [] : [data]);
      return this.write(inside, call, { content, length: data.length, path, nameInDirectory: null });
    });
  }

  /** Like {@link upload}, for the file of a form. If the path is a directory, the file goes into it by its own name. */
  async uploadForm(call: Call, given: Buffer | undefined, body: BodyStream): Promise<Written> {
    return this.taking(body, async () => {
      const path = ContainerPath.parse(required(given), 'path');
      // The work may be called again; a body can be read once.
      let read: ReturnType<typeof formFile> | undefined;
      return this.transfer(call, async (inside) => {
        const { signal } = inside;
        const limit = this.limitOf('FILE', inside.container);
        if ((body.length ?? 0) > limit + MOST_FORM) throw tooLarge(limit);
        read ??= formFile(body);
        const form = await untilAborted(read, { signal, aborted: () => reasonOf(signal) });
        const asked = path.isDirectory ? path.below(nameOf(form.name)) : path;
        return this.write(inside, call, {
          path: ContainerPath.parseEntry(asked.bytes, 'path'),
          nameInDirectory: path.isDirectory ? null : form.name,
          content: until(form.content, signal),
          length: undefined,
        });
      });
    });
  }

  /** One page of a directory, ordered by the bytes of the names. @returns the cursor of the next page, or null */
  async list(
    call: Call,
    given: Buffer | undefined,
    { limit, cursor }: { limit: number; cursor?: string | undefined },
  ): Promise<{ files: FileDescription[]; next: string | null; path: ContainerPath }> {
    const path = ContainerPath.parse(required(given), 'path');
    const listing = new Listing({ limit, after: cursor === undefined ? null : decodeNameCursor(cursor) });
    await this.transfer(call, (inside) =>
      this.engine.files.list(inside, path.bytes, (name, attributes) => listing.take(name, attributes)),
    );
    const { files, next } = listing.result(path);
    return { files, next: next && encodeNameCursor(next), path };
  }

  /** Searches below a directory, by names and by what is in files. */
  async search(
    call: Call,
    given: Buffer | undefined,
    { name, content, limit }: { name?: string | undefined; content?: string | undefined; limit: number },
  ): Promise<{ files: FoundDescription[]; complete: boolean }> {
    const path = ContainerPath.parse(required(given), 'path');
    if (name === undefined && content === undefined) {
      throw invalidParameters([{ field: 'name', message: 'must be given, unless content is' }]);
    }
    const asked = { name, content, limit };
    const { found, isComplete } = await this.transfer(call, (inside) =>
      this.engine.files.search(inside, path.bytes, asked),
    );
    return { files: found.map((each) => describeFound(path, each)), complete: isComplete };
  }

  /** Makes a directory and its missing parents. @throws DomainError `path_exists`, `no_space` */
  async makeDirectory(call: Call, given: Buffer | string | undefined): Promise<FileDescription> {
    const path = ContainerPath.parseEntry(required(given), 'path');
    const making = (inside: ContainerFiles) => this.engine.files.makeDirectory(inside, path.bytes, { parents: true });
    return describe(path, await this.transfer(call, making));
  }

  /** Moves an entry; never replaces another. @throws DomainError `path_exists`, `path_protected`, `no_space` */
  async move(call: Call, paths: { readonly from: string; readonly to: string }): Promise<FileDescription> {
    const from = ContainerPath.parseEntry(paths.from, 'from');
    const to = ContainerPath.parseEntry(paths.to, 'to');
    if (to.isWithin(from) && from.bytes.length < to.bytes.length) {
      throw invalidParameters([{ field: 'to', message: 'must not be inside the path that is moved' }]);
    }
    const moved = { from: from.bytes, to: to.bytes };
    const options = { parents: true, replace: false };
    return describe(to, await this.transfer(call, (inside) => this.engine.files.move(inside, moved, options)));
  }

  /** @throws DomainError `directory_not_empty` unless `recursive`, `path_protected` */
  async remove(call: Call, given: Buffer | undefined, { recursive }: { recursive: boolean }): Promise<void> {
    const path = ContainerPath.parse(required(given), 'path');
    if (!path.isEntry) throw new DomainError('path_protected');
    const options = { kind: 'any', recursive, decide: decisionOf(call.request, () => path) } as const;
    await this.transfer(call, (inside) => this.engine.files.remove(inside, path.bytes, options));
  }

  /** Sends a directory as a tar stream. @throws DomainError `path_not_directory` */
  async downloadArchive(call: Call, given: Buffer | undefined, { request, reply }: Client): Promise<void> {
    const path = ContainerPath.parse(required(given), 'path');
    const name = Buffer.concat([path.base.length === 0 ? Buffer.from('root') : path.base, Buffer.from('.tar')]);
    const headers = { 'content-type': 'application/x-tar', 'content-disposition': attachment(name) };
    await this.transfer(call, async (inside) => {
      const pack = (onBytes: (bytes: number) => void) => this.engine.files.pack(inside, path.bytes, onBytes);
      if (request.method !== 'HEAD') {
        const send = () => sendAsTaken(pack, () => reply.headers(headers));
        await breakingOff(reply, inside.signal, send);
        return;
      }
      (await pack(() => undefined)).destroy();
      await reply.headers(headers).send();
    });
  }

  /** Unpacks a tar stream into a directory. @throws DomainError `archive_too_large`, `no_space`, `path_exists` */
  async uploadArchive(
    call: Call,
    given: Buffer | undefined,
    body: BodyStream,
  ): Promise<{ path: string; entries: number; bytes: number }> {
    return this.taking(body, async () => {
      const path = ContainerPath.parse(required(given), 'path');
      // The work may be called again; a body can be read once.
      let content: Readable | undefined;
      const unpacked = await this.transfer(call, (inside) => {
        const limit = this.limitOf('ARCHIVE', inside.container);
        if ((body.length ?? 0) > limit) throw archiveTooLarge(limit);
        content ??= body.read(IDLE_MS);
        const onBytes = bounded({ limit, tooLarge: archiveTooLarge }, notedBytes());
        const archive = { content: until(content, inside.signal), onBytes };
        return this.engine.files.unpack(inside, path.bytes, archive).catch((error: unknown) => {
          throw archiveFault(error);
        });
      });
      return { path: path.text, ...unpacked };
    });
  }

  private async write(
    inside: ContainerFiles,
    { request }: Call,
    { path, ...file }: Pick<FileContent, 'nameInDirectory' | 'content' | 'length'> & { path: ContainerPath },
  ): Promise<Written> {
    const { nameInDirectory } = file;
    const pathOf = (at: 'file' | 'directory'): ContainerPath =>
      at === 'directory' && nameInDirectory ? path.below(nameInDirectory) : path;
    const onBytes = bounded({ limit: this.limitOf('FILE', inside.container), tooLarge }, notedBytes());
    const content = { ...file, path: path.bytes, onBytes, decide: decisionOf(request, pathOf) };
    const { became, at, attributes } = await this.engine.files.write(inside, content);
    return { became, file: describe(pathOf(at), attributes) };
  }

  /** Discards the rest of the body after `work`, so that a client that is still sending can read the response. */
  private async taking<T>(body: BodyStream, work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } finally {
      body.discard();
    }
  }

  /** Like {@link inside}, for one of {@link MOST_TRANSFERS}. @throws DomainError `too_many_transfers` */
  private transfer<T>(call: Call, work: (inside: ContainerFiles) => Promise<T>): Promise<T> {
    return this.inside(call, async (inside) => {
      const leave = this.transfers.take(inside.container.id);
      if (!leave) throw tooManyTransfers();
      try {
        return await work(inside);
      } finally {
        leave();
      }
    });
  }

  private async inside<T>({ caller, id, gone }: Call, work: (inside: ContainerFiles) => Promise<T>): Promise<T> {
    const entry = await this.containers.enter(caller, id);
    const { signal, leave } = this.connections.accessOf(caller, { gone });
    try {
      return await entry.run((container) => work({ container, engineId: container.engineId, signal }));
    } catch (error) {
      throw fileFault(signal.aborted && error === signal.reason ? reasonOf(signal) : error);
    } finally {
      leave();
      await entry.leave();
    }
  }
}

/** The error for a call whose signal has aborted. */
function reasonOf({ reason }: AbortSignal): DomainError {
  // The client has gone, so this error only reaches the audit.
  return reason instanceof DomainError ? reason : new DomainError('tools_failed', { code: 'broken_off' });
}

/** Translates an error of the engine's files into the one that clients see. */
export function fileFault(error: unknown): unknown {
  // The supervisor's own bound, for all servers and sessions of SFTP together.
  if (error instanceof EngineError && error.code === 'too_many') return tooManyTransfers(error);
  if (!isFileError(error)) return failedAs('file_access_failed', error);
  if (error.code !== 'invalid_parameters') return new DomainError(error.code, { cause: error });
  return invalidParameters([{ field: 'path', message: 'has a name that is too long' }]);
}

/** Like {@link fileFault}, of an archive that was unpacked: its entries are the body. */
function archiveFault(error: unknown): unknown {
  if (!isFileError(error) || error.code !== 'invalid_parameters') return error;
  const message = 'must be a tar archive that contains only files, directories and links within the directory';
  return invalidParameters([{ field: 'body', message }]);
}

function tooManyTransfers(cause?: unknown): DomainError {
  return new DomainError('too_many_transfers', { fields: { limit: MOST_TRANSFERS }, cause });
}

function archiveTooLarge(limit: number): DomainError {
  return new DomainError('archive_too_large', { fields: { limit } });
}

function required<T>(given: T | undefined): T {
  if (given === undefined) throw invalidParameters([{ field: 'path', message: 'must be given' }]);
  return given;
}

function nameOf(name: Buffer | null): Buffer {
  if (!name)
    throw invalidParameters([{ field: 'file', message: 'must include a file name, because path is a directory' }]);
  return name;
}

/**
 * Runs `work`, which sends the response. If the signal aborts after the response has begun, the response is broken
 * off.
 */
async function breakingOff(reply: FastifyReply, signal: AbortSignal, work: () => Promise<void>): Promise<void> {
  const breakOff = (): void => {
    if (reply.raw.headersSent) reply.raw.destroy();
  };
  signal.addEventListener('abort', breakOff, { once: true });
  try {
    await work();
  } finally {
    signal.removeEventListener('abort', breakOff);
  }
}

/**
 * Makes the content fail with the signal's reason when the signal aborts, even if no more data comes.
 *
 * @returns `content`
 */
function until(content: Readable, signal: AbortSignal): Readable {
  const stop = (): void => void content.destroy(reasonOf(signal));
  // A reader gets the error too. This listener keeps it from being unhandled before there is one.
  content.on('error', () => undefined).once('close', () => signal.removeEventListener('abort', stop));
  signal.addEventListener('abort', stop, { once: true });
  if (signal.aborted) stop();
  return content;
}
