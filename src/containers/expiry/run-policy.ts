import { Inject, Injectable } from '@nestjs/common';
import { UserEntity } from '../../auth';
import { type Config, CONFIG } from '../../config';
import { Database } from '../../database';
import { Clock } from '../../scheduling';
import { TiersService } from '../../tiers';
import type { ContainerRow, Ending } from '../container.entity';

/** Knows what bounds a user's runs. Asked where a row is settled, and not kept: users change tier while containers run. */
@Injectable()
export class RunPolicies {
  constructor(
    private readonly database: Database,
    private readonly tiers: TiersService,
    private readonly clock: Clock,
    @Inject(CONFIG) private readonly config: Pick<Config, 'IDLE_STOP_AFTER'>,
  ) {}

  /** What holds for this user's containers now. @throws what the database throws */
  async policyOf(userId: string): Promise<RunPolicy> {
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

/** What bounds the runs of one user's containers, as of `now`. */
export interface RunPolicy {
  readonly now: Date;
  /** When the user's session ends, and with it whatever runs; null: they have none. */
  readonly sessionEnd: Date | null;
  /** How long one run may last, in milliseconds; null: as long as it likes. */
  readonly runMs: number | null;
  /** After how long without use a container is stopped, in milliseconds; null: never. */
  readonly idleMs: number | null;
}

/** What a row keeps of its run. */
export type Run = Pick<ContainerRow, 'runSince' | 'expiresAt' | 'expiryWarnedAt'>;

/** Nothing runs. */
export const NO_RUN: Run = { runSince: null, expiresAt: null, expiryWarnedAt: null };

/** When a run that counts since then must end; null: never. A session ends all runs at once, however young. */
export function runEnd({ sessionEnd, runMs }: Pick<RunPolicy, 'sessionEnd' | 'runMs'>, since: Date): Date | null {
  if (sessionEnd !== null) return sessionEnd;
  return runMs === null ? null : new Date(since.getTime() + runMs);
}

/** A run that begins now. */
export function newRun(policy: RunPolicy): Run {
  return { runSince: policy.now, expiresAt: runEnd(policy, policy.now), expiryWarnedAt: null };
}

/**
 * The run of a container that was made anew because it had vanished: the one that it vanished from, if that is not over yet.
 * Otherwise somebody could make a run last for ever with a broken host, and a client would see the end move for no reason.
 */
export function resumedRun(row: Pick<ContainerRow, 'status' | 'statusReason' | keyof Run>, policy: RunPolicy): Run {
  const { runSince, expiresAt, expiryWarnedAt } = row;
  const vanished = row.status === 'running' || (row.status === 'stopped' && row.statusReason === 'missing');
  const over = expiresAt !== null && expiresAt <= policy.now;
  return vanished && runSince !== null && !over ? { runSince, expiresAt, expiryWarnedAt } : newRun(policy);
}

/** What the policy of its user ask of a container that runs. */
export type ExpiryAction =
  | { readonly do: 'stop'; readonly ending: Ending }
  /** The tier is another one by now: the row has no end that it should have, or one that it should not have. */
  | { readonly do: 'correct'; readonly run: Run }
  | { readonly do: 'warn'; readonly expiresAt: Date; readonly secondsLeft: number };

/**
 * Decides by what holds now, whatever held when the run began.
 *
 * @param options.warningMs how long before its end a run is told of it; 0: never
 * @returns null where there is nothing to do
 */
export function planExpiry(
  row: Pick<ContainerRow, 'status' | 'lastUsedAt' | keyof Run>,
  policy: RunPolicy,
  { warningMs }: { warningMs: number },
): ExpiryAction | null {
  if (row.status !== 'running') return null;
  const now = policy.now.getTime();
  // A limit that comes to a run without one leaves it its whole time: nobody could have known of it.
  const since = row.expiresAt === null || row.runSince === null ? policy.now : row.runSince;
  const expiresAt = runEnd(policy, since);
  if (expiresAt?.getTime() !== row.expiresAt?.getTime()) {
    return { do: 'correct', run: { runSince: since, expiresAt, expiryWarnedAt: null } };
  }
  if (expiresAt !== null && expiresAt.getTime() <= now) return { do: 'stop', ending: 'expire' };
  if (policy.idleMs !== null && row.lastUsedAt.getTime() + policy.idleMs <= now) return { do: 'stop', ending: 'idle' };
  if (expiresAt === null || row.expiryWarnedAt !== null || warningMs === 0) return null;
  const leftMs = expiresAt.getTime() - now;
  return leftMs <= warningMs ? { do: 'warn', expiresAt, secondsLeft: Math.ceil(leftMs / 1000) } : null;
}
