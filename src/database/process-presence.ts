import { OnApplicationShutdown } from '@nestjs/common';
import { randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import { Client, type Pool } from 'pg';
import { DataSource } from 'typeorm';
import type { PostgresDriver } from 'typeorm/driver/postgres/PostgresDriver';
import { Stopwatch } from '../scheduling';

/**
 * How long a process may act on a proof of its presence. Shorter than the absence after which others take over:
 * {@link ABSENT_FOR_MS}.
 */
const PROVEN_FOR_MS = 2_000;

/** How long a process must have been absent before other processes take over its work. */
export const ABSENT_FOR_MS = 3_000;

const PROVE_EVERY_MS = 1_000;
const RECONNECT_EVERY_MS = 250;

/** Maximum time for a connection attempt or an answer, after which a new connection is tried. */
const ANSWER_WITHIN_MS = 2_500;

const END_WITHIN_MS = 1_000;

/**
 * TCP keepalives of PostgreSQL's end of this connection: the first probe comes after 2 s of silence, then one every
 * second. After 4 s without an answer the session and its lock end. This machine's kernel answers, also for a paused
 * process. On a Unix socket, which cannot be cut off, they have no effect.
 */
const KEEPALIVES =
  'SET tcp_keepalives_idle = 2; SET tcp_keepalives_interval = 1; SET tcp_keepalives_count = 2; SET tcp_user_timeout = 4000';

const LOCK = 'SELECT pg_advisory_lock_shared(hashtextextended($1, 0)), pg_backend_pid() AS pid';

/** Name of this connection in `pg_stat_activity`. */
const APPLICATION_NAME = 'berth presence';

/**
 * Shows other processes that this one is alive. On PostgreSQL it holds a shared advisory lock on a connection kept
 * for nothing else: the death of the process ends the connection and so the lock, a pause ends neither. The
 * connection may also be lost while the process lives. So connections are numbered, and what was agreed under one
 * number has to be confirmed under the next. On SQLite, which one process uses, the presence always counts as proven.
 */
export class ProcessPresence implements OnApplicationShutdown {
  /** Identifies this process in the rows that it holds; new at each start. */
  readonly holder = randomUUID();
  private connection: Client | null = null;
  private backend: unknown = null;
  private lastSession = 0;
  private provenAt: Stopwatch | null = null;
  private proving: Promise<number> | null = null;
  private timer: NodeJS.Timeout | undefined;
  private closed = false;

  /** @param noteFault learns of errors of this connection, as of all others, so that one outage is reported once */
  private constructor(
    private readonly pool: Pool | null,
    private readonly noteFault: (error: Error) => void,
  ) {}

  /** Proves the presence once, then regularly. @throws the driver's error if the first proof fails */
  static async establish(dataSource: DataSource): Promise<ProcessPresence> {
    const isPostgres = dataSource.options.type === 'postgres';
    const presence = new ProcessPresence(
      isPostgres ? ((dataSource.driver as PostgresDriver).master as Pool) : null,
      (error) => void dataSource.logger.logQueryError(error, LOCK),
    );
    await presence.prove();
    presence.provenAfter(PROVE_EVERY_MS);
    return presence;
  }

  async onApplicationShutdown(): Promise<void> {
    this.closed = true;
    clearTimeout(this.timer);
    // `end()` of a dead connection never settles, and the process must end.
    await Promise.race([this.leave().catch(() => undefined), delay(END_WITHIN_MS, null, { ref: false })]);
  }

  /** Gives the lock back before the connection ends: PostgreSQL may do that only after it has closed it. */
  private async leave(): Promise<void> {
    await this.connection?.query('SELECT pg_advisory_unlock_all()').catch(() => undefined);
    await this.connection?.end();
  }

  /**
   * Whether the process is shutting down: its presence is not proven again and the database is about to be closed.
   */
  get hasEnded(): boolean {
    return this.closed;
  }

  /** The number of the current or last connection. Read it before writing a row that depends on it. */
  get session(): number {
    return this.lastSession;
  }

  /**
   * Whether this is the current connection and its last proof is younger than `PROVEN_FOR_MS`. Always true on SQLite.
   */
  isProven(session: number): boolean {
    if (this.pool === null) return true;
    return session === this.lastSession && this.provenAt !== null && this.provenAt.age < PROVEN_FOR_MS;
  }

  /**
   * Proves the presence now, on a new connection if necessary. Concurrent calls share one proof.
   *
   * @returns the connection's number
   * @throws the driver's error
   */
  async prove(): Promise<number> {
    if (this.pool === null) return this.lastSession;
    this.proving ??= this.proveOnce().finally(() => (this.proving = null));
    return this.proving;
  }

  /**
   * Which of these processes are dead: on SQLite all but this one. On PostgreSQL those that show no presence twice,
   * `ABSENT_FOR_MS` apart, as a living process may lose its connection for a moment.
   *
   * @throws the driver's error; the signal's reason
   */
  async deadAmong(holders: readonly string[], signal: AbortSignal): Promise<ReadonlySet<string>> {
    const others = holders.filter((holder) => holder !== '' && holder !== this.holder);
    if (this.pool === null || others.length === 0) return new Set(others);
    const absent = await absentAmong(this.pool, others);
    if (absent.length === 0) return new Set();
    await delay(ABSENT_FOR_MS, undefined, { ref: false, signal });
    return new Set(await absentAmong(this.pool, absent));
  }

  private async proveOnce(): Promise<number> {
    if (this.closed) throw new Error('the process ends');
    const { connection } = this;
    const at = new Stopwatch();
    if (connection) {
      try {
        const { rows } = await connection.query<{ pid: unknown }>('SELECT pg_backend_pid() AS pid');
        // A different pid: a pooler has replaced the session that has the lock by another one.
        if (this.connection === connection && rows[0]?.pid === this.backend) {
          this.provenAt = at;
          return this.lastSession;
        }
      } catch {
        // Any error means that the connection is lost.
      }
      this.drop(connection);
    }
    return this.reconnect();
  }

  private async reconnect(): Promise<number> {
    const connection = new Client({
      ...this.pool?.options,
      // The password is not enumerable in the pool's options.
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
      // PostgreSQL does not see the end of a process whose machine or network is gone; only its kernel's probes tell.
      await connection.query(KEEPALIVES);
      // A shared lock: PostgreSQL may not have ended our previous session yet. No other code takes this lock.
      const { rows } = await connection.query<{ pid: unknown }>(LOCK, [this.holder]);
      if (this.closed) throw new Error('the process ends');
      this.connection = connection;
      this.backend = rows[0]?.pid;
      this.provenAt = at;
      this.lastSession += 1;
      return this.lastSession;
    } catch (error) {
      this.drop(connection);
      if (error instanceof Error) this.noteFault(error);
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

async function absentAmong(pool: Pool, holders: readonly string[]): Promise<string[]> {
  const absent = `SELECT holder FROM unnest($1::text[]) AS holder WHERE ${isAbsentSql('holder')}`;
  const { rows } = await pool.query<{ holder: string }>(absent, [holders]);
  return rows.map(({ holder }) => holder);
}

/**
 * An SQL condition for PostgreSQL: true if a process shows no presence.
 *
 * @param holder the column with its {@link ProcessPresence.holder}; where it is null, the condition is false
 */
export function isAbsentSql(holder: string): string {
  return `(${holder} IS NOT NULL AND hashtextextended(${holder}, 0) NOT IN (${PRESENT}))`;
}

/** The keys of granted advisory locks with one 64-bit key (`objsubid` 1); `pg_locks` has each key in two halves. */
const PRESENT = [
  'SELECT (CAST(l.classid AS bigint) << 32) | CAST(l.objid AS bigint) FROM pg_locks l',
  "WHERE l.locktype = 'advisory' AND l.objsubid = 1 AND l.granted",
  'AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())',
].join(' ');
