import { Inject, Injectable } from '@nestjs/common';
import { createHash, randomUUID } from 'node:crypto';
import type { SelectQueryBuilder } from 'typeorm';
import { type Config, CONFIG } from '../config';
import { Database, type PageRange, ProcessPresence, readTime, Retention, type Sql, sql } from '../database';
import { type BerthEvent, EventLog, subjectOf } from '../events';
import { Clock } from '../scheduling';
import { type DeliveryRow, type DeliveryStatus, WebhookDeliveryEntity, type WebhookRow } from './webhook.entity';

/** Maximum events that are read, and inserted as deliveries, at once. */
const PAGE = 200;

/** A user with events that a webhook has no deliveries for. */
export interface Behind {
  readonly webhookId: string;
  readonly userId: string;
  /** Up to where it has them; 0 if the user has no cursor yet. */
  readonly seq: number;
  /** The user's newest event. */
  readonly present: number;
}

export interface DeliveryFilter {
  readonly webhookId: string;
  readonly status?: DeliveryStatus;
}

/** What an attempt changes in a delivery. */
export type DeliveryOutcome = Partial<Omit<DeliveryRow, 'id' | 'webhookId' | 'userId' | 'seq'>>;

interface Timestamped {
  /** When the event was emitted. */
  readonly timestamp: Date | string;
}

/** How a webhook's pending deliveries are. */
export interface Backlog {
  readonly waiting: number;
  /** Since when one of them fails; null if none does. */
  readonly failingSince: Date | null;
}

/**
 * The only writer of cursors and deliveries. A cursor moves in the transaction that inserts the deliveries of its
 * events, so each event has one delivery, whichever process dies when.
 */
@Injectable()
export class DeliveryRepository {
  constructor(
    private readonly database: Database,
    private readonly eventLog: EventLog,
    private readonly presence: ProcessPresence,
    private readonly clock: Clock,
  ) {}

  /**
   * The users with news for the webhooks that this process delivers.
   *
   * @param userIds only these users; all if absent
   */
  async behind(userIds?: readonly string[]): Promise<Behind[]> {
    if (userIds?.length === 0) return [];
    const some = userIds ? sql`AND u.id IN (${sql.list(userIds)})` : sql``;
    const behind = (isOf: Sql): Sql => sql`
      SELECT w.id AS "webhookId", u.id AS "userId", COALESCE(c.seq, 0) AS seq, u.event_seq AS present
      FROM webhooks w JOIN users u ON ${isOf}
      LEFT JOIN webhook_cursors c ON c.webhook_id = w.id AND c.user_id = u.id
      WHERE w.status = 'active' AND u.event_seq > COALESCE(c.seq, 0) AND w.holder = ${this.presence.holder} ${some}`;
    const { rows } = await this.database.run<Behind>(sql`
      ${behind(sql`NOT w.for_all_users AND u.id = w.user_id`)} UNION ALL ${behind(sql`w.for_all_users`)}`);
    return [...rows];
  }

  /**
   * Inserts the deliveries of a user's next events, and moves the cursor over them.
   *
   * @returns the deliveries in order, and the new position; null if the webhook is no longer this process's
   */
  async take(
    webhook: WebhookRow,
    { userId, seq, present }: Behind,
  ): Promise<{ readonly taken: DeliveryRow[]; readonly seq: number } | null> {
    const next = seq + 1;
    const events = await this.eventLog.read({ userId, after: seq, limit: PAGE });
    const first = events[0]?.seq ?? present + 1;
    const last = events.at(-1)?.seq ?? present;
    const taken = events
      .filter((event) => isWanted(webhook, event))
      .map((event) => newDelivery(webhook, { ...event, userId, subject: subjectOf(event) }));
    const lost = first > next ? [this.lossOf(webhook, { userId, from: next, to: first - 1 })] : [];
    const isTaken = await this.database.runInTx(async () => {
      if (!(await this.move({ webhookId: webhook.id, userId }, { from: seq, to: last }))) return false;
      if (lost.length + taken.length > 0) {
        await this.database.manager.insert(WebhookDeliveryEntity, [...lost, ...taken]);
      }
      return true;
    });
    return isTaken ? { taken, seq: last } : null;
  }

