import { isBerthError, UnreachableError } from '@berth/client';
import { adviceOn, doing } from './advice.ts';

/** Exit code for a faulty command line or configuration. */
export const USAGE = 2;
/** Exit code of `exec` and `sh` if the program did not run; their other codes are the program's. */
export const NOT_RUN = 125;

/** Exit code of `exec` and `sh` if there is no such program, as of shells and of Docker. */
const NO_PROGRAM = 127;

/** @returns the exit code of a program that could not be run */
export function notRun(error: unknown): number {
  return isBerthError(error) && error.code === 'command_not_started' ? NO_PROGRAM : NOT_RUN;
}

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

/** Options that set a field of a request, by the field's name in an error. */
const OPTIONS: Readonly<Record<string, string>> = {
  memory_mb: '--memory',
  cpu_shares: '--cpus',
  disk_mb: '--disk',
  auto_stop_seconds: '--auto-stop',
  auto_delete_seconds: '--auto-delete',
  idle_action: '--idle-action',
  lifetime_seconds: '--lifetime',
  end_action: '--at-end',
  expires_in: '--expires or --expires-in',
};

/**
 * The error in one sentence: what failed, where, and what to do about it. Several faulty fields follow on a line each.
 *
 * @param subject by default what the command is about
 */
export function linesOf(error: unknown, subject = doing.subject): readonly [sentence: string, ...string[]] {
  const what = [doing.command, subject].filter(Boolean).join(' ');
  const prefix = what === '' ? '' : `${what}: `;
  if (error instanceof CliError) return [`${prefix}${error.message}`, ...error.more];
  if (!isBerthError(error)) return [`${prefix}${reasonOf(error)}`];
  const advice = adviceOn(error, { ...doing, subject });
  if (error instanceof UnreachableError) return [advice === '' ? error.message : advice];
  const faults = error.details.map(({ field, message }) => `${named(field)} ${message}`);
  const only = faults.length === 1 ? `: ${String(faults[0])}` : '';
  const sentence = `${prefix}${error.message}${only}${placeOf(error.status)}`;
  const reference = error.status >= 500 && error.requestId !== null ? ` (request ${error.requestId})` : '';
  return [
    `${sentence}${reference}${advice === '' ? '' : `. ${advice}`}`,
    ...(faults.length > 1 ? faults.map((fault) => `  ${fault}`) : []),
  ];
}

/** Such as `/etc/x: permission denied` for an error of the system. */
export function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const [, reason, path] = /^E[A-Z0-9]+: (.+?), \w+(?: '(.+?)')?/.exec(error.message) ?? [];
  if (reason === undefined) return error.message;
  return path === undefined ? reason : `${path}: ${reason}`;
}

function named(field: string): string {
  const option = OPTIONS[field];
  return option === undefined ? field : `${option} (${field})`;
}

/** The server, for errors that another server or token would not have. */
function placeOf(status: number): string {
  const { server } = doing;
  if (server === undefined || ![401, 403, 404, 429].includes(status)) return '';
  return ` on ${URL.canParse(server) ? new URL(server).host : server}`;
}
