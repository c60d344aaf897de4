import { Logger } from '@nestjs/common';
import { AsyncResource } from 'node:async_hooks';
import type { DataSource, Logger as QueryLogger } from 'typeorm';
import type { PostgresDriver } from 'typeorm/driver/postgres/PostgresDriver';
import { databaseFault, failedByOutage } from '../errors';
import { markReported } from '../logging';
import { retryUntilClosed, Stopwatch } from '../scheduling';
import { checkAnew } from './write-check';

/** Longer than a statement that began during an outage takes to fail, in milliseconds. */
const LATE_MS = 10_000;

/** The lines of an outage, by what fails. */
const LINES = {
  all: { began: 'the database does not answer', ended: 'the database answers again' },
  writes: { began: 'the database takes no writes', ended: 'the database takes writes again' },
} as const;

interface Outage {
  readonly fails: keyof typeof LINES;
  readonly began: Stopwatch;
  isReported: boolean;
}

/**
 * Reports an outage of the database by two log lines: one when it begins, and one when it is over. Marks the errors of
 * the outage, so that all other lines about them have the level `debug`. TypeORM reports each failed query to it, as
 * its logger.
 */
export class OutageLog implements QueryLogger {
  private readonly logger = new Logger(OutageLog.name);
  private dataSource: DataSource | null = null;
  private outage: Outage | null = null;
  private lastEnd: Stopwatch | null = null;
  /** Bound to no transaction: a query fails inside of one, and the check must not be a part of it. */
  private readonly awaitEnd = AsyncResource.bind((dataSource: DataSource, outage: Outage) => {
    void this.untilOver(dataSource, outage);
  });

  /** Called once, when the database is connected. TypeORM does not report connections that fail. */
  watch(dataSource: DataSource): void {
    this.dataSource = dataSource;
    if (dataSource.options.type !== 'postgres') return;
    const driver = dataSource.driver as PostgresDriver;
    const obtain = driver.obtainMasterConnection.bind(driver);
    driver.obtainMasterConnection = () =>
      obtain().catch((error: unknown) => {
        this.logQueryError(error);
        throw error;
      });
  }

  logQueryError(error: unknown): void {
    const { dataSource } = this;
    const fails = failedByOutage(error);
    if (!dataSource || !(error instanceof Error)) return;
    // While an outage lasts, what else the database refuses comes of it, such as the rest of a transaction.
    if (fails !== null || (this.outage && databaseFault(error))) markReported(error);
    if (fails === null || this.outage) return;
    this.outage = { fails, began: new Stopwatch(), isReported: false };
    // A query of the last outage may fail after its end; then the database works.
    if (this.lastEnd === null || this.lastEnd.age > LATE_MS) this.report(this.outage, error);
    this.awaitEnd(dataSource, this.outage);
  }

  private report(outage: Outage, error: unknown): void {
    if (outage.isReported) return;
    outage.isReported = true;
    const { message, code, cause } = error as Error & { readonly code?: unknown };
    // Node.js gives no message if a host name has several addresses.
    const reason = cause instanceof Error ? cause.message : message === '' ? code : message;
    this.logger.error({ msg: LINES[outage.fails].began, reason });
  }

  private async untilOver(dataSource: DataSource, outage: Outage): Promise<void> {
    const caller = {
      isClosed: () => !dataSource.isInitialized,
      failed: (error: unknown) => this.report(outage, error),
    };
    if ((await retryUntilClosed(caller, async () => (await checkAnew(dataSource), true))) === null) return;
    const seconds = Math.round(outage.began.age / 1000);
    if (outage.isReported) this.logger.warn({ msg: LINES[outage.fails].ended, after_seconds: seconds });
    this.outage = null;
    this.lastEnd = new Stopwatch();
  }

  readonly logQuery = ignore;
  readonly logQuerySlow = ignore;
  readonly logSchemaBuild = ignore;
  readonly logMigration = ignore;
  readonly log = ignore;
}

/** Failed queries are errors, which their callers log. */
function ignore(): undefined {
  return undefined;
}
