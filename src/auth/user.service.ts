import { randomUUID } from 'node:crypto';
import { Injectable } from '@nestjs/common';
import { Database } from '../database';
import { invalidParameters } from '../errors';
import { TiersService } from '../tiers';
import { userFaults } from './user-faults';
import type { NamedUser } from './user-faults';
import { UserEntity } from './user.entity';

export interface EnsuredUser {
  readonly user: UserEntity;
  readonly created: boolean;
  /** The tier that the user had before, where this call changed it. */
  readonly previousTier: string | null;
}

/** The people who own tokens and containers. */
@Injectable()
export class UserService {
  constructor(
    private readonly database: Database,
    private readonly tiers: TiersService,
  ) {}

  /**
   * Finds the user by name or makes them, and sees to it that they are on this tier. A session of the user's own begins
   * when they come to the tier. Of several calls at once, one makes the user and the others find them.
   *
   * @throws DomainError `invalid_parameters`
   */
  async ensure({ username, tier }: NamedUser): Promise<EnsuredUser> {
    const faults = userFaults({ username, tier }, this.tiers);
    if (faults.length > 0) throw invalidParameters(faults);
    const id = randomUUID();
    const sessionExpiresAt = this.tiers.sessionEnd(tier);
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
    const previousTier = user.tier;
    return { user: Object.assign(user, { tier, sessionExpiresAt }), created: false, previousTier };
  }
}
