import { spawn } from 'node:child_process';
import { createReadStream, createWriteStream } from 'node:fs';
import { mkdir, readdir, rename, rm, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { Readable, Transform } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { type Download, isBerthError } from '@berth/client';
import { CliError, USAGE } from './exit.ts';
import { bytes, duration, note, ProgressBar } from './output.ts';
import { findId, type Session } from './session.ts';
import { unpack } from './unpack.ts';

/** A path in a container, as one end of a copy. */
interface Inside {
  readonly id: string;
  readonly path: string;
}

/** Standard input or output, as the local end of a copy. */
const STANDARD = '-';

/** @param from, to: exactly one of them is `container:/path`; a relative path starts in `/home/user` */
export async function copy(session: Session, from: string, to: string): Promise<void> {
  const [source, target] = [await inside(session, from), await inside(session, to)];
  if (source && !target) await download(session, source, to);
  else if (target && !source) await upload(session, from, target);
  else throw new CliError('exactly one of the two paths must be in a container, as NAME:PATH', USAGE);
}

async function inside(session: Session, text: string): Promise<Inside | null> {
  const at = text.indexOf(':');
  // `./a:b` and `C:\a` are local paths.
  if (at < 2 || text.slice(0, at).includes('/')) return null;
  const path = text.slice(at + 1);
  return { id: await findId(session, text.slice(0, at)), path: path.startsWith('/') ? path : join('/home/user', path) };
}

async function upload(session: Session, from: string, { id, path }: Inside): Promise<void> {
  const { berth, signal } = session;
  if (from === STANDARD) {
    if (path.endsWith('/') || (await isDirectory(session, { id, path }))) {
      throw new CliError(`${path} is a directory. Use a file name for standard input`, USAGE);
    }
    await measured(process.stdin, { total: null, name: path }, async (body) =>
      berth.files.write(id, path, body, { signal }),
    );
    return;
  }
  const facts = await stat(from).catch(() => null);
  if (!facts) throw new CliError(`${from}: no such file or directory`, 4);
  const into = await isDirectory(session, { id, path });
  const target = into || path.endsWith('/') ? join(path, basename(from)) : path;
  if (!facts.isDirectory()) {
    await measured(createReadStream(from), { total: facts.size, name: target }, async (body) =>
      berth.files.write(id, target, body, { signal }),
    );
    return;
  }
  const tar = spawn('tar', ['-cf', '-', '-C', from, '.'], { stdio: ['ignore', 'pipe', 'inherit'] });
  const ended = endOf(tar);
  const total = process.stderr.isTTY ? await archiveBytes(from) : null;
  await measured(tar.stdout, { total, name: target }, async (body) => {
    await berth.files.writeArchive(id, target, body, { signal });
    await ended;
  });
}

const TAR_BLOCK = 512;

/** About how long a tar archive of a directory is. */
async function archiveBytes(directory: string): Promise<number> {
  const entries = await readdir(directory, { recursive: true, withFileTypes: true });
  let total = 0;
  for (const entry of entries) {
    const length = entry.isFile()
      ? await stat(join(entry.parentPath, entry.name)).then(
          ({ size }) => size,
          () => 0,
        )
      : 0;
    total += TAR_BLOCK + Math.ceil(length / TAR_BLOCK) * TAR_BLOCK;
  }
  return total;
}

async function download(session: Session, { id, path }: Inside, to: string): Promise<void> {
  const { berth, signal } = session;
  const isTree = await isDirectory(session, { id, path });
  if (to === STANDARD) {
    const file = isTree ? berth.files.readArchive(id, path, { signal }) : berth.files.read(id, path, { signal });
    await received(await file, path, (body) => pipeline(body, process.stdout, { end: false }));
    return;
  }
  const isInto = (await stat(to).catch(() => null))?.isDirectory() === true;
  const target = isInto ? join(to, basename(path)) : to;
  if (isTree) {
    await received(await berth.files.readArchive(id, path, { signal }), target, (body) => unpack(body, target));
    return;
  }
  await mkdir(dirname(target), { recursive: true });
  const part = `${target}.${String(process.pid)}.part`;
  try {
    const file = await berth.files.read(id, path, { signal });
    await received(file, target, (body) => pipeline(body, createWriteStream(part, { flags: 'wx' })));
    await rename(part, target);
  } finally {
    await rm(part, { force: true });
  }
}

async function isDirectory({ berth, signal }: Session, { id, path }: Inside): Promise<boolean> {
  try {
    await berth.files.list(id, path, { limit: 1, signal }).page();
    return true;
  } catch (error) {
    if (isBerthError(error, 'path_not_directory', 'path_not_found')) return false;
    throw error;
  }
}

interface Measure {
  /** In bytes; null if unknown. */
  readonly total: number | null;
  readonly name: string;
}

async function measured(
  source: Readable,
  measure: Measure,
  send: (body: ReadableStream<Uint8Array>) => Promise<unknown>,
): Promise<void> {
  const meter = new Meter(measure);
  const through = source.on('error', (error) => meter.stream.destroy(error)).pipe(meter.stream);
  try {
    await send(Readable.toWeb(through) as ReadableStream<Uint8Array>);
    meter.done();
  } finally {
    meter.clear();
    source.destroy();
  }
}

async function received(file: Download, name: string, take: (body: Readable) => Promise<void>): Promise<void> {
  const meter = new Meter({ total: file.size, name });
  const source = Readable.fromWeb(file.stream as never);
  try {
    await take(source.on('error', (error) => meter.stream.destroy(error)).pipe(meter.stream));
    meter.done();
  } finally {
    meter.clear();
    source.destroy();
  }
}

/** How often the progress is shown. */
const SHOWN_EVERY_MS = 100;
/** Before this time the rate says little about the rest. */
const ESTIMATED_AFTER_MS = 1_000;

/** Counts the bytes of a stream and shows the progress: amount, rate and remaining time. */
class Meter {
  readonly stream = new Transform({
    transform: (chunk: Buffer, _encoding, done) => {
      this.add(chunk.length);
      done(null, chunk);
    },
  });
  private readonly bar = new ProgressBar();
  private readonly began = performance.now();
  private shownAt = -Infinity;
  private count = 0;

  constructor(private readonly measure: Measure) {}

  done(): void {
    this.clear();
    note(`${this.measure.name}: ${bytes(this.count)}`);
  }

  clear(): void {
    this.bar.clear();
  }

  private add(length: number): void {
    this.count += length;
    const now = performance.now();
    if (now - this.shownAt < SHOWN_EVERY_MS) return;
    this.shownAt = now;
    const { total, name } = this.measure;
    const percent = total === null || total === 0 ? null : (this.count / total) * 100;
    this.bar.show(percent, [name, ...progressOf({ count: this.count, total, ms: now - this.began })].join('  '));
  }
}

/** Such as `1.5 MB of 10.0 MB`, `512.0 KB/s`, `17s left`. */
function progressOf({ count, total, ms }: { count: number; total: number | null; ms: number }): string[] {
  const amount = total === null ? bytes(count) : `${bytes(count)} of ${bytes(total)}`;
  if (ms < ESTIMATED_AFTER_MS) return [amount];
  const rate = (count / ms) * 1_000;
  const left = total === null || rate === 0 ? null : Math.max(0, total - count) / rate;
  return [amount, `${bytes(Math.round(rate))}/s`, ...(left === null ? [] : [`${duration(Math.ceil(left))} left`])];
}

function endOf(tar: ReturnType<typeof spawn>): Promise<void> {
  const ended = new Promise<void>((resolve, reject) => {
    tar.once('error', () => reject(new CliError('directories need `tar`, which could not be run. Install tar')));
    tar.once('exit', (code) =>
      code === 0
        ? resolve()
        : reject(new CliError(`tar failed with exit code ${String(code)}. See its messages for the reason`)),
    );
  });
  // Awaited after the copy; until then, this keeps it from being unhandled.
  ended.catch(() => undefined);
  return ended;
}
