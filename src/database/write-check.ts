import { Client, type Pool } from 'pg';
import type { DataSource } from 'typeorm';
import type { PostgresDriver } from 'typeorm/driver/postgres/PostgresDriver';

type Query = (sql: string, parameters?: string[]) => Promise<unknown>;

/** PostgreSQL's error code `insufficient_privilege`. */
const MAY_NOT = '42501';

/** Checks that writes work, by one that needs disk space. @throws the driver's error if the write fails */
export async function checkWrites(dataSource: DataSource): Promise<void> {
  const query: Query = (sql, parameters) => dataSource.query(sql, parameters);
  await (dataSource.options.type === 'postgres' ? checkPostgres(query) : checkSqlite(query));
}

/**
 * Checks that an outage is over: on PostgreSQL {@link checkWrites} on a new connection, because present ones go on to
 * work while the server accepts no others, and keep their settings.
 *
 * @throws the driver's error
 */
export async function checkAnew(dataSource: DataSource): Promise<void> {
  if (dataSource.options.type !== 'postgres') {
    // A row that needs new pages: what is written over existing ones finds room on a full disk.
    await dataSource.query(`UPDATE settings SET value = hex(zeroblob(8192)) WHERE key = 'write_check'`);
    return checkWrites(dataSource);
  }
  const { options } = (dataSource.driver as PostgresDriver).master as Pool;
  // The password is not enumerable in the pool's options.
  const client = new Client({ ...options, password: options.password });
  client.on('error', () => undefined);
  try {
    await client.connect();
    await checkPostgres((sql) => client.query(sql));
  } finally {
    void client.end().catch(() => undefined);
  }
}

/** Adds a page to the write-ahead log, as every write does. */
async function checkSqlite(query: Query): Promise<void> {
  const sql = `INSERT INTO settings (key, value) VALUES ('write_check', ?)
               ON CONFLICT (key) DO UPDATE SET value = excluded.value`;
  await query(sql, [new Date().toISOString()]);
}

/**
 * A row in an existing table may find room on a full disk. A temporary table needs new pages, and no other session,
 * such as a backup, can lock it.
 */
async function checkPostgres(query: Query): Promise<void> {
  try {
    await query('CREATE TEMPORARY TABLE write_check ON COMMIT DROP AS SELECT n FROM generate_series(1, 2000) AS n');
  } catch (error) {
    if ((error as { code?: unknown }).code !== MAY_NOT) throw error;
    // Without the privilege to create temporary tables: this statement is at least refused where the database is
    // read-only.
    await query('DELETE FROM settings WHERE false');
  }
}
