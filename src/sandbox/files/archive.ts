import { randomUUID } from 'node:crypto';
import { posix } from 'node:path';
import { isUtf8 } from 'node:buffer';
import { once } from 'node:events';
import { Readable } from 'node:stream';
import { type Headers, type Pack, pack } from 'tar-stream';
import { DomainError, invalidParameters } from '../../errors';
import { type ScriptHost, ScriptRun } from './script-run';
import { UNPACK } from './scripts';
import { readTar, type TarEntry, type TarHeader } from './tar-reader';
import { newToken, type Upload } from './upload';

/** What an archive contained. */
interface Unpacked {
  entries: number;
  /** The bytes of the files' contents. */
  bytes: number;
}

/** The latest time that the archive writer can encode, in seconds since 1970. */
const LATEST = 2 ** 31 - 1;

/** Maximum symbolic links of one archive: their names are kept in memory while it is read. */
const MOST_LINKS = 10_000;

/**
 * Unpacks a tar stream into a directory. The script unpacks it into a temporary directory first, so that an archive
 * that is refused or cut off leaves nothing behind.
 *
 * @throws DomainError
 */
export async function unpack(
  host: ScriptHost,
  dockerId: string,
  { path, content, onBytes, limit, end }: Pick<Upload, 'path' | 'content' | 'onBytes' | 'limit' | 'end'>,
): Promise<Unpacked> {
  const token = newToken();
  const args = [path.argument, token, randomUUID()];
  const run = await ScriptRun.start(host, dockerId, { script: UNPACK, args, stdin: true, isCleaning: true });
  return run.guarded(async () => {
    const unpacked: Unpacked = { entries: 0, bytes: 0 };
    const tooLarge = () => new DomainError('archive_too_large', { fields: { limit } });
    const source = bounded(content, { limit, onBytes, tooLarge });
    await run.feed(Readable.from(checked(source, { token, unpacked }), { objectMode: false }));
    run.endInput();
    await run.rest();
    return unpacked;
  }, end);
}

/**
 * Passes the content on, and calls `onBytes` with the size of each chunk.
 *
 * @throws the error of `tooLarge` beyond the limit
 */
async function* bounded(
  content: AsyncIterable<Buffer>,
  { limit, onBytes, tooLarge }: Pick<Upload, 'limit' | 'onBytes'> & { tooLarge: () => DomainError },
): AsyncGenerator<Buffer> {
  let bytes = 0;
  for await (const data of content) {
    bytes += data.length;
    if (bytes > limit) throw tooLarge();
    onBytes(data.length);
    yield data;
  }
}

/**
 * Re-encodes the archive with cleaned headers. Appends a last file, named by the token, that marks it as complete.
 *
 * @throws DomainError if the archive is invalid or has a forbidden entry
 */
async function* checked(
  content: AsyncIterable<Buffer>,
  { token, unpacked }: { token: string; unpacked: Unpacked },
): AsyncGenerator<Buffer> {
  const clean = pack();
  // A reader gets the error too. Without a listener, it would end this process.
  clean.on('error', () => undefined);
  const copying = copy(readTar(content), clean, unpacked).then(
    () => {
      clean.entry({ name: token, mode: 0o600 }, Buffer.alloc(0));
      clean.finalize();
    },
    (error: unknown) => clean.destroy(faultOf(error)),
  );
  try {
    for await (const data of clean) yield data;
    await copying;
  } catch (error) {
    throw faultOf(error);
  } finally {
    clean.destroy();
  }
}

function faultOf(error: unknown): DomainError {
  return error instanceof DomainError ? error : refused('must be a tar archive that is not compressed');
}

async function copy(entries: AsyncGenerator<TarEntry>, clean: Pack, unpacked: Unpacked): Promise<void> {
  const links = new Set<string>();
  for await (const { header, content } of entries) {
    const cleaned = cleanHeader(header, links);
    if (!cleaned) continue;
    unpacked.entries += 1;
    unpacked.bytes += cleaned.size ?? 0;
    await copyEntry(content, clean, cleaned);
  }
}

async function copyEntry(content: AsyncIterable<Buffer>, clean: Pack, header: Headers): Promise<void> {
  let settle = (_error?: Error | null): void => undefined;
  const copied = new Promise<void>((resolve, reject) => (settle = (error) => (error ? reject(error) : resolve())));
  copied.catch(() => undefined);
  const target = clean.entry(header, (error) => settle(error)).on('error', (error: Error) => settle(error));
  for await (const data of content) {
    // `copied` rejects if the archive is destroyed meanwhile.
    if (!target.write(data)) await Promise.race([once(target, 'drain'), copied]);
  }
  target.end();
  await copied;
}

/**
 * Cleans an entry's header: keeps the name below the directory, the type, the size, the mode, the time, and a link's
 * target.
 *
 * @param links the symbolic links so far, which the name must not lead through
 * @returns null for the directory itself
 * @throws DomainError `invalid_parameters`
 */
