import { isBerthError } from '@berth/client';

/** Exit code for a faulty command line or configuration. */
export const USAGE = 2;
/** Exit code of `exec` and `sh` if the program did not run; their other codes are the program's. */
export const NOT_RUN = 125;

/** An error with a message for people and an exit code for scripts. */
export class CliError extends Error {
  constructor(
    message: string,
    readonly exitCode = 1,
    /** Further lines of the message. */
    readonly more: readonly string[] = [],
  ) {
    super(message);
  }
}

/** @returns 3 not allowed, 4 not found, 5 conflict, 6 not reached, else 1 */
export function exitCodeOf(error: unknown): number {
  if (error instanceof CliError) return error.exitCode;
  if (!isBerthError(error)) return 1;
  if (error.status === 401 || error.status === 403) return 3;
  if (error.status === 404) return 4;
  if (error.status === 409) return 5;
  return error.code === 'connection_failed' ? 6 : 1;
}

/** @returns the lines to print: a sentence, then a line for each faulty field */
export function linesOf(error: unknown): readonly [sentence: string, ...string[]] {
  if (error instanceof CliError) return [error.message, ...error.more];
  if (!isBerthError(error)) return [error instanceof Error ? error.message : String(error)];
  return [error.message, ...error.details.map(({ field, message }) => `  ${field}: ${message}`)];
}
