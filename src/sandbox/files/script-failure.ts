import { DomainError, type ErrorCode, invalidParameters } from '../../errors';
import { EXIT } from './scripts';

const BY_EXIT: Readonly<Record<number, ErrorCode>> = {
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

/** Error messages of the C library in the locale C, with which the messages of GNU's and busybox's programs end. */
const BY_WORDS: readonly [RegExp, ErrorCode][] = [
  [/No space left on device|Disk quota exceeded/, 'no_space'],
  [/Permission denied|Operation not permitted|Read-only file system/, 'path_denied'],
  [/No such file or directory|Too many levels of symbolic links/, 'path_not_found'],
  [/Not a directory/, 'path_not_directory'],
  [/Directory not empty/, 'directory_not_empty'],
  [/Is a directory/, 'path_is_directory'],
  [/File exists|annot overwrite|subdirectory of itself/, 'path_exists'],
  [/resource busy/, 'path_protected'],
];

/**
 * Translates the end of a script into the error that clients see. The messages are not passed on, because the image's
 * own programs wrote them.
 */
export function failure(exitCode: number, words: string): DomainError {
  const byExit = BY_EXIT[exitCode];
  if (byExit !== undefined) return new DomainError(byExit);
  if (/name too long/i.test(words))
    return invalidParameters([{ field: 'path', message: 'has a name that is too long' }]);
  const known = BY_WORDS.find(([pattern]) => pattern.test(words));
  return new DomainError(known?.[1] ?? 'tools_failed');
}
