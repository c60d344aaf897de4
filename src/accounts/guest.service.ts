import { Inject, Injectable } from '@nestjs/common';
import { randomUUID } from 'node:crypto';
import { MoreThan } from 'typeorm';
import { TokenService, USUAL_SCOPES, UserEntity, UserService } from '../auth';
import { type Config, CONFIG } from '../config';
import { Database, isUniqueViolation, sql } from '../database';
import { DomainError } from '../errors';
import { Clock } from '../scheduling';
import { GUEST_TIER, TiersService } from '../tiers';

/** A new guest, with the token of the session. */
export interface GuestLogin {
  readonly token: string;
  readonly user: UserEntity;
}

/** Key of a PostgreSQL advisory lock; no other code uses this number. */
const GUEST_LOCK = 4_717_303;
/** Key of the corresponding lock within this process. */
const GUESTS = 'guests';

/** Logs guests in without an account, for a session of the tier `guest`. */
@Injectable()
export class GuestService {
  constructor(
    private readonly database: Database,
    private readonly tiers: TiersService,
    private readonly users: UserService,
    private readonly tokens: TokenService,
    private readonly clock: Clock,
    @Inject(CONFIG) private readonly config: Pick<Config, 'GUEST_LOGIN' | 'GUEST_LIMIT'>,
  ) {}

  /**
   * Creates a guest with this name, and a token without an expiry of its own. After the session, the token can still
   * read, stop and delete, so that the guest learns why other requests are refused. Of several concurrent logins
   * under one name, ignoring case, one succeeds.
   *
   * @throws DomainError `guest_login_disabled`, `guest_limit_reached`, `username_taken`
   */
  async login(username: string): Promise<GuestLogin> {
    if (this.config.GUEST_LOGIN === 'deny' || !this.tiers.has(GUEST_TIER))
      throw new DomainError('guest_login_disabled');
    try {
      return await this.database.runInTxLocking(GUESTS, async () => {
        const now = this.clock.now();
        await this.assertRoom(now);
        await this.vacate(username, now);
        const user = await this.insert(username, now);
        const { text } = await this.tokens.issue({
          userId: user.id,
          name: GUEST_TIER,
          scopes: USUAL_SCOPES,
          expiresAt: null,
        });
        return { token: text, user };
      });
    } catch (error) {
      if (isUniqueViolation(error)) throw new DomainError('username_taken', { cause: error });
      throw error;
    }
  }

  /**
   * Enforces the limit of guests, each of whom may cost the operator a container. Exact: logins are counted one at a
   * time.
   */
  private async assertRoom(now: Date): Promise<void> {
    const limit = this.config.GUEST_LIMIT;
    if (limit === 0) return;
    const { manager, isSqlite } = this.database;
    if (!isSqlite) await this.database.run(sql`SELECT pg_advisory_xact_lock(${GUEST_LOCK})`);
    const current = await manager.countBy(UserEntity, { tier: GUEST_TIER, sessionExpiresAt: MoreThan(now) });
    if (current >= limit) throw new DomainError('guest_limit_reached', { fields: { current, limit } });
  }

  /** Takes the name from a guest whose session is over. No user may choose a name with "~", so the new one is free. */
  private async vacate(username: string, now: Date): Promise<void> {
    const holder = await this.users.byName(username);
    if (!holder) return;
    const { id, username: former } = holder;
    // The write repeats the check: two concurrent logins may both have read the name, and one of them finds it gone.
    const { affected } = await this.database.run(sql`
      UPDATE users SET username = ${`${former}~${id.slice(0, 8)}`}
      WHERE id = ${id} AND username = ${former} AND tier = ${GUEST_TIER} AND session_expires_at <= ${now}`);
    if (affected !== 1) throw new DomainError('username_taken');
  }

  private async insert(username: string, now: Date): Promise<UserEntity> {
    const user: UserEntity = {
      id: randomUUID(),
      username,
      tier: GUEST_TIER,
      eventSeq: 0,
      sessionExpiresAt: this.tiers.sessionEnd(GUEST_TIER, now),
      suspendedAt: null,
      deletedAt: null,
      createdAt: now,
    };
    await this.database.manager.insert(UserEntity, user);
    return user;
  }
}
