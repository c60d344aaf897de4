import { Busboy, type BusboyInstance } from '@fastify/busboy';
import { Injectable } from '@nestjs/common';
import type { FastifyRequest } from 'fastify';
import { pipeline, type Readable } from 'node:stream';
import { createGunzip } from 'node:zlib';
import { DomainError, invalidParameters } from '../../errors';
import type { BodyStream } from '../../http';
import { FilesService, type UploadBody } from '../../sandbox';
import { E2bError } from '../e2b-error';
import { callOfRequest } from './envd-call';
import { pathIn } from './filesystem-service';

/** A file that was written, as E2B's clients are told. */
interface WrittenFile {
  readonly name: string;
  readonly path: string;
  readonly type: 'file';
}

/** How long a client may stall while it sends. */
const IDLE_MS = 60_000;

const FORM_LIMITS = { files: 100, fields: 16, fieldSize: 64 * 1024, headerPairs: 32 };

/** Uploads of envd: a body that is the file, or a form with one or several files. */
@Injectable()
export class FileUploads {
  constructor(private readonly files: FilesService) {}

  /** @throws DomainError as {@link FilesService.upload}; `unsupported_media_type` */
  async write(request: FastifyRequest, path: string | undefined, body: BodyStream): Promise<WrittenFile[]> {
    const { type = 'application/octet-stream' } = body;
    try {
      if (Object.keys(request.headers).some((name) => name.startsWith('x-metadata-'))) {
        throw new E2bError(400, 'is not kept: write it to another file', 'metadata');
      }
      if (/^multipart\/form-data;/i.test(type)) return await this.writeForm(request, path, body);
      if (!/^application\/octet-stream\b/i.test(type)) throw new DomainError('unsupported_media_type');
      return [await this.writeFile(request, required(path), decoded(request, body))];
    } finally {
      body.discard();
    }
  }

  private async writeFile(request: FastifyRequest, given: string, body: UploadBody): Promise<WrittenFile> {
    const call = callOfRequest(request);
    const path = pathIn(call, given, 'path');
    // The conditions of RFC 9110 are no part of envd.
    const { file } = await this.files.upload({ caller: call.principal, id: call.containerId }, path.bytes, body);
    return { name: file.name, path: file.path, type: 'file' };
  }

  /** Writes the files of a form one after the other; the client is read at the pace of each. */
  private writeForm(request: FastifyRequest, path: string | undefined, body: BodyStream): Promise<WrittenFile[]> {
    const form = parserOf(body.type ?? '');
    const source = decoded(request, body).read(IDLE_MS);
    const parts = new Set<Readable>();
    return new Promise((resolve, reject) => {
      const written: WrittenFile[] = [];
      let last = Promise.resolve();
      let count = 0;
      let isFailed = false;
      const fail = (error: unknown): void => {
        isFailed = true;
        reject(error instanceof DomainError ? error : refused('must be a complete form'));
        source.destroy();
        for (const part of parts) part.destroy();
      };
      form.on('file', (field, part, filename: string | undefined) => {
        parts.add(part);
        part.on('error', () => undefined).once('close', () => parts.delete(part));
        if (field !== 'file') {
          fail(refused('must be in the field "file"'));
          return;
        }
        count += 1;
        const name = count === 1 && path !== undefined ? path : filename;
        last = last.then(async () => {
          if (isFailed) return;
          if (!name) throw refused('must have a name, or the query a path');
          const file = { length: undefined, read: () => part, discard: () => part.resume() };
          written.push(await this.writeFile(request, name, file));
        });
        last.catch(fail);
      });
      form.on('error', fail).on('filesLimit', () => fail(refused(`must be at most ${String(FORM_LIMITS.files)}`)));
      form.on('finish', () => {
        last.then(() => (written.length > 0 ? resolve(written) : fail(refused('is missing'))), fail);
      });
      source.on('error', fail).pipe(form);
    });
  }
}

/** The body without its coding. Its decoded size is bounded where it is written. */
function decoded({ headers }: FastifyRequest, body: BodyStream): UploadBody {
  if (headers['content-encoding'] !== 'gzip') return body;
  return {
    length: undefined,
    read: (idleMs) => {
      const failed = (): DomainError => invalidParameters([{ field: 'body', message: 'must be complete gzip' }]);
      const source = body.read(idleMs);
      const gunzip = createGunzip();
      const destroy = gunzip.destroy.bind(gunzip);
      gunzip.destroy = (error) => destroy(error && !(error instanceof DomainError) ? failed() : error);
      return pipeline(source, gunzip, () => undefined);
    },
    discard: () => body.discard(),
  };
}

function parserOf(type: string): BusboyInstance {
  try {
    return new Busboy({
      headers: { 'content-type': type },
      limits: FORM_LIMITS,
      preservePath: true,
      // Text in the field "file" is a file too, without a name of its own.
      isPartAFile: (field, _, filename) => field === 'file' || filename !== undefined,
    });
  } catch {
    throw refused('must be a form with a boundary');
  }
}

function required(path: string | undefined): string {
  if (path === undefined || path === '') throw invalidParameters([{ field: 'path', message: 'must be given' }]);
  return path;
}

function refused(message: string): DomainError {
  return invalidParameters([{ field: 'file', message }]);
}
