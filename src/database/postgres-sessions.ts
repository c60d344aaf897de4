import type { Client, PoolConfig } from 'pg';
import type { DataSourceOptions } from 'typeorm';

/** The timeouts of a session, in milliseconds. Each is below the lease's term; a short lease shortens all of them. */
interface SessionBounds {
  /** PostgreSQL ends a transaction that is idle for longer, as that of a paused process is. */
  readonly idleInTransaction: number;
  /** Maximum wait for a row lock. Longer than a transaction may be idle, so that waiters outlast a paused process. */
  readonly lock: number;
  /** Maximum duration of a statement, including its waits. */
  readonly statement: number;
  /** Maximum wait for an answer. Longer than a statement may take, so an answer that is later was lost on the way. */
  readonly answer: number;
}

/** Upper bounds, which apply with the default lease term of 30 s. */
const USUAL: SessionBounds = { idleInTransaction: 4_000, lock: 5_000, statement: 6_000, answer: 6_500 };
/** Upper bounds as fractions of the lease's term. */
const PART: SessionBounds = { idleInTransaction: 0.4, lock: 0.5, statement: 0.6, answer: 0.65 };

/** node-postgres' (8.23) message of a query that exceeded `query_timeout`. */
const NO_ANSWER = 'Query read timeout';

/** The options of node-postgres and its pool. @param leaseSeconds the term of a lease on a container */
export function sessionOptions(leaseSeconds: number): PoolConfig {
  const bound = (name: keyof SessionBounds): number => Math.min(USUAL[name], leaseSeconds * 1000 * PART[name]);
  return {
    idle_in_transaction_session_timeout: bound('idleInTransaction'),
    lock_timeout: bound('lock'),
    statement_timeout: bound('statement'),
    query_timeout: bound('answer'),
    // Maximum wait for a new connection, or for one of the pool to become free.
    connectionTimeoutMillis: USUAL.lock,
    // Not longer than `query_timeout`: once a first query has timed out on a dead connection, the pool has closed all
    // others that were idle since before.
    idleTimeoutMillis: bound('answer'),
    keepAlive: true,
    keepAliveInitialDelayMillis: 10_000,
    onConnect: (client) => {
      survive(client as Client);
      endWithoutAnswer(client as Client);
    },
  };
}

/** The options without timeouts, for migrations, which may rewrite a large table or wait for another process. */
export function unbounded(options: DataSourceOptions): DataSourceOptions {
  const none = { idle_in_transaction_session_timeout: 0, lock_timeout: 0, statement_timeout: 0, query_timeout: 0 };
  return { ...options, extra: { ...(options.extra as PoolConfig), ...none } };
}

/** The `lock_timeout` of sessions with these options, in milliseconds. */
export function lockPatience(options: DataSourceOptions): number {
  return (options.extra as PoolConfig | undefined)?.lock_timeout ?? USUAL.lock;
}

/**
 * Listens for errors of a connection. If PostgreSQL ends it in the moment in which it is made, pg-pool (3.14) does
 * not listen any more and TypeORM (1.1) not yet, and an 'error' event without a listener ends the process. The query
 * fails all the same.
 */
function survive(client: Client): void {
  client.on('error', () => undefined);
}

/**
 * Ends a connection whose query timed out. node-postgres only fails the query, and TypeORM then returns the
 * connection to the pool, where its next user would wait for the old answer first. The pool replaces an ended
 * connection. Whether a COMMIT without an answer took effect is unknown, so nothing is repeated here.
 */
function endWithoutAnswer(client: Client): void {
  const query = client.query.bind(client) as (...call: unknown[]) => unknown;
  const watched = (...call: unknown[]): unknown => {
    const answer = query(...call);
    // The pool's own queries have a callback instead; the pool ends their connection on any error.
    if (answer instanceof Promise) {
      answer.catch((error: unknown) => {
        if (error instanceof Error && error.message === NO_ANSWER) void client.end();
      });
    }
    return answer;
  };
  client.query = watched as Client['query'];
}
