import { randomUUID } from 'node:crypto';
import { Injectable } from '@nestjs/common';
import { Database } from '../database';
import { invalidParameters } from '../errors';
import { UserEntity } from './user.entity';

const USERNAME = /^[A-Za-z0-9][A-Za-z0-9._@-]{0,63}$/;

export interface EnsureUser {
  readonly username: string;
  /** A key of the tier table; the caller has checked it. */
  readonly tier: string;
  /** When the session of a user who is made, or moved to this tier, ends; null for tiers without one. */
  readonly sessionExpiresAt: Date | null;
}

export interface EnsuredUser {
  readonly user: UserEntity;
  readonly created: boolean;
  /** The tier that the user had before, where this call changed it. */
  readonly previousTier: string | null;
}

/** The people who own tokens and containers. */
@Injectable()
export class UserService {
  constructor(private readonly database: Database) {}

  /** What is wrong with a name; null if nothing is. */
  static faultOfName(username: string): string | null {
    return USERNAME.test(username)
      ? null
      : 'must be 1 to 64 of letters, digits, ".", "_", "@" and "-", and begin with a letter or digit';
  }

  /**
   * Finds the user by name or makes them, and sees to it that they are on this tier. Of several calls at once, one makes
   * the user and the others find them.
   *
   * @throws DomainError `invalid_parameters` when the name is not one
   */
  async ensure({ username, tier, sessionExpiresAt }: EnsureUser): Promise<EnsuredUser> {
    const fault = UserService.faultOfName(username);
    if (fault !== null) throw invalidParameters([{ field: 'username', message: fault }]);
    const id = randomUUID();
    await this.database.manager
      .createQueryBuilder()
      .insert()
      .into(UserEntity)
      .values({ id, username, tier, eventSeq: 0, sessionExpiresAt, createdAt: new Date() })
      .orIgnore()
      .updateEntity(false)
      .execute();
    const user = await this.database.manager.findOneByOrFail(UserEntity, { username });
    if (user.id === id || user.tier === tier) return { user, created: user.id === id, previousTier: null };
    await this.database.manager.update(UserEntity, { id: user.id }, { tier, sessionExpiresAt });
    return { user: { ...user, tier, sessionExpiresAt }, created: false, previousTier: user.tier };
  }
}
