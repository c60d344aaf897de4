import { EngineError, type FileErrorCode } from '../engine-error';
import { EXIT } from './scripts';

const BY_EXIT: Readonly<Record<number, FileErrorCode>> = {
  [EXIT.exists]: 'path_exists',
  [EXIT.isDirectory]: 'path_is_directory',
  [EXIT.notDirectory]: 'path_not_directory',
  [EXIT.notFile]: 'path_not_file',
  [EXIT.protected]: 'path_protected',
  [EXIT.changed]: 'precondition_failed',
  [EXIT.toolsMissing]: 'tools_missing',
  126: 'tools_missing',
  127: 'tools_missing',
};

/**
 * Error messages of the C library in the locale C, with which the messages of GNU's and busybox's programs end, and
 * those of the shells themselves (dash, busybox) for files that they cannot open.
 */
const BY_WORDS: readonly [RegExp, FileErrorCode][] = [
  [/name too long/i, 'invalid_parameters'],
  [/No space left on device|Disk quota exceeded/, 'no_space'],
  [/Permission denied|Operation not permitted|Read-only file system/, 'path_denied'],
  [/No such file|Directory nonexistent|nonexistent directory|Too many levels of symbolic links/i, 'path_not_found'],
  [/Not a directory/, 'path_not_directory'],
  [/Directory not empty/, 'directory_not_empty'],
  [/Is a directory/, 'path_is_directory'],
  [/File exists|annot overwrite|subdirectory of itself/, 'path_exists'],
  [/resource busy/, 'path_protected'],
];

/**
 * Translates the end of a script into an error. The messages are not part of it, because the image's own programs
 * wrote them.
 */
export function failure(exitCode: number, words: string): EngineError {
  const code = BY_EXIT[exitCode] ?? BY_WORDS.find(([pattern]) => pattern.test(words))?.[1] ?? 'tools_failed';
  return new EngineError(code, `the script exited with ${String(exitCode)}`);
}
