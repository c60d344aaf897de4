import { transferWords } from '../words/transfers';

/** A file in an archive; a folder where it has no content. */
export interface TarEntry {
  /** Relative, with `/` between its parts and none at its end. */
  readonly path: string;
  readonly content?: Blob;
  /** The permissions; those of an ordinary file or folder if absent. */
  readonly mode?: number;
  /** In milliseconds since 1970; now if absent. */
  readonly modified?: number;
}

const BLOCK = 512;
/** What the header has room for; what is longer goes into an extended header of its own (pax). */
const NAME_BYTES = 100;
const MOST_IN_HEADER = 0o77777777777;
const FILE_MODE = 0o644;
const FOLDER_MODE = 0o755;

const utf8 = new TextEncoder();

/** A text as one character for each of its bytes: names in archives need not be UTF-8, and have to stay as they are. */
const asBytes = (text: string): string => Array.from(utf8.encode(text), (byte) => String.fromCharCode(byte)).join('');
const toBytes = (binary: string): Uint8Array<ArrayBuffer> => Uint8Array.from(binary, (char) => char.charCodeAt(0));
const fromBytes = (bytes: Uint8Array): string => {
  let binary = '';
  for (const byte of bytes) binary += String.fromCharCode(byte);
  return binary;
};

/**
 * A tar archive (POSIX.1-2001) of files as a browser has them. Their contents are not read: the archive refers to them,
 * however large they are.
 */
export const tarOf = (entries: readonly TarEntry[]): Blob => closed(entriesOf(entries));

/** An archive of entries, which are closed by two empty blocks. */
export function closed(parts: readonly BlobPart[]): Blob {
  return new Blob([...parts, new Uint8Array(2 * BLOCK)], { type: 'application/x-tar' });
}

/** The entries of {@link tarOf}, to be followed by others. */
export function entriesOf(entries: readonly TarEntry[]): BlobPart[] {
  const parts: BlobPart[] = [];
  for (const { path, content, mode, modified = Date.now() } of entries) {
    const name = asBytes(content ? path : `${path}/`);
    const size = content?.size ?? 0;
    const seconds = Math.max(0, Math.floor(modified / 1000));
    const records = new Map<string, string>();
    if (name.length > NAME_BYTES) records.set('path', name);
    if (size > MOST_IN_HEADER) records.set('size', String(size));
    parts.push(...extended(records, seconds));
    const usual = content ? FILE_MODE : FOLDER_MODE;
    parts.push(header({ name, size, mode: mode ?? usual, seconds, type: content ? '0' : '5' }));
    if (content) parts.push(content, padding(size));
  }
  return parts;
}

/** An entry with the values that the header of the next entry has no room for; empty if there are none. */
function extended(records: ReadonlyMap<string, string>, seconds: number): Uint8Array<ArrayBuffer>[] {
  if (records.size === 0) return [];
  const content = toBytes([...records].map(([key, value]) => record(key, value)).join(''));
  const { length } = content;
  return [header({ name: 'pax', size: length, mode: FILE_MODE, seconds, type: 'x' }), content, padding(length)];
}

/** `LENGTH KEY=VALUE\n`, whose length in bytes counts its own digits. */
function record(key: string, value: string): string {
  const rest = ` ${key}=${value}\n`;
  let length = rest.length + String(rest.length).length;
  if (rest.length + String(length).length > length) length += 1;
  return `${String(length)}${rest}`;
}

interface Header {
  readonly name: string;
  readonly size: number;
  readonly mode: number;
  readonly seconds: number;
  readonly type: '0' | '5' | 'x';
}

function header({ name, size, mode, seconds, type }: Header): Uint8Array<ArrayBuffer> {
  const block = new Uint8Array(BLOCK);
  const put = (at: number, text: string): void => block.set(utf8.encode(text), at);
  const octal = (value: number, digits: number): string => `${value.toString(8).padStart(digits, '0')}\0`;
  block.set(toBytes(name).subarray(0, NAME_BYTES), 0);
  put(100, octal(mode, 7));
  put(108, octal(0, 7));
  put(116, octal(0, 7));
  put(124, octal(size > MOST_IN_HEADER ? 0 : size, 11));
  put(136, octal(Math.min(seconds, MOST_IN_HEADER), 11));
  put(156, type);
  put(257, 'ustar\u000000');
  sum(block);
  return block;
}

/** Writes the checksum of a header into it. */
function sum(block: Uint8Array): void {
  // Its own eight bytes count as blanks in the sum.
  block.set(utf8.encode('        '), 148);
  const total = block.reduce((before, each) => before + each, 0);
  block.set(utf8.encode(`${total.toString(8).padStart(6, '0')}\0 `), 148);
}

