import { Injectable } from '@nestjs/common';
import { randomUUID } from 'node:crypto';
import { DomainError, invalidParameters } from '../errors';
import { type PagedQuery, readPage } from '../http';
import { Clock } from '../scheduling';
import { DeliveryRepository } from './delivery.repository';
import { Destinations } from './destinations';
import { type CreateWebhookDto, OVERLAP_SECONDS, type RotateSecretDto, type UpdateWebhookDto } from './dto/requests';
import {
  type SecretRotatedView,
  type WebhookCreatedView,
  type WebhookDeletedView,
  type WebhookListView,
  webhookView,
  type WebhookView,
} from './dto/responses';
import { type Access, WebhookAccess } from './webhook-access';
import { WebhookSecrets } from './signing';
import type { WebhookRow } from './webhook.entity';
import { WebhookRepository } from './webhook.repository';

/**
 * The REST API of webhooks. All methods on one webhook throw {@link DomainError} `webhook_not_found`,
 * `not_authorized`.
 */
@Injectable()
export class WebhooksService {
  constructor(
    private readonly access: WebhookAccess,
    private readonly webhooks: WebhookRepository,
    private readonly deliveries: DeliveryRepository,
    private readonly destinations: Destinations,
    private readonly secrets: WebhookSecrets,
    private readonly clock: Clock,
  ) {}

  /**
   * Makes a webhook. It gets the events that are committed after it.
   *
   * @throws DomainError `webhook_limit_reached`, `invalid_parameters`, `unauthorized`, `user_suspended`,
   *   `guest_session_expired`
   */
  async create({ caller, forAllUsers }: Access, request: Readonly<CreateWebhookDto>): Promise<WebhookCreatedView> {
    this.assertUrl(request.url);
    const { userId } = caller;
    const id = randomUUID();
    const { text, sealed } = this.secrets.make(id);
    const now = this.clock.now();
    const row: WebhookRow = {
      id,
      userId,
      forAllUsers,
      url: new URL(request.url).href,
      description: request.description ?? null,
      events: request.events ?? null,
      labels: { ...request.labels },
      status: 'active',
      statusReason: null,
      secret: sealed,
      formerSecret: null,
      formerSecretUntil: null,
      holder: null,
      revision: 0,
      createdAt: now,
      updatedAt: now,
    };
    await this.access.insert(caller, row);
    return Object.assign(webhookView(row), { secret: text });
  }

  /** One page of the caller's webhooks, or of those for all users, whichever administrator made them; newest first. */
  async list({ caller, forAllUsers }: Access, query: Readonly<PagedQuery>): Promise<WebhookListView> {
    const filter = forAllUsers ? { forAllUsers } : { forAllUsers, userId: caller.userId };
    const page = await readPage(
      query,
      (range) => this.webhooks.list({ ...filter, ...range }),
      (row) => row,
    );
    const backlogs = await this.deliveries.backlogsOf(page.items.map(({ id }) => id));
    return {
      webhooks: page.items.map((row) => webhookView(row, backlogs.get(row.id))),
      count: page.items.length,
      limit: this.access.limitOf({ forAllUsers, tier: caller.tier }),
      next_cursor: page.next_cursor,
    };
  }

  async get(access: Access, id: string): Promise<WebhookView> {
    return this.view(await this.access.find(access, id));
  }

  /**
   * Changes a webhook; absent fields stay. With a new URL, and when it is activated after it was disabled, everything
   * that failed is tried again at once.
   *
   * @throws DomainError also `invalid_parameters`
   */
  async update(access: Access, id: string, request: Readonly<UpdateWebhookDto>): Promise<WebhookView> {
    const { url, description, events, labels, status } = request;
    if (url !== undefined) this.assertUrl(url);
    const row = await this.access.find(access, id);
    const changed = await this.webhooks.change(row, () => ({
      ...(url !== undefined && { url: new URL(url).href }),
      ...(description !== undefined && { description }),
      ...(events !== undefined && { events: events === null ? null : [...events] }),
      ...(labels !== undefined && { labels }),
      ...(status !== undefined && { status }),
    }));
    if (changed === null) throw new DomainError('webhook_not_found');
    return this.view(changed);
  }

  async delete(access: Access, id: string): Promise<WebhookDeletedView> {
    const row = await this.access.find(access, id);
    if (!(await this.webhooks.delete(row))) throw new DomainError('webhook_not_found');
    return { message: 'webhook deleted', id: row.id };
  }

  /** Replaces the secret. For a while, deliveries are signed with both; an even older one is no longer used. */
  async rotateSecret(access: Access, id: string, request: Readonly<RotateSecretDto>): Promise<SecretRotatedView> {
    const row = await this.access.find(access, id);
    const { text, sealed } = this.secrets.make(row.id);
    const until = new Date(this.clock.now().getTime() + (request.overlap_seconds ?? OVERLAP_SECONDS) * 1000);
    const changed = await this.webhooks.change(row, (present) => ({
      secret: sealed,
      formerSecret: present.secret,
      formerSecretUntil: until,
    }));
    if (changed === null) throw new DomainError('webhook_not_found');
    return { id: row.id, secret: text, former_secret_until: until.toISOString() };
  }

  private async view(row: WebhookRow): Promise<WebhookView> {
    return webhookView(row, (await this.deliveries.backlogsOf([row.id])).get(row.id));
  }

  private assertUrl(url: string): void {
    const message = this.destinations.faultOf(url);
    if (message !== null) throw invalidParameters([{ field: 'url', message }]);
  }
}
