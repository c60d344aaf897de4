import { Inject, Injectable } from '@nestjs/common';
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { Readable } from 'node:stream';
import { notedBytes } from '../../audit';
import type { Principal } from '../../auth';
import { type Config, CONFIG } from '../../config';
import { ContainersService, type RunningContainer } from '../../containers';
import { ContainerEngine, type FileContent, type FilesCall, type FileShell, isFileError } from '../../docker';
import { DomainError, invalidParameters } from '../../errors';
import type { BodyStream } from '../../http';
import { untilAborted } from '../../scheduling';
import { failedAs } from '../program-errors';
import { ExecAccess } from '../exec-access';
import { archiveTooLarge, cleanEntries, type Unpacked } from './archive';
import { ContainerPath } from './container-path';
import { attachment, sendFile, sendStream } from './download';
import { decodeNameCursor, describe, encodeNameCursor, type FileDescription, Listing } from './listing';
import { TransferPlaces } from './transfer-places';
import { type ConditionalRequest, decisionOf } from './validators';
import { bounded, formFile, IDLE_MS, MOST_FORM, tooLarge, type Written } from './upload';

const MB = 1024 * 1024;

/** Where a call's programs run, in which container. `signal` aborts when the caller loses access or has gone. */
interface FilesPlace extends FilesCall {
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

interface Client {
  readonly request: FastifyRequest;
  readonly reply: FastifyReply;
}

/**
 * Files in running containers: who may access them, how many at once, how large, and under which conditions.
 *
 * All methods throw {@link DomainError}: `container_not_found`, `container_not_running`, `invalid_parameters`,
 * `path_not_found`, `path_denied`, `tools_missing`, `tools_failed`, `too_many_transfers`, `file_access_failed`.
 */
@Injectable()
export class FilesService {
  private readonly places = new TransferPlaces();

  constructor(
    private readonly containers: ContainersService,
    private readonly engine: ContainerEngine,
    private readonly rights: ExecAccess,
    @Inject(CONFIG) private readonly config: Pick<Config, 'FILE_SIZE_LIMIT_MB' | 'ARCHIVE_SIZE_LIMIT_MB'>,
  ) {}

  /**
   * Maximum bytes of a file that is written to a container: by the settings and its disk, whichever is less.
   *
   * @throws DomainError `container_not_found`, `not_authorized`
   */
  async sizeLimit({ caller, id }: Pick<Call, 'caller' | 'id'>): Promise<number> {
    return this.limitOf(await this.containers.find(caller, id));
  }

  private limitOf({ diskMb }: Pick<RunningContainer, 'diskMb'>): number {
    return Math.min(this.config.FILE_SIZE_LIMIT_MB, diskMb) * MB;
  }

  /**
   * Opens a shell that answers requests about files, and runs `work` with it, as one transfer. The container counts as
   * used until `work` ends.
   *
   * @throws DomainError; the shell's own errors are for {@link fileFault}
   */
  async session(call: Call, work: (shell: FileShell) => Promise<void>): Promise<void> {
    await this.inside(call, (place) => this.engine.files.session(place, work));
  }

  /** Sends a file, or a range of it. @throws DomainError `range_not_satisfiable`, `path_is_directory` */
  async download(call: Call, given: Buffer | undefined, client: Client): Promise<void> {
    const path = ContainerPath.parse(required(given), 'path');
    await this.inside(call, (place) =>
      this.engine.files.read(place, path.bytes, (file) =>
        breakingOff(client.reply, place.signal, () => sendFile(file, path, client)),
      ),
    );
  }

  /** @throws DomainError `file_too_large`, `no_space`, `path_is_directory`, `path_exists`, `request_timeout` */
  async upload(call: Call, given: Buffer | undefined, body: BodyStream): Promise<Written> {
    return this.taking(body, async () => {
      const path = ContainerPath.parseEntry(required(given), 'path');
      // The work may be called again; a body can be read once.
      let content: Readable | undefined;
      return this.inside(call, (place) => {
        const limit = this.limitOf(place.container);
        // Before anything is read: most clients begin to send only then.
        if ((body.length ?? 0) > limit) throw tooLarge(limit);
        content ??= body.read(IDLE_MS);
        const file = { content: until(content, place.signal), isOwned: true, length: body.length };
        return this.write(place, call, { ...file, path, nameInDirectory: null });
      });
    });
  }

