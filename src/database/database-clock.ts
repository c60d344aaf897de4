import { Logger, OnApplicationShutdown } from '@nestjs/common';
import { uptime } from 'node:os';
import type { DataSource } from 'typeorm';
import { Clock, Stopwatch, Poll } from '../scheduling';

const READ_EVERY_MS = 5_000;

/** Minimum difference from the database's clock at which the log warns. */
const NOTED_DIFFERENCE_MS = 2_000;

/** A difference that only a suspension of the machine explains: `uptime()` counts it, the monotonic clock does not. */
const SUSPENDED_MS = 1_000;

/**
 * Makes the {@link Clock} follow PostgreSQL's clock, which all processes share. SQLite belongs to one process: there
 * it is the machine's clock at the start, and counts on by the time since the machine booted. Setting the machine's
 * clock does not move it.
 */
export class DatabaseClock implements OnApplicationShutdown {
  private readonly logger = new Logger(DatabaseClock.name);
  private hasNoted = false;
  /** With SQLite: when the machine booted, by its clock at the start. */
  private readonly bootedAt: number | null;
  private isFollowed = false;
  private readonly poll = new Poll({
    everyMs: READ_EVERY_MS,
    work: () => this.read(),
    // The clock continues from the last reading.
    onFault: (error) => this.logger.warn({ msg: "could not read the database's clock", err: error }),
  });

  private constructor(
    private readonly dataSource: DataSource,
    private readonly clock: Clock,
  ) {
    this.bootedAt = dataSource.options.type === 'postgres' ? null : Date.now() - uptime() * 1000;
  }

  /** Reads the clock once, then regularly. @throws the driver's error if the first reading fails */
  static async establish(dataSource: DataSource, clock: Clock): Promise<DatabaseClock> {
    const databaseClock = new DatabaseClock(dataSource, clock);
    await databaseClock.read();
    databaseClock.poll.start();
    return databaseClock;
  }

  onApplicationShutdown(): void {
    this.poll.stop();
  }

  private async read(): Promise<void> {
    if (this.bootedAt !== null) {
      this.readUptime(this.bootedAt);
      return;
    }
    const askedAt = new Stopwatch();
    const sql = 'SELECT EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS now';
    const [row] = await this.dataSource.query<{ now: string }[]>(sql);
    if (!row) return;
    const lateMs = askedAt.steadyAge;
    this.clock.follow(Number(row.now), askedAt);
    // The time is from any moment between the question and the answer: only the rest is a difference.
    const differenceMs = Date.now() - Number(row.now);
    this.note(differenceMs > 0 ? Math.max(0, differenceMs - lateMs) : differenceMs, {
      whose: "the database's",
      advice: 'set it (NTP)',
    });
  }

  private readUptime(bootedAt: number): void {
    const time = bootedAt + uptime() * 1000;
    const differenceMs = this.clock.now().getTime() - time;
    // Not each time: `uptime()` has steps of 10 ms.
    if (!this.isFollowed || Math.abs(differenceMs) > SUSPENDED_MS) this.clock.follow(time, new Stopwatch());
    this.isFollowed = true;
    this.note(Date.now() - time, { whose: 'that of the start', advice: 'restart Berth if the new time is right' });
  }

  /** Warns once per period in which the machine's clock is wrong. */
  private note(differenceMs: number, { whose, advice }: { whose: string; advice: string }): void {
    const isWrong = Math.abs(differenceMs) > NOTED_DIFFERENCE_MS;
    if (isWrong && !this.hasNoted) {
      const by = `${String(Math.round(Math.abs(differenceMs) / 1000))} s ${differenceMs > 0 ? 'ahead of' : 'behind'}`;
      this.logger.warn(`this machine's clock is ${by} ${whose}, which Berth goes by; ${advice}`);
    }
    this.hasNoted = isWrong;
  }
}
