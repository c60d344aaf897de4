import type { Readable } from 'node:stream';

/** The container of a call, and how long the call may take. */
export interface FilesCall {
  readonly engineId: string;
  /** Ends the call, which then throws the signal's reason. */
  readonly signal: AbortSignal;
}

/** What is at a path: a file, a directory or anything else. */
export interface FileAttributes {
  /** The type and the permissions, as in `st_mode`. */
  readonly mode: number;
  /** In bytes. A sparse file may seem larger than any disk; at most `Number.MAX_SAFE_INTEGER`. */
  readonly size: number;
  readonly uid: number;
  readonly gid: number;
  /** In seconds since 1970. */
  readonly accessedAt: number;
  readonly modifiedAt: number;
}

/** The types of files in {@link FileAttributes.mode}. */
export const FILE_TYPE = { mask: 0o170000, directory: 0o040000, regular: 0o100000, link: 0o120000 } as const;

const LETTERS: Readonly<Record<number, string>> = {
  0o010000: 'p',
  0o020000: 'c',
  [FILE_TYPE.directory]: 'd',
  0o060000: 'b',
  [FILE_TYPE.regular]: '-',
  [FILE_TYPE.link]: 'l',
  0o140000: 's',
};

/** The type and the permissions as `ls` shows them. */
export function modeText(mode: number): string {
  const bits = Array.from('rwxrwxrwx', (letter, bit) => ((mode >> (8 - bit)) & 1 ? letter : '-'));
  // The bits of set-user-id, set-group-id and "sticky" take the place of an x.
  for (const [bit, at, letter] of [
    [0o4000, 2, 's'],
    [0o2000, 5, 's'],
    [0o1000, 8, 't'],
  ] as const) {
    if (mode & bit) bits[at] = bits[at] === 'x' ? letter : letter.toUpperCase();
  }
  return (LETTERS[mode & FILE_TYPE.mask] ?? '?') + bits.join('');
}

/** What is at a path, for a later comparison. */
export interface FileState extends FileAttributes {
  /** Changes with the size and the time of modification, to the nanosecond if the file system has it. */
  readonly version: string;
}

/** An open file. */
export interface OpenFile {
  readonly state: FileState;
  /**
   * The given bytes of the file, which it must have. The stream fails with `tools_failed` if the file has become
   * shorter in the meantime. To be called once.
   *
   * @param onBytes called with the size of each chunk
   * @returns once there are bytes to read
   */
  range(
    bytes: { readonly offset: number; readonly length: number },
    onBytes: (bytes: number) => void,
  ): Promise<Readable>;
  /**
   * The beginning of a file that the kernel generates, whose size is not known. To be called in place of {@link range}.
   *
   * @param most in bytes
   */
  beginning(most: number): Promise<Buffer>;
  /** To be called in any case; ends a stream that is not read to its end. */
  close(): void;
}

/**
 * Decides whether a file may be changed, from what is at its path; null: nothing. Returns false, or throws, to refuse.
 *
 * @param at whether that is the file of {@link FileContent.nameInDirectory}, or the path's own
 */
export type ChangeDecision = (state: FileState | null, at: 'file' | 'directory') => boolean;

/** A file to write. */
export interface FileContent {
  readonly path: Buffer;
  /** The file's name in case `path` is a directory; null if `path` must be the file's own. */
  readonly nameInDirectory: Buffer | null;
  readonly content: Readable;
  /** Called with the size of each chunk before it is sent on. An error that it throws ends the call. */
  readonly onBytes: (bytes: number) => void;
  /** In bytes; undefined if unknown before the end. */
  readonly length: number | undefined;
  readonly decide: ChangeDecision | null;
}

/** What a search looks for: one of the two, or both. */
export interface FileSearch {
  /** A part of the last name, without regard to ASCII case, or a pattern for all of it if it has `*`, `?` or `[`. */
  readonly name?: string | undefined;
  /** A part of a line. Large and binary files are left out. */
  readonly content?: string | undefined;
  /** Maximum results, 1 to 10,000. */
  readonly limit: number;
}

