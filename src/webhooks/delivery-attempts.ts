import { Injectable } from '@nestjs/common';
import { Counter, Histogram } from 'prom-client';
import { Metrics } from '../metrics';
import { Clock, FairLimiter } from '../scheduling';
import { DeliveryRepository } from './delivery.repository';
import { type Attempt, WebhookSender } from './sender';
import { WebhookSecrets } from './signing';
import type { DeliveryRow, WebhookRow } from './webhook.entity';

/** Maximum concurrent attempts of this process, and of one webhook. */
const AT_ONCE = 512;
const PER_WEBHOOK = 8;

/** The type of test deliveries, which are no events. */
export const TEST_TYPE = 'webhook_test';

/** What is sent to a webhook. */
export interface Payload {
  readonly type: string;
  readonly timestamp: string;
  readonly data: object;
  /** Whose event it is; only for webhooks for all users. */
  readonly user_id?: string;
}

/** What every attempt changes in a delivery's row. */
type SeenAnswer = Pick<DeliveryRow, 'attempts' | 'attemptedAt'> & Omit<Attempt, 'retryAfterMs'>;

/** Makes single attempts at deliveries. Decides nothing about retries. */
@Injectable()
export class DeliveryAttempts {
  private readonly limiter = new FairLimiter({ atOnce: AT_ONCE, perKey: PER_WEBHOOK });
  private readonly attempts: Counter<'outcome'>;
  private readonly duration: Histogram;

  constructor(
    private readonly sender: WebhookSender,
    private readonly deliveries: DeliveryRepository,
    private readonly secrets: WebhookSecrets,
    private readonly clock: Clock,
    { registry }: Metrics,
  ) {
    this.attempts = new Counter({
      name: 'berth_webhook_attempts_total',
      help: 'Delivery attempts of this process: delivered, or the reason of the failure.',
      labelNames: ['outcome'] as const,
      registers: [registry],
    });
    this.duration = new Histogram({
      name: 'berth_webhook_attempt_duration_seconds',
      help: 'Duration of delivery attempts, up to the response or failure.',
      buckets: [0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20],
      registers: [registry],
    });
  }

  /** Runs work that makes attempts once there is room for it, with a fair share for each webhook. */
  inTurn<T>({ id }: Pick<WebhookRow, 'id'>, work: () => Promise<T>): Promise<T> {
    return this.limiter.run(id, work);
  }

  /** Reads what is sent for deliveries, by their ids. Those whose events are no longer kept are missing. */
  async payloadsOf(webhook: WebhookRow, deliveries: readonly DeliveryRow[]): Promise<ReadonlyMap<string, Payload>> {
    const events = await this.deliveries.eventsOf(deliveries);
    const payloads = new Map<string, Payload>();
    for (const { id, userId, type, createdAt } of deliveries) {
      const event = events.get(id);
      if (type === TEST_TYPE) payloads.set(id, { type, timestamp: createdAt.toISOString(), data: { id: webhook.id } });
      if (!event) continue;
      const { seq: _seq, ...payload } = event;
      payloads.set(id, webhook.forAllUsers ? { ...payload, user_id: userId } : payload);
    }
    return payloads;
  }

  /** @returns null if the signal cut the attempt off */
  async attempt(
    webhook: WebhookRow,
    { delivery, payload, signal }: { delivery: DeliveryRow; payload: Payload; signal: AbortSignal },
  ): Promise<{ readonly seen: SeenAnswer; readonly retryAfterMs: number | null } | null> {
    const now = this.clock.now();
    const message = {
      url: webhook.url,
      id: delivery.id,
      timestamp: now,
      body: JSON.stringify(payload),
      secrets: this.secrets.of(webhook, now),
    };
    const attempt = await this.sender.send(message, signal);
    if (attempt === null) return null;
    this.attempts.inc({ outcome: attempt.error ?? 'delivered' });
    this.duration.observe(attempt.durationMs / 1000);
    const { retryAfterMs, ...answer } = attempt;
    return { seen: { ...answer, attempts: delivery.attempts + 1, attemptedAt: now }, retryAfterMs };
  }
}
