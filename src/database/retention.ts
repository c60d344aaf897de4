import { Logger, OnApplicationBootstrap, OnApplicationShutdown } from '@nestjs/common';
import type { EntityTarget, ObjectLiteral } from 'typeorm';
import { Clock, Poll } from '../scheduling';
import { Database } from './database';
import { sql } from './sql';

/** Maximum delay of a deletion after the row's retention period, in milliseconds. */
const LONGEST_INTERVAL_MS = 600_000;
const SHORTEST_INTERVAL_MS = 1_000;

/** Maximum rows per deletion: it occupies SQLite's only connection for some milliseconds. */
const BATCH = 1_000;

/** A table whose rows are deleted after a retention period. */
interface Kept {
  /** The rows' name for the log, in the plural. */
  readonly name: string;
  readonly entity: EntityTarget<ObjectLiteral>;
  /**
   * The column with the start of the retention period, such as the time of creation; indexed if the table is large.
   */
  readonly since: string;
  /** The retention period, in milliseconds. */
  readonly keptMs: number;
}

/**
 * Deletes rows whose retention period is over, regularly and in every process: their batches do not block each other.
 */
export class Retention implements OnApplicationBootstrap, OnApplicationShutdown {
  private readonly logger = new Logger(Retention.name);
  private readonly poll: Poll;

  constructor(
    private readonly database: Database,
    private readonly clock: Clock,
    private readonly kept: Kept,
  ) {
    const { name, keptMs } = kept;
    this.poll = new Poll({
      everyMs: Math.min(Math.max(keptMs / 10, SHORTEST_INTERVAL_MS), LONGEST_INTERVAL_MS),
      work: async () => {
        const pruned = await this.prune(this.newestDue());
        if (pruned > 0) this.logger.debug({ msg: `old ${name} pruned`, count: pruned });
      },
      onFault: (error) => this.logger.error({ msg: `pruning old ${name} failed`, err: error }),
    });
  }

  onApplicationBootstrap(): void {
    this.poll.start();
  }

  onApplicationShutdown(): void {
    this.poll.stop();
  }

  /** The newest time at which a row's period may have started if it is over now. */
  newestDue(): Date {
    return new Date(this.clock.now().getTime() - this.kept.keptMs);
  }

  /** Deletes, in batches, all rows whose period started at `upTo` or earlier. @returns the number of deleted rows */
  async prune(upTo: Date): Promise<number> {
    const { tableName, primaryColumns } = this.database.manager.dataSource.getMetadata(this.kept.entity);
    const table = sql.raw(tableName);
    const since = sql.raw(this.kept.since);
    const key = sql.raw(primaryColumns.map(({ databaseName }) => `"${databaseName}"`).join(', '));
    // Several processes may prune at once: none waits for rows that another is already deleting.
    const lock = sql.by({ postgres: sql`FOR UPDATE SKIP LOCKED` });
    const due = sql`SELECT ${key} FROM ${table} WHERE ${since} <= ${upTo} ORDER BY ${since} LIMIT ${BATCH} ${lock}`;
    for (let pruned = 0; ;) {
      const { affected } = await this.database.run(sql`DELETE FROM ${table} WHERE (${key}) IN (${due})`);
      pruned += affected;
      if (affected < BATCH) return pruned;
    }
  }
}
