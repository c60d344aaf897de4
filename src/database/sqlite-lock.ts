import { OnApplicationShutdown } from '@nestjs/common';
import BetterSqlite3 from 'better-sqlite3';
import { DataSource } from 'typeorm';
import { ConfigError } from '../config';

/**
 * Keeps a second server process away from an SQLite database. With a single process, every operation found at start
 * was interrupted by the death of the previous process and can be taken over at once. The lock is the operating
 * system's, so SIGKILL frees it.
 */
export class SqliteLock implements OnApplicationShutdown {
  private constructor(private readonly connection: BetterSqlite3.Database | null) {}

  /** @throws ConfigError, with advice, if another process holds the lock */
  static acquire(dataSource: DataSource): SqliteLock {
    const { options } = dataSource;
    if (options.type !== 'better-sqlite3' || options.database === ':memory:') return new SqliteLock(null);
    const connection = new BetterSqlite3(`${options.database}.lock`, { timeout: 0 });
    try {
      connection.exec('BEGIN EXCLUSIVE');
    } catch {
      connection.close();
      throw new ConfigError(
        `another Berth process uses the database ${options.database}. Stop it first, or run several processes on PostgreSQL.`,
      );
    }
    return new SqliteLock(connection);
  }

  onApplicationShutdown(): void {
    this.connection?.close();
  }
}
