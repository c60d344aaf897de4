import { Injectable } from '@nestjs/common';
import { Database, type PageRange, readTime, sql } from '../database';
import { invalidParameters } from '../errors';
import { type Page, readPage } from '../http';
import { Clock } from '../scheduling';
import type { ListUsageDto, UsageRangeDto } from './dto/requests';
import { BYTES_PER_MB, DAY_MS, midnight, type UsedAmounts } from './metering';
import { KEPT_DAYS } from './usage-ledger';

/** The use of a user's containers and snapshots on one day. */
export interface UserDay extends UsedAmounts {
  readonly userId: string;
  /** The UTC midnight at the start of the day. */
  readonly day: Date;
}

/** A range of days, both included, as their midnights in milliseconds since 1970. */
interface Range {
  readonly first: number;
  readonly last: number;
}

/** The longest range, in days. */
const LONGEST = 366;
/** The default range, in days. */
const USUAL = 31;

/** A row as the drivers return it: PostgreSQL's sums are text. */
type Read = Readonly<Record<'userId' | 'day' | keyof UsedAmounts, unknown>>;

/** Reads usage: the settled use, and the use of each container and snapshot since it was last settled. */
@Injectable()
export class UsageReader {
  constructor(
    private readonly database: Database,
    private readonly clock: Clock,
  ) {}

  /** The days on which a user's containers used anything, newest first. @throws DomainError `invalid_parameters` */
  async ofUser(userId: string, asked: Readonly<UsageRangeDto>): Promise<UserDay[]> {
    return this.read(this.range(asked), { userId, limit: LONGEST });
  }

  /**
   * The days of all users, or of one user: newest first, then by user id, descending.
   *
   * @throws DomainError `invalid_parameters`
   */
  async list({ user_id: userId, ...asked }: Readonly<ListUsageDto>): Promise<Page<UserDay>> {
    const range = this.range(asked);
    return readPage(
      asked,
      (page) => (userId === undefined ? this.readByDay(range, page) : this.read(range, { ...page, userId })),
      (entry) => ({ createdAt: entry.day, id: entry.userId }),
    );
  }

  /** @throws DomainError `invalid_parameters` */
  private range({ from, to }: Readonly<UsageRangeDto>): Range {
    const today = midnight(this.clock.now().getTime());
    const last = to === undefined ? today : Date.parse(to);
    const first = from === undefined ? last - (USUAL - 1) * DAY_MS : Date.parse(from);
    if (first > last) throw invalidParameters([{ field: 'from', message: 'from must not be later than to' }]);
    if (last - first >= LONGEST * DAY_MS) {
      const message = `from and to must span at most ${String(LONGEST)} days`;
      throw invalidParameters([{ field: 'from', message }]);
    }
    return { first: Math.max(first, today - KEPT_DAYS * DAY_MS), last: Math.min(last, today) };
  }

  /** The days of all users, one statement for each day: a page seldom needs more than one. */
  private async readByDay(range: Range, { after, limit }: PageRange): Promise<UserDay[]> {
    const found: UserDay[] = [];
    const first = Math.max(range.first, await this.earliest());
    let day = Math.min(range.last, midnight((after?.createdAt ?? new Date(range.last)).getTime()));
    for (; day >= first && found.length < limit; day -= DAY_MS) {
      found.push(...(await this.read({ first: day, last: day }, { after, limit: limit - found.length })));
    }
    return found;
  }

  /** The first day with any use, as its midnight; `Infinity` if there is none. */
  private async earliest(): Promise<number> {
    const { rows } = await this.database.run<{ since: unknown }>(sql`
      SELECT MIN(since) AS since FROM
        (SELECT MIN(day) AS since FROM daily_usage UNION ALL SELECT MIN(metered_since) FROM containers
         UNION ALL SELECT MIN(metered_since) FROM snapshots) AS known`);
    const since = readTime(rows[0]?.since);
    return since === null ? Infinity : midnight(since.getTime());
  }

