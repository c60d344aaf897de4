import { Logger, OnApplicationShutdown } from '@nestjs/common';
import type { DataSource } from 'typeorm';
import { Clock, Stopwatch, Poll } from '../scheduling';

const READ_EVERY_MS = 5_000;

/** Minimum difference from the database's clock at which the log warns. */
const NOTED_DIFFERENCE_MS = 2_000;

/**
 * Makes the {@link Clock} follow PostgreSQL's clock, which all processes share. SQLite belongs to one process, so
 * there the machine's clock is used.
 */
export class DatabaseClock implements OnApplicationShutdown {
  private readonly logger = new Logger(DatabaseClock.name);
  private hasNoted = false;
  private readonly poll = new Poll({
    everyMs: READ_EVERY_MS,
    work: () => this.read(),
    // The clock continues from the last reading.
    onFault: (error) => this.logger.warn({ msg: "could not read the database's clock", err: error }),
  });

  private constructor(
    private readonly dataSource: DataSource,
    private readonly clock: Clock,
  ) {}

  /** Reads PostgreSQL's clock once, then regularly. @throws the driver's error if the first reading fails */
  static async establish(dataSource: DataSource, clock: Clock): Promise<DatabaseClock> {
    const databaseClock = new DatabaseClock(dataSource, clock);
    if (dataSource.options.type !== 'postgres') return databaseClock;
    await databaseClock.read();
    databaseClock.poll.start();
    return databaseClock;
  }

  onApplicationShutdown(): void {
    this.poll.stop();
  }

  private async read(): Promise<void> {
    const askedAt = new Stopwatch();
    const sql = 'SELECT EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS now';
    const [row] = await this.dataSource.query<{ now: string }[]>(sql);
    if (!row) return;
    this.clock.follow(Number(row.now), askedAt);
    this.note(Date.now() - Number(row.now));
  }

  /** Warns once per period in which the machine's clock is wrong. */
  private note(differenceMs: number): void {
    const isWrong = Math.abs(differenceMs) > NOTED_DIFFERENCE_MS;
    if (isWrong && !this.hasNoted) {
      const by = `${String(Math.round(Math.abs(differenceMs) / 1000))} s ${differenceMs > 0 ? 'ahead of' : 'behind'}`;
      this.logger.warn(`this machine's clock is ${by} the database's, which Berth goes by; set it (NTP)`);
    }
    this.hasNoted = isWrong;
  }
}
