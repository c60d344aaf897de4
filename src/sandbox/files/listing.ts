import { FILE_TYPE, type FileAttributes, type FoundFile, modeText } from '../../engine';
import { invalidParameters } from '../../errors';
import type { ContainerPath } from './container-path';

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

export function describe(path: ContainerPath, { mode, size, modifiedAt }: FileAttributes): FileDescription {
  const description = {
    name: path.base.toString() || '/',
    path: path.text,
    size,
    mode: modeText(mode),
    mod_time: timeOf(modifiedAt).toISOString(),
    is_dir: (mode & FILE_TYPE.mask) === FILE_TYPE.directory,
  };
  return path.isText ? description : { ...description, path_encoded: path.inQuery };
}

/** A file that was found, or a line of it. */
export interface FoundDescription {
  readonly path: string;
  readonly size: number;
  readonly mode: string;
  readonly is_dir: boolean;
  readonly path_encoded?: string;
  readonly line?: number;
  readonly text?: string;
}

/** @param directory where the search began */
export function describeFound(
  directory: ContainerPath,
  { path: below, mode, size, line }: FoundFile,
): FoundDescription {
  const path = directory.below(below);
  return {
    path: path.text,
    size,
    mode: modeText(mode),
    is_dir: (mode & FILE_TYPE.mask) === FILE_TYPE.directory,
    ...(!path.isText && { path_encoded: path.inQuery }),
    ...(line && { line: line.number, text: line.text.toString() }),
  };
}

/** @param seconds since 1970; the epoch stands for a time that cannot be shown */
export function timeOf(seconds: number): Date {
  const time = new Date(seconds * 1000);
  return Number.isNaN(time.getTime()) ? new Date(0) : time;
}

/** Keeps the entries of one page of a directory; takes them in any order and number. */
export class Listing {
  private kept: { readonly name: string; readonly attributes: FileAttributes }[] = [];
  private readonly after: string;

  /** @param page.after the last name of the previous page; names are ordered by their bytes */
  constructor(private readonly page: { readonly limit: number; readonly after: Buffer | null }) {
    this.after = page.after?.toString('latin1') ?? '';
  }

  /** @param name as Latin-1, one character for each byte */
  take(name: string, attributes: FileAttributes): void {
    if (name <= this.after) return;
    this.kept.push({ name, attributes });
    if (this.kept.length > 2 * this.page.limit + 1000) this.cut();
  }

  /** @returns the page, and its last name if more entries follow */
  result(directory: ContainerPath): { files: FileDescription[]; next: Buffer | null } {
    this.cut();
    const shown = this.kept.slice(0, this.page.limit);
    const last = this.kept.length > shown.length ? shown.at(-1) : undefined;
    const files = shown.map(({ name, attributes }) =>
      describe(directory.below(Buffer.from(name, 'latin1')), attributes),
    );
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
  throw invalidParameters([
    { field: 'cursor', message: 'must be the cursor from the Link header of an earlier response' },
  ]);
}
