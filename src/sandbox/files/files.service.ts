import { Inject, Injectable } from '@nestjs/common';
import type { FastifyReply, FastifyRequest } from 'fastify';
import type { Readable } from 'node:stream';
import { notedBytes } from '../../audit';
import type { Principal } from '../../auth';
import { type Config, CONFIG } from '../../config';
import { ContainersService, type RunningContainer } from '../../containers';
import { ContainerEngine, DATA_PATH } from '../../docker';
import { DomainError, invalidParameters } from '../../errors';
import type { BodyStream } from '../../http';
import { untilAborted } from '../../scheduling';
import { ProgramRegistry } from '../program-registry';
import { failedAs } from '../program-end';
import { ExecAccess } from '../exec-access';
import { MOST_PACKED, packed, unpack } from './archive';
import { ContainerPath } from './container-path';
import { attachment, sendFile, sendStream } from './download';
import { decodeNameCursor, describe, encodeNameCursor, type FileDescription, Listing } from './listing';
import { IDLE_MS, reasonOf, type ScriptHost, type ScriptRequest, ScriptRun } from './script-run';
import { LIST, MAKE_DIRECTORY, MOVE, PACK, READ_FILE, REMOVE } from './scripts';
import { TransferPlaces } from './transfer-places';
import { conditionOf, type ConditionalRequest, decide } from './validators';
import { formFile, newToken, tooLarge, writeFile, type Written } from './upload';

const MB = 1024 * 1024;

/** Limits of listing a directory, in time and in bytes: a manipulated program may print without end. */
const LIST_MS = 120_000;
const MOST_LISTED = 64 * MB;

/** Unlimited here: each Berth process limits its own calls by {@link TransferPlaces}. */
const TRANSFER = {
  kind: 'transfer',
  command: ['sh'],
  limit: { count: Infinity, error: 'too_many_transfers' },
} as const;

