import { DataSource, DataSourceOptions } from 'typeorm';
import { unbounded } from './postgres-sessions';

/** Key of the advisory lock: an arbitrary number, the same in every process ("berth" on a telephone's keys). */
export const MIGRATION_LOCK = 23_784;

/**
 * Connects and brings the schema up to date. Several processes may do so at once on PostgreSQL: one migrates, the
 * others wait for it. On SQLite a second process waits for the file.
 */
export async function connect(options: DataSourceOptions): Promise<DataSource> {
  if (options.type === 'postgres') await migrateAlone(unbounded(options));
  const dataSource = await new DataSource(options).initialize();
  try {
    if (options.type !== 'postgres') await dataSource.runMigrations();
    return dataSource;
  } catch (error) {
    await dataSource.destroy();
    throw error;
  }
}

/** Migrates under an advisory lock, on a connection pool of its own. */
async function migrateAlone(options: DataSourceOptions): Promise<void> {
  const dataSource = await new DataSource(options).initialize();
  const holder = dataSource.createQueryRunner();
  try {
    // PostgreSQL releases the lock with the connection, so also when this process dies.
    await holder.query('SELECT pg_advisory_lock($1)', [MIGRATION_LOCK]);
    try {
      await dataSource.runMigrations();
    } finally {
      await holder.query('SELECT pg_advisory_unlock($1)', [MIGRATION_LOCK]);
    }
  } finally {
    await holder.release();
    await dataSource.destroy();
  }
}
