import { Injectable } from '@nestjs/common';
import { createHash, randomBytes, randomUUID } from 'node:crypto';
import { IsNull, MoreThan } from 'typeorm';
import { AuditLog, type SystemAct } from '../audit';
import { lockUser } from '../auth';
import { DeletedContainers } from '../containers';
import { Database, type Lookup, readTime, Retention } from '../database';
import { DomainError } from '../errors';
import { addressKey } from '../http';
import { Clock, LruMap } from '../scheduling';
import { Signals } from '../signals';
import type { PreviewTarget } from './preview-address';
import { type PortAccess, PreviewLinkEntity, PublicPortEntity } from './preview.entities';

/** Links of one container that are valid at once, and ports that everybody may see. */
const MOST_LINKS = 100;
const MOST_PUBLIC_PORTS = 100;

/** A link that is opened again from the same network within this time is not audited again. */
const AUDIT_AGAIN_MS = 3_600_000;
/** Links and networks that are remembered for that. */
const MOST_OPENED = 10_000;

/** 256 random bits. */
const TOKEN = /^preview_[A-Za-z0-9_-]{43}$/;

interface NewLink {
  readonly name: string | null;
  readonly isSingle: boolean;
  readonly mayStart: boolean;
  readonly expiresAt: Date;
}

/** A link that admits its visitor now. */
export interface ValidLink extends PreviewTarget {
  readonly id: string;
  /** Whether its visitor may start the container. */
  readonly mayStart: boolean;
  readonly expiresAt: Date;
}

interface Found {
  readonly link: ValidLink;
  /** The container's owner. */
  readonly userId: string;
  readonly isSingle: boolean;
  readonly isUsed: boolean;
}

/** A link's row, in the order of the lookup's columns. */
type Row = readonly [
  id: string,
  containerId: string,
  port: number,
  userId: string,
  isSingle: unknown,
  mayStart: unknown,
  usedAt: unknown,
  expiresAt: unknown,
];

/** Whether the text has the form of a link's token; other text never reaches the database. */
export function isLinkToken(text: string): boolean {
  return TOKEN.test(text);
}

/** Links to ports of containers, and which ports everybody may see. */
@Injectable()
export class PreviewLinks {
  private readonly byHash: Lookup;
  private readonly publicPort: Lookup;
  /** When a link was last opened from a network. */
  private readonly opened = new LruMap<number>(MOST_OPENED);

  constructor(
    private readonly database: Database,
    private readonly clock: Clock,
    private readonly signals: Signals,
    private readonly audit: AuditLog,
    deleted: DeletedContainers,
  ) {
    deleted.onPurge(async (containerId) => {
      await database.manager.delete(PublicPortEntity, { containerId });
      await database.manager.delete(PreviewLinkEntity, { containerId });
    });
    this.byHash = database.lookup({
      columns: ['id', 'container_id', 'port', 'user_id', 'is_single', 'may_start', 'used_at', 'expires_at'],
      from: 'preview_links',
      key: 'hash',
    });
    this.publicPort = database.lookup({ columns: ['id'], from: 'public_ports', key: 'id' });
  }

  /**
   * @returns the new link, and its token, which is not stored
   * @throws DomainError `link_limit_reached`
   */
  async create(
    userId: string,
    { containerId, port }: PreviewTarget,
    { name, isSingle, mayStart, expiresAt }: NewLink,
  ): Promise<{ link: PreviewLinkEntity; token: string }> {
    const token = mint();
    const now = this.clock.now();
    const link: PreviewLinkEntity = {
      id: randomUUID(),
      containerId,
      port,
      userId,
      name,
      isSingle,
      mayStart,
      hash: hashOf(token),
      usedAt: null,
      createdAt: now,
      expiresAt,
    };
    await this.database.runInTxLocking(userId, async () => {
      await lockUser(this.database, userId);
      const { manager } = this.database;
      const current = await manager.countBy(PreviewLinkEntity, { containerId, expiresAt: MoreThan(now) });
      if (current >= MOST_LINKS)
        throw new DomainError('link_limit_reached', { fields: { current, limit: MOST_LINKS } });
      await manager.insert(PreviewLinkEntity, link);
    });
    return { link, token };
  }

  /** A port's links that have not expired, newest first. */
  list({ containerId, port }: PreviewTarget): Promise<PreviewLinkEntity[]> {
    return this.database.manager.find(PreviewLinkEntity, {
      where: { containerId, port, expiresAt: MoreThan(this.clock.now()) },
      order: { createdAt: 'DESC', id: 'DESC' },
    });
  }

  /** Ends a link, and the connections of its visitors. @throws DomainError `link_not_found` */
  async revoke({ containerId, port }: PreviewTarget, id: string): Promise<void> {
    const { affected } = await this.database.manager.delete(PreviewLinkEntity, { id, containerId, port });
    if (affected !== 1) throw new DomainError('link_not_found');
    this.signals.publish('previews_changed', { containerId });
  }