/** Where a call's scripts run. */
interface ScriptPlace {
  readonly host: ScriptHost;
  readonly container: RunningContainer;
  readonly dockerId: string;
  /** Aborts, with the reason, when the caller loses access or the client has gone. */
  readonly end: AbortSignal;
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
 * Files in running containers, read and written by the image's own programs as the image's user. Docker's archive API
 * is not used: what it writes into a running gVisor container is lost (Docker 26.1, gVisor 20240729).
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
    private readonly programs: ProgramRegistry,
    private readonly rights: ExecAccess,
    @Inject(CONFIG) private readonly config: Pick<Config, 'FILE_SIZE_LIMIT_MB' | 'ARCHIVE_SIZE_LIMIT_MB'>,
  ) {}

  /** Sends a file, or a range of it. @throws DomainError `range_not_satisfiable`, `path_is_directory` */
  async download(call: Call, given: Buffer | undefined, client: Client): Promise<void> {
    const path = ContainerPath.parse(required(given), 'path');
    await this.transfer(call, async ({ host, dockerId, end }) => {
      const run = await ScriptRun.start(host, dockerId, {
        script: READ_FILE,
        args: [path.argument],
        stdin: true,
        most: Infinity,
      });
      await run.guarded(() => breakingOff(client.reply, end, () => sendFile(run, path, client)), end);
    });
  }

  /** @throws DomainError `file_too_large`, `no_space`, `path_is_directory`, `path_exists`, `request_timeout` */
  async upload(call: Call, given: Buffer | undefined, body: BodyStream): Promise<Written> {
    return this.taking(body, async () => {
      const path = ContainerPath.parseEntry(required(given), 'path');
      const limit = this.config.FILE_SIZE_LIMIT_MB * MB;
      if ((body.length ?? 0) > limit) throw tooLarge(limit);
      const content = body.read(IDLE_MS);
      return this.transfer(call, ({ host, dockerId, end }) =>
        writeFile(host, dockerId, {
          path,
          nameInDirectory: null,
          content: until(content, end),
          isOwned: true,
          onBytes: notedBytes(),
          length: body.length,
          limit,
          request: call.request,
          end,
        }),
      );
    });
  }

  /** Like {@link upload}, for the file of a form. If the path is a directory, the file goes into it by its own name. */
  async uploadForm(call: Call, given: Buffer | undefined, body: BodyStream): Promise<Written> {
    return this.taking(body, async () => {
      const path = ContainerPath.parse(required(given), 'path');
      const limit = this.config.FILE_SIZE_LIMIT_MB * MB;
      return this.transfer(call, async ({ host, dockerId, end }) => {
        const form = await untilAborted(formFile(body), { signal: end, aborted: () => reasonOf(end) });
        try {
          const asked = path.isDirectory ? path.below(nameOf(form.name)) : path;
          const target = ContainerPath.parseEntry(asked.bytes, 'path');
          const nameInDirectory = path.isDirectory ? null : form.name;
          return await writeFile(host, dockerId, {
            path: target,
            nameInDirectory,
            content: until(form.content, end),
            isOwned: false,
            onBytes: notedBytes(),
            length: undefined,
            limit,
            request: call.request,
            end,
          });
        } finally {
          form.close();
        }
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
    await this.inside(call, async ({ host, dockerId, end }) => {
      const run = await ScriptRun.start(host, dockerId, {
        script: LIST,
        args: [path.argument],
        stdin: true,
        most: MOST_LISTED,
      });
      await run.guarded(async () => {
        const until = performance.now() + LIST_MS;
        const next = (): Promise<Buffer | null> => run.read(Math.min(IDLE_MS, until - performance.now()));
        for (let data = await next(); data; data = await next()) {
          if (!listing.take(data) || performance.now() > until) throw new DomainError('tools_failed');
        }
        await run.succeeded();
      }, end);
    });
    if (!listing.isWhole) throw new DomainError('tools_failed');
    const { files, next } = listing.result(path);
    return { files, next: next && encodeNameCursor(next), path };
  }

  /** Makes a directory and its missing parents. @throws DomainError `path_exists`, `no_space` */
  async makeDirectory(call: Call, given: Buffer | string | undefined): Promise<FileDescription> {
    const path = ContainerPath.parseEntry(required(given), 'path');
    return this.described(call, path, { script: MAKE_DIRECTORY, args: [path.argument] });
  }

  /** Moves an entry; never replaces another. @throws DomainError `path_exists`, `path_protected`, `no_space` */
  async move(call: Call, paths: { readonly from: string; readonly to: string }): Promise<FileDescription> {
    const from = ContainerPath.parseEntry(paths.from, 'from');
    const to = ContainerPath.parseEntry(paths.to, 'to');
    if (to.isWithin(from) && from.bytes.length < to.bytes.length) {
      throw invalidParameters([{ field: 'to', message: 'must not be in what is moved' }]);
    }
    return this.described(call, to, { script: MOVE, args: [from.argument, to.argument, DATA_PATH] });
  }

  /** @throws DomainError `directory_not_empty` unless `recursive`, `path_protected` */
  async remove(call: Call, given: Buffer | undefined, { recursive }: { recursive: boolean }): Promise<void> {
    const path = ContainerPath.parse(required(given), 'path');
    if (!path.isEntry) throw new DomainError('path_protected');
    const { request } = call;
    const args = [path.argument, recursive ? 'recursive' : '', DATA_PATH, conditionOf(request)];
    if (!request || conditionOf(request) === '') {
      await this.words(call, { script: REMOVE, args });
      return;
    }
    await this.inside(call, async ({ host, dockerId, end }) => {
      const run = await ScriptRun.start(host, dockerId, { script: REMOVE, args, stdin: true });
      await run.guarded(async () => {
        decide(run, request, { path, words: await run.line() });
        run.endInput();
        await run.rest();
      }, end);
    });
  }

  /** Sends a directory as a tar stream. @throws DomainError `path_not_directory` */
  async downloadArchive(call: Call, given: Buffer | undefined, { request, reply }: Client): Promise<void> {
    const path = ContainerPath.parse(required(given), 'path');
    const name = Buffer.concat([path.base.length === 0 ? Buffer.from('root') : path.base, Buffer.from('.tar')]);
    const headers = { 'content-type': 'application/x-tar', 'content-disposition': attachment(name) };
    await this.transfer(call, async ({ host, dockerId, end }) => {
      const token = newToken();
      const pack = { script: PACK, args: [path.argument, token], stdin: true, most: MOST_PACKED } as const;
      const run = await ScriptRun.start(host, dockerId, pack);
      await run.guarded(async () => {
        if ((await run.line()) !== 'ready') throw new DomainError('tools_failed');
        if (request.method !== 'HEAD') {
          const send = () => sendStream(packed(run, token), () => reply.headers(headers));
          await breakingOff(reply, end, send);
        } else {
          await run.abandon();
          await reply.headers(headers).send();
        }
      }, end);
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
      const limit = this.config.ARCHIVE_SIZE_LIMIT_MB * MB;
      if ((body.length ?? 0) > limit) throw new DomainError('archive_too_large', { fields: { limit } });
      const content = body.read(IDLE_MS);
      const unpacked = await this.transfer(call, ({ host, dockerId, end }) =>
        unpack(host, dockerId, { path, content: until(content, end), onBytes: notedBytes(), limit, end }),
      );
      return { path: path.text, ...unpacked };
    });
  }

  private async described(call: Call, path: ContainerPath, request: ScriptRequest): Promise<FileDescription> {
    const description = describe(path, await this.words(call, request));
    if (!description) throw new DomainError('tools_failed');
    return description;
  }

  private words(call: Call, request: ScriptRequest): Promise<string> {
    return this.inside(call, ({ host, dockerId, end }) => ScriptRun.words(host, dockerId, { ...request, end }));
  }

  /** Discards the rest of the body after `work`, so that a client that is still sending can read the response. */
  private async taking<T>(body: BodyStream, work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } finally {
      body.discard();
    }
  }

  /**
   * Runs `work` for a script with a row in the program registry. Such a script normally ends with its connection. If
   * this process and Docker die at the same time while the container keeps running (`live-restore`), nothing closes
   * the script's input, and the next start of Berth kills it.
   */
  private transfer<T>(call: Call, work: (place: ScriptPlace) => Promise<T>): Promise<T> {
    return this.inside(call, async (place) => {
      const entry = await this.programs.enter(place.container, TRANSFER);
      const left = { isGivenUp: false };
      const endLater = (): void => {
        left.isGivenUp = true;
        this.programs.abandon(entry);
      };
      const scripts: Promise<void>[] = [];
      const onStart = (gone: Promise<void>): void => {
        scripts.push(gone);
        place.host.onStart?.(gone);
      };
      const host = { engine: this.engine, marker: entry.id, endLater, onStart };
      try {
        return await work({ ...place, host });
      } finally {
        // In the background, so that no response waits. If Docker does not answer, the registry kills the script
        // later.
        void Promise.all(scripts).then(async () => {
          if (!left.isGivenUp) await this.programs.leave(entry).catch(endLater);
        });
      }
    });
  }

  private inside<T>({ caller, id, gone }: Call, work: (place: ScriptPlace) => Promise<T>): Promise<T> {
    return this.containers.inside(caller, id, async (container) => {
      const place = await this.places.take(container.id);
      const scripts: Promise<void>[] = [];
      const host: ScriptHost = {
        engine: this.engine,
        endLater: (left) => this.programs.endLater(left),
        onStart: (each) => scripts.push(each),
      };
      const { dockerId } = container;
      try {
        return await this.rights.during(caller, (end) =>
          work({ host, container, dockerId, end: gone ? AbortSignal.any([end, gone]) : end }),
        );
      } catch (error) {
        throw failedAs('file_access_failed', error);
      } finally {
        place.leave(scripts);
      }
    });
  }
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
