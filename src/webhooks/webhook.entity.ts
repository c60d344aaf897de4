import { Column, Entity, Index, PrimaryColumn } from 'typeorm';
import { TIMESTAMP } from '../database/column-types';
import type { WebhookFacts } from '../events';

/**
 * The status of a webhook:
 *
 * ```
 *  active ◀──▶ paused        by its user
 *    │ ▲          ▲
 *    ▼ │          │
 *  disabled ──────┘          by Berth, when the receiver fails for too long; its user activates it again
 * ```
 */
export const WEBHOOK_STATUSES = ['active', 'paused', 'disabled'] as const;
export type WebhookStatus = (typeof WEBHOOK_STATUSES)[number];

/** Where a user's events are sent, or with `forAllUsers` everybody's. */
@Entity('webhooks')
@Index('webhooks_user', ['userId', 'createdAt'])
@Index('webhooks_holder', ['holder'])
export class WebhookEntity {
  @PrimaryColumn({ type: 'varchar', length: 36 })
  id: string;

  @Column({ name: 'user_id', type: 'varchar', length: 36 })
  userId: string;

  @Column({ name: 'for_all_users', type: 'boolean' })
  forAllUsers: boolean;

  @Column({ type: 'varchar', length: 2048 })
  url: string;

  @Column({ type: 'varchar', length: 200, nullable: true })
  description: string | null;

  /** The types of events that are sent; null: all. */
  @Column({ type: 'simple-json', nullable: true })
  events: string[] | null;

  /** Labels that an event's container or snapshot must have. */
  @Column({ type: 'simple-json' })
  labels: Record<string, string>;

  @Column({ type: 'varchar', length: 16 })
  status: WebhookStatus;

  /** Why Berth disabled it; null otherwise. */
  @Column({ name: 'status_reason', type: 'varchar', length: 64, nullable: true })
  statusReason: string | null;

  /** Sealed. */
  @Column({ type: 'varchar', length: 255 })
  secret: string;

  /** The secret before the last rotation. Deliveries are signed with both until `formerSecretUntil`. */
  @Column({ name: 'former_secret', type: 'varchar', length: 255, nullable: true })
  formerSecret: string | null;

  @Column({ name: 'former_secret_until', type: TIMESTAMP, nullable: true })
  formerSecretUntil: Date | null;

  /** The process that delivers: {@link ProcessPresence.holder}. */
  @Column({ type: 'varchar', length: 36, nullable: true })
  holder: string | null;

  /** Incremented by every change that its holder must follow. */
  @Column({ type: 'integer' })
  revision: number;

  @Column({ name: 'created_at', type: TIMESTAMP })
  createdAt: Date;

  @Column({ name: 'updated_at', type: TIMESTAMP })
  updatedAt: Date;
}

/** A webhook's row as plain data. */
export type WebhookRow = Readonly<WebhookEntity>;

/**
 * Up to which of a user's events a webhook has its deliveries. A webhook for all users has no row for users who came
 * after it: it starts with their first event.
 */
@Entity('webhook_cursors')
export class WebhookCursorEntity {
  @PrimaryColumn({ name: 'webhook_id', type: 'varchar', length: 36 })
  webhookId: string;

  @PrimaryColumn({ name: 'user_id', type: 'varchar', length: 36 })
  userId: string;

  @Column({ type: 'integer' })
  seq: number;
}

/**
 * `pending` until it is `delivered`; `failed` only for tests, which are not repeated; `lost` if its events were no
 * longer kept.
 */
export const DELIVERY_STATUSES = ['pending', 'delivered', 'failed', 'lost'] as const;
export type DeliveryStatus = (typeof DELIVERY_STATUSES)[number];

/** One event, or a test, on its way to one webhook. What is sent is read from the event log. */
@Entity('webhook_deliveries')
@Index('webhook_deliveries_webhook', ['webhookId', 'createdAt'])
@Index('webhook_deliveries_pending', ['webhookId'], { where: "status = 'pending'" })
@Index('webhook_deliveries_settled_at', ['settledAt'])
export class WebhookDeliveryEntity {
  /** Also the `webhook-id` of every attempt; derived from webhook, user and `seq`. */
  @PrimaryColumn({ type: 'varchar', length: 36 })
  id: string;

  @Column({ name: 'webhook_id', type: 'varchar', length: 36 })
  webhookId: string;

  /** Whose event it is. */
  @Column({ name: 'user_id', type: 'varchar', length: 36 })
  userId: string;

  /** Of the event; null for a test. */
  @Column({ type: 'integer', nullable: true })
  seq: number | null;

  @Column({ type: 'varchar', length: 32 })
  type: string;

  /** What the event is about. Deliveries with the same subject are made one after the other, in order. */
  @Column({ type: 'varchar', length: 64 })
  subject: string;

  @Column({ type: 'varchar', length: 16 })
  status: DeliveryStatus;

  /** Since the first one, or since the webhook was last activated. */
  @Column({ type: 'integer' })
  attempts: number;

  @Column({ name: 'first_failed_at', type: TIMESTAMP, nullable: true })
  firstFailedAt: Date | null;

  @Column({ name: 'next_try_at', type: TIMESTAMP, nullable: true })
  nextTryAt: Date | null;

  /** When the event was emitted. */
  @Column({ name: 'created_at', type: TIMESTAMP })
  createdAt: Date;

  @Column({ name: 'attempted_at', type: TIMESTAMP, nullable: true })
  attemptedAt: Date | null;

  /** When it stopped being pending. */
  @Column({ name: 'settled_at', type: TIMESTAMP, nullable: true })
  settledAt: Date | null;

  /** Of the last attempt, as are the following columns. */
  @Column({ name: 'response_status', type: 'integer', nullable: true })
  responseStatus: number | null;

  @Column({ name: 'response_body', type: 'text', nullable: true })
  responseBody: string | null;

  @Column({ type: 'varchar', length: 255, nullable: true })
  error: string | null;

  @Column({ name: 'duration_ms', type: 'integer', nullable: true })
  durationMs: number | null;
}

/** A delivery's row as plain data. */
export type DeliveryRow = Readonly<WebhookDeliveryEntity>;

/** A webhook in events. A URL may contain a password of the receiver's, so only its host is shown. */
export function webhookFacts({ id, url, forAllUsers }: WebhookRow): WebhookFacts {
  return { id, host: new URL(url).host, for_all_users: forAllUsers };
}