  /** Like {@link upload}, for the file of a form. If the path is a directory, the file goes into it by its own name. */
  async uploadForm(call: Call, given: Buffer | undefined, body: BodyStream): Promise<Written> {
    return this.taking(body, async () => {
      const path = ContainerPath.parse(required(given), 'path');
      // The work may be called again; a body can be read once.
      let read: ReturnType<typeof formFile> | undefined;
      return this.inside(call, async (place) => {
        const { signal } = place;
        const limit = this.limitOf(place.container);
        if ((body.length ?? 0) > limit + MOST_FORM) throw tooLarge(limit);
        read ??= formFile(body);
        const form = await untilAborted(read, { signal, aborted: () => reasonOf(signal) });
        const asked = path.isDirectory ? path.below(nameOf(form.name)) : path;
        return this.write(place, call, {
          path: ContainerPath.parseEntry(asked.bytes, 'path'),
          nameInDirectory: path.isDirectory ? null : form.name,
          content: until(form.content, signal),
          isOwned: false,
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
    await this.inside(call, (place) =>
      this.engine.files.list(place, path.bytes, (name, info) => listing.take(name, info)),
    );
    const { files, next } = listing.result(path);
    return { files, next: next && encodeNameCursor(next), path };
  }

  /** Makes a directory and its missing parents. @throws DomainError `path_exists`, `no_space` */
  async makeDirectory(call: Call, given: Buffer | string | undefined): Promise<FileDescription> {
    const path = ContainerPath.parseEntry(required(given), 'path');
    return describe(path, await this.inside(call, (place) => this.engine.files.makeDirectory(place, path.bytes)));
  }

  /** Moves an entry; never replaces another. @throws DomainError `path_exists`, `path_protected`, `no_space` */
  async move(call: Call, paths: { readonly from: string; readonly to: string }): Promise<FileDescription> {
    const from = ContainerPath.parseEntry(paths.from, 'from');
    const to = ContainerPath.parseEntry(paths.to, 'to');
    if (to.isWithin(from) && from.bytes.length < to.bytes.length) {
      throw invalidParameters([{ field: 'to', message: 'must not be in what is moved' }]);
    }
    const moved = { from: from.bytes, to: to.bytes };
    return describe(to, await this.inside(call, (place) => this.engine.files.move(place, moved)));
  }

  /** @throws DomainError `directory_not_empty` unless `recursive`, `path_protected` */
  async remove(call: Call, given: Buffer | undefined, { recursive }: { recursive: boolean }): Promise<void> {
    const path = ContainerPath.parse(required(given), 'path');
    if (!path.isEntry) throw new DomainError('path_protected');
    const options = { recursive, decide: decisionOf(call.request) };
    await this.inside(call, (place) => this.engine.files.remove(place, path.bytes, options));
  }

  /** Sends a directory as a tar stream. @throws DomainError `path_not_directory` */
  async downloadArchive(call: Call, given: Buffer | undefined, { request, reply }: Client): Promise<void> {
    const path = ContainerPath.parse(required(given), 'path');
    const name = Buffer.concat([path.base.length === 0 ? Buffer.from('root') : path.base, Buffer.from('.tar')]);
    const headers = { 'content-type': 'application/x-tar', 'content-disposition': attachment(name) };
    await this.inside(call, (place) =>
      this.engine.files.pack(place, path.bytes, async (archive) => {
        if (request.method === 'HEAD') {
          await archive.close();
          await reply.headers(headers).send();
          return;
        }
        const send = () => sendStream(archive.read(), () => reply.headers(headers));
        await breakingOff(reply, place.signal, send);
      }),
    );
  }

  /** Unpacks a tar stream into a directory. @throws DomainError `archive_too_large`, `no_space`, `path_exists` */
  async uploadArchive(
    call: Call,
    given: Buffer | undefined,
    body: BodyStream,
  ): Promise<{ path: string; entries: number; bytes: number }> {
    return this.taking(body, async () => {
      const path = ContainerPath.parse(required(given), 'path');
      const limit = this.config.ARCHIVE_SIZE_LIMIT_MB * MB;
      if ((body.length ?? 0) > limit) throw archiveTooLarge(limit);
      const content = body.read(IDLE_MS);
      const unpacked: Unpacked = { entries: 0, bytes: 0 };
      await this.inside(call, async (place) => {
        const entries = cleanEntries(until(content, place.signal), { limit, onBytes: notedBytes(), unpacked });
        await this.engine.files.unpack(place, path.bytes, entries);
      });
      return { path: path.text, ...unpacked };
    });
  }

  private async write(
    place: FilesPlace,
    { request }: Call,
    {
      path,
      ...file
    }: Pick<FileContent, 'nameInDirectory' | 'content' | 'isOwned' | 'length'> & { path: ContainerPath },
  ): Promise<Written> {
    const onBytes = bounded(this.limitOf(place.container), notedBytes());
    const content = { ...file, path: path.bytes, onBytes, decide: decisionOf(request) };
    const { became, at, info } = await this.engine.files.write(place, content);
    const written = at === 'directory' && file.nameInDirectory ? path.below(file.nameInDirectory) : path;
    return { became, file: describe(written, info) };
  }

  /** Discards the rest of the body after `work`, so that a client that is still sending can read the response. */
  private async taking<T>(body: BodyStream, work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } finally {
      body.discard();
    }
  }

  private inside<T>({ caller, id, gone }: Call, work: (place: FilesPlace) => Promise<T>): Promise<T> {
    return this.containers.inside(caller, id, async (container) => {
      const place = await this.places.take(container.id);
      const programs: Promise<void>[] = [];
      const { dockerId } = container;
      // The sandbox ends programs that nobody reads.
      const endLater = (): void => undefined;
      const onStart = (each: Promise<void>): void => void programs.push(each);
      try {
        return await this.rights.during(caller, async (end) => {
          const signal = gone ? AbortSignal.any([end, gone]) : end;
          try {
            return await work({ container, dockerId, signal, endLater, onStart });
          } catch (error) {
            throw signal.aborted && error === signal.reason ? reasonOf(signal) : error;
          }
        });
      } catch (error) {
        throw fileFault(error);
      } finally {
        place.leave(programs);
      }
    });
  }
}

/** The error for a call whose signal has aborted. */
function reasonOf({ reason }: AbortSignal): DomainError {
  // The client has gone, so this error only reaches the audit.
  return reason instanceof DomainError ? reason : new DomainError('tools_failed', { code: 'broken_off' });
}

/** Translates an error of the engine's files into the one that clients see. */
export function fileFault(error: unknown): unknown {
  if (!isFileError(error)) return failedAs('file_access_failed', error);
  if (error.code !== 'invalid_parameters') return new DomainError(error.code, { cause: error });
  return invalidParameters([{ field: 'path', message: 'has a name that is too long' }]);
}

function required<T>(given: T | undefined): T {
  if (given === undefined) throw invalidParameters([{ field: 'path', message: 'must be given' }]);
  return given;
}

function nameOf(name: Buffer | null): Buffer {
  if (!name) throw invalidParameters([{ field: 'file', message: 'must have a file name, as path is a directory' }]);
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
