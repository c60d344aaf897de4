import { Injectable } from '@nestjs/common';
import { createHash, createHmac, randomBytes, timingSafeEqual } from 'node:crypto';
import type { Principal } from '../auth';
import { DeletedContainers } from '../containers';
import { Database, type Lookup, readTime, sql } from '../database';
import { DomainError } from '../errors';
import { Clock, LruMap } from '../scheduling';
import { Secrets } from '../secrets';
import { E2bSandboxEntity } from './e2b-sandbox.entity';

/** A sandbox that a request has proved access to. */
export interface OpenedSandbox {
  /** The container's database id. */
  readonly containerId: string;
  /** The container's owner, with the scope `exec` alone, and for this container alone. */
  readonly principal: Principal;
}

/** What a new row has beside its secret. */
export type NewSandbox = Pick<E2bSandboxEntity, 'containerId' | 'template' | 'metadata'> & Partial<SandboxPortSettings>;

/** How the ports of a sandbox are seen, which its creation decides. */
export type SandboxPortSettings = Pick<E2bSandboxEntity, 'isPublic' | 'requestHost'>;

const USUAL: SandboxPortSettings = { isPublic: false, requestHost: null };
/** Remembered of a container that no client of E2B uses. */
const NO_SANDBOX: SandboxPortSettings = { ...USUAL };

/** Sandboxes whose ports' settings are remembered. */
const MOST_REMEMBERED = 10_000;

/** The form of the ids of containers and snapshots. */
export const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

/** Compared with in the place of an unknown sandbox's secret. No request can send it: it is never given out. */
const NO_SECRET = randomBytes(32).toString('hex');

/**
 * Access to a single sandbox by its secret, without a token of the API. The secret is random, sealed in the row of
 * the sandbox, opens nothing else, and ends with the container.
 */
@Injectable()
export class SandboxAccess {
  private readonly find: Lookup;
  private readonly ports = new LruMap<SandboxPortSettings>(MOST_REMEMBERED);

  constructor(
    private readonly database: Database,
    private readonly secrets: Secrets,
    private readonly clock: Clock,
    deleted: DeletedContainers,
  ) {
    deleted.onPurge(async (containerId) => {
      await database.manager.delete(E2bSandboxEntity, { containerId });
    });
    this.find = database.lookup({
      columns: ['s.access_token', 'c.user_id', 'u.username', 'u.tier', 'u.session_expires_at', 'u.suspended_at'],
      from:
        'e2b_sandboxes s INNER JOIN containers c ON c.id = s.container_id AND c.deleted_at IS NULL ' +
        'INNER JOIN users u ON u.id = c.user_id AND u.deleted_at IS NULL',
      key: 's.container_id',
    });
  }

  /**
   * Opens a sandbox by its secret.
   *
   * @throws DomainError `container_not_found`, `unauthorized`, `user_suspended`, `guest_session_expired`; SecretsError
   */
  async open(sandboxId: string, accessToken: string | undefined): Promise<OpenedSandbox> {
    return this.openBy(sandboxId, (secret) => isEqual(accessToken ?? '', secret));
  }

  /** Opens a sandbox for its ports alone, by its secret or by the token of its ports. @throws as {@link open} */
  async openPorts(sandboxId: string, token: string): Promise<OpenedSandbox> {
    return this.openBy(sandboxId, (secret) => isEqual(token, secret) || isEqual(token, portTokenOf(secret)));
  }

  /**
   * Opens a sandbox by anything that only a holder of its secret can make, such as a signature.
   *
   * @throws DomainError as {@link open}
   */
  async openBy(sandboxId: string, proves: (secret: string) => boolean): Promise<OpenedSandbox> {
    const row = UUID.test(sandboxId) ? await this.find(sandboxId) : null;
    const [sealed, userId, username, tier, sessionEnd, suspendedAt] = row ?? [];
    const isProved = proves(row ? this.secrets.open(sealed as string, placeOf(sandboxId)) : NO_SECRET);
    // Clients learn so that a sandbox has ended. Its id is too long to be guessed.
    if (!row) throw new DomainError('container_not_found');
    if (!isProved) throw new DomainError('unauthorized');
    if (suspendedAt !== null) throw new DomainError('user_suspended');
    const sessionExpiresAt = readTime(sessionEnd);
    if (sessionExpiresAt !== null && sessionExpiresAt <= this.clock.now()) {
      throw new DomainError('guest_session_expired');
    }
    const principal: Principal = {
      userId: userId as string,
      username: username as string,
      tier: tier as string,
      // The secret belongs to no token: access ends with the container and its user.
      tokenId: '',
      scopes: ['exec'],
      agentId: null,
      boundTo: { id: sandboxId, withForks: false },
      sessionExpiresAt,
      tokenExpiresAt: sessionExpiresAt,
    };
    return { containerId: sandboxId, principal };
  }

  /**
   * The row of a container, which is made if there is none. Two callers at once get the same secret.
   *
   * @param sandbox its template and metadata are used for a new row only
   */
  async rowFor(sandbox: NewSandbox): Promise<E2bSandboxEntity> {
    const { manager } = this.database;
    const { containerId } = sandbox;
    const existing = await manager.findOneBy(E2bSandboxEntity, { containerId });
    if (existing) return existing;
    const sealedToken = this.secrets.seal(randomBytes(32).toString('hex'), placeOf(containerId));
    const row: E2bSandboxEntity = { ...USUAL, ...sandbox, sealedToken, createdAt: this.clock.now() };
    await this.database.run(sql`${sql.insert(E2bSandboxEntity, row)} ON CONFLICT DO NOTHING`);
    this.ports.delete(containerId);
    return (await manager.findOneBy(E2bSandboxEntity, { containerId })) ?? row;
  }

  /** How the ports of a container are seen; null if no client of E2B uses it. */
  async portsOf(containerId: string): Promise<SandboxPortSettings | null> {
    let known = this.ports.get(containerId);
    if (!known) {
      // A later row, of a container that Berth's own API made, has no settings either.
      const row = await this.database.manager.findOneBy(E2bSandboxEntity, { containerId });
      known = row ? { isPublic: row.isPublic, requestHost: row.requestHost } : NO_SANDBOX;
      this.ports.set(containerId, known);
    }
    return known === NO_SANDBOX ? null : known;
  }

  /** The secret of a sandbox: `envdAccessToken` in answers, `X-Access-Token` in requests. @throws SecretsError */
  tokenOf({ containerId, sealedToken }: Pick<E2bSandboxEntity, 'containerId' | 'sealedToken'>): string {
    return this.secrets.open(sealedToken, placeOf(containerId));
  }

  /** `trafficAccessToken` in answers, `E2B-Traffic-Access-Token` in requests to ports. @throws SecretsError */
  trafficTokenOf(row: Pick<E2bSandboxEntity, 'containerId' | 'sealedToken'>): string {
    return portTokenOf(this.tokenOf(row));
  }
}

function placeOf(containerId: string): string {
  return `e2b_sandboxes.access_token:${containerId}`;
}

/**
 * A token that opens the ports of a sandbox, and nothing else of it. Programs pass it on, so the secret cannot be had
 * from it.
 */
function portTokenOf(secret: string): string {
  return createHmac('sha256', secret).update('ports').digest('hex');
}

/** Compares without showing by the time taken how much is equal. */
function isEqual(one: string, other: string): boolean {
  const digest = (text: string): Buffer => createHash('sha256').update(text).digest();
  return timingSafeEqual(digest(one), digest(other));
}
