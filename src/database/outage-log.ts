import { Logger } from '@nestjs/common';
import type { DataSource, Logger as QueryLogger } from 'typeorm';
import type { PostgresDriver } from 'typeorm/driver/postgres/PostgresDriver';
import { databaseFault, isConnectionTimeout } from '../errors';
import { markReported } from '../logging';
import { retryUntilClosed, Stopwatch } from '../scheduling';

/** Longer than a statement that began during an outage takes to fail, in milliseconds. */
const LATE_MS = 10_000;

interface Outage {
  readonly began: Stopwatch;
  isReported: boolean;
}

/**
 * Reports an outage of PostgreSQL by two log lines: one when it begins, and one when it is over. Marks the errors of
 * the outage, so that all other lines about them have the level `debug`. TypeORM reports each failed query to it, as
 * its logger.
 */
export class OutageLog implements QueryLogger {
  private readonly logger = new Logger(OutageLog.name);
  private dataSource: DataSource | null = null;
  private outage: Outage | null = null;
  private lastEnd: Stopwatch | null = null;

  /** Called once, when the database is connected. TypeORM does not report connections that fail. */
  watch(dataSource: DataSource): void {
    if (dataSource.options.type !== 'postgres') return;
    this.dataSource = dataSource;
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
    const isOfOutage = databaseFault(error)?.kind === 'database_unavailable' || isConnectionTimeout(error);
    if (!dataSource || !(error instanceof Error) || !isOfOutage) return;
    markReported(error);
    if (this.outage) return;
    this.outage = { began: new Stopwatch(), isReported: false };
    // A query of the last outage may fail after its end; then the connections work.
    if (this.lastEnd === null || this.lastEnd.age > LATE_MS) this.report(this.outage, error);
    void this.untilOver(dataSource, this.outage);
  }

  private report(outage: Outage, error: unknown): void {
    if (outage.isReported) return;
    outage.isReported = true;
    const { message, code } = error as Error & { readonly code?: unknown };
    // Node.js gives no message if a host name has several addresses.
    this.logger.error({ msg: 'the database does not answer', reason: message === '' ? code : message });
  }

  private async untilOver(dataSource: DataSource, outage: Outage): Promise<void> {
    const caller = {
      isClosed: () => !dataSource.isInitialized,
      failed: (error: unknown) => this.report(outage, error),
    };
    if ((await retryUntilClosed(caller, () => dataSource.query<unknown>('SELECT 1'))) === null) return;
    const seconds = Math.round(outage.began.age / 1000);
    if (outage.isReported) this.logger.warn({ msg: 'the database answers again', after_seconds: seconds });
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
