import { Injectable } from '@nestjs/common';
import { isUUID } from 'class-validator';
import { type Principal, TokenRequests } from '../auth';
import { Database } from '../database';
import { DomainError } from '../errors';
import { requestContext } from '../logging';
import { TiersService } from '../tiers';
import type { WebhookRow } from './webhook.entity';
import { WebhookRepository } from './webhook.repository';

/** Webhooks for all users that one administrator may make. */
const MOST_FOR_ALL = 10;

/** Which webhooks a route is about: the caller's own, or those for all users, which every administrator may use. */
export interface Access {
  readonly caller: Principal;
  readonly forAllUsers: boolean;
}

/** Decides who may have and use which webhooks. */
@Injectable()
export class WebhookAccess {
  constructor(
    private readonly webhooks: WebhookRepository,
    private readonly database: Database,
    private readonly requests: TokenRequests,
    private readonly tiers: TiersService,
  ) {}

  /** @throws DomainError `webhook_not_found`, `not_authorized` */
  async find({ caller, forAllUsers }: Access, id: string): Promise<WebhookRow> {
    const row = isUUID(id) ? await this.webhooks.find(id.toLowerCase()) : null;
    // Administrators' webhooks do not exist for other routes, and the other way round.
    if (row?.forAllUsers !== forAllUsers) throw new DomainError('webhook_not_found');
    const context = requestContext.getStore();
    if (context) context.subjectUserId = row.userId;
    if (!forAllUsers && row.userId !== caller.userId) throw new DomainError('not_authorized');
    return row;
  }

  /** How many webhooks of a kind a user may have. */
  limitOf({ forAllUsers, tier }: { readonly forAllUsers: boolean; readonly tier: string }): number {
    return forAllUsers ? MOST_FOR_ALL : this.tiers.limitsOf(tier).webhooks;
  }

  /**
   * Inserts a webhook of the caller's, if there may be one more. The limit is exact, also for concurrent requests.
   *
   * @throws DomainError `webhook_limit_reached`, `unauthorized`, `user_suspended`, `guest_session_expired`
   */
  async insert(caller: Principal, row: WebhookRow): Promise<void> {
    const { userId, forAllUsers } = row;
    await this.database.runInTxLocking(userId, async () => {
      const { user } = await this.requests.requireIssuer(caller);
      const current = await this.webhooks.count({ userId, forAllUsers });
      const limit = this.limitOf({ forAllUsers, tier: user.tier });
      if (current >= limit) {
        throw new DomainError('webhook_limit_reached', { fields: { current, limit, tier: user.tier } });
      }
      await this.webhooks.insert(row);
    });
  }
}
