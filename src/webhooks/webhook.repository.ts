import { Injectable } from '@nestjs/common';
import type { SelectQueryBuilder } from 'typeorm';
import { AuditLog } from '../audit';
import { Database, isAbsentSql, type PageRange, ProcessPresence, sql } from '../database';
import { EventLog } from '../events';
import { Clock } from '../scheduling';
import { Signals } from '../signals';
import {
  WebhookCursorEntity,
  WebhookDeliveryEntity,
  WebhookEntity,
  webhookFacts,
  type WebhookRow,
} from './webhook.entity';

/** Why Berth disables a webhook: its receiver failed for too long, or answered that it is gone. */
export type DisabledReason = 'failing' | 'gone';

/** What a user changes. */
export type WebhookChange = Partial<Omit<WebhookRow, 'id' | 'userId' | 'forAllUsers' | 'statusReason' | 'revision'>>;

/** Whose webhooks a list or a count is about. */
export interface WebhookFilter {
  /** The owner; all owners if absent. */
  readonly userId?: string;
  readonly forAllUsers: boolean;
}

/** Maximum webhooks that a process takes over at once, so that several processes share them. */
const TAKEN_AT_ONCE = 20;

/** Webhooks of users whose tokens are accepted. */
const IS_WANTED = `w.status = 'active'
  AND EXISTS (SELECT 1 FROM users o WHERE o.id = w.user_id AND o.suspended_at IS NULL)`;

/** The only writer of webhooks. */
@Injectable()
export class WebhookRepository {
  constructor(
    private readonly database: Database,
    private readonly eventLog: EventLog,
    private readonly audit: AuditLog,
    private readonly presence: ProcessPresence,
    private readonly signals: Signals,
    private readonly clock: Clock,
  ) {}

  /** @returns null if there is none */
  find(id: string): Promise<WebhookRow | null> {
    return this.database.manager.findOneBy(WebhookEntity, { id });
  }

  /** One page of webhooks, newest first. */
  list({ userId, forAllUsers, ...page }: WebhookFilter & PageRange): Promise<WebhookRow[]> {
    const query = this.query().where('w.forAllUsers = :forAllUsers', { forAllUsers });
    if (userId !== undefined) query.andWhere('w.userId = :userId', { userId });
    return this.database.newestFirst(query, 'createdAt', page);
  }

  /** The number of webhooks. For decisions, lock the owner's row first. */
  count(filter: WebhookFilter): Promise<number> {
    return this.database.manager.countBy(WebhookEntity, filter);
  }

  /**
   * Inserts a webhook that gets the events which are committed after it. Call it in a transaction that has locked the
   * owner's row. A user without a cursor came later, so all of that user's events are sent.
   */
  async insert(row: WebhookRow): Promise<void> {
    await this.database.manager.insert(WebhookEntity, row);
    await this.database.run(sql`
      INSERT INTO webhook_cursors (webhook_id, user_id, seq)
        SELECT w.id, u.id, u.event_seq FROM webhooks w JOIN users u ON w.for_all_users OR u.id = w.user_id
        WHERE w.id = ${row.id}`);
    this.announce(row.id);
  }

  /**
   * Changes a webhook.
   *
   * @param decide what to change; called with the row as it is under the lock of its user
   * @returns null if it was deleted meanwhile
   */
  async change(webhook: WebhookRow, decide: (row: WebhookRow) => WebhookChange): Promise<WebhookRow | null> {
    return this.locking(webhook, async (row) => {
      const change = decide(row);
      // The user has repaired what failed: everything is tried again, for the whole time.
      if (change.url !== undefined || (change.status === 'active' && row.status === 'disabled')) {
        const anew = { attempts: 0, firstFailedAt: null, nextTryAt: null };
        await this.database.manager.update(WebhookDeliveryEntity, { webhookId: row.id, status: 'pending' }, anew);
      }
      return this.write(row, { ...change, ...(change.status !== undefined && { statusReason: null }) });
    });
  }

  /** Makes the holder of a webhook read it and its deliveries again. */
  async touch({ id }: WebhookRow): Promise<void> {
    await this.database.runInTx(async () => {
      await this.database.manager.increment(WebhookEntity, { id }, 'revision', 1);
      this.announce(id);
    });
  }

