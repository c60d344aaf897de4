import { Inject, Injectable } from '@nestjs/common';
import { UserEntity } from '../../auth';
import { type Config, CONFIG } from '../../config';
import { Database, type Lookup, readTime } from '../../database';
import { Clock } from '../../scheduling';
import { DEFAULT_POOL, DEFAULT_PROCESSES, type Tier, TiersService } from '../../tiers';
import type { ContainerRow, DeletionReason, StopEnding, StopReason } from '../container.entity';

/** What limits a user's containers, in the order of the columns. */
type PolicyUser = Pick<UserEntity, 'tier' | 'sessionExpiresAt' | 'suspendedAt' | 'deletedAt'>;
const COLUMNS = ['u.tier', 'u.session_expires_at', 'u.suspended_at', 'u.deleted_at'];

/** The limits of a user's runs. Read on every write, never cached: tiers change while containers run. */
@Injectable()
export class RunPolicies {
  private readonly user: Lookup;

  constructor(
    private readonly database: Database,
    private readonly tiers: TiersService,
    private readonly clock: Clock,
    @Inject(CONFIG)
    private readonly config: Pick<Config, 'DELETION_WARNING' | 'EXPIRY_WARNING' | 'GUEST_CONTAINER_RETENTION'>,
  ) {
    this.user = database.lookup({ columns: COLUMNS, from: 'users u', key: 'u.id' });
  }

  /** The current limits of this user's containers. @throws the database's error */
  async policyOf(userId: string): Promise<RunPolicy> {
    const user = await this.userOf(userId);
    // A tier that is no longer in the table sets no limit: that must not prevent stopping a container.
    const tier = this.tiers.has(user.tier) ? this.tiers.limitsOf(user.tier) : null;
    return {
      now: this.clock.now(),
      userDeleted: user.deletedAt !== null,
      suspended: user.suspendedAt !== null,
      sessionEnd: user.sessionExpiresAt,
      runMs: tier && runMsOf(tier),
      idleMs: inMs(tier?.autoStopSeconds),
      deleteMs: inMs(tier?.autoDeleteSeconds),
      guestDeleteMs: this.config.GUEST_CONTAINER_RETENTION,
      stopWarningMs: this.config.EXPIRY_WARNING,
      deletionWarningMs: this.config.DELETION_WARNING,
    };
  }

  /** How many processes each of this user's containers gets when it is created. @throws the database's error */
  async processesOf(userId: string): Promise<number> {
    const { tier } = await this.userOf(userId);
    return this.tiers.has(tier) ? this.tiers.limitsOf(tier).processes : DEFAULT_PROCESSES;
  }

