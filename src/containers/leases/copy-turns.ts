import { Injectable } from '@nestjs/common';
import { setTimeout as delay } from 'node:timers/promises';
import { Database, sql } from '../../database';
import { FairLimiter } from '../../scheduling';
import type { ContainerRow } from '../model/container.entity';
import { TERM_OVER } from './lease-term';

/** How often a waiter looks whether another process has ended the user's turn. */
const LOOK_EVERY_MS = 250;

/**
 * One copy of data at a time for each user, in all processes of the database: what a copy costs is the user's choice.
 *
 * On PostgreSQL a setting names the operation lease that has the user's turn. The turn ends with its copy, or with that
 * lease: of a process that died, `LeaseWatch` ends it. On SQLite there is only this process.
 */
@Injectable()
export class CopyTurns {
  private readonly here = new FairLimiter({ atOnce: Infinity, perKey: 1 });

  constructor(private readonly database: Database) {}

  /**
   * Runs `work` once it is the user's turn.
   *
   * @param row leased by the operation that copies
   * @param assertWanted called while it waits; throws if the operation must not continue
   * @throws the database's error, and as `assertWanted` and `work` do
   */
  async run<T>(
    row: Pick<ContainerRow, 'userId' | 'operationId'>,
    { assertWanted, work }: { assertWanted: () => Promise<void>; work: () => Promise<T> },
  ): Promise<T> {
    const { userId, operationId } = row;
    if (operationId === null) throw new Error('data is copied without a lease');
    return this.here.run(userId, async () => {
      await assertWanted();
      if (this.database.isSqlite) return work();
      while (!(await this.take(userId, operationId))) {
        await delay(LOOK_EVERY_MS);
        await assertWanted();
      }
      try {
        return await work();
      } finally {
        // If this fails, the turn ends with the lease.
        await this.leave(userId, operationId).catch(() => undefined);
      }
    });
  }

  /** @returns false if an operation that is still leased has the user's turn */
  private async take(userId: string, leaseId: string): Promise<boolean> {
    const { database } = this;
    const key = keyOf(userId);
    const [turn] = (await database.run<{ value: string }>(sql`SELECT value FROM settings WHERE key = ${key}`)).rows;
    if (turn === undefined) {
      const insert = sql`INSERT INTO settings (key, value) VALUES (${key}, ${leaseId}) ON CONFLICT (key) DO NOTHING`;
      return (await database.run(insert)).affected === 1;
    }
    // A lease is written before its turn, so this statement sees the lease of a turn that was read before.
    const takeOver = sql`UPDATE settings SET value = ${leaseId} WHERE key = ${key} AND value = ${turn.value}
      AND NOT EXISTS (
        SELECT 1 FROM containers WHERE operation_id = ${turn.value} AND operation_expires_at > ${TERM_OVER}
      )`;
    return (await database.run(takeOver)).affected === 1;
  }

  private async leave(userId: string, leaseId: string): Promise<void> {
    await this.database.run(sql`DELETE FROM settings WHERE key = ${keyOf(userId)} AND value = ${leaseId}`);
  }
}

function keyOf(userId: string): string {
  return `copying ${userId}`;
}
