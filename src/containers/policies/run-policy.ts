import { Inject, Injectable } from '@nestjs/common';
import { UserEntity } from '../../auth';
import { type Config, CONFIG } from '../../config';
import { Database, type Lookup, readTime } from '../../database';
import { Clock } from '../../scheduling';
import { DEFAULT_POOL, DEFAULT_PROCESSES, type IdleAction, keepsMore, type Tier, TiersService } from '../../tiers';
import {
  type ContainerRow,
  type DeletionReason,
  type EndAction,
  isUp,
  type PauseReason,
  type StopEnding,
  type StopReason,
} from '../model/container.entity';

/** The user's properties that limit their containers, in the order of `COLUMNS`. */
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
    // A tier that is no longer in the table sets no limit. Throwing here would prevent stopping the user's containers.
    const tier = this.tiers.has(user.tier) ? this.tiers.limitsOf(user.tier) : null;
    return {
      now: this.clock.now(),
      userDeleted: user.deletedAt !== null,
      suspended: user.suspendedAt !== null,
      sessionEnd: user.sessionExpiresAt,
      runMs: tier && runMsOf(tier),
      idleMs: inMs(tier?.autoStopSeconds),
      idleAction: tier?.idleAction ?? 'stop',
      deleteMs: inMs(tier?.autoDeleteSeconds),
      guestDeleteMs: this.config.GUEST_CONTAINER_RETENTION,
      stopWarningMs: this.config.EXPIRY_WARNING,
      deletionWarningMs: this.config.DELETION_WARNING,
    };
  }

  /** The process limit that this user's containers get when they are created. @throws the database's error */
  async processesOf(userId: string): Promise<number> {
    const { tier } = await this.userOf(userId);
    return this.tiers.has(tier) ? this.tiers.limitsOf(tier).processes : DEFAULT_PROCESSES;
  }

  /** On a cluster, the pool of nodes that this user's containers are placed on. @throws the database's error */
  async poolOf(userId: string): Promise<string> {
    const { tier } = await this.userOf(userId);
    return this.tiers.has(tier) ? this.tiers.limitsOf(tier).pool : DEFAULT_POOL;
  }

  /** When these users' sessions end, by user id; a user without a session is absent. Takes at most a page's users. */
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
   * The minimum interval between two recorded uses of this container, in milliseconds: one minute, or a third of the
   * shortest idle limit if that is less.
   */
  useNotedEveryMs({ autoStopSeconds }: Pick<ContainerRow, 'autoStopSeconds'>): number {
    const idleSeconds = [autoStopSeconds, ...this.tiers.all().map((tier) => tier.autoStopSeconds)];
    return Math.min(
      60_000,
      ...idleSeconds.filter((seconds) => seconds !== null).map((seconds) => (seconds * 1000) / 3),
    );
  }

  /** The names of the tiers that limit the duration of each run. */
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
  /** An administrator deleted the user. A deleted user is suspended too. */
  readonly userDeleted: boolean;
  readonly suspended: boolean;
  /** When the user's session, and every run with it, ends; null: no session. */
  readonly sessionEnd: Date | null;
  /** The maximum duration of one run, in milliseconds; null: unlimited. */
  readonly runMs: number | null;
  /**
   * After how much idle time a container is stopped or paused, in milliseconds, if its own limit is not less; null:
   * never.
   */
  readonly idleMs: number | null;
  /** What happens to an idle container that has no action of its own; with `idleMs` also the most it may keep. */
  readonly idleAction: IdleAction;
  /**
   * How long an unused container stays stopped before it is deleted, in milliseconds, if its own limit is not less;
   * null: for ever.
   */
  readonly deleteMs: number | null;
  /** How long after the end of a guest's session the stopped containers are deleted, in milliseconds; null: never. */
  readonly guestDeleteMs: number | null;
  /** How long before a stop its warning is emitted, in milliseconds; 0: no warning. */
  readonly stopWarningMs: number;
  /** How long before a deletion its warning is emitted, in milliseconds; 0: no warning. */
  readonly deletionWarningMs: number;
}

