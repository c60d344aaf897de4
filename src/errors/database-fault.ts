import { DomainError, type ErrorCode } from './domain-error';

/** After how many seconds a caller may try again what the database was too busy for. */
const RETRY_BUSY_SECONDS = 2;

/** The same where the database did not answer: processes are back on new connections within 15 s. */
const RETRY_UNAVAILABLE_SECONDS = 5;

/**
 * What PostgreSQL's SQLSTATEs and SQLite's result codes mean to a caller. Whatever is listed here, except for
 * `database_unavailable`, has undone the statement that it reports, and the transaction that it belonged to.
 */
const BY_CODE: ReadonlyMap<string, ErrorCode> = new Map<string, ErrorCode>([
  // A lock that did not come, a statement that took too long, a transaction that stood still, a deadlock, no connection
  // left.
  ['55P03', 'database_busy'],
  ['57014', 'database_busy'],
  ['25P03', 'database_busy'],
  ['40P01', 'database_busy'],
  ['40001', 'database_busy'],
  ['53300', 'database_busy'],
  ['SQLITE_BUSY', 'database_busy'],
  // A server's setting, a standby, a file that may not be written.
  ['25006', 'database_read_only'],
  ['SQLITE_READONLY', 'database_read_only'],
  ['53100', 'storage_full'],
  // PostgreSQL ends the session (a shutdown, a crash) or does not accept one yet.
  ['57P01', 'database_unavailable'],
  ['57P02', 'database_unavailable'],
  ['57P03', 'database_unavailable'],
  ['SQLITE_FULL', 'storage_full'],
]);

/** Faults without a code: pg-pool (3.14) where no connection came free in time, before anything was sent. */
const NO_CONNECTION = 'timeout exceeded when trying to connect';

/**
 * TypeORM (1.1) where PostgreSQL ended the session between two statements of a transaction, which is undone by that.
 */
const SESSION_ENDED: readonly string[] = ['QueryRunnerAlreadyReleasedError', 'QueryRunnerProviderAlreadyReleasedError'];

/** A connection that is refused, cut off or unanswered: the operating system's codes. */
const UNREACHABLE: readonly string[] = [
  'ECONNREFUSED',
  'ECONNRESET',
  'EPIPE',
  'ETIMEDOUT',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'ENOTFOUND',
  'EAI_AGAIN',
];

/** The same without a code, in the words of node-postgres (8.23) and pg-pool (3.14). */
const LOST_CONNECTION: readonly string[] = [
  'Query read timeout',
  'timeout expired',
  'Connection terminated',
  'Connection terminated unexpectedly',
  'Connection terminated due to connection timeout',
  'Client has encountered a connection error and is not queryable',
  'Client was closed and is not queryable',
];

/** Somebody else holds what is to be written. */
export function databaseBusy(cause?: unknown): DomainError {
  return new DomainError('database_busy', { retryAfter: RETRY_BUSY_SECONDS, cause });
}

/**
 * @returns the caller's error for an error of the database: that all is undone, or, by `database_unavailable`, that
 *   there was no answer and what was under way may have been done; null of anything else
 */
export function databaseFault(error: unknown): DomainError | null {
  if (!(error instanceof Error)) return null;
  const kind = kindOf(error);
  if (kind === undefined) return null;
  if (kind === 'database_busy') return databaseBusy(error);
  if (kind !== 'database_unavailable') return new DomainError(kind, { cause: error });
  return new DomainError(kind, { retryAfter: RETRY_UNAVAILABLE_SECONDS, cause: error });
}

function kindOf(error: Error): ErrorCode | undefined {
  if (error.message === NO_CONNECTION || SESSION_ENDED.includes(error.name)) return 'database_busy';
  if (LOST_CONNECTION.includes(error.message)) return 'database_unavailable';
  const { code, statusCode } = error as { code?: unknown; statusCode?: unknown };
  if (typeof code !== 'string') return undefined;
  // With a status it is the client's own connection, which Fastify reports.
  if (UNREACHABLE.includes(code) && statusCode === undefined) return 'database_unavailable';
  // SQLite's extended codes go on after its plain ones: SQLITE_BUSY_SNAPSHOT.
  const plain = /^SQLITE_[A-Z]+/.exec(code)?.[0] ?? code;
  return BY_CODE.get(plain);
}
