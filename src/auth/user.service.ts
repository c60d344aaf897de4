import { Injectable } from '@nestjs/common';
import { isUUID } from 'class-validator';
import { randomUUID } from 'node:crypto';
import { In, IsNull, Not, type SelectQueryBuilder } from 'typeorm';
import { Database, likePattern, type PageRange, sql } from '../database';
import { DomainError, type FieldFault, invalidParameters } from '../errors';
import { Clock } from '../scheduling';
import { Signals } from '../signals';
import { GUEST_TIER, TiersService } from '../tiers';
import { UserEntity } from './user.entity';

/** The name and tier of a user. */
interface NamedUser {
  readonly username: string;
  /** A key of the tier table. */
  readonly tier: string;
}

/** Maximum users in one query. */
const BATCH = 500;

const USERNAME = /^[A-Za-z0-9][A-Za-z0-9._@-]{0,63}$/;
const NAME_RULE = 'must be 1 to 64 of letters, digits, ".", "_", "@" and "-", and begin with a letter or digit';

/** @returns the faults of the name and the tier; empty if both are valid */
export function userFaults({ username, tier }: NamedUser, tiers: TiersService): FieldFault[] {
  const faults: FieldFault[] = [];
  if (!USERNAME.test(username)) faults.push({ field: 'username', message: NAME_RULE });
  if (!tiers.has(tier)) {
    const names = tiers.all().map(({ name }) => name);
    faults.push({ field: 'tier', message: `must be one of ${names.join(', ')}` });
  }
  return faults;
}

/** An administrator's change of a user; absent fields stay as they are. */
export interface UserChange {
  readonly tier?: string | undefined;
  readonly suspended?: boolean | undefined;
}

interface EnsuredUser {
  readonly user: UserEntity;
  readonly created: boolean;
  /** The user's previous tier, if this call changed it. */
  readonly previousTier: string | null;
}

/**
 * Locks the user's row until the end of the current transaction, as appending an event does: counts and decisions
 * about the user stay valid until the commit.
 */
export async function lockUser({ isSqlite, manager }: Database, userId: string): Promise<void> {
  // On SQLite, a transaction is the only writer from its start.
  if (isSqlite) return;
  const user = manager.createQueryBuilder(UserEntity, 'user').select('user.id');
  await user.where('user.id = :userId', { userId }).setLock('pessimistic_write').getOne();
}

/** The users who own tokens and containers. */
@Injectable()
export class UserService {
  constructor(
    private readonly database: Database,
    private readonly tiers: TiersService,
    private readonly clock: Clock,
    private readonly signals: Signals,
  ) {}

  /** See {@link lockUser}. */
  lock(userId: string): Promise<void> {
    return lockUser(this.database, userId);
  }

  /**
   * Finds the user by name, ignoring case, or creates it, and moves it to the tier. A session of the tier starts with
   * the move. Of several concurrent calls, one creates the user and the others find it.
   *
   * A guest is not moved by name: any visitor may have taken that name, and the guest's token would keep access to
   * everything that the user does from then on. {@link change} moves a guest by id.
   *
   * @throws DomainError `invalid_parameters`; `username_taken`, with `user_id`, if a guest has the name
   */
  async ensure({ username, tier }: NamedUser): Promise<EnsuredUser> {
    const { user, created } = await this.insertUnlessNamed({ username, tier });
    if (created || user.tier === tier) return { user, created, previousTier: null };
    if (user.tier === GUEST_TIER) throw new DomainError('username_taken', { fields: { user_id: user.id } });
    const sessionExpiresAt = this.tiers.sessionEnd(tier, this.clock.now());
    await this.database.manager.update(UserEntity, { id: user.id, tier: user.tier }, { tier, sessionExpiresAt });
    this.signals.publish('user_moved', { userId: user.id });
    const previousTier = user.tier;
    return { user: Object.assign(user, { tier, sessionExpiresAt }), created: false, previousTier };
  }

  /** Creates a user. @throws DomainError `invalid_parameters`; `username_taken`, ignoring case */
  async create(named: NamedUser): Promise<UserEntity> {
    const { user, created } = await this.insertUnlessNamed(named);
    if (!created) throw new DomainError('username_taken');
    return user;
  }

  /** @returns the new user, or the one who has the name. @throws DomainError `invalid_parameters` */
  private async insertUnlessNamed({ username, tier }: NamedUser): Promise<{ user: UserEntity; created: boolean }> {
    const faults = userFaults({ username, tier }, this.tiers);
    if (faults.length > 0) throw invalidParameters(faults);
    const id = randomUUID();
    const now = this.clock.now();
    const sessionExpiresAt = this.tiers.sessionEnd(tier, now);
    const ends = { sessionExpiresAt, suspendedAt: null, deletedAt: null };
    const row: UserEntity = { id, username, tier, eventSeq: 0, createdAt: now, ...ends };
    await this.database.run(sql`${sql.insert(UserEntity, row)} ON CONFLICT DO NOTHING`);
    const user = await this.byName(username);
    if (!user) throw new Error(`user ${username} was renamed while looked for`);
    return { user, created: user.id === id };
  }

