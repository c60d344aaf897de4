import { Inject, Injectable } from '@nestjs/common';
import { UserEntity } from '../../auth';
import { Clock } from '../../clock';
import { type Config, CONFIG } from '../../config';
import { Database } from '../../database';
import { TiersService } from '../../tiers';
import type { RunTerms } from './run-end';

/** Knows what bounds a user's runs. Asked where a row is settled, and not kept: users change tier while containers run. */
@Injectable()
export class RunLimits {
  constructor(
    private readonly database: Database,
    private readonly tiers: TiersService,
    private readonly clock: Clock,
    @Inject(CONFIG) private readonly config: Pick<Config, 'IDLE_STOP_AFTER'>,
  ) {}

  /** What holds for this user's containers now. @throws what the database throws */
  async termsOf(userId: string): Promise<RunTerms> {
    const user = await this.database.manager
      .createQueryBuilder(UserEntity, 'u')
      .select(['u.id', 'u.tier', 'u.sessionExpiresAt'])
      .where('u.id = :userId', { userId })
      .getOneOrFail();
    return {
      now: this.clock.now(),
      sessionEnd: user.sessionExpiresAt,
      runMs: this.runMsOf(user.tier),
      idleMs: this.config.IDLE_STOP_AFTER.get(user.tier) ?? null,
    };
  }

  /** By user, of those who have a session: when it ends. For a page of containers at most. */
  async sessionEndsOf(userIds: readonly string[]): Promise<ReadonlyMap<string, Date>> {
    const ends = new Map<string, Date>();
    if (userIds.length === 0) return ends;
    const users = await this.database.manager
      .createQueryBuilder(UserEntity, 'u')
      .select(['u.id', 'u.sessionExpiresAt'])
      .where('u.id IN (:...ids) AND u.sessionExpiresAt IS NOT NULL', { ids: [...new Set(userIds)] })
      .getMany();
    for (const { id, sessionExpiresAt } of users) if (sessionExpiresAt) ends.set(id, sessionExpiresAt);
    return ends;
  }

  /**
   * How often a use is written down, in milliseconds: once a minute, and where a container counts as idle after a few minutes,
   * often enough for that.
   */
  get useNotedEveryMs(): number {
    return Math.min(60_000, ...[...this.config.IDLE_STOP_AFTER.values()].map((idleMs) => idleMs / 3));
  }

  /** The tiers that bound each run. */
  boundTiers(): string[] {
    return this.tiers
      .all()
      .map(({ name }) => name)
      .filter((name) => this.runMsOf(name) !== null);
  }

  /** A tier that is no longer in the table bounds nothing: that must not keep a container from being stopped. */
  private runMsOf(tier: string): number | null {
    if (!this.tiers.has(tier)) return null;
    const { sessionSeconds, sessionOnce } = this.tiers.limitsOf(tier);
    return sessionSeconds === null || sessionOnce ? null : sessionSeconds * 1000;
  }
}