/** A row's columns about its current run. */
export type Run = Pick<ContainerRow, 'runSince' | 'expiresAt' | 'expiryWarnedAt' | 'endsAt'>;

/** The columns of a container that does not run. */
export const NO_RUN: Run = { runSince: null, expiresAt: null, expiryWarnedAt: null, endsAt: null };

/** When a run that counts from `since` must end; null: never. The end of a session ends even a run that just began. */
export function runEnd({ sessionEnd, runMs }: Pick<RunPolicy, 'sessionEnd' | 'runMs'>, since: Date): Date | null {
  if (sessionEnd !== null) return sessionEnd;
  return runMs === null ? null : new Date(since.getTime() + runMs);
}

/** When a lifetime that begins at `since` is over; null: never. */
export function lifetimeEnd({ lifetimeSeconds }: Pick<ContainerRow, 'lifetimeSeconds'>, since: Date): Date | null {
  return lifetimeSeconds === null ? null : new Date(since.getTime() + lifetimeSeconds * 1000);
}

/** A run that starts now. */
export function newRun(row: Pick<ContainerRow, 'lifetimeSeconds'>, policy: RunPolicy): Run {
  const { now } = policy;
  return { runSince: now, expiresAt: runEnd(policy, now), expiryWarnedAt: null, endsAt: lifetimeEnd(row, now) };
}

/**
 * The run of a recreated container. If the container was missing, the previous run continues unless its time is over.
 * Otherwise a broken host could extend a run for ever, and clients would see its end move for no reason. A lifetime
 * that does not count, as that of a paused container, begins now.
 */
export function resumedRun(
  row: Pick<ContainerRow, 'status' | 'statusReason' | 'lifetimeSeconds' | keyof Run>,
  policy: RunPolicy,
): Run {
  const { runSince, expiresAt, expiryWarnedAt, endsAt } = row;
  const vanished = isUp(row.status) || (row.status === 'stopped' && row.statusReason === 'missing');
  const over = [expiresAt, endsAt].some((end) => end !== null && end <= policy.now);
  return vanished && runSince !== null && !over
    ? { runSince, expiresAt, expiryWarnedAt, endsAt: endsAt ?? lifetimeEnd(row, policy.now) }
    : newRun(row, policy);
}

/** A stop, pause or deletion that is near, and of which the user has to be warned. */
export interface Warning {
  readonly action: 'stop' | 'pause' | 'delete';
  readonly reason: StopReason | DeletionReason;
  readonly expiresAt: Date;
  readonly secondsLeft: number;
}

/** The action that the user's policy requires for a container. */
type ExpiryAction =
  | { readonly do: 'stop'; readonly ending: StopEnding }
  | { readonly do: 'pause'; readonly reason: PauseReason }
  | { readonly do: 'delete'; readonly reason: DeletionReason }
  /** The row's end does not match the policy, such as after a change of tier: it is missing, superfluous or wrong. */
  | { readonly do: 'correct'; readonly run: Run }
  | ({ readonly do: 'warn' } & Warning);

type ExpiringRow = Pick<
  ContainerRow,
  | 'status'
  | 'lastUsedAt'
  | 'endAction'
  | 'autoStopSeconds'
  | 'idleAction'
  | 'idleWarnedAt'
  | 'pausedAt'
  | 'autoDeleteSeconds'
  | 'stoppedAt'
  | 'deletionWarnedAt'
  | keyof Run
>;

/**
 * Decides by the current policy, not by the policy at the start of the run.
 *
 * @returns null if there is nothing to do
 */
export function planExpiry(row: ExpiringRow, policy: RunPolicy): ExpiryAction | null {
  if (row.status === 'creating') return null;
  if (policy.userDeleted) return { do: 'delete', reason: 'user_deleted' };
  if (isUp(row.status)) return policy.suspended ? { do: 'stop', ending: 'suspend' } : planStop(row, policy);
  // A suspended user would see no warning, and could not save the data.
  return policy.suspended ? null : planDeletion(row, policy);
}

