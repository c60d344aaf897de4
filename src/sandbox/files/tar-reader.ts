import { invalidParameters } from '../../errors';

const BLOCK = 512;
/** Maximum bytes of one entry's extended headers: its names, and all else in pax headers. */
const MOST_EXTENDED = 64 * 1024;

type TarType =
  | 'file'
  | 'contiguous-file'
  | 'link'
  | 'symlink'
  | 'character-device'
  | 'block-device'
  | 'directory'
  | 'fifo';

/** The header of an entry. Names are Latin-1 strings: one character for each byte. */
export interface TarHeader {
  readonly name: string;
  readonly linkname: string;
  /** null for a type that is not in the standard. */
  readonly type: TarType | null;
  readonly mode: number;
  /** Seconds since 1970. */
  readonly mtime: number;
  /** Bytes of content that follow the header. */
  readonly size: number;
}

interface TarEntry {
  readonly header: TarHeader;
  /** `header.size` bytes. Unread bytes are skipped. */
  readonly content: AsyncGenerator<Buffer, void>;
}

/** The values of extended headers. For absent ones, the value in the header itself counts. */
interface Extended {
  path?: string | undefined;
  linkpath?: string | undefined;
  size?: string | undefined;
  mtime?: string | undefined;
}

const TYPES: Readonly<Record<string, TarType>> = {
  '\0': 'file',
  '0': 'file',
  '1': 'link',
  '2': 'symlink',
  '3': 'character-device',
  '4': 'block-device',
  '5': 'directory',
  '6': 'fifo',
  '7': 'contiguous-file',
};

/** Types whose size says nothing about content (POSIX.1-2017, pax); GNU tar reads them so, too. */
const WITHOUT_CONTENT: readonly (TarType | null)[] = [
  'link',
  'symlink',
  'character-device',
  'block-device',
  'directory',
  'fifo',
];

/**
 * Reads a tar archive as defined by POSIX.1-2017 (ustar, pax) and GNU, in constant memory and in time linear in its
 * length, for any content. A consumer reads the content of an entry, or leaves it, before it requests the next entry.
 *
 * @throws DomainError `invalid_parameters` if the source is not such an archive, is cut off, or has headers longer
 *   than 64 KiB
 */
export async function* readTar(source: AsyncIterable<Buffer>): AsyncGenerator<TarEntry, void> {
  const bytes = new ByteReader(source);
  const general: Extended = {};
  let own: Extended = {};
  let extendedBytes = 0;
  try {
    for (let block = await bytes.take(BLOCK); block; block = await bytes.take(BLOCK)) {
      // Two zero blocks end an archive. Another archive may follow, so zero blocks are skipped.
      if (isZero(block)) continue;
      assertChecksum(block);
      const flag = latin(block, 156, 1);
      if ('xgLK'.includes(flag)) {
        const size = numberIn(block, 124, 12);
        extendedBytes += size;
        if (extendedBytes > MOST_EXTENDED) throw refused('must not have headers of more than 65536 bytes');
        const data = (await bytes.take(size)) ?? Buffer.alloc(0);
        await bytes.skip(padding(size));
        if (flag === 'L') own.path = untilZero(data);
        else if (flag === 'K') own.linkpath = untilZero(data);
        else takeRecords(data, flag === 'g' ? general : own);
        continue;
      }
      const header = headerOf(block, { ...general, ...defined(own) });
      own = {};
      extendedBytes = 0;
      const content = contentOf(bytes, header.size);
      yield { header, content };
      for await (const _rest of content);
      await bytes.skip(padding(header.size));
    }
  } finally {
    await bytes.close();
  }
  if (extendedBytes > 0) throw refused('must be whole');
}

async function* contentOf(bytes: ByteReader, size: number): AsyncGenerator<Buffer, void> {
  for (let left = size; left > 0;) {
    const data = await bytes.some(left);
    left -= data.length;
    yield data;
  }
}

function headerOf(block: Buffer, extended: Extended): TarHeader {
  const magic = latin(block, 257, 8);
  const isPosix = magic.startsWith('ustar\0');
  if (!isPosix && magic !== 'ustar  \0') throw refused('must be a tar archive that is not compressed');
  const prefix = isPosix ? untilZero(block.subarray(345, 500)) : '';
  const short = untilZero(block.subarray(0, 100));
  const name = extended.path ?? (prefix === '' ? short : `${prefix}/${short}`);
  const given = TYPES[latin(block, 156, 1)] ?? null;
  // Before there was a type for directories, a trailing slash marked them.
  const type = given === 'file' && name.endsWith('/') ? 'directory' : given;
  const size = extended.size === undefined ? numberIn(block, 124, 12) : decimal(extended.size);
  return {
    name,
    linkname: extended.linkpath ?? untilZero(block.subarray(157, 257)),
    type,
    mode: numberIn(block, 100, 8),
    mtime: extended.mtime === undefined ? numberIn(block, 136, 12, { isSigned: true }) : seconds(extended.mtime),
    size: WITHOUT_CONTENT.includes(type) ? 0 : size,
  };
}

/**
 * Parses the records of a pax header: `<length of the record> <key>=<value>\n`. An empty value revokes an earlier one.
 */