  /** A webhook's pending deliveries in the order of each user's events. */
  pendingOf(webhookId: string): Promise<DeliveryRow[]> {
    const query = this.query().where("d.webhookId = :webhookId AND d.status = 'pending'", { webhookId });
    return query.orderBy('d.userId').addOrderBy('d.seq').getMany();
  }

  /**
   * Writes the outcome of an attempt for the webhook's holder. With a new status the delivery is over.
   *
   * @returns false if this process is no longer the holder, or the delivery is not pending any more
   */
  async settle({ id, webhookId }: DeliveryRow, outcome: DeliveryOutcome): Promise<boolean> {
    const settledAt = outcome.status === undefined ? undefined : this.clock.now();
    const set = settledAt ? { ...outcome, settledAt, nextTryAt: null } : outcome;
    const { affected } = await this.database.run(sql`
      UPDATE webhook_deliveries SET ${sql.set(WebhookDeliveryEntity, set)} WHERE id = ${id} AND status = 'pending'
      AND EXISTS (SELECT 1 FROM webhooks w WHERE w.id = ${webhookId} AND w.holder = ${this.presence.holder})`);
    return affected === 1;
  }

  /** Inserts a delivery that is over, such as a test. */
  async insert(row: DeliveryRow): Promise<void> {
    await this.database.manager.insert(WebhookDeliveryEntity, row);
  }

  /** Writes the outcome of an attempt that a user asked for. */
  async record({ id }: DeliveryRow, outcome: DeliveryOutcome): Promise<void> {
    await this.database.manager.update(WebhookDeliveryEntity, { id }, outcome);
  }

  /** Makes a pending delivery due now. */
  async makeDue({ id }: DeliveryRow): Promise<void> {
    await this.database.manager.update(WebhookDeliveryEntity, { id, status: 'pending' }, { nextTryAt: null });
  }

  /** @returns null if the webhook has no such delivery */
  find(webhookId: string, id: string): Promise<DeliveryRow | null> {
    return this.database.manager.findOneBy(WebhookDeliveryEntity, { webhookId, id });
  }

  /** One page of a webhook's deliveries, newest first. */
  list({ webhookId, status, ...page }: DeliveryFilter & PageRange): Promise<DeliveryRow[]> {
    const query = this.query().where('d.webhookId = :webhookId', { webhookId });
    if (status !== undefined) query.andWhere('d.status = :status', { status });
    return this.database.newestFirst(query, 'createdAt', page);
  }

  /** The events of deliveries that are still kept, by the deliveries' ids. */
  async eventsOf(deliveries: readonly DeliveryRow[]): Promise<ReadonlyMap<string, BerthEvent>> {
    const found = new Map<string, BerthEvent>();
    for (const userId of new Set(deliveries.map((each) => each.userId))) {
      const own = deliveries.filter((each) => each.userId === userId && each.seq !== null && each.status !== 'lost');
      const events = await this.eventLog.find({ userId, seqs: own.flatMap(({ seq }) => seq ?? []) });
      const bySeq = new Map(events.map((event) => [event.seq, event]));
      for (const { id, seq } of own) {
        const event = bySeq.get(seq ?? 0);
        if (event) found.set(id, event);
      }
    }
    return found;
  }

  /** How the pending deliveries of these webhooks are, by webhook; a webhook without any is missing. */
  async backlogsOf(webhookIds: readonly string[]): Promise<ReadonlyMap<string, Backlog>> {
    if (webhookIds.length === 0) return new Map();
    const counted = await this.query()
      .select('d.webhookId', 'webhookId')
      .addSelect('COUNT(*)', 'waiting')
      .addSelect('MIN(d.firstFailedAt)', 'failing')
      .where("d.status = 'pending' AND d.webhookId IN (:...webhookIds)", { webhookIds })
      .groupBy('d.webhookId')
      .getRawMany<{ webhookId: string; waiting: unknown; failing: unknown }>();
    return new Map(
      counted.map(({ webhookId, waiting, failing }) => [
        webhookId,
        { waiting: Number(waiting), failingSince: readTime(failing) },
      ]),
    );
  }

