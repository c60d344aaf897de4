import { createHash } from 'node:crypto';
import BetterSqlite3 from 'better-sqlite3';
import DataLoader from 'dataloader';
import type { Pool } from 'pg';
import { untilFree } from './query-gate';

/** A query for one row by a key, whose text never changes. */
export interface LookupQuery {
  readonly columns: readonly string[];
  /** With its joins. */
  readonly from: string;
  /** The column that the key is compared with. */
  readonly key: string;
  /** What else must hold. */
  readonly where?: string;
  /** The first of several rows is the one. */
  readonly orderBy?: string;
}

/**
 * @returns the row's values in the order of the columns, as the driver reads them (making objects of them costs more
 *   than reading them), or null. Keys must be checked before: one that the database refuses fails others too
 */
export type Lookup = (key: string) => Promise<readonly unknown[] | null>;

/** How many keys one query asks for. */
const BATCH = 200;

/** The query for a single key. @param condition what the key's column is compared by, such as `= ?` */
export function lookupSql({ columns, from, key, where, orderBy }: LookupQuery, condition: string): string {
  return [
    `SELECT ${columns.join(', ')} FROM ${from} WHERE ${key} ${condition}`,
    ...(where === undefined ? [] : [`AND ${where}`]),
    ...(orderBy === undefined ? [] : [`ORDER BY ${orderBy}`]),
  ].join(' ');
}

/**
 * Asks for all keys that requests of one turn of the event loop want at once, in the next; nothing is remembered from
 * one turn to another. Under load the requests of a turn are then answered together, which wakes clients once and not
 * each for itself.
 */
function together(ask: (keys: readonly string[]) => Promise<(readonly unknown[] | null)[]>): Lookup {
  const options = { cache: false, maxBatchSize: BATCH, batchScheduleFn: (begin: () => void) => setImmediate(begin) };
  const loader = new DataLoader<string, readonly unknown[] | null>(ask, options);
  return (key) => loader.load(key);
}

/**
 * Looks up on a connection of its own, which reads what was committed and waits for nobody: in WAL mode a writer does
 * not hold up readers. Prepared once; TypeORM's way through a query runner takes several times as long as SQLite
 * itself.
 */
export function sqliteLookup(reader: BetterSqlite3.Database, query: LookupQuery): Lookup {
  const statement = reader.prepare<[string], unknown[]>(lookupSql(query, '= ?')).raw();
  return together((keys) => untilFree(() => keys.map((key) => statement.get(key) ?? null)));
}

/** One prepared query for all keys, as most of what a query costs is per query, on both ends. */
export function postgresLookup(pool: Pool, query: LookupQuery): Lookup {
  // The key that a row answers comes last.
  const columns = [...query.columns, query.key];
  const text = lookupSql({ ...query, columns }, '= ANY($1)');
  const name = `lookup_${createHash('sha256').update(text).digest('hex').slice(0, 16)}`;
  return together(async (keys) => {
    const { rows } = await pool.query<unknown[]>({ name, text, values: [keys], rowMode: 'array' });
    const found = new Map<unknown, unknown[]>();
    for (const row of rows) if (!found.has(row.at(-1))) found.set(row.at(-1), row);
    return keys.map((key) => found.get(key) ?? null);
  });
}
