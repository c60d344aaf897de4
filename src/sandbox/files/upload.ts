import { Busboy, type BusboyInstance } from '@fastify/busboy';
import { randomBytes, randomUUID } from 'node:crypto';
import type { Readable } from 'node:stream';
import { DomainError, invalidParameters } from '../../errors';
import type { BodyStream } from '../../http';
import { ContainerPath, encodeArgument } from './container-path';
import { describe, type FileDescription } from './listing';
import { IDLE_MS, type ScriptHost, ScriptRun, WORK_MS } from './script-run';
import { endOfFile, WRITE_FILE } from './scripts';
import { conditionOf, type ConditionalRequest, decide } from './validators';

/** A file to be written. */
export interface Upload {
  readonly path: ContainerPath;
  /** Its name if `path` is a directory; null: the path must be a file's. */
  readonly nameInDirectory: Buffer | null;
  readonly content: Readable;
  /** Whether the content's pieces are nobody else's. */
  readonly isOwned: boolean;
  /** Told of each piece that is on its way. */
  readonly onBytes: (bytes: number) => void;
  /** In bytes; undefined if it is not known before its end. */
  readonly length: number | undefined;
  /** In bytes. */
  readonly limit: number;
  /** Its conditions are kept. */
  readonly request: ConditionalRequest | undefined;
  /** Aborts, with why, when the caller may no longer do this. */
  readonly end: AbortSignal;
}

/** What has become of it. */
export interface Written {
  readonly became: 'created' | 'replaced';
  readonly file: FileDescription;
}

/** Says that what a script was given is whole: neither a client that hangs up nor our own death looks like it. */
export function newToken(): string {
  return randomBytes(16).toString('hex');
}

/**
 * Writes a file beside where it belongs and renames it once it is whole.
 *
 * @throws DomainError
 */
export async function writeFile(host: ScriptHost, dockerId: string, upload: Upload): Promise<Written> {
  const { path, nameInDirectory, content, length } = upload;
  const token = newToken();
  const name = nameInDirectory ?? Buffer.alloc(0);
  const args = [
    path.argument,
    encodeArgument(name),
    String(length ?? ''),
    token,
    randomUUID(),
    conditionOf(upload.request),
  ];
  const run = await ScriptRun.start(host, dockerId, { script: WRITE_FILE, args, stdin: true, isCleaning: true });
  return run.guarded(async () => {
    if (upload.request && conditionOf(upload.request) !== '') {
      const [at, ...words] = (await run.line()).split(' ');
      decide(run, upload.request, { path: at === 'directory' ? path.below(name) : path, words: words.join(' ') });
    }
    const bytes = await run.feed(content, { onBytes: bounded(upload), isOwned: upload.isOwned });
    if (bytes !== null && length === undefined) run.say(endOfFile(token, bytes));
    run.endInput();
    // This line is the result; the script's exit is not awaited.
    const [became, place, ...words] = (await run.line(WORK_MS)).split(' ');
    const written = place === 'directory' ? path.below(name) : path;
    const file = describe(written, words.join(' '));
    if (!file || (became !== 'created' && became !== 'replaced')) throw new DomainError('tools_failed');
    return { became, file };
  }, upload.end);
}

/** Tells of bytes as long as they are within the limit. @throws DomainError `file_too_large` */
function bounded({ onBytes, limit }: Upload): (bytes: number) => void {
  let sum = 0;
  return (bytes) => {
    sum += bytes;
    if (sum > limit) throw tooLarge(limit);
    onBytes(bytes);
  };
}

export function tooLarge(limit: number): DomainError {
  return new DomainError('file_too_large', { fields: { limit } });
}

/** What a form says beside its file. */
const FORM_LIMITS = { files: 1, fields: 16, fieldSize: 64 * 1024, headerPairs: 32 };

/** The file of a form. */
export interface FormFile {
  /** As the client named it, without folders; null if it did not. */
  readonly name: Buffer | null;
  readonly content: Readable;
  /** Reads no more of the form. */
  close(): void;
}

/**
 * The file in the field `file` of a `multipart/form-data` body; what comes after it is not looked at.
 *
 * @throws DomainError `invalid_parameters`, `unsupported_media_type`, `request_timeout`
 */
export function formFile(body: BodyStream): Promise<FormFile> {
  const type = body.type ?? '';
  if (!/^multipart\/form-data;/i.test(type)) throw new DomainError('unsupported_media_type');
  const form = parserOf(type);
  const source = body.read(IDLE_MS);
  const close = (): void => void source.destroy();
  return new Promise<FormFile>((resolve, reject) => {
    let content: Readable | undefined;
    const fail = (error: unknown): void => {
      const fault = error instanceof DomainError ? error : refused('must be a whole form');
      reject(fault);
      content?.destroy(fault);
    };
    form.on('file', (field, file, filename) => {
      content = file;
      file.on('error', (error) => file.destroy(error));
      if (field !== 'file') {
        fail(refused('must be in the field "file"'));
        close();
        return;
      }
      const name = filename.replace(/^.*[/\\]/s, '');
      resolve({ name: isName(name) ? Buffer.from(name) : null, content: file, close });
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
