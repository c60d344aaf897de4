import { invalidParameters } from '../../errors';
import type { ContainerPath } from './container-path';
import { UNPACKING, UPLOAD } from './scripts';

/** A file, a directory or anything else at a path. */
export interface FileDescription {
  readonly name: string;
  readonly path: string;
  readonly size: number;
  readonly mode: string;
  readonly mod_time: string;
  readonly is_dir: boolean;
  readonly path_encoded?: string;
}

const FORM = /^([a-zA-Z-]{10}) (\d{1,20}) (-?\d{1,12})/;
const OWN = new RegExp(`^(?:${UPLOAD}|${UNPACKING})[0-9a-f-]{36}$`);

/**
 * @param words the mode as `ls` shows it, the size, and the seconds since 1970
 * @returns null if the words do not have this format
 */
export function describe(path: ContainerPath, words: string): FileDescription | null {
  const [, mode, size, time] = FORM.exec(words) ?? [];
  if (mode === undefined) return null;
  const seconds = new Date(Number(time) * 1000);
  const description = {
    name: path.base.toString() || '/',
    path: path.text,
    // A sparse file may seem larger than any number here.
    size: Math.min(Number(size), Number.MAX_SAFE_INTEGER),
    mode,
    mod_time: (Number.isNaN(seconds.getTime()) ? new Date(0) : seconds).toISOString(),
    is_dir: mode.startsWith('d'),
  };
  return path.isText ? description : { ...description, path_encoded: path.inQuery };
}

/** The longest entry in bytes: some dozens of characters, and a name of at most 255 bytes. */
const LONGEST_ENTRY = 1_024;
const ENTRY = /([a-zA-Z-]{10} \d+ -?\d+) \.\/([^/]+)\/\n/y;

/** Reads the entries of a directory, in any order and number, and keeps those of one page. */
export class Listing {
  private rest = '';
  private kept: { readonly name: string; readonly words: string }[] = [];
  private readonly after: string;

  /** @param page.after the last name of the previous page; names are ordered by their bytes */
  constructor(private readonly page: { readonly limit: number; readonly after: Buffer | null }) {
    this.after = page.after?.toString('latin1') ?? '';
  }

  /** @returns false if the data is no listing */
  take(data: Buffer): boolean {
    // Latin-1, one character for each byte, because a name may contain any bytes.
    this.rest += data.toString('latin1');
    let end = 0;
    ENTRY.lastIndex = 0;
    for (let match = ENTRY.exec(this.rest); match; match = ENTRY.exec(this.rest)) {
      end = ENTRY.lastIndex;
      const [, words = '', name = ''] = match;
      if (name > this.after && !OWN.test(name)) this.kept.push({ name, words });
    }
    if (this.kept.length > 2 * this.page.limit + 1000) this.cut();
    this.rest = this.rest.slice(end);
    return this.rest.length <= LONGEST_ENTRY;
  }

  /** Whether all data has been parsed. */
  get isWhole(): boolean {
    return this.rest === '';
  }

  /** @returns the page, and its last name if more entries follow */
  result(directory: ContainerPath): { files: FileDescription[]; next: Buffer | null } {
    this.cut();
    const shown = this.kept.slice(0, this.page.limit);
    const last = this.kept.length > shown.length ? shown.at(-1) : undefined;
    const files = shown.flatMap(({ name, words }) => {
      return describe(directory.below(Buffer.from(name, 'latin1')), words) ?? [];
    });
    return { files, next: last ? Buffer.from(last.name, 'latin1') : null };
  }

  /** Keeps one more entry than the page has, to detect the last page. */
  private cut(): void {
    this.kept.sort((one, other) => (one.name < other.name ? -1 : 1));
    this.kept.length = Math.min(this.kept.length, this.page.limit + 1);
  }
}

/** Encodes the last name of a page as the `cursor` of the next one. */
export function encodeNameCursor(name: Buffer): string {
  return name.toString('base64url');
}

/** @throws DomainError `invalid_parameters` if the cursor is invalid */
export function decodeNameCursor(cursor: string): Buffer {
  const name = Buffer.from(cursor, 'base64url');
  if (name.length > 0 && name.length <= 255 && encodeNameCursor(name) === cursor) return name;
  throw invalidParameters([{ field: 'cursor', message: 'must be that of the header Link of an earlier answer' }]);
}