/** A file that was found, or a line of it. */
export interface FoundFile {
  /** Below the directory of the search, of any bytes. */
  readonly path: Buffer;
  readonly mode: number;
  readonly size: number;
  /** Where content was searched for. The text is the beginning of the line, at most 256 bytes. */
  readonly line: { readonly number: number; readonly text: Buffer } | null;
}

/** A change below a watched directory, as inotify(7) reports it. */
export interface FileChange {
  /**
   * - `create`: the entry was made, or moved here; also one that a file or directory that is moved replaces
   * - `write`: the file was closed after it was open for writing, or uploaded
   * - `remove`: the entry was deleted
   * - `rename`: the entry was moved away; its new name, if that is watched, is a `create`
   * - `chmod`: permissions, owner or times changed
   * - `overflow`: changes were lost, as there were too many: the reader has to look for itself. `path` is empty
   */
  readonly type: 'create' | 'write' | 'remove' | 'rename' | 'chmod' | 'overflow';
  /** Below the watched directory, of any bytes, without a slash in front. */
  readonly path: Buffer;
}

/** The file system of a path, in blocks of `blockSize` bytes. */
export interface FileSystemSpace {
  readonly blockSize: number;
  readonly blocks: number;
  readonly freeBlocks: number;
  readonly availableBlocks: number;
  readonly files: number;
  readonly freeFiles: number;
  readonly longestName: number;
}

/** A change of a file's attributes: what is given. */
export interface AttributeChange {
  readonly mode?: number | undefined;
  readonly owner?: { readonly uid: number; readonly gid: number } | undefined;
  readonly times?: Pick<FileAttributes, 'accessedAt' | 'modifiedAt'> | undefined;
}

/**
 * Files in running containers, as the image's user. Paths are absolute and of any bytes but NUL; the container's kernel
 * resolves them, including links and `..`.
 *
 * All methods throw EngineError: when the container cannot be entered as `EnginePrograms.start`, and `path_not_found`,
 * `path_denied`, `path_not_directory`, `invalid_parameters`, `tools_failed`; and the errors of their callbacks.
 */
