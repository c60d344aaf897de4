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

/** A file to write. */
export interface Upload {
  readonly path: ContainerPath;
  /** The file's name in case `path` is a directory; null if `path` must be the file's own. */
  readonly nameInDirectory: Buffer | null;
  readonly content: Readable;
  /** Whether nothing else uses the memory of the content's chunks. */
  readonly isOwned: boolean;
  /** Called with the size of each chunk before it is sent on. */
  readonly onBytes: (bytes: number) => void;
  /** In bytes; undefined if unknown before the end. */
  readonly length: number | undefined;
  /** In bytes. */
  readonly limit: number;
  /** The request whose conditions are evaluated. */
  readonly request: ConditionalRequest | undefined;
  /** Aborts, with the reason, when the caller may no longer write. */
  readonly end: AbortSignal;
}

/** The result of an upload. */
export interface Written {
  readonly became: 'created' | 'replaced';
  readonly file: FileDescription;
}

/**
 * Makes a token that marks a script's input, or its output, as complete: a client that hangs up or the death of this
 * process cannot produce it.
 */
export function newToken(): string {
  return randomBytes(16).toString('hex');
}

/**
 * Writes a temporary file in the target's directory, and renames it once it is complete.
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

/** Passes each chunk's size on while the sum is within the limit. @throws DomainError `file_too_large` */
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

/** Limits of a form. */
const FORM_LIMITS = { files: 1, fields: 16, fieldSize: 64 * 1024, headerPairs: 32 };

/** The file of a form. */
interface FormFile {
  /** The client's name of the file, without directories; null if there is none. */
  readonly name: Buffer | null;
  readonly content: Readable;
  /** Stops reading the form. */
  close(): void;
}

/**
 * The file in the field `file` of a `multipart/form-data` body. Fields after it are ignored.
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
