import { Injectable } from '@nestjs/common';
import { isUUID } from 'class-validator';
import { DomainError } from '../errors';
import { readPage } from '../http';
import { Clock } from '../scheduling';
import { DeliveryAttempts, TEST_TYPE } from './delivery-attempts';
import { DeliveryRepository, newDelivery } from './delivery.repository';
import type { ListDeliveriesDto } from './dto/requests';
import { type DeliveryListView, deliveryView, type DeliveryView } from './dto/responses';
import { type Access, WebhookAccess } from './webhook-access';
import type { DeliveryRow, WebhookRow } from './webhook.entity';
import { WebhookRepository } from './webhook.repository';

/**
 * The REST API of webhooks' deliveries. All methods throw {@link DomainError} `webhook_not_found`, `not_authorized`.
 */
@Injectable()
export class DeliveriesService {
  constructor(
    private readonly access: WebhookAccess,
    private readonly webhooks: WebhookRepository,
    private readonly deliveries: DeliveryRepository,
    private readonly attempts: DeliveryAttempts,
    private readonly clock: Clock,
  ) {}

  /** One page of a webhook's deliveries, newest first. */
  async list(access: Access, id: string, { status, ...query }: Readonly<ListDeliveriesDto>): Promise<DeliveryListView> {
    const webhook = await this.access.find(access, id);
    const filter = { webhookId: webhook.id, ...(status !== undefined && { status }) };
    const page = await readPage(
      query,
      (range) => this.deliveries.list({ ...filter, ...range }),
      (row) => row,
    );
    const payloads = await this.attempts.payloadsOf(webhook, page.items);
    return {
      deliveries: page.items.map((row) => deliveryView(row, payloads.get(row.id) ?? null)),
      next_cursor: page.next_cursor,
    };
  }

  /**
   * Sends a test at once, also if the webhook is not active, and waits for the outcome. It is not repeated.
   *
   * @returns the delivery, which is listed like others
   */
  async test(access: Access, id: string): Promise<DeliveryView> {
    const webhook = await this.access.find(access, id);
    const { id: subject, userId } = webhook;
    const event = { userId, seq: null, type: TEST_TYPE, subject, timestamp: this.clock.now() };
    const delivery = newDelivery(webhook, event);
    const { outcome, payload } = await this.send(webhook, delivery);
    const row: DeliveryRow = { ...delivery, status: 'failed', ...outcome, settledAt: this.clock.now() };
    await this.deliveries.insert(row);
    return deliveryView(row, payload);
  }

  /**
   * Repeats a delivery at once and waits for the outcome, which is not repeated in turn. A pending one becomes due
   * instead, so that the order holds.
   *
   * @throws DomainError also `delivery_not_found`, `event_not_kept`
   */
  async redeliver(access: Access, id: string, deliveryId: string): Promise<DeliveryView> {
    const webhook = await this.access.find(access, id);
    const delivery = isUUID(deliveryId) ? await this.deliveries.find(webhook.id, deliveryId.toLowerCase()) : null;
    if (!delivery) throw new DomainError('delivery_not_found');
    if (delivery.status === 'pending') {
      await this.deliveries.makeDue(delivery);
      await this.webhooks.touch(webhook);
      const payloads = await this.attempts.payloadsOf(webhook, [delivery]);
      return deliveryView({ ...delivery, nextTryAt: null }, payloads.get(delivery.id) ?? null);
    }
    const { outcome, payload } = await this.send(webhook, delivery);
    await this.deliveries.record(delivery, outcome);
    return deliveryView({ ...delivery, ...outcome }, payload);
  }

  /** Makes one attempt; the outcome has a status only if it succeeded. @throws DomainError `event_not_kept` */
  private async send(webhook: WebhookRow, delivery: DeliveryRow) {
    const payload = (await this.attempts.payloadsOf(webhook, [delivery])).get(delivery.id);
    if (!payload) throw new DomainError('event_not_kept');
    const { signal } = new AbortController();
    const attempt = () => this.attempts.attempt(webhook, { delivery, payload, signal });
    const made = await this.attempts.inTurn(webhook, attempt);
    if (made === null) throw new Error('an attempt was cut off without a signal');
    const outcome = made.seen.error === null ? { ...made.seen, status: 'delivered' as const } : made.seen;
    return { outcome, payload };
  }
}
