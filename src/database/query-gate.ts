import { setTimeout as delay } from 'node:timers/promises';
import { Mutex } from 'async-mutex';
import type BetterSqlite3 from 'better-sqlite3';
import { DataSource, QueryRunner } from 'typeorm';
import type { BetterSqlite3Driver } from 'typeorm/driver/better-sqlite3/BetterSqlite3Driver';
import { databaseBusy } from '../errors';

/** Lets one query or one whole transaction at a time through to SQLite's only connection. */
export interface QueryGate {
  /** Runs `work` as a transaction that has the connection to itself. */
  transaction<T>(work: () => Promise<T>): Promise<T>;
}

/** Maximum wait for a lock that another program holds, in milliseconds. */
const PATIENCE_MS = 5_000;
const SHORTEST_PAUSE_MS = 5;
const LONGEST_PAUSE_MS = 100;

/**
 * Repeats `work` while another program locks the database. SQLite itself would wait inside the call and block the
 * whole process. A call that fails with SQLITE_BUSY has had no effect.
 *
 * @throws DomainError `database_busy`, with the driver's SQLITE_BUSY as its cause, after `PATIENCE_MS`
 */
export async function untilFree<T>(work: () => T | Promise<T>): Promise<T> {
  const deadline = performance.now() + PATIENCE_MS;
  for (let pause = SHORTEST_PAUSE_MS; ; pause = Math.min(pause * 2, LONGEST_PAUSE_MS)) {
    try {
      return await work();
    } catch (error) {
      if (!isBusy(error)) throw error;
      if (performance.now() >= deadline) throw databaseBusy(error);
      await delay(pause);
    }
  }
}

/**
 * Puts a gate before the single query runner that TypeORM has for better-sqlite3. Without it, queries of other
 * requests interleave with an open transaction: they are acknowledged, and vanish when it rolls back. A query that
 * waits for another program's lock waits before the gate, so that reads go on.
 *
 * @param inTransaction whether the calling context holds the gate already
 */
export function gateQueries(dataSource: DataSource, inTransaction: () => boolean): QueryGate {
  const mutex = new Mutex();
  const runner: QueryRunner = dataSource.createQueryRunner();
  const connection = (dataSource.driver as BetterSqlite3Driver).databaseConnection as BetterSqlite3.Database;
  connection.pragma('busy_timeout = 0');
  const ungated = runner.query.bind(runner);
  /** TypeORM reports each attempt, which need not fail the query; this reports a lock that outlasts all attempts. */
  const waiting = async <T>(work: () => Promise<T>): Promise<T> => {
    try {
      return await untilFree(work);
    } catch (error) {
      dataSource.logger.logQueryError(error as Error, '');
      throw error;
    }
  };
  const gated = (...call: Parameters<QueryRunner['query']>): Promise<unknown> =>
    inTransaction() ? ungated(...call) : waiting(() => mutex.runExclusive<unknown>(() => ungated(...call)));
  runner.query = gated as QueryRunner['query'];

  /** IMMEDIATE: a deferred transaction that starts to write later fails with SQLITE_BUSY instead of waiting. */
  async function begin(): Promise<() => void> {
    const leave = await mutex.acquire();
    try {
      await ungated('BEGIN IMMEDIATE');
      return leave;
    } catch (error) {
      leave();
      throw error;
    }
  }

  return {
    transaction: async (work) => {
      const leave = await waiting(begin);
      try {
        const result = await work();
        await ungated('COMMIT');
        return result;
      } catch (error) {
        // SQLite may have rolled back by itself, for example on a full disk.
        if (connection.inTransaction) await ungated('ROLLBACK');
        throw error;
      } finally {
        leave();
      }
    },
  };
}

function isBusy(error: unknown): boolean {
  const { code } = error as { code?: unknown };
  return typeof code === 'string' && code.startsWith('SQLITE_BUSY');
}
