import type { Client, PoolConfig } from 'pg';
import type { DataSourceOptions } from 'typeorm';

/** The bounds of a session, in milliseconds. Each is below the lease's term; a short lease shortens all of them. */
interface SessionBounds {
  /** A transaction that stands still, as a paused process's does, is ended by PostgreSQL. */
  readonly idleInTransaction: number;
  /**
   * How long a row may be waited for: longer than a transaction may stand still, so that waiters outlast a paused
   * process.
   */
  readonly lock: number;
  /** How long a statement may take, its waits included. */
  readonly statement: number;
  /** How long an answer may take: what takes longer than PostgreSQL lets it take was lost on the way. */
  readonly answer: number;
}

/** With the lease's usual term, 30 s. */
const USUAL: SessionBounds = { idleInTransaction: 4_000, lock: 5_000, statement: 6_000, answer: 6_500 };
/** At most this part of the lease's term. */
const PART: SessionBounds = { idleInTransaction: 0.4, lock: 0.5, statement: 0.6, answer: 0.65 };

/** node-postgres' (8.23) words for a query whose answer took longer than `query_timeout`. */
const NO_ANSWER = 'Query read timeout';

/** How node-postgres and its pool make and keep sessions. @param leaseSeconds the term of a lease on a container */
export function sessionOptions(leaseSeconds: number): PoolConfig {
  const bound = (name: keyof SessionBounds): number => Math.min(USUAL[name], leaseSeconds * 1000 * PART[name]);
  return {
    idle_in_transaction_session_timeout: bound('idleInTransaction'),
    lock_timeout: bound('lock'),
    statement_timeout: bound('statement'),
    query_timeout: bound('answer'),
    // For a new connection, and for one of the pool that is in use.
    connectionTimeoutMillis: USUAL.lock,
    // No longer than an answer may take: once the first query has found a connection silent, no idle one is as old.
    idleTimeoutMillis: bound('answer'),
    keepAlive: true,
    keepAliveInitialDelayMillis: 10_000,
    onConnect: (client) => {
      survive(client as Client);
      endWithoutAnswer(client as Client);
    },
  };
}

/**
 * The same without bounds on what is done, for migrations: a large table is rewritten, or waits for another process.
 */
export function unbounded(options: DataSourceOptions): DataSourceOptions {
  const none = { idle_in_transaction_session_timeout: 0, lock_timeout: 0, statement_timeout: 0, query_timeout: 0 };
  return { ...options, extra: { ...(options.extra as PoolConfig), ...none } };
}

/** How long the sessions of these options wait for a row, in milliseconds. */
export function lockPatience(options: DataSourceOptions): number {
  return (options.extra as PoolConfig | undefined)?.lock_timeout ?? USUAL.lock;
}

/**
 * A connection that PostgreSQL ends in the moment in which it is made has nobody who listens for its error: pg-pool
 * (3.14) does not any more, TypeORM (1.1) not yet, and an error that nobody listens for ends the process. The query
 * fails all the same.
 */
function survive(client: Client): void {
  client.on('error', () => undefined);
}

/**
 * Ends a connection that did not answer. node-postgres fails the query alone, and TypeORM then gives the connection
 * back to the pool, where whoever gets it next waits for that answer first. One that is ended is replaced by the pool.
 * What a COMMIT without an answer did is unknown, so nothing is repeated here.
 */
function endWithoutAnswer(client: Client): void {
  const query = client.query.bind(client) as (...call: unknown[]) => unknown;
  const watched = (...call: unknown[]): unknown => {
    const answer = query(...call);
    // The pool's own queries have a callback instead, and are ended by the pool whatever their error is.
    if (answer instanceof Promise) {
      answer.catch((error: unknown) => {
        if (error instanceof Error && error.message === NO_ANSWER) void client.end();
      });
    }
    return answer;
  };
  client.query = watched as Client['query'];
}
