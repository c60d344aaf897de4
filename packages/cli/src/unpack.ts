import { copyFile, link, lstat, mkdir, open, realpath, rm, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable, Transform } from 'node:stream';
import { extract, type Headers } from 'tar-stream';
import { CliError } from './exit.ts';
import { note } from './output.ts';

/** Further entries are only counted. */
const MOST_NAMED = 20;

/** The longest headers of an entry, in bytes. tar-stream keeps long names and pax headers in memory, of any size. */
const MOST_HEADERS = 1024 * 1024;

/**
 * Unpacks an archive from a container, which may be hostile. Files, directories and links belong to the current user,
 * even if that is root, with the `rwx` bits that the umask leaves. Nothing is written through a symbolic link.
 * Devices, pipes and links that lead out of the directory are skipped and listed.
 *
 * @throws CliError for a path that leads out of the directory, or through something that is not a directory; for
 *   headers that are too long, and impossible sizes
 */
export async function unpack(archive: Readable, directory: string): Promise<void> {
  await mkdir(directory, { recursive: true });
  const tree = new Tree(await realpath(directory));
  const entries = extract();
  /** How many bytes may follow up to the next entry. */
  let room = MOST_HEADERS;
  const bounded = new Transform({
    transform: (chunk: Buffer, _encoding, done) => {
      room -= chunk.length;
      done(
        room < 0 ? new CliError('the archive has a header of more than 1 MB. Copy single files instead') : null,
        chunk,
      );
    },
  });
  for (const stream of [archive, bounded]) stream.on('error', (error) => entries.destroy(error));
  archive.pipe(bounded).pipe(entries);
  for await (const entry of entries) {
    room = contentBytes(entry.header) + MOST_HEADERS;
    await tree.add(entry.header, entry);
    entry.resume();
  }
  tree.sayLeftOut();
}

/** @throws CliError for a size with which tar-stream would wait for ever */
function contentBytes({ name, type, size = 0 }: Headers): number {
  if (!Number.isSafeInteger(size) || size < 0) throw new CliError(`the archive has an impossible size: ${name}`);
  return type === 'directory' ? 0 : size;
}

class Tree {
  /** Paths known to be directories; this class never replaces a directory. */
  private readonly directories = new Set<string>();
  private readonly files = new Set<string>();
  private readonly leftOut: string[] = [];

  constructor(private readonly root: string) {
    this.directories.add(root);
  }

  async add(header: Headers, content: Readable): Promise<void> {
    const parts = partsOf(header.name);
    if (parts.length === 0) return;
    const path = join(this.root, ...parts);
    if (header.type === 'directory') {
      await this.enter(parts, header.mode);
      return;
    }
    if (header.type === 'file' || header.type === 'contiguous-file') {
      await this.makeRoom(parts);
      await writeFile(path, header, content);
      this.files.add(path);
    } else if (header.type === 'symlink' && staysInside(parts.length - 1, header.linkname ?? '')) {
      await this.makeRoom(parts);
      await symlink(header.linkname ?? '', path);
    } else if (header.type === 'link') {
      const target = join(this.root, ...partsOf(header.linkname ?? ''));
      if (!this.files.has(target))
        throw new CliError(`${header.name} links to a file that is not in the archive. Copy single files instead`);
      await this.makeRoom(parts);
      await link(target, path).catch(() => copyFile(target, path));
      this.files.add(path);
    } else {
      this.leftOut.push(
        `${header.name}: ${header.type === 'symlink' ? 'a link that leads out of the directory' : String(header.type)}`,
      );
    }
  }

  sayLeftOut(): void {
    for (const each of this.leftOut.slice(0, MOST_NAMED)) note(`skipped: ${each}`);
    const more = this.leftOut.length - MOST_NAMED;
    if (more > 0) note(`skipped: ${String(more)} more`);
  }

  /** Creates the parent directory, and removes a file or link at the path. */
  private async makeRoom(parts: readonly string[]): Promise<void> {
    const path = join(this.root, ...parts);
    await this.enter(parts.slice(0, -1));
    this.files.delete(path);
    await rm(path, { force: true });
  }

  /** Creates missing directories, always writable for the user. Existing ones stay as they are. */
  private async enter(parts: readonly string[], mode = 0o777): Promise<void> {
    for (let depth = 1; depth <= parts.length; depth++) {
      const path = join(this.root, ...parts.slice(0, depth));
      if (this.directories.has(path)) continue;
      const found = await lstat(path).catch(() => null);
      if (found && !found.isDirectory()) {
        throw new CliError(
          `${path} is ${found.isSymbolicLink() ? 'a link and not a directory' : 'not a directory'}; nothing is written through it. Choose another directory`,
        );
      }
      const own = depth === parts.length ? mode : 0o777;
      if (!found) await mkdir(path, { mode: (own & 0o777) | 0o700 });
      this.directories.add(path);
    }
  }
}

/** @throws CliError for a name that leads out of the directory */
function partsOf(name: string): string[] {
  const parts = name.split('/').filter((part) => part !== '' && part !== '.');
  if (name.startsWith('/') || name.includes('\0') || parts.includes('..')) {
    throw new CliError(`the archive has a path that leads out of its directory: ${name}. Copy single files instead`);
  }
  return parts;
}

/**
 * True if a symbolic link leads to a place within the directory, also through other links for which that is true.
 * `..` is only allowed at the beginning: after a name that is a link, it would be relative to the link's target.
 *
 * @param depth depth of the link's own directory
 */
function staysInside(depth: number, target: string): boolean {
  if (target === '' || target.startsWith('/')) return false;
  const parts = target.split('/').filter((part) => part !== '' && part !== '.');
  const down = parts.findIndex((part) => part !== '..');
  const ups = down < 0 ? parts.length : down;
  return ups <= depth && !parts.slice(ups).includes('..');
}

async function writeFile(path: string, { mode = 0o666, mtime }: Headers, content: Readable): Promise<void> {
  // `wx` refuses to open anything that appeared here in the meantime, such as a link.
  const file = await open(path, 'wx', mode & 0o777);
  try {
    for await (const chunk of content) await file.writeFile(chunk as Buffer);
    const seconds = (mtime?.getTime() ?? NaN) / 1_000;
    if (Number.isFinite(seconds)) await file.utimes(seconds, seconds);
  } finally {
    await file.close();
  }
}
