import type { Readable } from 'node:stream';
import type { Headers } from 'tar-stream';

/** Where a call runs programs, and how long. */
export interface FilesCall {
  readonly dockerId: string;
  /** The marker of its only program, if that program is in a registry. Otherwise each program gets a new one. */
  readonly marker?: string;
  /** Ends the call, which then throws the signal's reason. */
  readonly signal: AbortSignal;
  /** Kills a program, which could not be killed because Docker did not answer, once Docker answers again. */
  endLater(left: { readonly dockerId: string; readonly marker: string }): void;
  /** Called for each program. `gone` resolves when the program does not run any more, and never rejects. */
  onStart?(gone: Promise<void>): void;
}

/** A file, a directory or anything else at a path. */
export interface FileInfo {
  /** As `ls` shows it. */
  readonly mode: string;
  /** In bytes. A sparse file may seem larger than any number. */
  readonly size: number;
  /** In seconds since 1970. */
  readonly modifiedAt: number;
}

/** What is at a path, for a later comparison. */
export interface FileState extends FileInfo {
  /** Changes with the path, the size, and the time of modification, to the nanosecond if the file system has it. */
  readonly version: string;
}

/** An open file. One of the methods is to be called, once. */
export interface OpenFile {
  readonly state: FileState;
  /**
   * The given bytes of the file. The stream fails with `tools_failed` if the file has become shorter in the meantime.
   *
   * @param onBytes called with the size of each chunk
   * @returns once there are bytes to read
   */
  range(bytes: {
    readonly offset: number;
    readonly length: number;
  }): Promise<(onBytes: (bytes: number) => void) => Readable>;
  /** The beginning of a file that the kernel generates, whose size is not known. @param most in bytes */
  beginning(most: number): Promise<Buffer>;
  /** Reads nothing. */
  close(): void;
}

/**
 * Decides whether a file may be changed, from what is at its path; null: nothing. Returns false, or throws, to refuse.
 */
export type ChangeDecision = (state: FileState | null) => boolean;

/** A file to write. */
export interface FileContent {
  readonly path: Buffer;
  /** The file's name in case `path` is a directory; null if `path` must be the file's own. */
  readonly nameInDirectory: Buffer | null;
  readonly content: Readable;
  /** Whether nothing else uses the memory of the content's chunks, so that it may be freed. */
  readonly isOwned: boolean;
  /** Called with the size of each chunk before it is sent on. An error that it throws ends the call. */
  readonly onBytes: (bytes: number) => void;
  /** In bytes; undefined if unknown before the end. */
  readonly length: number | undefined;
  readonly decide: ChangeDecision | null;
}

/** An entry of an archive to unpack; its header is trusted. */
export interface ArchiveEntry {
  readonly header: Headers;
  readonly content: AsyncIterable<Buffer>;
}

/** A directory as an archive. One of the methods is to be called, once. */
export interface PackedDirectory {
  /** @throws EngineError in the middle of the stream if the archive is incomplete */
  read(): AsyncGenerator<Buffer>;
  close(): Promise<void>;
}

