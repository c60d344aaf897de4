import { Injectable, OnApplicationShutdown } from '@nestjs/common';
import { InjectDataSource } from '@nestjs/typeorm';
import BetterSqlite3 from 'better-sqlite3';
import { AsyncLocalStorage } from 'node:async_hooks';
import type { Client } from 'pg';
import {
  DataSource,
  EntityManager,
  type ObjectLiteral,
  QueryFailedError,
  QueryRunnerAlreadyReleasedError,
  QueryRunnerProviderAlreadyReleasedError,
  type SelectQueryBuilder,
} from 'typeorm';
import { DateUtils } from 'typeorm/util/DateUtils';
import { databaseBusy, DomainError } from '../errors';
import { LocalQueue } from '../scheduling';
import { entityReader } from './column-types';
import { type Lookup, type LookupQuery, lookupSql, postgresLookup, sqliteLookup } from './lookup';
import { lockPatience } from './postgres-sessions';
import { gateQueries, QueryGate } from './query-gate';
import type { Sql } from './sql';
import { checkWrites } from './write-check';

/** How long the outcome of {@link Database.checkWrites} is reused, in milliseconds. */
const CHECK_HOLDS_MS = 1_000;

/** TypeORM's errors if PostgreSQL ended the session of a transaction. */
const RELEASED = [QueryRunnerAlreadyReleasedError, QueryRunnerProviderAlreadyReleasedError];

/** A page of a list that is ordered by time, newest first, then by id, descending. */
export interface PageRange {
  readonly limit: number;
  /** The last entry of the previous page. */
  readonly after?: { readonly createdAt: Date; readonly id: string } | undefined;
}

/** What a statement did. */
interface Outcome<Row> {
  /** The rows that it selected or returned, as the driver reads them. */
  readonly rows: readonly Row[];
  /** The number of rows that it selected or changed. */
  readonly affected: number;
}

interface Transaction {
  readonly database: Database;
  readonly manager: EntityManager;
  readonly afterCommit: (() => void)[];
  open: boolean;
}

/**
 * Shared by all databases of a process: on Node.js 20 every AsyncLocalStorage that was ever used slows down every
 * promise.
 */
const current = new AsyncLocalStorage<Transaction>();

/**
 * The only access to the database. `manager` is the transaction's inside {@link runInTx} and the pool's outside, so
 * repositories need not pass managers around.
 */
@Injectable()
export class Database implements OnApplicationShutdown {
  private readonly turns = new LocalQueue();
  private readonly gate: QueryGate | null;
  private lastCheck: { readonly at: number; readonly outcome: Promise<void> } | undefined;
  private ownReader: BetterSqlite3.Database | undefined;

  constructor(@InjectDataSource() private readonly dataSource: DataSource) {
    this.gate = this.isSqlite ? gateQueries(dataSource, () => this.transaction !== undefined) : null;
  }

  onApplicationShutdown(): void {
    this.ownReader?.close();
  }

  /** Whether this is the embedded database, which exactly one server process uses. */
  get isSqlite(): boolean {
    return this.dataSource.options.type === 'better-sqlite3';
  }

  get manager(): EntityManager {
    return this.transaction?.manager ?? this.dataSource.manager;
  }

  /**
   * Converts a time to a query parameter. TypeORM converts the columns of entities but not parameters, and SQLite has
   * no date type.
   */
  timestamp(time: Date): Date | string {
    return this.isSqlite ? (DateUtils.mixedDateToUtcDatetimeString(time) as string) : time;
  }

  /**
   * Runs a statement, in the current transaction if there is one. This is the way to write on a condition, and to read
   * on hot paths; other reads use {@link manager}.
   *
   * @throws QueryFailedError with the driver's error
   */
  async run<Row>(statement: Sql): Promise<Outcome<Row>> {
    const { text, values } = statement.on(this.dataSource);
    const ofTransaction = this.manager.queryRunner;
    const runner = ofTransaction ?? this.dataSource.createQueryRunner();
    try {
      const { records, affected = records.length } = await runner.query(text, values, true);
      return { rows: records as Row[], affected };
    } finally {
      if (runner !== ofTransaction) await runner.release();
    }
  }