function planStop(row: ExpiringRow, policy: RunPolicy): ExpiryAction | null {
  const now = policy.now.getTime();
  // If a limit newly applies to an unlimited run, its whole duration counts from now: it could not be known before.
  const since = row.expiresAt === null || row.runSince === null ? policy.now : row.runSince;
  const expiresAt = runEnd(policy, since);
  if (expiresAt?.getTime() !== row.expiresAt?.getTime()) {
    return { do: 'correct', run: { runSince: since, expiresAt, expiryWarnedAt: null, endsAt: row.endsAt } };
  }
  if (expiresAt !== null && expiresAt.getTime() <= now) return { do: 'stop', ending: 'expire' };
  if (row.endsAt !== null && row.endsAt.getTime() <= now) return AT_LIFETIME_END[row.endAction];
  const idle = idleEnd(row, policy);
  if (idle !== null && idle.at <= now)
    return idle.action === 'pause' ? { do: 'pause', reason: 'idle' } : { do: 'stop', ending: 'idle' };
  const isNear = expiresAt !== null && now >= expiresAt.getTime() - policy.stopWarningMs;
  if (isNear && row.expiryWarnedAt === null && policy.stopWarningMs > 0) {
    return warning({ action: 'stop', reason: 'session_expired', at: expiresAt }, policy);
  }
  if (idle === null) return null;
  const idleWarningAt = idle.at - warningPeriod(policy.stopWarningMs, idle.afterMs);
  if (now < idleWarningAt || (row.idleWarnedAt?.getTime() ?? 0) >= idleWarningAt) return null;
  return warning({ action: idle.action, reason: 'idle', at: new Date(idle.at) }, policy);
}

const AT_LIFETIME_END: Readonly<Record<EndAction, ExpiryAction>> = {
  stop: { do: 'stop', ending: 'lifetime' },
  pause: { do: 'pause', reason: 'lifetime_over' },
  delete: { do: 'delete', reason: 'lifetime_over' },
};

/**
 * When a container is stopped or paused as idle: a running one after its idle time without use; a paused one, only with
 * `pause_then_stop`, after the same time since its pause or a later use. null: never.
 */
function idleEnd(
  row: ExpiringRow,
  policy: RunPolicy,
): { readonly action: 'stop' | 'pause'; readonly at: number; readonly afterMs: number } | null {
  const afterMs = shorter(row.autoStopSeconds, policy.idleMs);
  if (afterMs === null) return null;
  const action = idleActionOf(row.idleAction, policy);
  const usedAt = row.lastUsedAt.getTime();
  if (row.status === 'running') {
    return { action: action === 'stop' ? 'stop' : 'pause', at: usedAt + afterMs, afterMs };
  }
  if (action !== 'pause_then_stop') return null;
  return { action: 'stop', at: Math.max(row.pausedAt?.getTime() ?? 0, usedAt) + afterMs, afterMs };
}

/**
 * The container's own action. Where the tier limits the idle time, an action that keeps more than the tier's does not
 * count.
 */
export function idleActionOf(
  own: IdleAction | null,
  { idleMs, idleAction }: Pick<RunPolicy, 'idleMs' | 'idleAction'>,
): IdleAction {
  if (own === null || (idleMs !== null && keepsMore(own, idleAction))) return idleAction;
  return own;
}

/**
 * Unless warnings are off, a deletion follows its warning by the whole warning period, even if the deletion is overdue:
 * the limit may be new, or Berth may not have run when the warning was due.
 */
function planDeletion(row: ExpiringRow, policy: RunPolicy): ExpiryAction | null {
  // A version of Berth that did not record this time wrote the row.
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

/** The warning period, at most half of the limit: no warning may follow immediately after a use. */
function warningPeriod(warningMs: number, afterMs: number): number {
  return Math.min(warningMs, afterMs / 2);
}

/** The smaller of the container's own limit and its tier's, in milliseconds; null if neither is set. */
function shorter(ownSeconds: number | null, tierMs: number | null): number | null {
  if (ownSeconds === null) return tierMs;
  return Math.min(ownSeconds * 1000, tierMs ?? Infinity);
}