  /**
   * Reads with one statement, and so with one snapshot of the database: use that a transaction settles at the same
   * time is found either settled or unsettled, never both or neither.
   */
  private async read(
    { first, last }: Range,
    { userId, after, limit }: PageRange & { readonly userId?: string },
  ): Promise<UserDay[]> {
    if (first > last) return [];
    const ofUser = userId === undefined ? '' : 'AND user_id = :userId';
    const settled = `
      SELECT user_id, ${this.milliseconds('day')} AS starts, running_ms, memory_mb_ms, cpu_shares_ms, disk_mb_ms,
        snapshot_mb_ms, preview_bytes
      FROM daily_usage WHERE day >= :first AND day <= :last ${ofUser}`;
    const [until, since] = [this.least('starts + :dayMs', ':now'), this.most('starts', 'since')];
    const live = `
      SELECT user_id, starts, runs * ms, holds * memory_mb * ms, runs * cpu_shares * ms, disk_mb * ms, snapshot_mb * ms,
        0
      FROM (
        SELECT metered.*, starts, ${until} - ${since} AS ms FROM days CROSS JOIN (
          SELECT user_id, memory_mb, cpu_shares, disk_mb, 0 AS snapshot_mb,
            ${this.milliseconds('metered_since')} AS since,
            CASE WHEN status = 'running' AND deleted_at IS NULL THEN 1 ELSE 0 END AS runs,
            CASE WHEN status IN ('running', 'paused') AND deleted_at IS NULL THEN 1 ELSE 0 END AS holds
          FROM containers WHERE metered_since < :end ${ofUser}
          UNION ALL
          SELECT user_id, 0, 0, 0, (data_bytes + layer_bytes + ${String(BYTES_PER_MB - 1)}) / ${String(BYTES_PER_MB)},
            ${this.milliseconds('metered_since')}, 0, 0
          FROM snapshots WHERE metered_since < :end ${ofUser}
        ) AS metered
      ) AS unsettled WHERE ms > 0`;
    const query = this.database.manager
      .createQueryBuilder()
      .select('user_id', 'userId')
      .addSelect('starts', 'day')
      .addSelect('SUM(running_ms)', 'runningMs')
      .addSelect('SUM(memory_mb_ms)', 'memoryMbMs')
      .addSelect('SUM(cpu_shares_ms)', 'cpuSharesMs')
      .addSelect('SUM(disk_mb_ms)', 'diskMbMs')
      .addSelect('SUM(snapshot_mb_ms)', 'snapshotMbMs')
      .addSelect('SUM(preview_bytes)', 'previewBytes')
      .from(`(WITH days (starts) AS (${daysOf(first, last)}) ${settled} UNION ALL ${live})`, 'used')
      .setParameters({
        userId,
        first: this.database.timestamp(new Date(first)),
        last: this.database.timestamp(new Date(last)),
        end: this.database.timestamp(new Date(last + DAY_MS)),
        now: this.clock.now().getTime(),
        dayMs: DAY_MS,
      })
      .groupBy('user_id')
      .addGroupBy('starts')
      .orderBy('starts', 'DESC')
      .addOrderBy('user_id', 'DESC')
      .limit(limit);
    if (after) {
      const at = { atDay: after.createdAt.getTime(), atUser: after.id };
      query.where('(starts < :atDay OR (starts = :atDay AND user_id < :atUser))', at);
    }
    return (await query.getRawMany<Read>()).map(viewRow);
  }

  /** SQL for a time in milliseconds since 1970, without loss. */
  private milliseconds(column: string): string {
    const seconds = this.database.isSqlite ? `unixepoch(${column}, 'subsec')` : `EXTRACT(EPOCH FROM ${column})`;
    return `CAST(ROUND(${seconds} * 1000) AS BIGINT)`;
  }

  private least(one: string, other: string): string {
    return `${this.database.isSqlite ? 'MIN' : 'LEAST'}(${one}, ${other})`;
  }

  private most(one: string, other: string): string {
    return `${this.database.isSqlite ? 'MAX' : 'GREATEST'}(${one}, ${other})`;
  }
}

/** SQL for the midnights of the range. */
function daysOf(first: number, last: number): string {
  const days: string[] = [];
  for (let day = first; day <= last; day += DAY_MS) days.push(`(${String(day)})`);
  return `VALUES ${days.join(', ')}`;
}

function viewRow({ userId, day, ...amounts }: Read): UserDay {
  return {
    userId: String(userId),
    day: new Date(Number(day)),
    runningMs: Number(amounts.runningMs),
    memoryMbMs: Number(amounts.memoryMbMs),
    cpuSharesMs: Number(amounts.cpuSharesMs),
    diskMbMs: Number(amounts.diskMbMs),
    snapshotMbMs: Number(amounts.snapshotMbMs),
    previewBytes: Number(amounts.previewBytes),
  };
}