  /** The number of all pending deliveries, for metrics. */
  countPending(): Promise<number> {
    return this.database.manager.countBy(WebhookDeliveryEntity, { status: 'pending' });
  }

  /**
   * Moves a cursor, and keeps its webhook from being deleted, or taken over, before the end of the transaction.
   *
   * @returns false if the webhook is no longer this process's, or the cursor is not there
   */
  private async move(
    { webhookId, userId }: { webhookId: string; userId: string },
    { from, to }: { from: number; to: number },
  ): Promise<boolean> {
    const { holder } = this.presence;
    const lock = sql.by({ postgres: sql`FOR SHARE` });
    const { affected } = await this.database.run(sql`
      INSERT INTO webhook_cursors (webhook_id, user_id, seq)
        SELECT id, ${userId}, ${to} FROM webhooks WHERE id = ${webhookId} AND holder = ${holder} ${lock}
        ON CONFLICT (webhook_id, user_id) DO UPDATE SET seq = excluded.seq WHERE webhook_cursors.seq = ${from}`);
    return affected === 1;
  }

  /** Tells in the list of deliveries that events were pruned before they were delivered. */
  private lossOf(webhook: WebhookRow, { userId, from, to }: { userId: string; from: number; to: number }): DeliveryRow {
    const now = this.clock.now();
    return {
      ...newDelivery(webhook, { userId, seq: to, type: 'events_lost', subject: webhook.id, timestamp: now }),
      status: 'lost',
      settledAt: now,
      error: `events ${String(from)} to ${String(to)} were no longer stored`,
    };
  }

  private query(): SelectQueryBuilder<WebhookDeliveryEntity> {
    return this.database.manager.createQueryBuilder(WebhookDeliveryEntity, 'd');
  }
}

/** A pending delivery of an event, or of a test, that was not attempted yet. */
export function newDelivery(
  { id: webhookId }: Pick<WebhookRow, 'id'>,
  { userId, seq, type, subject, timestamp }: Pick<DeliveryRow, 'userId' | 'seq' | 'type' | 'subject'> & Timestamped,
): DeliveryRow {
  return {
    id: seq === null ? randomUUID() : deliveryId({ webhookId, userId, seq }),
    webhookId,
    userId,
    seq,
    type,
    subject,
    createdAt: new Date(timestamp),
    status: 'pending',
    attempts: 0,
    firstFailedAt: null,
    nextTryAt: null,
    attemptedAt: null,
    settledAt: null,
    responseStatus: null,
    responseBody: null,
    error: null,
    durationMs: null,
  };
}

/**
 * The same id for the same event of a webhook, as a UUID (version 8, RFC 9562). It begins with the event's `seq`, which
 * orders deliveries with the same time.
 */
function deliveryId({ webhookId, userId, seq }: { webhookId: string; userId: string; seq: number }): string {
  const hash = createHash('sha256')
    .update(`${webhookId}:${userId}:${String(seq)}`)
    .digest('hex');
  const start = seq.toString(16).padStart(8, '0');
  return [start, hash.slice(0, 4), `8${hash.slice(4, 7)}`, `8${hash.slice(7, 10)}`, hash.slice(10, 22)].join('-');
}

/** Whether a webhook's types and labels select an event. */
function isWanted({ events, labels }: Pick<WebhookRow, 'events' | 'labels'>, { type, data }: BerthEvent): boolean {
  if (events !== null && !events.includes(type)) return false;
  const own = 'labels' in data ? data.labels : {};
  return Object.entries(labels).every(([key, value]) => own[key] === value);
}

/** Deletes deliveries that are over after `EVENT_RETENTION`, when their events are deleted too. */
@Injectable()
export class DeliveryRetention extends Retention {
  constructor(database: Database, clock: Clock, @Inject(CONFIG) config: Pick<Config, 'EVENT_RETENTION'>) {
    super(database, clock, {
      name: 'webhook deliveries',
      entity: WebhookDeliveryEntity,
      since: 'settled_at',
      keptMs: config.EVENT_RETENTION,
    });
  }
}