  /** Finds a user by name, ignoring case. */
  byName(username: string): Promise<UserEntity | null> {
    return this.named(this.database.manager.createQueryBuilder(UserEntity, 'u'), username).getOne();
  }

  /** True if no other user was created before, apart from guests; deleted users count. */
  async isFirst(id: string): Promise<boolean> {
    const [first] = await this.database.manager.find(UserEntity, {
      select: { id: true },
      where: { tier: Not(GUEST_TIER) },
      order: { createdAt: 'ASC', id: 'ASC' },
      take: 1,
    });
    return first?.id === id;
  }

  /** @throws DomainError `user_not_found`, also for a deleted user */
  async get(id: string): Promise<UserEntity> {
    const where = { id, deletedAt: IsNull() };
    const user = isUUID(id) ? await this.database.manager.findOneBy(UserEntity, where) : null;
    if (!user) throw new DomainError('user_not_found');
    return user;
  }

  /** The tiers of these users, without deleted ones. */
  async tiersOf(ids: readonly string[]): Promise<ReadonlyMap<string, string>> {
    const tiers = new Map<string, string>();
    for (let start = 0; start < ids.length; start += BATCH) {
      const where = { id: In(ids.slice(start, start + BATCH)), deletedAt: IsNull() };
      const users = await this.database.manager.find(UserEntity, { select: { id: true, tier: true }, where });
      for (const { id, tier } of users) tiers.set(id, tier);
    }
    return tiers;
  }

  /** A page of users, newest first, after `after`. @param filter.search a part of the name */
  async list(filter: PageRange & { username?: string; search?: string; tier?: string }): Promise<UserEntity[]> {
    const query = this.database.manager.createQueryBuilder(UserEntity, 'u').where('u.deletedAt IS NULL');
    if (filter.username !== undefined) this.named(query, filter.username);
    if (filter.search !== undefined) {
      query.andWhere("LOWER(u.username) LIKE :search ESCAPE '!'", { search: likePattern(filter.search, 'anywhere') });
    }
    if (filter.tier !== undefined) query.andWhere('u.tier = :tier', { tier: filter.tier });
    return this.database.newestFirst(query, 'createdAt', filter);
  }

  /**
   * Changes a user's tier or suspension. A move to another tier starts (or ends) the user's session. A suspension
   * refuses the user's tokens and closes their sockets until it ends. Values that are already set stay.
   *
   * @throws DomainError `user_not_found`, `invalid_parameters`
   */
  async change(id: string, { tier, suspended }: UserChange): Promise<UserEntity> {
    return this.changeLocked(id, (user, now) => {
      const faults = tier === undefined ? [] : userFaults({ username: 'valid', tier }, this.tiers);
      if (faults.length > 0) throw invalidParameters(faults);
      const isMoved = tier !== undefined && tier !== user.tier;
      const isSuspended = suspended ?? user.suspendedAt !== null;
      return {
        tier: tier ?? user.tier,
        sessionExpiresAt: isMoved ? this.tiers.sessionEnd(tier, now) : user.sessionExpiresAt,
        suspendedAt: isSuspended ? (user.suspendedAt ?? now) : null,
      };
    });
  }

  /**
   * Deletes a user: all their tokens become invalid, and their name is free. The row keeps a name with "~", which no
   * user may choose, so it cannot collide.
   *
   * @throws DomainError `user_not_found`
   */
  async delete(id: string): Promise<UserEntity> {
    return this.changeLocked(id, (user, now) => ({
      username: `${user.username.slice(0, 27)}~${user.id}`,
      suspendedAt: user.suspendedAt ?? now,
      deletedAt: now,
    }));
  }

  /** Matches the expression of the unique index, so that the index is used. Names are ASCII. */
  private named(query: SelectQueryBuilder<UserEntity>, username: string): SelectQueryBuilder<UserEntity> {
    const lower = this.database.isSqlite ? 'lower(u.username)' : 'lower(u.username COLLATE "C")';
    return query.andWhere(`${lower} = :username`, { username: username.toLowerCase() });
  }

  private async changeLocked(
    id: string,
    decide: (user: UserEntity, now: Date) => Partial<UserEntity>,
  ): Promise<UserEntity> {
    return this.database.runInTxLocking(id, async () => {
      if (isUUID(id)) await this.lock(id);
      const user = await this.get(id);
      const change = decide(user, this.clock.now());
      await this.database.manager.update(UserEntity, { id }, change);
      if (change.tier !== undefined && change.tier !== user.tier) {
        this.database.afterCommit(() => this.signals.publish('user_moved', { userId: id }));
      }
      if (change.suspendedAt != null) {
        this.database.afterCommit(() => this.signals.publish('user_suspended', { userId: id }));
      }
      return Object.assign(user, change);
    });
  }
}