function takeRecords(data: Buffer, extended: Extended): void {
  for (let at = 0; at < data.length;) {
    const space = data.indexOf(0x20, at);
    const digits = space < 0 || space - at > 6 ? '' : latin(data, at, space - at);
    const end = /^[1-9]\d*$/.test(digits) ? at + Number(digits) : 0;
    const equals = data.indexOf(0x3d, space + 1);
    if (end <= space || end > data.length || data[end - 1] !== 0x0a || equals < 0 || equals >= end) {
      throw refused('must have extended headers of records');
    }
    const key = latin(data, space + 1, equals - space - 1);
    const value = latin(data, equals + 1, end - 1 - equals - 1);
    if (key.startsWith('GNU.sparse.')) throw refused('must not have sparse files');
    if (key === 'path' || key === 'linkpath' || key === 'size' || key === 'mtime') {
      extended[key] = value === '' ? undefined : value;
    }
    at = end;
  }
}

function defined(own: Extended): Extended {
  return Object.fromEntries(Object.entries(own).filter(([, value]) => value !== undefined));
}

function assertChecksum(block: Buffer): void {
  let [sum, signed] = [0, 0];
  for (const [index, byte] of block.entries()) {
    const counted = index >= 148 && index < 156 ? 0x20 : byte;
    sum += counted;
    // Some old programs compute the checksum from signed bytes.
    signed += counted > 127 ? counted - 256 : counted;
  }
  const given = numberIn(block, 148, 8);
  if (given !== sum && given !== signed) throw refused('must be a tar archive that is not compressed');
}

/**
 * A number in a header: octal digits, or base 256 if the first bit is set (GNU; two's complement if negative).
 *
 * @param options.isSigned returns 0 for a negative number instead of refusing it
 */
function numberIn(block: Buffer, offset: number, length: number, { isSigned = false } = {}): number {
  const field = block.subarray(offset, offset + length);
  const [first = 0] = field;
  if (first < 0x80) {
    const [, digits] = /^[ \0]*([0-7]*)(?:[ \0]|$)/.exec(field.toString('latin1')) ?? [];
    if (digits === undefined) throw refused('must have headers with valid numbers');
    return digits === '' ? 0 : parseInt(digits, 8);
  }
  if (first >= 0xc0 && isSigned) return 0;
  let value = first & 0x7f;
  for (const byte of field.subarray(1)) value = value * 256 + byte;
  if (first >= 0xc0 || !Number.isSafeInteger(value)) throw refused('must have headers with valid numbers');
  return value;
}

function decimal(text: string): number {
  const value = /^\d{1,16}$/.test(text) ? Number(text) : NaN;
  if (!Number.isSafeInteger(value)) throw refused('must have headers with valid numbers');
  return value;
}

function seconds(text: string): number {
  if (!/^-?\d{1,15}(?:\.\d*)?$/.test(text)) throw refused('must have headers with valid numbers');
  return Math.max(0, Math.trunc(Number(text)));
}

function padding(size: number): number {
  return (BLOCK - (size % BLOCK)) % BLOCK;
}

function latin(data: Buffer, offset: number, length: number): string {
  return data.toString('latin1', offset, offset + length);
}

function untilZero(data: Buffer): string {
  const end = data.indexOf(0);
  return data.toString('latin1', 0, end < 0 ? data.length : end);
}

function isZero(block: Buffer): boolean {
  return block.every((byte) => byte === 0);
}

/** Reads a source in pieces of the requested sizes. */
class ByteReader {
  private readonly source: AsyncIterator<Buffer>;
  private held: Buffer = Buffer.alloc(0);

  constructor(source: AsyncIterable<Buffer>) {
    this.source = source[Symbol.asyncIterator]();
  }

  /** @returns exactly so many bytes, copied only if they come in several pieces; null at the end of the source */
  async take(bytes: number): Promise<Buffer | null> {
    const parts: Buffer[] = [];
    for (let left = bytes; left > 0;) {
      if (this.held.length === 0 && !(await this.fill())) {
        if (parts.length === 0) return null;
        throw refused('must be whole');
      }
      const part = this.next(left);
      parts.push(part);
      left -= part.length;
    }
    return parts.length === 1 ? (parts[0] ?? null) : Buffer.concat(parts);
  }

  /** @returns the next bytes, at least one and at most `most` */
  async some(most: number): Promise<Buffer> {
    if (this.held.length === 0 && !(await this.fill())) throw refused('must be whole');
    return this.next(most);
  }

  async skip(bytes: number): Promise<void> {
    for (let left = bytes; left > 0;) left -= (await this.some(left)).length;
  }

  async close(): Promise<void> {
    await this.source.return?.();
  }

  private next(most: number): Buffer {
    const part = this.held.subarray(0, most);
    this.held = this.held.subarray(part.length);
    return part;
  }

  private async fill(): Promise<boolean> {
    while (this.held.length === 0) {
      const next = await this.source.next();
      if (next.done === true) return false;
      this.held = next.value;
    }
    return true;
  }
}

function refused(message: string): Error {
  return invalidParameters([{ field: 'body', message }]);
}
