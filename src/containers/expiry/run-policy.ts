import { Inject, Injectable } from '@nestjs/common';
import { UserEntity } from '../../auth';
import { type Config, CONFIG } from '../../config';
import { Database, type Lookup, readTime } from '../../database';
import { Clock } from '../../scheduling';
import { DEFAULT_PROCESSES, TiersService } from '../../tiers';
import type { ContainerRow, Ending } from '../container.entity';

/** The limits of a user's runs. Read on every write, never cached: tiers change while containers run. */
@Injectable()
export class RunPolicies {
  private readonly user: Lookup;

  constructor(
    private readonly database: Database,
    private readonly tiers: TiersService,
    private readonly clock: Clock,
    @Inject(CONFIG) private readonly config: Pick<Config, 'IDLE_STOP_AFTER'>,
  ) {
    this.user = database.lookup({ columns: ['u.tier', 'u.session_expires_at'], from: 'users u', key: 'u.id' });
  }

  /** The current limits of this user's containers. @throws the database's error */
  async policyOf(userId: string): Promise<RunPolicy> {
    const user = await this.userOf(userId);
    return {
      now: this.clock.now(),
      sessionEnd: user.sessionExpiresAt,
      runMs: this.runMsOf(user.tier),
      idleMs: this.config.IDLE_STOP_AFTER.get(user.tier) ?? null,
    };
  }

  /** How many processes each of this user's containers gets when it is created. @throws the database's error */
  async processesOf(userId: string): Promise<number> {
    const { tier } = await this.userOf(userId);
    return this.tiers.has(tier) ? this.tiers.limitsOf(tier).processes : DEFAULT_PROCESSES;
  }

  /** The ends of the users' sessions, of those who have one. For at most a page of containers. */
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
   * How often a use is recorded, in milliseconds: once a minute, or a third of the shortest idle limit if that is less.
   */
  get useNotedEveryMs(): number {
    return Math.min(60_000, ...Array.from(this.config.IDLE_STOP_AFTER.values(), (idleMs) => idleMs / 3));
  }

  /** The tiers that limit each run. */
  boundTiers(): string[] {
    return this.tiers
      .all()
      .map(({ name }) => name)
      .filter((name) => this.runMsOf(name) !== null);
  }

  private async userOf(userId: string): Promise<Pick<UserEntity, 'tier' | 'sessionExpiresAt'>> {
    // In the order of the lookup's columns.
    const found = (await this.user(userId)) as readonly [tier: string, sessionExpiresAt: unknown] | null;
    if (!found) throw new Error(`there is no user ${userId}`);
    const [tier, sessionExpiresAt] = found;
    return { tier, sessionExpiresAt: readTime(sessionExpiresAt) };
  }

  /** A tier that is no longer in the table sets no limit: that must not prevent stopping a container. */
  private runMsOf(tier: string): number | null {
    if (!this.tiers.has(tier)) return null;
    const { sessionSeconds, sessionOnce } = this.tiers.limitsOf(tier);
    return sessionSeconds === null || sessionOnce ? null : sessionSeconds * 1000;
  }
}

/** The limits of one user's runs, as of `now`. */
export interface RunPolicy {
  readonly now: Date;
  /** When the user's session ends, and every run with it; null: no session. */
  readonly sessionEnd: Date | null;
  /** The maximum duration of one run, in milliseconds; null: unlimited. */
  readonly runMs: number | null;
  /** After how long without use a container is stopped, in milliseconds; null: never. */
  readonly idleMs: number | null;
}

/** A row's columns about its run. */
export type Run = Pick<ContainerRow, 'runSince' | 'expiresAt' | 'expiryWarnedAt'>;

/** Nothing runs. */
export const NO_RUN: Run = { runSince: null, expiresAt: null, expiryWarnedAt: null };

/** When a run that counts from `since` must end; null: never. A session's end ends all runs, however recent. */
export function runEnd({ sessionEnd, runMs }: Pick<RunPolicy, 'sessionEnd' | 'runMs'>, since: Date): Date | null {
  if (sessionEnd !== null) return sessionEnd;
  return runMs === null ? null : new Date(since.getTime() + runMs);
}

/** A run that starts now. */
export function newRun(policy: RunPolicy): Run {
  return { runSince: policy.now, expiresAt: runEnd(policy, policy.now), expiryWarnedAt: null };
}

/**
 * The run of a container that was recreated because it was missing: the previous one, if that is not over yet.
 * Otherwise a broken host could extend a run for ever, and clients would see its end move for no reason.
 */
export function resumedRun(row: Pick<ContainerRow, 'status' | 'statusReason' | keyof Run>, policy: RunPolicy): Run {
  const { runSince, expiresAt, expiryWarnedAt } = row;
  const vanished = row.status === 'running' || (row.status === 'stopped' && row.statusReason === 'missing');
  const over = expiresAt !== null && expiresAt <= policy.now;
  return vanished && runSince !== null && !over ? { runSince, expiresAt, expiryWarnedAt } : newRun(policy);
}

/** The action that the user's policy requires for a running container. */
export type ExpiryAction =
  | { readonly do: 'stop'; readonly ending: Ending }
  /** The tier has changed: the row lacks an end that it should have, or has one that it should not. */
  | { readonly do: 'correct'; readonly run: Run }
  | { readonly do: 'warn'; readonly expiresAt: Date; readonly secondsLeft: number };

/**
 * Decides by the current policy, not by that of the run's start.
 *
 * @param options.warningMs how long before its end a warning is emitted; 0: never
 * @returns null if there is nothing to do
 */
export function planExpiry(
  row: Pick<ContainerRow, 'status' | 'lastUsedAt' | keyof Run>,
  policy: RunPolicy,
  { warningMs }: { warningMs: number },
): ExpiryAction | null {
  if (row.status !== 'running') return null;
  const now = policy.now.getTime();
  // A limit that newly applies to an unlimited run allows its whole duration from now: it could not be known before.
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
