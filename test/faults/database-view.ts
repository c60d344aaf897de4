import { Client } from 'pg';
import { DataSource } from 'typeorm';
import { dataSourceOptions } from '../../ormconfig';
import { eventually } from '../support/eventually';
import type { ReservedTruth, RowTruth, SnapshotTruth } from './truth';

/** A lease on a row; its holder may be dead. */
export interface HeldLease {
  readonly id: string;
  readonly operation: string;
  readonly operationId: string;
  /** In the database's format. */
  readonly expiresAt: string;
}

/** Maximum time until a restarted database answers. */
const BACK_WITHIN_MS = 20_000;

/** Reads the database directly, without the servers and the proxies. */
export class DatabaseView {
  constructor(private readonly url: string) {}

  rows(): Promise<RowTruth[]> {
    return this.ask<RowTruth>('SELECT * FROM containers');
  }

  async row(dbId: string): Promise<RowTruth | undefined> {
    return (await this.rows()).find(({ id }) => id === dbId);
  }

  async snapshots(): Promise<SnapshotTruth[]> {
    // PostgreSQL's driver returns 64-bit integers as text, SQLite's booleans as numbers.
    type Raw = Omit<SnapshotTruth, 'data_bytes' | 'is_transient' | 'is_clean'> &
      Record<'data_bytes' | 'is_transient' | 'is_clean', unknown>;
    const rows = await this.ask<Raw>('SELECT * FROM snapshots');
    return rows.map((row) => ({
      ...row,
      data_bytes: Number(row.data_bytes),
      is_transient: Boolean(row.is_transient),
      is_clean: Boolean(row.is_clean),
    }));
  }

  reserved(): Promise<ReservedTruth[]> {
    return this.ask('SELECT node, memory_mb, cpu_shares FROM reserved_capacity');
  }

  users(): Promise<{ id: string; username: string }[]> {
    return this.ask('SELECT id, username FROM users');
  }

  /**
   * Includes leases on deleted rows: a purge is an operation. Leaves out a purge that was postponed because Docker
   * was away or replaced: no process holds it, and a sweep makes it later.
   */
  leases(): Promise<HeldLease[]> {
    return this.ask(
      `SELECT id, operation, operation_id AS "operationId", CAST(operation_expires_at AS text) AS "expiresAt"
         FROM containers
        WHERE operation IS NOT NULL AND NOT (operation = 'purge' AND operation_expires_at < '1970-01-02')`,
    );
  }

  /** The processes whose ends are not reported. */
  runningProcesses(): Promise<object[]> {
    return this.ask('SELECT * FROM processes WHERE ended_at IS NULL');
  }

  /** Whether a transaction has been idle for `ms`, waiting only for its client. PostgreSQL only. */
  async transactionStands(ms: number): Promise<boolean> {
    const standing = await this.ask(
      `SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND state = 'idle in transaction'
          AND state_change < clock_timestamp() - interval '${String(ms)} milliseconds'`,
    );
    return standing.length > 0;
  }

  /** Holds the user's row locked in a foreign transaction until `over` resolves. PostgreSQL only. */
  async lockUser(username: string, over: () => Promise<unknown>): Promise<void> {
    // Without the timeouts that Berth sets for its own connections.
    const client = new Client({ connectionString: this.url });
    client.on('error', () => undefined);
    await client.connect();
    try {
      await client.query('BEGIN');
      await client.query('SELECT id FROM users WHERE username = $1 FOR UPDATE', [username]);
      await over();
    } finally {
      await client.end();
    }
  }

  /** Retries while the database is away: faults kill and restart it. */
  private ask<T>(statement: string): Promise<T[]> {
    return eventually(() => this.connected((database) => database.query<T[]>(statement)), {
      timeoutMs: BACK_WITHIN_MS,
    });
  }

  /** Opens a connection for each query: the server may have been restarted since the last one. */
  private async connected<T>(use: (database: DataSource) => Promise<T>): Promise<T> {
    const database = new DataSource({ ...dataSourceOptions(this.url), entities: [], migrations: [] });
    await database.initialize();
    try {
      return await use(database);
    } finally {
      await database.destroy();
    }
  }
}
