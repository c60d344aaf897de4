import { Busboy, type BusboyInstance } from '@fastify/busboy';
import type { Readable } from 'node:stream';
import { DomainError, invalidParameters } from '../../errors';
import type { BodyStream } from '../../http';
import type { FileDescription } from './listing';

/** How long a client may stall while it sends or receives content. */
export const IDLE_MS = 60_000;

/** The result of an upload. */
export interface Written {
  readonly became: 'created' | 'replaced';
  readonly file: FileDescription;
}

/** Passes each chunk's size on while the sum is within the limit. @param options.tooLarge the error beyond it */
export function bounded(
  options: { limit: number; tooLarge: (limit: number) => DomainError },
  onBytes: (bytes: number) => void,
): (bytes: number) => void {
  let sum = 0;
  return (bytes) => {
    sum += bytes;
    if (sum > options.limit) throw options.tooLarge(options.limit);
    onBytes(bytes);
  };
}

export function tooLarge(limit: number): DomainError {
  return new DomainError('file_too_large', { fields: { limit } });
}

/** Limits of a form. */
const FORM_LIMITS = { files: 1, fields: 16, fieldSize: 64 * 1024, headerPairs: 32 };

/** More than a form has beside its file, in bytes: its fields and all heads. */
export const MOST_FORM = 2 * 1024 * 1024;

/** The file of a form. */
interface FormFile {
  /** The client's name of the file, without directories; null if there is none. */
  readonly name: Buffer | null;
  readonly content: Readable;
}

/**
 * The file in the field `file` of a `multipart/form-data` body, which is read until it is discarded. Fields after it
 * are ignored.
 *
 * @throws DomainError `invalid_parameters`, `unsupported_media_type`, `request_timeout`
 */
export function formFile(body: BodyStream): Promise<FormFile> {
  const type = body.type ?? '';
  if (!/^multipart\/form-data;/i.test(type)) throw new DomainError('unsupported_media_type');
  const form = parserOf(type);
  const source = body.read(IDLE_MS);
  return new Promise<FormFile>((resolve, reject) => {
    let content: Readable | undefined;
    const fail = (error: unknown): void => {
      const fault = error instanceof DomainError ? error : refused('must be a complete form');
      reject(fault);
      content?.destroy(fault);
    };
    form.on('file', (field, file, filename) => {
      content = file;
      file.on('error', (error) => file.destroy(error));
      if (field !== 'file') {
        fail(refused('must be in the field "file"'));
        source.destroy();
        return;
      }
      const name = filename.replace(/^.*[/\\]/s, '');
      resolve({ name: isName(name) ? Buffer.from(name) : null, content: file });
    });
    form.on('error', fail).on('finish', () => fail(refused('is missing')));
    source.on('error', fail).pipe(form);
  });
}

function parserOf(type: string): BusboyInstance {
  try {
    return new Busboy({ headers: { 'content-type': type }, limits: FORM_LIMITS });
  } catch {
    throw refused('must be a form with a boundary');
  }
}

function isName(name: string): boolean {
  return name !== '' && name !== '.' && name !== '..' && !name.includes('\0');
}

function refused(message: string): DomainError {
  return invalidParameters([{ field: 'file', message }]);
}