export interface EngineFiles {
  stat(call: FilesCall, path: Buffer, options: { readonly follow: boolean }): Promise<FileAttributes>;
  /** Opens a file for reading. @throws EngineError `path_is_directory`, `path_not_file` */
  open(call: FilesCall, path: Buffer): Promise<OpenFile>;
  /**
   * Writes a file, which appears once it is complete, with its missing parent directories.
   *
   * @returns whether it was created, and whether `path` was a directory
   * @throws EngineError `no_space`, `path_is_directory`, `path_exists`, `precondition_failed` if `decide` refused, or
   *   the file changed after that
   */
  write(
    call: FilesCall,
    file: FileContent,
  ): Promise<{ became: 'created' | 'replaced'; at: 'file' | 'directory'; attributes: FileAttributes }>;
  /**
   * Reads a directory, in any order, without unfinished uploads.
   *
   * @param take called with each name, as Latin-1: one character for each byte
   */
  list(call: FilesCall, path: Buffer, take: (name: string, attributes: FileAttributes) => void): Promise<void>;
  /**
   * Makes a directory.
   *
   * @param options.parents whether its missing parents are made
   * @param options.mode its permissions; 0755 if not given
   * @throws EngineError `path_exists`, `no_space`
   */
  makeDirectory(
    call: FilesCall,
    path: Buffer,
    options: { readonly parents: boolean; readonly mode?: number | undefined },
  ): Promise<FileAttributes>;
  /**
   * Moves an entry, also between file systems.
   *
   * @param options.parents whether the target's missing parents are made
   * @param options.replace whether another entry may be replaced, as rename(2) does
   * @throws EngineError `path_exists` unless `replace`, `path_protected`, `no_space`
   */
  move(
    call: FilesCall,
    paths: { readonly from: Buffer; readonly to: Buffer },
    options: { readonly parents: boolean; readonly replace: boolean },
  ): Promise<FileAttributes>;
  /**
   * Deletes an entry.
   *
   * @param options.kind what it must be: otherwise `path_is_directory` or `path_not_directory`
   * @throws EngineError `directory_not_empty` unless `recursive`, `path_protected`, `precondition_failed` as
   *   {@link write}
   */
  remove(
    call: FilesCall,
    path: Buffer,
    options: {
      readonly kind: 'any' | 'file' | 'directory';
      readonly recursive: boolean;
      readonly decide: ChangeDecision | null;
    },
  ): Promise<void>;
  /**
   * Packs a directory as a tar stream. To be read, or destroyed.
   *
   * @param onBytes called with the size of each chunk
   * @returns once the directory is open. The stream fails with `path_denied` at its end if the archive lacks entries.
   */
  pack(call: FilesCall, path: Buffer, onBytes: (bytes: number) => void): Promise<Readable>;
  /**
   * Unpacks a tar archive into a directory, which is made if it is missing; if the archive or the call fails, nothing
   * remains.
   *
   * @returns the number of entries, and the bytes of the files' contents
   * @throws EngineError `no_space`; `invalid_parameters` if the content is no tar archive of files, directories and
   *   links that all stay in the directory; the content's errors
   */
  unpack(
    call: FilesCall,
    path: Buffer,
    archive: Pick<FileContent, 'content' | 'onBytes'>,
  ): Promise<{ readonly entries: number; readonly bytes: number }>;
  /**
   * Makes a file ready for writing in place.
   *
   * @param options.existing what to do with a file that is there
   * @param options.mode the permissions of a new file; 0644 if not given
   * @throws EngineError `path_exists`, `path_is_directory`, `path_not_file`
   */
  create(
    call: FilesCall,
    path: Buffer,
    options: { readonly existing: 'keep' | 'empty' | 'refuse'; readonly mode: number | undefined },
  ): Promise<void>;
  /**
   * @param part.length at most 16 MiB
   * @returns fewer bytes only at the end of the file, or of one that the kernel generates
   */
  readPart(call: FilesCall, path: Buffer, part: { readonly offset: number; readonly length: number }): Promise<Buffer>;
  /** Writes in place. @throws EngineError `no_space`, after which a part may be written */
  writePart(call: FilesCall, path: Buffer, part: { readonly offset: number; readonly data: Buffer }): Promise<void>;
  /** Cuts a file, or extends it with zeros. */
  truncate(call: FilesCall, path: Buffer, size: number): Promise<void>;
  change(call: FilesCall, path: Buffer, change: AttributeChange): Promise<void>;
  readLink(call: FilesCall, path: Buffer): Promise<Buffer>;
  /** @throws EngineError `path_exists` */
  makeLink(
    call: FilesCall,
    link: { readonly path: Buffer; readonly target: Buffer; readonly kind: 'hard' | 'symbolic' },
  ): Promise<void>;
  /** The path without links and `..`, as far as it exists. */
  resolve(call: FilesCall, path: Buffer): Promise<Buffer>;
  space(call: FilesCall, path: Buffer): Promise<FileSystemSpace>;
  /**
   * Searches below a directory; links are not followed.
   *
   * @returns `isComplete` is false if there may be more
   */
  search(
    call: FilesCall,
    path: Buffer,
    search: FileSearch,
  ): Promise<{ readonly found: readonly FoundFile[]; readonly isComplete: boolean }>;
  /**
   * The bytes on disk of everything below a directory, on its file system alone.
   *
   * @returns `isComplete` is false if it took too long: then there are more bytes
   */
  usage(call: FilesCall, path: Buffer): Promise<{ readonly bytes: number; readonly isComplete: boolean }>;
  /**
   * Watches a directory, and with `recursive` those below it, also new ones; links are not followed. Entries of a new
   * directory may be told twice.
   *
   * @returns once it is watched. The changes come in order, some at a time, at the reader's pace: a slow one gets an
   *   `overflow`. They end when the directory itself is deleted or moved away, and fail with the errors of `call`. To
   *   be read, or ended by `return()`: that, or `call.signal`, ends the watch
   * @throws EngineError `too_many` directories (4,096 in a container) or watches (16), also from the changes
   */
  watch(
    call: FilesCall,
    path: Buffer,
    options: { readonly recursive: boolean },
  ): Promise<AsyncIterableIterator<readonly FileChange[]>>;
}
