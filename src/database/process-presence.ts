import { OnApplicationShutdown } from '@nestjs/common';
import { randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { Client, type Pool } from 'pg';
import { DataSource } from 'typeorm';
import type { PostgresDriver } from 'typeorm/driver/postgres/PostgresDriver';
import { Stopwatch } from '../scheduling';

/**
 * How long after a proof of its presence a process may act without a new one. Others must have missed it for longer:
 * see {@link ABSENT_FOR_MS}.
 */
const PROVEN_FOR_MS = 2_000;

/** How long others must have missed a process before they take over what it was at. */
export const ABSENT_FOR_MS = 3_000;

const PROVE_EVERY_MS = 1_000;
const RECONNECT_EVERY_MS = 250;

/** How long a connection or an answer may take; then another connection is tried. */
const ANSWER_WITHIN_MS = 2_500;

const END_WITHIN_MS = 1_000;

/**
 * Of this session, for PostgreSQL's side of the connection: 2 s after the last sign of life it is asked for, every
 * second, and after 4 s without an answer the session and its lock end. The other side's kernel answers, also for a
 * paused process. On a Unix socket, which cannot be cut off, they have no effect.
 */
const KEEPALIVES =
  'SET tcp_keepalives_idle = 2; SET tcp_keepalives_interval = 1; SET tcp_keepalives_count = 2; SET tcp_user_timeout = 4000';

/** Of this connection in `pg_stat_activity`. */
const APPLICATION_NAME = 'berth presence';

/**
 * Shows other processes that this one lives. On PostgreSQL by a shared advisory lock, which belongs to a connection
 * kept for nothing else: the death of the process ends the connection and so the lock, a pause ends neither. The
 * connection may also be lost while the process lives, so each one has a number, and what was agreed under one has to
 * be confirmed under the next. On SQLite, which has one process only, nobody asks.
 */
export class ProcessPresence implements OnApplicationShutdown {
  /** Names this process in what it holds; another one for each start. */
  readonly holder = randomUUID();
  private connection: Client | null = null;
  private backend: unknown = null;
  private lastSession = 0;
  private provenAt: Stopwatch | null = null;
  private proving: Promise<number> | null = null;
  private timer: NodeJS.Timeout | undefined;
  private closed = false;

  private constructor(private readonly pool: Pool | null) {}

  /** @throws what the database throws, where it does not answer */
  static async establish(dataSource: DataSource): Promise<ProcessPresence> {
    const isPostgres = dataSource.options.type === 'postgres';
    const presence = new ProcessPresence(isPostgres ? ((dataSource.driver as PostgresDriver).master as Pool) : null);
    await presence.prove();
    presence.provenAfter(PROVE_EVERY_MS);
    return presence;
  }

  async onApplicationShutdown(): Promise<void> {
    this.closed = true;
    clearTimeout(this.timer);
    // A connection that has fallen silent does not end by itself, and the process must.
    await Promise.race([this.connection?.end().catch(() => undefined), delay(END_WITHIN_MS, null, { ref: false })]);
  }

  /** Whether the process ends, so that the presence is not proven again and the database is about to be closed. */
  get hasEnded(): boolean {
    return this.closed;
  }

  /**
   * The number of the connection that shows the presence now, or did last. To be read before something is written under
   * it.
   */
  get session(): number {
    return this.lastSession;
  }

  /** Whether this connection has shown the presence without a break until a moment ago. */
  isProven(session: number): boolean {
    if (this.pool === null) return true;
    return session === this.lastSession && this.provenAt !== null && this.provenAt.age < PROVEN_FOR_MS;
  }

  /**
   * Proves the presence now, by another connection if need be. @returns its number. @throws what the database throws
   */
  async prove(): Promise<number> {
    if (this.pool === null) return this.lastSession;
    this.proving ??= this.proveOnce().finally(() => (this.proving = null));
    return this.proving;
  }

  private async proveOnce(): Promise<number> {
    if (this.closed) throw new Error('the process ends');
    const { connection } = this;
    const at = new Stopwatch();
    if (connection) {
      try {
        const { rows } = await connection.query<{ pid: unknown }>('SELECT pg_backend_pid() AS pid');
        // Another backend: a pooler has put another session in the place of the one that has the lock.
        if (this.connection === connection && rows[0]?.pid === this.backend) {
          this.provenAt = at;
          return this.lastSession;
        }
      } catch {
        // It is lost, whatever the reason.
      }
      this.drop(connection);
    }
    return this.reconnect();
  }

  private async reconnect(): Promise<number> {
    const connection = new Client({
      ...this.pool?.options,
      // Not enumerable there.
      password: this.pool?.options.password,
      application_name: APPLICATION_NAME,
      keepAlive: true,
      connectionTimeoutMillis: ANSWER_WITHIN_MS,
      query_timeout: ANSWER_WITHIN_MS,
    });
    connection.on('error', () => this.drop(connection));
    try {
      await connection.connect();
      const at = new Stopwatch();
      // PostgreSQL hears no end of a process whose machine or network is gone: its kernel then has to ask, and to give
      // up.
      await connection.query(KEEPALIVES);
      // Shared, as the session before this one may not have ended yet for PostgreSQL, and nobody else takes this lock.
      const lock = 'SELECT pg_advisory_lock_shared(hashtextextended($1, 0)), pg_backend_pid() AS pid';
      const { rows } = await connection.query<{ pid: unknown }>(lock, [this.holder]);
      if (this.closed) throw new Error('the process ends');
      this.connection = connection;
      this.backend = rows[0]?.pid;
      this.provenAt = at;
      this.lastSession += 1;
      return this.lastSession;
    } catch (error) {
      this.drop(connection);
      throw error;
    }
  }

  private drop(connection: Client): void {
    connection.end().catch(() => undefined);
    if (this.connection !== connection) return;
    this.connection = null;
    this.provenAfter(0);
  }

  private provenAfter(ms: number): void {
    clearTimeout(this.timer);
    if (this.pool === null || this.closed) return;
    const again = (): void => {
      this.prove().then(
        () => this.provenAfter(PROVE_EVERY_MS),
        () => this.provenAfter(RECONNECT_EVERY_MS),
      );
    };
    this.timer = setTimeout(again, ms).unref();
  }
}

/**
 * An SQL condition for PostgreSQL: that a process shows no presence.
 *
 * @param holder the column with its name
 */
export function isAbsentSql(holder: string): string {
  return `(${holder} IS NOT NULL AND hashtextextended(${holder}, 0) NOT IN (${PRESENT}))`;
}

/** The keys of advisory locks with one key of 64 bits (`objsubid` 1), of which `pg_locks` has the halves. */
const PRESENT = [
  'SELECT (CAST(l.classid AS bigint) << 32) | CAST(l.objid AS bigint) FROM pg_locks l',
  "WHERE l.locktype = 'advisory' AND l.objsubid = 1 AND l.granted",
  'AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())',
].join(' ');
