import { isUtf8 } from 'node:buffer';
import { posix } from 'node:path';
import type { Headers } from 'tar-stream';
import type { ArchiveEntry } from '../../docker';
import { DomainError, invalidParameters } from '../../errors';
import { readTar, type TarHeader } from './tar-reader';

/** What an archive contained. */
export interface Unpacked {
  entries: number;
  /** The bytes of the files' contents. */
  bytes: number;
}

/** The latest time that the archive writer can encode, in seconds since 1970. */
const LATEST = 2 ** 31 - 1;

/** Maximum symbolic links of one archive: their names are kept in memory while it is read. */
const MOST_LINKS = 10_000;

/**
 * The entries of an archive with cleaned headers.
 *
 * @param unpacked counts the entries as they pass
 * @param onBytes called with the size of each chunk of the archive
 * @throws DomainError if the archive is invalid or has a forbidden entry; `archive_too_large`
 */
export async function* cleanEntries(
  content: AsyncIterable<Buffer>,
  { limit, onBytes, unpacked }: { limit: number; onBytes: (bytes: number) => void; unpacked: Unpacked },
): AsyncGenerator<ArchiveEntry> {
  const links = new Set<string>();
  for await (const { header, content: data } of readTar(bounded(content, { limit, onBytes }))) {
    const cleaned = cleanHeader(header, links);
    if (!cleaned) continue;
    unpacked.entries += 1;
    unpacked.bytes += cleaned.size ?? 0;
    yield { header: cleaned, content: data };
  }
}

/** Passes the content on, and calls `onBytes` with the size of each chunk. @throws DomainError `archive_too_large` */
async function* bounded(
  content: AsyncIterable<Buffer>,
  { limit, onBytes }: { limit: number; onBytes: (bytes: number) => void },
): AsyncGenerator<Buffer> {
  let bytes = 0;
  for await (const data of content) {
    bytes += data.length;
    if (bytes > limit) throw archiveTooLarge(limit);
    onBytes(data.length);
    yield data;
  }
}

export function archiveTooLarge(limit: number): DomainError {
  return new DomainError('archive_too_large', { fields: { limit } });
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
