/** What a call to the simulated kernel fails with, in the words of the C library, which programs say. */
const WORDS = {
  EACCES: 'Permission denied',
  EBADF: 'Bad file descriptor',
  EBUSY: 'Device or resource busy',
  EEXIST: 'File exists',
  EINVAL: 'Invalid argument',
  EISDIR: 'Is a directory',
  ELOOP: 'Too many levels of symbolic links',
  EMFILE: 'Too many open files',
  ENAMETOOLONG: 'File name too long',
  ENOENT: 'No such file or directory',
  ENOSPC: 'No space left on device',
  ENOTDIR: 'Not a directory',
  ENOTEMPTY: 'Directory not empty',
  EPERM: 'Operation not permitted',
  EAGAIN: 'Resource temporarily unavailable',
} as const;

export type ErrnoName = keyof typeof WORDS;

export class Errno extends Error {
  override readonly name = 'Errno';

  constructor(readonly errno: ErrnoName) {
    super(WORDS[errno]);
  }
}

/** @returns what `work` gives; null where it fails with one of these */
export function unless<T>(errnos: readonly ErrnoName[], work: () => T): T | null {
  try {
    return work();
  } catch (error) {
    if (error instanceof Errno && errnos.includes(error.errno)) return null;
    throw error;
  }
}
