import { type Entry, extract, pack } from 'tar-stream';
import { isUtf8 } from 'node:buffer';
import { Errno } from '../errno';
import { Killed, type Process } from '../process';
import { optionsOf, type Program, usage } from './program';

/** Names in archives are UTF-8; those that are not stay as their bytes. */
function archived(name: string): string {
  const bytes = Buffer.from(name, 'latin1');
  return isUtf8(bytes) ? bytes.toString() : name;
}

const bytesOf = (name: string): string => Buffer.from(name).toString('latin1');

type Archive = ReturnType<typeof pack>;

async function add(process: Process, archive: Archive, path: string): Promise<void> {
  await process.point();
  const node = process.fs.node(process, path, { follow: false });
  const header = {
    name: archived(path),
    mode: node.mode,
    uid: node.uid,
    gid: node.gid,
    mtime: new Date(node.modifiedMs),
  };
  if (node.kind === 'link') {
    archive.entry({ ...header, type: 'symlink', linkname: archived(node.target) });
    return;
  }
  if (node.kind === 'directory') {
    archive.entry({ ...header, name: `${header.name}/`, type: 'directory' });
    for (const name of process.fs.list(process, path)) await add(process, archive, `${path}/${name}`);
    return;
  }
  if (node.kind !== 'file') return;
  const file = process.open(path, { read: true });
  file.close();
  archive.entry({ ...header, type: 'file' }, node.read(0, node.size));
  // Until it has been read.
  while (archive.readableLength > 1024 * 1024) await process.sleep(1);
}

async function create(process: Process, paths: readonly string[]): Promise<number> {
  const archive = pack();
  archive.on('error', () => undefined);
  let status = 0;
  const adding = (async () => {
    for (const path of paths) {
      try {
        await add(process, archive, path);
      } catch (error) {
        if (!(error instanceof Errno)) throw error;
        await process.write(2, `tar: ${path}: Cannot open: ${error.message}\n`);
        status = 2;
      }
    }
    archive.finalize();
  })();
  adding.catch(() => archive.destroy());
  try {
    for await (const data of archive) await process.write(1, data);
    await adding;
  } finally {
    archive.destroy();
  }
  return status;
}

async function put(process: Process, entry: Entry): Promise<void> {
  const { name, type, mode = 0o644, mtime, linkname } = entry.header;
  const path = bytesOf(name).replace(/^\/+|\/+$/g, '') || '.';
  const { fs } = process;
  if (type === 'directory') {
    fs.makeDirectory(process, path, { mode, parents: true });
    entry.resume();
  } else {
    const above = path.includes('/') ? path.slice(0, path.lastIndexOf('/')) : '';
    if (above !== '') fs.makeDirectory(process, above, { parents: true });
    if (fs.exists(process, path, { follow: false })) fs.unlink(process, path);
    if (type === 'symlink' || type === 'link') {
      if (type === 'symlink') fs.link(process, bytesOf(linkname ?? ''), path);
      else fs.hardLink(process, bytesOf(linkname ?? ''), path);
      entry.resume();
      return;
    }
    const file = process.open(path, { create: true, truncate: true });
    try {
      for await (const data of entry) {
        await file.write(process, data);
        await process.point();
      }
    } finally {
      file.close();
    }
  }
  const node = fs.node(process, path);
  node.mode = mode & 0o7777;
  if (mtime) node.modifiedMs = mtime.getTime();
}

async function read(process: Process, onEntry: (entry: Entry) => Promise<void>): Promise<void> {
  const entries = extract();
  entries.on('error', () => undefined);
  const feeding = (async () => {
    for (let data = await process.read(0); data; data = await process.read(0)) {
      if (entries.destroyed) return;
      if (!entries.write(data)) {
        await process.block((done) => {
          entries.once('drain', done).once('close', done);
          return () => entries.off('drain', done).off('close', done);
        });
      }
    }
    entries.end();
  })();
  feeding.catch(() => entries.destroy());
  try {
    for await (const entry of entries) await onEntry(entry);
    await feeding;
  } finally {
    entries.destroy();
  }
}

const tar: Program = async (process, args) => {
  const [first = '', ...rest] = args;
  const words = first.startsWith('-') ? args : [`-${first}`, ...rest];
  const { flags, values, operands } = optionsOf(words, {
    taking: 'fC',
    long: { file: 'f', directory: 'C', create: 'c', extract: 'x', list: 't' },
  });
  if (flags.has('z') || flags.has('j') || flags.has('J')) return usage(process, 'tar: compression is not simulated', 2);
  const file = values.get('f') ?? '-';
  try {
    if (file !== '-' && flags.has('c')) process.setFile(1, process.open(file, { create: true, truncate: true }));
    else if (file !== '-') process.setFile(0, process.open(file, { read: true }));
    if (values.has('C')) process.cwd = process.fs.place(process, values.get('C') ?? '').path;
    if (flags.has('c')) return await create(process, operands);
    await read(process, async (entry) => {
      if (flags.has('t') || flags.has('v')) await process.write(1, `${bytesOf(entry.header.name)}\n`);
      if (flags.has('x')) await put(process, entry);
      else entry.resume();
    });
    return 0;
  } catch (error) {
    if (error instanceof Killed) throw error;
    const words = error instanceof Error ? error.message : '';
    return usage(process, `tar: ${error instanceof Errno ? words : 'This does not look like a tar archive'}`, 2);
  }
};

export const ARCHIVE_PROGRAMS: Readonly<Record<string, Program>> = { tar };
