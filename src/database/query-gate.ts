import { Mutex } from 'async-mutex';
import { DataSource, QueryRunner } from 'typeorm';

/** Lets one query or one whole transaction at a time through to SQLite's only connection. */
export interface QueryGate {
  /** Runs `work` with the connection to itself; `query` is the way past the gate for its holder. */
  transaction<T>(work: (query: (sql: string) => Promise<unknown>) => Promise<T>): Promise<T>;
}

/**
 * Puts a gate before the single query runner that TypeORM has for better-sqlite3. Without it, queries of other requests
 * interleave with an open transaction: they are acknowledged, and vanish when it rolls back.
 *
 * @param inTransaction whether the calling context holds the gate already
 */
export function gateQueries(dataSource: DataSource, inTransaction: () => boolean): QueryGate {
  const mutex = new Mutex();
  const runner: QueryRunner = dataSource.createQueryRunner();
  const ungated = runner.query.bind(runner);
  const gated = (...call: Parameters<QueryRunner['query']>): Promise<unknown> =>
    inTransaction() ? ungated(...call) : mutex.runExclusive<unknown>(() => ungated(...call));
  runner.query = gated as QueryRunner['query'];
  return { transaction: (work) => mutex.runExclusive(() => work((sql) => ungated(sql))) };
}