  /**
   * Reads one page of the query's results, which are rows of one table, newest first.
   *
   * @param time the entity's property to order by
   */
  async newestFirst<T extends ObjectLiteral>(
    query: SelectQueryBuilder<T>,
    time: keyof T & string,
    { after, limit }: PageRange,
  ): Promise<T[]> {
    const { alias } = query;
    const [at, id] = [`${alias}.${time}`, `${alias}.id`];
    if (after) {
      query.andWhere(`(${at} < :at OR (${at} = :at AND ${id} < :afterId))`, {
        at: this.timestamp(after.createdAt),
        afterId: after.id,
      });
    }
    query.orderBy(at, 'DESC').addOrderBy(id, 'DESC').limit(limit);
    const { columns, target } = query.expressionMap.findAliasByName(alias).metadata;
    const read = entityReader(target as new () => T, columns, ({ databaseName }) => `${alias}_${databaseName}`);
    return (await query.getRawMany<object>()).map(read);
  }

  /**
   * Prepares a query for one row by its key, for the reads that most requests begin with. It bypasses TypeORM, and
   * reads the keys of concurrent requests in one batch (see `lookup.ts`). Inside a transaction, and on a database in
   * memory, it is an ordinary query of {@link manager}.
   */
  lookup(query: LookupQuery): Lookup {
    const single = lookupSql(query, `= ${this.dataSource.driver.createParameter('key', 0)}`);
    const ordinary: Lookup = async (key) => {
      const [row] = await this.manager.query<object[]>(single, [key]);
      return row ? Object.values(row) : null;
    };
    let committed: Lookup | undefined;
    return (key) => {
      if (this.transaction || this.isInMemory) return ordinary(key);
      committed ??= this.isSqlite
        ? sqliteLookup(this.reader, query, this.dataSource.logger)
        : postgresLookup(this.dataSource, query);
      return committed(key);
    };
  }

  /**
   * Checks that writes work. The outcome is reused for a second, because the readiness
   * route that calls this is public.
   *
   * @throws the driver's error if the write fails
   */
  async checkWrites(): Promise<void> {
    const now = performance.now();
    if (!this.lastCheck || now - this.lastCheck.at > CHECK_HOLDS_MS) {
      this.lastCheck = { at: now, outcome: checkWrites(this.dataSource) };
    }
    return this.lastCheck.outcome;
  }

  /** The error of a check that a caller no longer waits for, which is an outage. */
  unanswered(): Error {
    const error = new DomainError('database_unavailable', { cause: new Error('a check was not answered in time') });
    this.dataSource.logger.logQueryError(error, '');
    return error;
  }

  /**
   * Runs several statements as one transaction. Await nothing but the database inside. Nested calls join the outer
   * one. On SQLite it is the only writer from start to end. On PostgreSQL it is READ COMMITTED: lock the rows that
   * its decisions depend on.
   */
  async runInTx<T>(work: () => Promise<T>): Promise<T> {
    if (this.transaction) return work();
    const { gate } = this;
    return this.inContext(work, (run) =>
      gate ? gate.transaction(() => run(this.dataSource.manager)) : this.onPostgres(run),
    );
  }

  /**
   * {@link runInTx} for `work` that locks a contended row. In this process one caller at a time takes a connection
   * and waits for the row, so that the others leave the pool free.
   *
   * @param lock identifies what `work` locks first, the same for all callers: the user's id for the user's row
   * @throws DomainError `database_busy` if the turn does not come within PostgreSQL's `lock_timeout`
   */
  async runInTxLocking<T>(lock: string, work: () => Promise<T>): Promise<T> {
    if (this.transaction || this.gate) return this.runInTx(work);
    return this.inTurn(lock, () => this.runInTx(work));
  }

  /**
   * {@link runInTxLocking} for a single statement, which on PostgreSQL is a transaction by itself: one round trip
   * instead of four.
   *
   * @throws DomainError `database_busy` as {@link runInTxLocking} does
   */
  async runStatementLocking<T>(lock: string, statement: () => Promise<T>): Promise<T> {
    if (this.transaction || this.gate) return this.runInTx(statement);
    return this.inTurn(lock, () => this.inContext(statement, (work) => work(this.dataSource.manager)));
  }