/** What is at a path, as SFTP describes it. */
export interface FileAttributes {
  /** The type and the permissions, as in `st_mode`. */
  readonly mode: number;
  /** In bytes. */
  readonly size: number;
  readonly uid: number;
  readonly gid: number;
  /** In seconds since 1970. */
  readonly accessedAt: number;
  readonly modifiedAt: number;
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

/**
 * A shell in a container that answers short requests about files, one after the other: what SFTP needs. Errors are
 * those of {@link EngineFiles}. After some of them the shell has ended ({@link isOpen}), and the caller opens another.
 */
export interface FileShell {
  /** The home directory, where the shell has begun. */
  readonly home: Buffer;
  readonly isOpen: boolean;
  describe(path: Buffer, options: { readonly follow: boolean }): Promise<FileAttributes>;
  /** @returns the entries of a directory, in any order; the names in Latin-1: one character for each byte */
  list(path: Buffer): Promise<readonly { readonly name: string; readonly attributes: FileAttributes }[]>;
  /**
   * Makes a file ready for writing.
   *
   * @param options.existing what to do with a file that is there
   * @param options.mode the permissions of a new file
   * @throws EngineError `path_exists`, `path_is_directory`, `path_not_file`
   */
  create(
    path: Buffer,
    options: { readonly existing: 'keep' | 'empty' | 'refuse'; readonly mode: number | undefined },
  ): Promise<void>;
  /** @returns at most `blocks` times 64 KiB; fewer bytes at the end of the file, or of one that the kernel generates */
  read(path: Buffer, part: { readonly offset: number; readonly blocks: number }): Promise<Buffer>;
  /** Writes in place. @throws EngineError `no_space`, after which a part may be written */
  write(path: Buffer, part: { readonly offset: number; readonly data: Buffer }): Promise<void>;
  /** Cuts a file, or extends it with zeros. */
  resize(path: Buffer, size: number): Promise<void>;
  setMode(path: Buffer, mode: number): Promise<void>;
  setOwner(path: Buffer, owner: { readonly uid: number; readonly gid: number }): Promise<void>;
  setTimes(path: Buffer, times: Pick<FileAttributes, 'accessedAt' | 'modifiedAt'>): Promise<void>;
  makeDirectory(path: Buffer, mode: number | undefined): Promise<void>;
  removeDirectory(path: Buffer): Promise<void>;
  removeFile(path: Buffer): Promise<void>;
  /** @throws EngineError `path_exists` unless `replace`, `path_protected` */
  rename(paths: { readonly from: Buffer; readonly to: Buffer; readonly replace: boolean }): Promise<void>;
  readLink(path: Buffer): Promise<Buffer>;
  makeLink(link: { readonly path: Buffer; readonly target: Buffer; readonly kind: 'hard' | 'symbolic' }): Promise<void>;
  /** The path without links and `..`, as far as it exists. */
  resolve(path: Buffer): Promise<Buffer>;
  space(path: Buffer): Promise<FileSystemSpace>;
}

/**
 * Files in running containers, as the image's user. Paths are absolute and of any bytes but NUL; the container's kernel
 * resolves them, including links and `..`.
 *
 * All methods throw EngineError as {@link EnginePrograms.start}, and `path_not_found`, `path_denied`,
 * `path_not_directory`, `invalid_parameters`, `tools_missing`, `tools_failed`, and the errors of their callbacks.
 */
export interface EngineFiles {
  /** Opens a file and runs `work` with it. @throws EngineError `path_is_directory`, `path_not_file` */
  read(call: FilesCall, path: Buffer, work: (file: OpenFile) => Promise<void>): Promise<void>;
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
  ): Promise<{ became: 'created' | 'replaced'; at: 'file' | 'directory'; info: FileInfo }>;
  /** Reads a directory, in any order. @param take called with each name, as Latin-1: one character for each byte */
  list(call: FilesCall, path: Buffer, take: (name: string, info: FileInfo) => void): Promise<void>;
  /** Makes a directory and its missing parents. @throws EngineError `path_exists`, `no_space` */
  makeDirectory(call: FilesCall, path: Buffer): Promise<FileInfo>;
  /** Moves an entry; never replaces another. @throws EngineError `path_exists`, `path_protected`, `no_space` */
  move(call: FilesCall, paths: { readonly from: Buffer; readonly to: Buffer }): Promise<FileInfo>;
  /**
   * Deletes an entry.
   *
   * @throws EngineError `directory_not_empty` unless `recursive`, `path_protected`, `precondition_failed` as
   *   {@link write}
   */
  remove(
    call: FilesCall,
    path: Buffer,
    options: { readonly recursive: boolean; readonly decide: ChangeDecision | null },
  ): Promise<void>;
  /** Packs a directory as a tar stream, and runs `work` with it. */
  pack(call: FilesCall, path: Buffer, work: (archive: PackedDirectory) => Promise<void>): Promise<void>;
  /**
   * Unpacks entries into a directory; if an entry or the call fails, nothing remains.
   *
   * @throws EngineError `no_space`
   */
  unpack(call: FilesCall, path: Buffer, entries: AsyncIterable<ArchiveEntry>): Promise<void>;
  /** Opens a shell that answers requests about files, and runs `work` with it. */
  session(call: FilesCall, work: (shell: FileShell) => Promise<void>): Promise<void>;
}