export function cleanHeader(given: TarHeader, links: Set<string>): Headers | null {
  const { type } = given;
  const name = textOf(given.name);
  const path = below(name);
  if (path === '') return null;
  for (let parent = posix.dirname(path); parent !== '.'; parent = posix.dirname(parent)) {
    if (links.has(parent)) throw refused(`must not have "${shown(name)}", which leads through a link`);
  }
  const header = { name: path, mode: given.mode & 0o7777, mtime: new Date(Math.min(given.mtime, LATEST) * 1000) };
  switch (type) {
    case 'directory':
      return { ...header, type, size: 0 };
    case 'file':
    case 'contiguous-file':
      // A file replaces a link of the same name.
      links.delete(path);
      return { ...header, type: 'file', size: given.size };
    case 'link':
      return { ...header, type, size: 0, linkname: linkedName(given, links) };
    case 'symlink': {
      const linkname = textOf(given.linkname);
      assertStays(path, linkname);
      if (links.size >= MOST_LINKS) throw refused(`must not have more than ${String(MOST_LINKS)} links`);
      links.add(path);
      return { ...header, type, size: 0, linkname };
    }
    default:
      throw refused(`must hold files, directories and links alone, and not "${shown(name)}"`);
  }
}

/** @returns the path below the directory, without `.` and redundant slashes; empty for the directory itself */
function below(name: string): string {
  const parts = name.split('/');
  if (name.startsWith('/') || parts.includes('..') || name.includes('\0') || name === '') {
    throw refused(`must not have "${shown(name)}", which leaves the directory`);
  }
  return parts.filter((part) => part !== '' && part !== '.').join('/');
}

/**
 * The target of a hard link, which has to be below the directory, and not a symbolic link or behind one.
 *
 * @throws DomainError `invalid_parameters`
 */
function linkedName(given: TarHeader, links: ReadonlySet<string>): string {
  const target = below(textOf(given.linkname));
  for (let parent = target; parent !== '.' && parent !== ''; parent = posix.dirname(parent)) {
    if (links.has(parent)) throw refused(`must not have "${shown(target)}" linked, which leads through a link`);
  }
  return target;
}

/**
 * A link's target may contain `..` only at its beginning: behind the name of another link, `..` leads elsewhere.
 *
 * @throws DomainError `invalid_parameters` if the link leads out of the directory
 */
function assertStays(path: string, linkname: string): void {
  const parts = linkname.split('/').filter((part) => part !== '' && part !== '.');
  const climbs = parts.findIndex((part) => part !== '..');
  const up = climbs === -1 ? parts.length : climbs;
  const depth = path.split('/').length - 1;
  if (linkname === '' || linkname.startsWith('/') || up > depth || parts.slice(up).includes('..')) {
    throw refused(`must not have the link "${shown(path)}", which leaves the directory`);
  }
}

/** @param name Latin-1, one character for each byte */
function textOf(name: string): string {
  const bytes = Buffer.from(name, 'latin1');
  if (!isUtf8(bytes)) throw refused(`must have names in UTF-8, and not "${shown(bytes.toString())}"`);
  return bytes.toString();
}

function shown(name: string): string {
  return name.slice(0, 200).replaceAll('\0', '');
}

function refused(message: string): DomainError {
  return invalidParameters([{ field: 'body', message }]);
}

/** The digits of tar's exit code, which follows the token. */
const STATUS_DIGITS = 3;

/** Maximum bytes of an archive: more than a container's disk holds. The limit ends a program that never stops. */
export const MOST_PACKED = 2 ** 40;

/** Messages of GNU tar about files that changed while they were packed. The archive is well-formed all the same. */
const CHANGED =
  /(file changed as we read it|socket ignored|File removed before we read it|file is the archive; not dumped)$/;

/**
 * Reads the archive that {@link PACK} prints.
 *
 * @throws DomainError in the middle of the stream if the archive is incomplete
 */
export async function* packed(run: ScriptRun, token: string): AsyncGenerator<Buffer> {
  const mark = token.length + STATUS_DIGITS;
  let held: Buffer = Buffer.alloc(0);
  for (;;) {
    const data = await run.read();
    if (!data) throw new DomainError('tools_failed');
    held = Buffer.concat([held, data]);
    if (held.length <= mark) continue;
    const end = held.subarray(held.length - mark).toString('latin1');
    const isEnd = end.startsWith(token);
    const whole = held.subarray(0, held.length - mark);
    if (!isEnd) {
      yield whole;
      held = held.subarray(whole.length);
      continue;
    }
    const isPacked = Number(end.slice(token.length)) === 0 || isOnlyChanged(await run.complaints());
    if (!isPacked) throw new DomainError('path_denied');
    yield whole;
    return;
  }
}

function isOnlyChanged(words: string): boolean {
  const lines = words.split('\n').filter((line) => line !== '');
  return lines.length > 0 && lines.every((line) => CHANGED.test(line));
}