  /** Of several machines, those that this user's containers are placed on. @throws the database's error */
  async poolOf(userId: string): Promise<string> {
    const { tier } = await this.userOf(userId);
    return this.tiers.has(tier) ? this.tiers.limitsOf(tier).pool : DEFAULT_POOL;
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
   * How often a use of this container is recorded, in milliseconds: once a minute, or a third of the shortest idle
   * limit if that is less.
   */
  useNotedEveryMs({ autoStopSeconds }: Pick<ContainerRow, 'autoStopSeconds'>): number {
    const idleSeconds = [autoStopSeconds, ...this.tiers.all().map((tier) => tier.autoStopSeconds)];
    return Math.min(
      60_000,
      ...idleSeconds.filter((seconds) => seconds !== null).map((seconds) => (seconds * 1000) / 3),
    );
  }

  /** The tiers that limit each run. */
  boundTiers(): string[] {
    return this.tiers
      .all()
      .filter((tier) => runMsOf(tier) !== null)
      .map(({ name }) => name);
  }

  private async userOf(userId: string): Promise<PolicyUser> {
    const found = (await this.user(userId)) as readonly [tier: string, ...times: unknown[]] | null;
    if (!found) throw new Error(`there is no user ${userId}`);
    const [tier, sessionExpiresAt, suspendedAt, deletedAt] = found;
    return {
      tier,
      sessionExpiresAt: readTime(sessionExpiresAt),
      suspendedAt: readTime(suspendedAt),
      deletedAt: readTime(deletedAt),
    };
  }
}

function runMsOf({ sessionSeconds, sessionOnce }: Tier): number | null {
  return sessionSeconds === null || sessionOnce ? null : sessionSeconds * 1000;
}

function inMs(seconds: number | null | undefined): number | null {
  return seconds == null ? null : seconds * 1000;
}

/** The limits of one user's runs, as of `now`. */
export interface RunPolicy {
  readonly now: Date;
  /** An administrator deleted the user; also suspended then. */
  readonly userDeleted: boolean;
  readonly suspended: boolean;
  /** When the user's session ends, and every run with it; null: no session. */
  readonly sessionEnd: Date | null;
  /** The maximum duration of one run, in milliseconds; null: unlimited. */
  readonly runMs: number | null;
  /** After how long without use a container is stopped, in milliseconds, if it does not ask for less; null: never. */
  readonly idleMs: number | null;
  /** The same of the deletion of a container that stays stopped. */
  readonly deleteMs: number | null;
  /** How long after their session the stopped containers of a guest are deleted; null: never. */
  readonly guestDeleteMs: number | null;
  /** How long before a stop its warning is emitted, in milliseconds; 0: never. */
  readonly stopWarningMs: number;
  /** The same of a deletion. */
  readonly deletionWarningMs: number;
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

/** An end that is near, to be told to the user. */
export interface Warning {
  readonly action: 'stop' | 'delete';
  readonly reason: StopReason | DeletionReason;
  readonly expiresAt: Date;
  readonly secondsLeft: number;
}

/** The action that the user's policy requires for a container. */
export type ExpiryAction =
  | { readonly do: 'stop'; readonly ending: StopEnding }
  | { readonly do: 'delete'; readonly reason: DeletionReason }
  /** The tier has changed: the row lacks an end that it should have, or has one that it should not. */
  | { readonly do: 'correct'; readonly run: Run }
  | ({ readonly do: 'warn' } & Warning);

type ExpiringRow = Pick<
  ContainerRow,
  | 'status'
  | 'lastUsedAt'
  | 'autoStopSeconds'
  | 'idleWarnedAt'
  | 'autoDeleteSeconds'
  | 'stoppedAt'
  | 'deletionWarnedAt'
  | keyof Run
>;

/**
 * Decides by the current policy, not by that of the run's start.
 *
 * @returns null if there is nothing to do
 */
export function planExpiry(row: ExpiringRow, policy: RunPolicy): ExpiryAction | null {
  if (row.status === 'creating') return null;
  if (policy.userDeleted) return { do: 'delete', reason: 'user_deleted' };
  if (row.status === 'running') return policy.suspended ? { do: 'stop', ending: 'suspend' } : planStop(row, policy);
  // A suspended user would see no warning and could not use what is theirs.
  return policy.suspended ? null : planDeletion(row, policy);
}

function planStop(row: ExpiringRow, policy: RunPolicy): ExpiryAction | null {
  const now = policy.now.getTime();
  // A limit that newly applies to an unlimited run allows its whole duration from now: it could not be known before.
  const since = row.expiresAt === null || row.runSince === null ? policy.now : row.runSince;
  const expiresAt = runEnd(policy, since);
  if (expiresAt?.getTime() !== row.expiresAt?.getTime()) {
    return { do: 'correct', run: { runSince: since, expiresAt, expiryWarnedAt: null } };
  }
  if (expiresAt !== null && expiresAt.getTime() <= now) return { do: 'stop', ending: 'expire' };
  const idleMs = shorter(row.autoStopSeconds, policy.idleMs);
  const idleAt = idleMs === null ? Infinity : row.lastUsedAt.getTime() + idleMs;
  if (idleAt <= now) return { do: 'stop', ending: 'idle' };
  const isNear = expiresAt !== null && now >= expiresAt.getTime() - policy.stopWarningMs;
  if (isNear && row.expiryWarnedAt === null && policy.stopWarningMs > 0) {
    return warning({ action: 'stop', reason: 'session_expired', at: expiresAt }, policy);
  }
  const idleWarningAt = idleAt - warningPeriod(policy.stopWarningMs, idleMs ?? 0);
  if (now < idleWarningAt || (row.idleWarnedAt?.getTime() ?? 0) >= idleWarningAt) return null;
  return warning({ action: 'stop', reason: 'idle', at: new Date(idleAt) }, policy);
}

/**
 * A deletion waits for its warning, and that for its whole period: a limit may be new, or Berth may not have run when
 * the warning was due.
 */
function planDeletion(row: ExpiringRow, policy: RunPolicy): ExpiryAction | null {
  // Written by a version that did not note it.
  if (row.stoppedAt === null) return null;
  const now = policy.now.getTime();
  const ends: { reason: DeletionReason; at: number; afterMs: number }[] = [];
  const deleteMs = shorter(row.autoDeleteSeconds, policy.deleteMs);
  if (deleteMs !== null) {
    const unusedSince = Math.max(row.stoppedAt.getTime(), row.lastUsedAt.getTime());
    ends.push({ reason: 'auto_delete', at: unusedSince + deleteMs, afterMs: deleteMs });
  }
  if (policy.sessionEnd !== null && policy.guestDeleteMs !== null) {
    const at = policy.sessionEnd.getTime() + policy.guestDeleteMs;
    ends.push({ reason: 'session_expired', at, afterMs: policy.guestDeleteMs });
  }
  const [end] = ends.sort((one, other) => one.at - other.at);
  if (!end) return null;
  const warningMs = warningPeriod(policy.deletionWarningMs, end.afterMs);
  const warnedAt = row.deletionWarnedAt?.getTime() ?? 0;
  if (warningMs > 0 && warnedAt < end.at - warningMs) {
    if (now < end.at - warningMs) return null;
    return warning({ action: 'delete', reason: end.reason, at: new Date(Math.max(end.at, now + warningMs)) }, policy);
  }
  return now >= Math.max(end.at, warnedAt + warningMs) ? { do: 'delete', reason: end.reason } : null;
}

function warning({ at, ...end }: Pick<Warning, 'action' | 'reason'> & { at: Date }, { now }: RunPolicy): ExpiryAction {
  return { do: 'warn', ...end, expiresAt: at, secondsLeft: Math.ceil((at.getTime() - now.getTime()) / 1000) };
}

/** At most half of the time that is limited: a use must not be followed by a warning at once. */
function warningPeriod(warningMs: number, afterMs: number): number {
  return Math.min(warningMs, afterMs / 2);
}

/** A container's own time within its tier's. */
function shorter(ownSeconds: number | null, tierMs: number | null): number | null {
  if (ownSeconds === null) return tierMs;
  return Math.min(ownSeconds * 1000, tierMs ?? Infinity);
}