  /**
   * Runs `callback` once the current transaction is committed, never if it is rolled back. Callbacks must not throw.
   */
  afterCommit(callback: () => void): void {
    if (!this.transaction) throw new Error('afterCommit() outside a transaction');
    this.transaction.afterCommit.push(callback);
  }

  /**
   * Runs `work` in the context of the transaction that `transact` opens, then the callbacks of {@link afterCommit}.
   */
  private async inContext<T>(
    work: () => Promise<T>,
    transact: (run: (manager: EntityManager) => Promise<T>) => Promise<T>,
  ): Promise<T> {
    const afterCommit: (() => void)[] = [];
    const result = await transact(async (manager) => {
      const transaction: Transaction = { database: this, manager, afterCommit, open: true };
      try {
        return await current.run(transaction, work);
      } finally {
        transaction.open = false;
      }
    });
    // Outside the transaction's context, because callbacks may query the database.
    current.exit(() => afterCommit.forEach((callback) => callback()));
    return result;
  }

  /**
   * Runs a transaction on PostgreSQL.
   *
   * @throws DomainError `database_busy` with the cause if PostgreSQL ended the session between two statements. TypeORM
   *   (1.1) then says only that its query runner is released
   */
  private async onPostgres<T>(run: (manager: EntityManager) => Promise<T>): Promise<T> {
    const lost: Error[] = [];
    const note = (error: Error): void => void lost.push(error);
    let client: Client | undefined;
    try {
      // oxlint-disable-next-line berth/own-transaction -- the one place that may
      return await this.dataSource.transaction(async (manager) => {
        client = (await manager.queryRunner?.connect()) as Client;
        client.once('error', note);
        return run(manager);
      });
    } catch (error) {
      if (!(error instanceof Error) || !RELEASED.some((type) => error instanceof type)) throw error;
      // The connection's own error may still be on its way.
      const [reason = error] = lost;
      this.dataSource.logger.logQueryError(reason, 'transaction');
      throw databaseBusy(reason);
    } finally {
      client?.off('error', note);
    }
  }

  private async inTurn<T>(lock: string, work: () => Promise<T>): Promise<T> {
    const turn = await this.turns.enter(lock, lockPatience(this.dataSource.options));
    if (!turn) throw databaseBusy(new Error(`the turn to lock ${lock} did not come`));
    try {
      return await work();
    } finally {
      turn.leave();
    }
  }

  /** A database in memory belongs to one connection; no other connection sees it. */
  private get isInMemory(): boolean {
    return this.dataSource.options.database === ':memory:';
  }

  private get reader(): BetterSqlite3.Database {
    this.ownReader ??= new BetterSqlite3(String(this.dataSource.options.database), { readonly: true, timeout: 0 });
    return this.ownReader;
  }

  private get transaction(): Transaction | undefined {
    const transaction = current.getStore();
    // Work that continues after its transaction's end is outside of the transaction.
    return transaction?.open && transaction.database === this ? transaction : undefined;
  }
}

/**
 * The pattern of `LOWER(column) LIKE :pattern ESCAPE '!'` for values that contain the text, or begin with it, in any
 * case.
 */
export function likePattern(text: string, where: 'anywhere' | 'at the start'): string {
  const literal = text.toLowerCase().replace(/[!%_]/g, '!$&');
  return `${where === 'anywhere' ? '%' : ''}${literal}%`;
}

/** PostgreSQL's and SQLite's error codes of a violated unique index. */
const CODES: readonly unknown[] = ['23505', 'SQLITE_CONSTRAINT_UNIQUE', 'SQLITE_CONSTRAINT_PRIMARYKEY'];

/** Whether a unique index refused the write. */
export function isUniqueViolation(error: unknown): boolean {
  if (!(error instanceof QueryFailedError)) return false;
  const { code } = error.driverError as { code?: unknown };
  return CODES.includes(code);
}
