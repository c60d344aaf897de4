import { DomainError, type ErrorCode } from './domain-error';

/** After how many seconds a caller may try again what the database was too busy for. */
const RETRY_BUSY_SECONDS = 2;

/**
 * What PostgreSQL's SQLSTATEs and SQLite's result codes mean to a caller. Whatever is listed here undid what it was told of:
 * the statement, and the transaction that it belonged to.
 */
const BY_CODE: ReadonlyMap<string, ErrorCode> = new Map<string, ErrorCode>([
  // A lock that did not come, a statement that took too long, a transaction that stood still, a deadlock, no connection left.
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
  ['SQLITE_FULL', 'storage_full'],
]);

/** Faults without a code: pg-pool (3.14) where no connection came free in time, before anything was sent. */
const NO_CONNECTION = 'timeout exceeded when trying to connect';

/** TypeORM (1.1) where PostgreSQL ended the session between two statements of a transaction, which is undone by that. */
const SESSION_ENDED = 'QueryRunnerAlreadyReleasedError';

/** Somebody else holds what is to be written. */
export function databaseBusy(cause?: unknown): DomainError {
  return new DomainError('database_busy', { retryAfter: RETRY_BUSY_SECONDS, cause });
}

/** @returns what the caller is told of a fault of the database's that is known to have undone all; null of anything else */
export function databaseFault(error: unknown): DomainError | null {
  if (!(error instanceof Error)) return null;
  const kind = kindOf(error);
  if (kind === undefined) return null;
  return kind === 'database_busy' ? databaseBusy(error) : new DomainError(kind, { cause: error });
}

function kindOf(error: Error): ErrorCode | undefined {
  if (error.message === NO_CONNECTION || error.name === SESSION_ENDED) return 'database_busy';
  const { code } = error as { code?: unknown };
  if (typeof code !== 'string') return undefined;
  // SQLite's extended codes go on after its plain ones: SQLITE_BUSY_SNAPSHOT.
  const plain = /^SQLITE_[A-Z]+/.exec(code)?.[0] ?? code;
  return BY_CODE.get(plain);
}