  /**
   * Finds the link of a token or a cookie. A link of one use is only found by the cookie of its visitor.
   *
   * @returns null if there is none, or it has expired
   */
  async find(token: string): Promise<ValidLink | null> {
    const found = await this.lookUp(token);
    return found && (!found.isSingle || found.isUsed) ? found.link : null;
  }

  /**
   * Exchanges a link's token for the cookie of a visitor. If a link of one use is redeemed several times at once, only
   * one call gets a cookie. The audit gets an entry: for links of many uses, one an hour for each network of visitors.
   *
   * @param address the visitor's
   * @returns null if the token is no link to this port, or was used
   */
  async redeem(
    target: PreviewTarget,
    token: string,
    address: string,
  ): Promise<{ cookie: string; expiresAt: Date } | null> {
    const found = await this.lookUp(token);
    if (!found || !isTo(found.link, target)) return null;
    const { id, expiresAt } = found.link;
    const act = {
      action: 'container.preview_open',
      subjectUserId: found.userId,
      containerId: target.containerId,
      targetId: id,
      address,
    } as const;
    if (!found.isSingle) {
      await this.auditOnce(act);
      return { cookie: token, expiresAt };
    }
    const cookie = mint();
    return this.database.runInTx(async () => {
      const { affected } = await this.database.manager.update(
        PreviewLinkEntity,
        { id, hash: hashOf(token), usedAt: IsNull() },
        { hash: hashOf(cookie), usedAt: this.clock.now() },
      );
      if (affected !== 1) return null;
      await this.audit.recordSystem(act);
      return { cookie, expiresAt };
    });
  }

  /** Writes one audit entry an hour for each link and address: a visitor may open a link any number of times. */
  private async auditOnce(act: SystemAct & { targetId: string; address: string }): Promise<void> {
    const key = `${act.targetId} ${addressKey(act.address)}`;
    const now = this.clock.now().getTime();
    const last = this.opened.get(key);
    if (last !== undefined && now - last < AUDIT_AGAIN_MS) return;
    await this.audit.recordSystem(act);
    this.opened.set(key, now);
  }

  async isPublic(target: PreviewTarget): Promise<boolean> {
    return (await this.publicPort(keyOf(target))) !== null;
  }

  /** The ports of a container that everybody may see. */
  async publicPorts(containerId: string): Promise<ReadonlySet<number>> {
    const rows = await this.database.manager.findBy(PublicPortEntity, { containerId });
    return new Set(rows.map(({ port }) => port));
  }

  /** @throws DomainError `link_limit_reached` if too many ports of the container are public */
  async setAccess(userId: string, target: PreviewTarget, access: PortAccess): Promise<void> {
    const { containerId, port } = target;
    const id = keyOf(target);
    await this.database.runInTxLocking(userId, async () => {
      await lockUser(this.database, userId);
      const { manager } = this.database;
      await manager.delete(PublicPortEntity, { id });
      if (access === 'private') return;
      const current = await manager.countBy(PublicPortEntity, { containerId });
      const limit = MOST_PUBLIC_PORTS;
      if (current >= limit) throw new DomainError('link_limit_reached', { fields: { current, limit } });
      await manager.insert(PublicPortEntity, { id, containerId, port });
    });
    this.signals.publish('previews_changed', { containerId });
  }

  private async lookUp(token: string): Promise<Found | null> {
    if (!isLinkToken(token)) return null;
    const row = (await this.byHash(hashOf(token))) as Row | null;
    if (!row) return null;
    const [id, containerId, port, userId, isSingle, mayStart, usedAt, expiresAtValue] = row;
    const expiresAt = readTime(expiresAtValue);
    if (expiresAt === null || expiresAt <= this.clock.now()) return null;
    // SQLite has numbers for booleans.
    const link = { id, containerId, port, mayStart: Boolean(mayStart), expiresAt };
    return { link, userId, isSingle: Boolean(isSingle), isUsed: usedAt !== null };
  }
}

export function isTo(link: PreviewTarget, target: PreviewTarget): boolean {
  return link.containerId === target.containerId && link.port === target.port;
}

function keyOf({ containerId, port }: PreviewTarget): string {
  return `${containerId}:${String(port)}`;
}

function mint(): string {
  return `preview_${randomBytes(32).toString('base64url')}`;
}

/** No salt and no slow hash: 256 random bits cannot be guessed, and the lookup needs an index. */
function hashOf(token: string): string {
  return createHash('sha256').update(token).digest('hex');
}

/** Expired links are neither listed nor found; this is how long their rows stay. */
const EXPIRED_KEPT_MS = 24 * 3_600_000;

/** Deletes expired links. */
@Injectable()
export class PreviewLinkRetention extends Retention {
  constructor(database: Database, clock: Clock) {
    super(database, clock, {
      name: 'preview links',
      entity: PreviewLinkEntity,
      since: 'expires_at',
      keptMs: EXPIRED_KEPT_MS,
    });
  }
}
