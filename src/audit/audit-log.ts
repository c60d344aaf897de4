import { Injectable } from '@nestjs/common';
import { randomUUID } from 'node:crypto';
import type { AuditAction } from '../auth';
import { Database } from '../database';
import { Clock } from '../scheduling';
import { AuditEntryEntity } from './audit-entry.entity';

/** What is about to be done. */
export interface AuditIntent {
  readonly action: AuditAction;
  /** null: somebody who has no name yet. */
  readonly userId: string | null;
  readonly tokenId: string | null;
  readonly targetId: string | null;
  readonly address: string;
  readonly requestId: string;
}

/** How it ended, and what only then was known of it. */
export type AuditOutcome = Pick<AuditEntryEntity, 'outcome'> &
  Partial<Pick<AuditEntryEntity, 'userId' | 'subjectUserId' | 'containerId' | 'targetId'>>;

/** What Berth did to a container by itself. */
export interface SystemAct {
  readonly action: AuditAction;
  /** Whose container it is. */
  readonly subjectUserId: string;
  readonly containerId: string;
  /** `ok` if absent, else the code of the error. */
  readonly outcome?: string;
}

/** How many rows one deletion takes at most: it holds SQLite's only connection for some milliseconds. */
const PRUNE_BATCH = 1_000;

/** Writes down what is done, before and after. */
@Injectable()
export class AuditLog {
  constructor(
    private readonly database: Database,
    private readonly clock: Clock,
  ) {}

  /** Writes the intent; nothing may be done before this has succeeded. @returns the entry's id, for {@link finish} */
  async begin(intent: AuditIntent): Promise<string> {
    const id = randomUUID();
    await this.insert({
      id,
      at: this.clock.now(),
      outcome: 'pending',
      finishedAt: null,
      subjectUserId: intent.userId,
      containerId: null,
      ...intent,
    });
    return id;
  }

  async finish(id: string, outcome: AuditOutcome): Promise<void> {
    await this.database.manager.update(AuditEntryEntity, { id }, { ...outcome, finishedAt: this.clock.now() });
  }

  /** Writes what Berth did by itself; inside a transaction as a part of it, so that the one is not without the other. */
  async recordSystem({ action, subjectUserId, containerId, outcome = 'ok' }: SystemAct): Promise<void> {
    const now = this.clock.now();
    await this.insert({
      id: randomUUID(),
      at: now,
      finishedAt: now,
      action,
      outcome,
      subjectUserId,
      containerId,
      userId: null,
      tokenId: null,
      targetId: null,
      address: null,
      requestId: null,
    });
  }

  /** Forgets all entries from before that time, in batches. @returns how many */
  async prune(before: Date): Promise<number> {
    // Several processes may prune at once: neither waits for rows that the other is deleting already.
    const lock = this.database.isSqlite ? '' : 'FOR UPDATE SKIP LOCKED';
    const batch = `SELECT id FROM audit_entries WHERE at < :before ORDER BY at LIMIT :batch ${lock}`;
    for (let pruned = 0; ;) {
      const { affected } = await this.database.manager
        .createQueryBuilder()
        .delete()
        .from(AuditEntryEntity)
        .where(`id IN (${batch})`, { before: this.database.timestamp(before), batch: PRUNE_BATCH })
        .execute();
      pruned += affected ?? 0;
      if ((affected ?? 0) < PRUNE_BATCH) return pruned;
    }
  }

  private async insert(entry: AuditEntryEntity): Promise<void> {
    await this.database.manager.insert(AuditEntryEntity, entry);
  }
}