  /** Ends the deliveries of a webhook, with an event to its owner. */
  async disable(webhook: WebhookRow, reason: DisabledReason): Promise<void> {
    await this.locking(webhook, async (row) => {
      if (row.status !== 'active') return;
      await this.write(row, { status: 'disabled', statusReason: reason });
      const { id, userId } = row;
      const data = { ...webhookFacts(row), reason };
      await this.eventLog.append({ userId, drafts: [{ type: 'webhook_disabled', data }] });
      await this.audit.recordSystem({
        action: 'webhook.disable',
        subjectUserId: userId,
        containerId: null,
        targetId: id,
      });
    });
  }

  /**
   * Deletes a webhook. Its deliveries that are over are pruned as usual.
   *
   * @returns false if it was deleted meanwhile
   */
  async delete(webhook: WebhookRow): Promise<boolean> {
    const deleted = await this.locking(webhook, async ({ id }) => {
      const { manager } = this.database;
      await manager.delete(WebhookEntity, { id });
      await manager.delete(WebhookCursorEntity, { webhookId: id });
      await manager.delete(WebhookDeliveryEntity, { webhookId: id, status: 'pending' });
      this.announce(id);
      return true;
    });
    return deleted ?? false;
  }

  /** Deletes the webhooks of deleted users. */
  async deleteOfDeletedUsers(): Promise<void> {
    const isDeleted = 'EXISTS (SELECT 1 FROM users o WHERE o.id = w.user_id AND o.deleted_at IS NOT NULL)';
    for (const row of await this.query().where(isDeleted).getMany()) await this.delete(row);
  }

  /**
   * Makes this process the holder of webhooks that have none, or whose holder is no longer there.
   *
   * @returns whether there may be more of them
   */
  async claim(): Promise<boolean> {
    const isFree = this.database.isSqlite
      ? '(w.holder IS NULL OR w.holder <> :holder)'
      : `(w.holder IS NULL OR ${isAbsentSql('w.holder')})`;
    const { holder } = this.presence;
    const free = await this.query().where(`${IS_WANTED} AND ${isFree}`, { holder }).limit(TAKEN_AT_ONCE).getMany();
    const isStillFree = sql.by({
      postgres: sql`AND (holder IS NULL OR ${sql.raw(isAbsentSql('holder'))})`,
    });
    for (const { id } of free) {
      await this.database.run(sql`UPDATE webhooks SET holder = ${holder} WHERE id = ${id} ${isStillFree}`);
    }
    return free.length === TAKEN_AT_ONCE;
  }

  /** The webhooks that this process delivers. */
  listHeld(): Promise<WebhookRow[]> {
    return this.query().where(`w.holder = :holder AND ${IS_WANTED}`, { holder: this.presence.holder }).getMany();
  }

  /** Lets other processes take over this process's webhooks. */
  async release(): Promise<void> {
    const { holder } = this.presence;
    await this.database.manager.update(WebhookEntity, { holder }, { holder: null });
  }

  /** The number of webhooks by status, for metrics. */
  async countByStatus(): Promise<{ status: string; count: number }[]> {
    const query = this.query().select('w.status', 'status').addSelect('COUNT(*)', 'count').groupBy('w.status');
    const counts = await query.getRawMany<{ status: string; count: unknown }>();
    return counts.map(({ status, count }) => ({ status, count: Number(count) }));
  }

  private announce(webhookId: string): void {
    this.database.afterCommit(() => this.signals.publish('webhook_changed', { webhookId }));
  }

  /** Runs work with the row as it is under the lock of its user. @returns null if the webhook was deleted meanwhile */
  private locking<T>({ id, userId }: WebhookRow, work: (row: WebhookRow) => Promise<T>): Promise<T | null> {
    return this.database.runInTxLocking(userId, async () => {
      await this.eventLog.lock(userId);
      const row = await this.find(id);
      return row && work(row);
    });
  }

  private async write(row: WebhookRow, change: Partial<WebhookRow>): Promise<WebhookRow> {
    const set = { ...change, revision: row.revision + 1, updatedAt: this.clock.now() };
    await this.database.manager.update(WebhookEntity, { id: row.id }, set);
    this.announce(row.id);
    return { ...row, ...set };
  }

  private query(): SelectQueryBuilder<WebhookEntity> {
    return this.database.manager.createQueryBuilder(WebhookEntity, 'w');
  }
}
