/** A file in an archive; a folder where it has no content. */
export interface TarEntry {
  /** Relative, with `/` between its parts and none at its end. */
  readonly path: string;
  readonly content?: Blob;
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

/**
 * A tar archive (POSIX.1-2001) of files as a browser has them. Their contents are not read: the archive refers to them,
 * however large they are.
 */
export function tarOf(entries: readonly TarEntry[]): Blob {
  const parts: BlobPart[] = [];
  for (const { path, content, modified = Date.now() } of entries) {
    const name = content ? path : `${path}/`;
    const size = content?.size ?? 0;
    const seconds = Math.max(0, Math.floor(modified / 1000));
    const extended = recordsOf({ name, size });
    if (extended.length > 0) {
      parts.push(header({ name: 'pax', size: extended.length, mode: FILE_MODE, seconds, type: 'x' }));
      parts.push(extended, padding(extended.length));
    }
    const mode = content ? FILE_MODE : FOLDER_MODE;
    parts.push(header({ name, size, mode, seconds, type: content ? '0' : '5' }));
    if (content) parts.push(content, padding(size));
  }
  parts.push(new Uint8Array(2 * BLOCK));
  return new Blob(parts, { type: 'application/x-tar' });
}

/** What the header of an entry has no room for, as an extended header has it; empty if there is nothing. */
function recordsOf({ name, size }: { readonly name: string; readonly size: number }): Uint8Array<ArrayBuffer> {
  const records: string[] = [];
  if (utf8.encode(name).length > NAME_BYTES) records.push(record('path', name));
  if (size > MOST_IN_HEADER) records.push(record('size', String(size)));
  return utf8.encode(records.join(''));
}

/** `LENGTH KEY=VALUE\n`, whose length in bytes counts its own digits. */
function record(key: string, value: string): string {
  const rest = ` ${key}=${value}\n`;
  const bytes = utf8.encode(rest).length;
  let length = bytes + String(bytes).length;
  if (bytes + String(length).length > length) length += 1;
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
  block.set(utf8.encode(name).subarray(0, NAME_BYTES), 0);
  put(100, octal(mode, 7));
  put(108, octal(0, 7));
  put(116, octal(0, 7));
  put(124, octal(size > MOST_IN_HEADER ? 0 : size, 11));
  put(136, octal(Math.min(seconds, MOST_IN_HEADER), 11));
  // Its own eight bytes count as blanks in the sum.
  put(148, '        ');
  put(156, type);
  put(257, 'ustar\u000000');
  const sum = block.reduce((total, each) => total + each, 0);
  put(148, `${sum.toString(8).padStart(6, '0')}\0 `);
  return block;
}

const padding = (size: number): Uint8Array<ArrayBuffer> => new Uint8Array((BLOCK - (size % BLOCK)) % BLOCK);