const padding = (size: number): Uint8Array<ArrayBuffer> => new Uint8Array((BLOCK - (size % BLOCK)) % BLOCK);

/** Bytes that are read at once to look for headers. */
const WINDOW = 64 * 1024;

/**
 * The entries of another archive, moved below a folder; for {@link closed}. Contents are not read but referred to.
 * Understands the names of POSIX (ustar and pax) and of GNU tar.
 *
 * @throws Error if the archive ends within an entry
 */
export async function entriesBelow(folder: string, archive: Blob): Promise<BlobPart[]> {
  const parts: BlobPart[] = [];
  const top = asBytes(folder);
  const below = (name: string): string => `${top}/${name.replace(/^(\.\/)+|^\.$/, '')}`;
  let windowAt = 0;
  let bytes = new Uint8Array();
  const read = async (at: number, size: number): Promise<Uint8Array<ArrayBuffer>> => {
    if (at + size > archive.size) throw new Error(transferWords.faults.archiveNotComplete);
    if (at < windowAt || at + size > windowAt + bytes.length) {
      windowAt = at;
      bytes = new Uint8Array(await archive.slice(at, at + Math.max(size, WINDOW)).arrayBuffer());
    }
    return bytes.slice(at - windowAt, at - windowAt + size);
  };
  let records = new Map<string, string>();
  for (let at = 0; at < archive.size;) {
    const block = await read(at, BLOCK);
    if (block.every((byte) => byte === 0)) break;
    const field = (from: number, length: number): string => fromBytes(block.subarray(from, from + length));
    const type = field(156, 1);
    const isExtension = 'xLKg'.includes(type);
    const size = isExtension ? sizeOf(block) : Number(records.get('size') ?? sizeOf(block));
    const content = at + BLOCK;
    at = content + Math.ceil(size / BLOCK) * BLOCK;
    if (isExtension) {
      const text = fromBytes(await read(content, size));
      if (type === 'x') for (const [key, value] of recordsIn(text)) records.set(key, value);
      else if (type === 'L') records.set('path', upToZero(text));
      else if (type === 'K') records.set('linkpath', upToZero(text));
      continue;
    }
    const isPosix = field(257, 6) === 'ustar\0';
    const prefix = isPosix ? upToZero(field(345, 155)) : '';
    const name = below(records.get('path') ?? `${prefix === '' ? '' : `${prefix}/`}${upToZero(field(0, NAME_BYTES))}`);
    const target = records.get('linkpath') ?? upToZero(field(157, NAME_BYTES));
    // A hard link names another entry; a symbolic link is relative to where it is.
    const link = type === '1' ? below(target) : target;
    records.delete('path');
    records.delete('linkpath');
    if (name.length > NAME_BYTES) records.set('path', name);
    if (link.length > NAME_BYTES) records.set('linkpath', link);
    parts.push(...extended(records, 0));
    records = new Map();
    block.fill(0, 0, NAME_BYTES).set(toBytes(name).subarray(0, NAME_BYTES), 0);
    block.fill(0, 157, 157 + NAME_BYTES).set(toBytes(link).subarray(0, NAME_BYTES), 157);
    if (isPosix) block.fill(0, 345, 500);
    sum(block);
    parts.push(block);
    if (at > content) parts.push(archive.slice(content, at));
    if (at > archive.size) throw new Error(transferWords.faults.archiveNotComplete);
  }
  return parts;
}

const upToZero = (text: string): string => text.split('\0', 1)[0] ?? '';

/** The size in a header: octal digits, or for GNU tar a binary number if it needs more room. */
function sizeOf(block: Uint8Array): number {
  const field = block.subarray(124, 136);
  if (((field[0] ?? 0) & 0x80) === 0) return Number.parseInt(upToZero(fromBytes(field)).trim() || '0', 8);
  return field.subarray(1).reduce((value, byte) => value * 256 + byte, 0);
}

function recordsIn(text: string): [key: string, value: string][] {
  const records: [string, string][] = [];
  for (let at = 0; at < text.length;) {
    const length = Number.parseInt(text.slice(at), 10);
    if (!(length > 0)) break;
    const [, key, value] = /^\d+ ([^=]*)=([^]*)\n$/.exec(text.slice(at, at + length)) ?? [];
    if (key !== undefined && value !== undefined) records.push([key, value]);
    at += length;
  }
  return records;
}

/** The permissions of a mode as `ls` shows it, such as `-rwxr-xr-x`. */
export function permissionsOf(mode: string): number {
  const digits = mode
    .slice(1, 10)
    .replace(/[^-ST]/g, '1')
    .replace(/[-ST]/g, '0');
  return Number.parseInt(digits, 2);
}
