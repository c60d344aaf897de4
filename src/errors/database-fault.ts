import { DomainError, type ErrorCode } from './domain-error';

/** `Retry-After` in seconds if the database was too busy. */
const RETRY_BUSY_SECONDS = 2;

/** `Retry-After` in seconds if the database did not answer: processes reconnect within 15 s. */
const RETRY_UNAVAILABLE_SECONDS = 5;

const TOO_MANY_CONNECTIONS = '53300';

/**
 * PostgreSQL's SQLSTATEs and SQLite's result codes as errors for callers. All of them, except for
 * `database_unavailable`, mean that the statement and its transaction were rolled back.
 */
const BY_CODE: ReadonlyMap<string, ErrorCode> = new Map<string, ErrorCode>([
  // Lock timeout, statement timeout, idle transaction timeout, deadlock, serialization failure, too many connections.
  ['55P03', 'database_busy'],
  ['57014', 'database_busy'],
  ['25P03', 'database_busy'],
  ['40P01', 'database_busy'],
  ['40001', 'database_busy'],
  [TOO_MANY_CONNECTIONS, 'database_busy'],
  ['SQLITE_BUSY', 'database_busy'],
  // A read-only setting of the server, a standby, or a file without write permission.
  ['25006', 'database_read_only'],
  ['SQLITE_READONLY', 'database_read_only'],
  ['53100', 'storage_full'],
  // PostgreSQL ends the session (a shutdown, a crash) or does not accept connections yet.
  ['57P01', 'database_unavailable'],
  ['57P02', 'database_unavailable'],
  ['57P03', 'database_unavailable'],
  ['SQLITE_FULL', 'storage_full'],
  // The file, or one beside it, cannot be opened, read or written.
  ['SQLITE_CANTOPEN', 'database_unavailable'],
  ['SQLITE_IOERR', 'database_unavailable'],
]);

/** The kinds of {@link databaseFault}. */
const KINDS: ReadonlySet<ErrorCode> = new Set(BY_CODE.values());

/** pg-pool (3.14) has no code for this error: no connection became free in time, before any statement was sent. */
const NO_CONNECTION = 'timeout exceeded when trying to connect';

/**
 * Errors of TypeORM (1.1) if PostgreSQL ended the session between two statements of a transaction, which is thereby
 * rolled back.
 */
const SESSION_ENDED: readonly string[] = ['QueryRunnerAlreadyReleasedError', 'QueryRunnerProviderAlreadyReleasedError'];

/** The operating system's codes for a refused, broken or unanswered connection. */
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

/** The messages of node-postgres (8.23) and pg-pool (3.14) for a lost connection, which have no code. */
const LOST_CONNECTION: readonly string[] = [
  'Query read timeout',
  'timeout expired',
  'Connection terminated',
  'Connection terminated unexpectedly',
  'Connection terminated due to connection timeout',
  'Client has encountered a connection error and is not queryable',
  'Client was closed and is not queryable',
];

/** Another transaction holds the lock. */
export function databaseBusy(cause: unknown): DomainError {
  return new DomainError('database_busy', { retryAfter: RETRY_BUSY_SECONDS, cause });
}

/**
 * @returns the caller's error for a database error, or `error` itself if it is one; null for other errors.
 *   `database_unavailable` means that the database did not answer and the work may have been committed; with the others
 *   it was rolled back
 */
export function databaseFault(error: unknown): DomainError | null {
  if (!(error instanceof Error)) return null;
  if (error instanceof DomainError) return KINDS.has(error.kind) ? error : null;
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
  // An error with a status concerns the client's own connection; Fastify reports it.
  if (UNREACHABLE.includes(code) && statusCode === undefined) return 'database_unavailable';
  // SQLite's extended codes, such as SQLITE_BUSY_SNAPSHOT, start with the plain ones.
  const plain = /^SQLITE_[A-Z]+/.exec(code)?.[0] ?? code;
  return BY_CODE.get(plain);
}

/**
 * What fails for all callers while `error` lasts, as opposed to one statement or transaction.
 *
 * @returns `writes` if the database is read-only, has no space or is locked by another program; `all` if it does not
 *   answer or accepts no more connections; null if the error is no outage
 */
export function failedByOutage(error: unknown): 'all' | 'writes' | null {
  const kind = databaseFault(error)?.kind;
  if (kind === 'database_unavailable' || isConnectionTimeout(error)) return 'all';
  if (kind === 'database_read_only' || kind === 'storage_full') return 'writes';
  if (kind !== 'database_busy') return null;
  if (!(error instanceof DomainError)) return codeOf(error) === TOO_MANY_CONNECTIONS ? 'all' : null;
  // An attempt that SQLite refuses is repeated, and is not an outage until that has ended.
  return codeOf(error.options.cause)?.startsWith('SQLITE_BUSY') === true ? 'writes' : null;
}

function codeOf(error: unknown): string | undefined {
  const { code } = Object(error) as { code?: unknown };
  return typeof code === 'string' ? code : undefined;
}

/** Whether a connection was not made in time; node-postgres (8.23) sets no code when it times out itself. */
export function isConnectionTimeout(error: unknown): boolean {
  return error instanceof Error && CONNECTION_TIMEOUTS.includes(error.message);
}

const CONNECTION_TIMEOUTS: readonly string[] = [
  NO_CONNECTION,
  'timeout expired',
  'Connection terminated due to connection timeout',
];
