import { Injectable, OnApplicationBootstrap } from '@nestjs/common';
import { Column, Entity, Index, PrimaryColumn } from 'typeorm';
import { Database, Retention, sql } from '../database';
import { TIMESTAMP } from '../database/column-types';
import { Clock } from '../scheduling';
import {
  DAY_MS,
  type DayUse,
  type MeteredRow,
  type MeteredSnapshot,
  midnight,
  settle,
  settleSnapshot,
  type Settlement,
} from './metering';

/** How many days of usage are kept. */
export const KEPT_DAYS = 400;

/**
 * The settled use of a user's containers and snapshots on one day. The use of each since its `metered_since` is added
 * when the day is read. The columns are whole numbers of up to 64 bits, which drivers return as text or numbers.
 */
@Entity('daily_usage')
export class DailyUsageEntity {
  @PrimaryColumn({ name: 'user_id', type: 'varchar', length: 36 })
  userId: string;

  /** The UTC midnight at the start of the day. */
  @PrimaryColumn({ type: TIMESTAMP })
  @Index('daily_usage_day')
  day: Date;

  /** Summed over all containers, like the other columns: two containers that run all day make two days. */
  @Column({ name: 'running_ms', type: 'bigint' })
  runningMs: string | number;

  @Column({ name: 'memory_mb_ms', type: 'bigint' })
  memoryMbMs: string | number;

  /** Millicores × milliseconds. */
  @Column({ name: 'cpu_shares_ms', type: 'bigint' })
  cpuSharesMs: string | number;

  @Column({ name: 'disk_mb_ms', type: 'bigint' })
  diskMbMs: string | number;

  @Column({ name: 'snapshot_mb_ms', type: 'bigint', default: 0 })
  snapshotMbMs: string | number;

  /** Of previews; the only amount that is not settled with a row. */
  @Column({ name: 'preview_bytes', type: 'bigint', default: 0 })
  previewBytes: string | number;
}

/** Days per statement: far below the parameter limits of SQLite and PostgreSQL. */
const BATCH = 200;

/**
 * The sole writer of `daily_usage`. Code that changes what a container or a snapshot uses settles its use in the
 * same transaction.
 */
@Injectable()
export class UsageLedger implements OnApplicationBootstrap {
  constructor(
    private readonly database: Database,
    private readonly clock: Clock,
  ) {}

  /**
   * Starts to meter containers that a process of an earlier version, which does not meter, has started during an
   * upgrade.
   */
  async onApplicationBootstrap(): Promise<void> {
    await this.database.run(sql`
      UPDATE containers SET metered_since = ${this.clock.now()}, revision = revision + 1
      WHERE status = 'running' AND deleted_at IS NULL AND operation IS NULL AND metered_since IS NULL`);
  }

  /**
   * Computes what to write with a change of a row.
   *
   * @param row as it was read; the change must be conditional on that
   */
  settle(row: MeteredRow, next: MeteredRow): Settlement {
    return settle(row, next, this.clock.now());
  }

  /** {@link settle} for a snapshot. */
  settleSnapshot(row: MeteredSnapshot, next: MeteredSnapshot): Settlement {
    return settleSnapshot(row, next, this.clock.now());
  }

  /**
   * Adds use to a user's days. Call it in the transaction that changes the row, after that change: all writers then
   * lock that row first, and cannot deadlock.
   */
  async record(userId: string, used: readonly DayUse[]): Promise<void> {
    for (const batch of batchesOf(used)) await this.add(userId, batch);
  }

  /** Adds bytes of previews of a user's containers to the current day. */
  async recordPreviewBytes(userId: string, previewBytes: number): Promise<void> {
    const day = new Date(midnight(this.clock.now().getTime()));
    const others = { runningMs: 0, memoryMbMs: 0, cpuSharesMs: 0, diskMbMs: 0, snapshotMbMs: 0 };
    await this.record(userId, [{ day, ...others, previewBytes }]);
  }

  private async add(userId: string, used: readonly DayUse[]): Promise<void> {
    const rows = used.map(({ day, runningMs, memoryMbMs, cpuSharesMs, diskMbMs, snapshotMbMs, previewBytes }) => {
      const amounts = [runningMs, memoryMbMs, cpuSharesMs, diskMbMs, snapshotMbMs, previewBytes];
      return sql`(${userId}, ${day}, ${sql.list(amounts)})`;
    });
    await this.database.run(sql`
      INSERT INTO daily_usage (user_id, day, ${sql.raw(AMOUNTS.join(', '))}) VALUES ${sql.list(rows)}
      ON CONFLICT (user_id, day) DO UPDATE SET ${sql.raw(SUMS.join(', '))}`);
  }
}

/** Splits days into batches, without those that the retention would delete at once. */
function batchesOf(used: readonly DayUse[]): (readonly DayUse[])[] {
  const kept = used.slice(-KEPT_DAYS);
  return Array.from({ length: Math.ceil(kept.length / BATCH) }, (_, at) => kept.slice(at * BATCH, (at + 1) * BATCH));
}

const AMOUNTS = ['running_ms', 'memory_mb_ms', 'cpu_shares_ms', 'disk_mb_ms', 'snapshot_mb_ms', 'preview_bytes'];
const SUMS = AMOUNTS.map((amount) => `${amount} = daily_usage.${amount} + excluded.${amount}`);

/** Deletes usage after {@link KEPT_DAYS} days; that of deleted users is kept as long. */
@Injectable()
export class UsageRetention extends Retention {
  constructor(database: Database, clock: Clock) {
    super(database, clock, {
      name: 'days of usage',
      entity: DailyUsageEntity,
      since: 'day',
      keptMs: KEPT_DAYS * DAY_MS,
    });
  }
}
