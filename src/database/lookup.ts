import { createHash } from 'node:crypto';
import BetterSqlite3 from 'better-sqlite3';
import DataLoader from 'dataloader';
import type { Pool } from 'pg';
import type { DataSource } from 'typeorm';
import type { PostgresDriver } from 'typeorm/driver/postgres/PostgresDriver';
import { LruMap } from '../scheduling';
import { untilFree } from './query-gate';

/** A query for one row by its key; its text is constant. */
export interface LookupQuery {
  readonly columns: readonly string[];
  /** The table, with its joins. */
  readonly from: string;
  /** The column that the key is compared with. */
  readonly key: string;
  /** A further condition. */
  readonly where?: string;
  /** If several rows have the key, the first one is used. */
  readonly orderBy?: string;
}

/**
 * Looks up the row of a key. Validate keys first: a key that the database refuses fails the other lookups of its
 * batch.
 *
 * @returns the row's values in the order of the columns, as the driver reads them (objects of them would cost more
 *   than reading them); null if there is no row
 */
export type Lookup = (key: string) => Promise<readonly unknown[] | null>;

/** Maximum keys per query. */
const BATCH = 200;

/** Rows that SQLite's lookups keep, and the longest of them, in characters: together a few megabytes. */
const KEPT_ROWS = 1_000;
const LONGEST_KEPT = 4_096;

/** The text of a lookup. @param condition what the key's column is compared with, such as `= ?` */
export function lookupSql({ columns, from, key, where, orderBy }: LookupQuery, condition: string): string {
  return [
    `SELECT ${columns.join(', ')} FROM ${from} WHERE ${key} ${condition}`,
    ...(where === undefined ? [] : [`AND ${where}`]),
    ...(orderBy === undefined ? [] : [`ORDER BY ${orderBy}`]),
  ].join(' ');
}

/**
 * Reads all keys that were requested in one turn of the event loop in one batch, in the next turn. Under load the
 * requests of a turn are answered together, which wakes clients once instead of once per request.
 */
function together(ask: (keys: readonly string[]) => Promise<(readonly unknown[] | null)[]>): Lookup {
  const options = { cache: false, maxBatchSize: BATCH, batchScheduleFn: (begin: () => void) => setImmediate(begin) };
  const loader = new DataLoader<string, readonly unknown[] | null>(ask, options);
  return (key) => loader.load(key);
}

/**
 * Looks up on a read-only connection of its own. In WAL mode it reads committed data and a writer does not block it.
 * The statement is prepared once; TypeORM's query runner takes several times as long as SQLite itself. Rows are kept
 * until any other connection, also of another process, commits: SQLite counts the commits (`data_version`).
 */
export function sqliteLookup(reader: BetterSqlite3.Database, query: LookupQuery, logger: DataSource['logger']): Lookup {
  const statement = reader.prepare<[string], unknown[]>(lookupSql(query, '= ?')).raw();
  const commits = reader.prepare<[], number>('PRAGMA data_version').pluck();
  let kept = new LruMap<readonly unknown[]>(KEPT_ROWS);
  let keptAt: number | undefined;
  const find = (key: string): readonly unknown[] | null => {
    const known = kept.get(key);
    if (known) return known;
    const row = statement.get(key) ?? null;
    if (row && lengthOf(row) <= LONGEST_KEPT) kept.set(key, row);
    return row;
  };
  return together((keys) => {
    const asked = untilFree(() => {
      // Read before the rows: a row may be newer than the count, never older.
      const at = commits.get();
      if (at !== keptAt) kept = new LruMap(KEPT_ROWS);
      keptAt = at;
      return keys.map(find);
    });
    asked.catch((error: unknown) => void logger.logQueryError(error as Error, statement.source));
    return asked;
  });
}

function lengthOf(row: readonly unknown[]): number {
  return row.reduce<number>((sum, value) => sum + (typeof value === 'string' ? value.length : 8), 0);
}

/** One prepared query for all keys of a batch, as most of a query's cost is per query, on both ends. */
export function postgresLookup({ driver, logger }: DataSource, query: LookupQuery): Lookup {
  const pool = (driver as PostgresDriver).master as Pool;
  // The row's key comes last.
  const columns = [...query.columns, query.key];
  const text = lookupSql({ ...query, columns }, '= ANY($1)');
  const name = `lookup_${createHash('sha256').update(text).digest('hex').slice(0, 16)}`;
  return together(async (keys) => {
    const asked = pool.query<unknown[]>({ name, text, values: [keys], rowMode: 'array' });
    // As TypeORM does with its own queries.
    asked.catch((error: unknown) => void logger.logQueryError(error as Error, text));
    const { rows } = await asked;
    const found = new Map<unknown, unknown[]>();
    for (const row of rows) if (!found.has(row.at(-1))) found.set(row.at(-1), row);
    return keys.map((key) => found.get(key) ?? null);
  });
}
