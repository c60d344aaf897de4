import { Injectable } from '@nestjs/common';
import { createHash, timingSafeEqual } from 'node:crypto';
import type { Principal } from '../auth';
import { Database, type Lookup, readTime } from '../database';
import { DomainError } from '../errors';
import { Clock } from '../scheduling';
import { Secrets } from '../secrets';

/** A sandbox that a request has proved access to, and its owner, who acts in it. */
export interface OpenedSandbox {
  readonly containerId: string;
  readonly owner: Principal;
}

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

/**
 * Access to a single sandbox by its secret, without a token of the API. The secret is derived from the server's key
 * and the container's id, so it is stored nowhere, opens nothing else, and ends with the container.
 */
@Injectable()
export class SandboxAccess {
  private readonly container: Lookup;

  constructor(
    database: Database,
    private readonly secrets: Secrets,
    private readonly clock: Clock,
  ) {
    this.container = database.lookup({
      columns: [
        'c.user_id',
        'c.deleted_at',
        'u.username',
        'u.tier',
        'u.session_expires_at',
        'u.suspended_at',
        'u.deleted_at AS user_deleted_at',
      ],
      from: 'containers c INNER JOIN users u ON u.id = c.user_id',
      key: 'c.id',
    });
  }

  /** The secret of a sandbox: `X-Access-Token` of its requests. */
  secretOf(containerId: string): string {
    return this.secrets.digests(secretName(containerId))[0];
  }

  /**
   * Opens a sandbox by its secret.
   *
   * @param id the container's database id
   * @throws DomainError `container_not_found`, `unauthorized`, `user_suspended`, `guest_session_expired`
   */
  async open(id: string, accessToken: string | undefined): Promise<OpenedSandbox> {
    return this.openBy(id, (secret) => isEqual(accessToken ?? '', secret));
  }

  /**
   * Opens a sandbox by anything that only a holder of its secret can make, such as a signature.
   *
   * @param proves whether the request proves it; called with each secret that is valid
   * @throws DomainError as {@link open}
   */
  async openBy(id: string, proves: (secret: string) => boolean): Promise<OpenedSandbox> {
    // Before the row is read: only a holder of the secret learns whether the sandbox exists.
    if (!UUID.test(id) || !this.secrets.digests(secretName(id)).some(proves)) throw new DomainError('unauthorized');
    const row = await this.container(id);
    const [userId, deletedAt, username, tier, sessionEnd, suspendedAt, userDeletedAt] = row ?? [];
    if (!row || deletedAt !== null || userDeletedAt !== null) throw new DomainError('container_not_found');
    if (suspendedAt !== null) throw new DomainError('user_suspended');
    const sessionExpiresAt = readTime(sessionEnd);
    if (sessionExpiresAt !== null && sessionExpiresAt <= this.clock.now()) {
      throw new DomainError('guest_session_expired');
    }
    const owner: Principal = {
      userId: userId as string,
      username: username as string,
      tier: tier as string,
      // The secret belongs to no token: access ends with the container and its user.
      tokenId: '',
      scopes: ['exec'],
      agentId: null,
      sessionExpiresAt,
      tokenExpiresAt: sessionExpiresAt,
    };
    return { containerId: id, owner };
  }
}

function secretName(containerId: string): string {
  return `e2b.secret:${containerId}`;
}

/** Compares without showing by the time taken how much is equal. */
export function isEqual(one: string, other: string): boolean {
  const digest = (text: string): Buffer => createHash('sha256').update(text).digest();
  return timingSafeEqual(digest(one), digest(other));
}
