import { Inject, Injectable } from '@nestjs/common';
import { Brackets, type SelectQueryBuilder } from 'typeorm';
import { UserEntity } from '../../auth';
import { type Config, CONFIG } from '../../config';
import { Database, readTime } from '../../database';
import { Clock } from '../../scheduling';
import { IDLE_ACTIONS, type Tier, TiersService } from '../../tiers';
import { ContainerUsage } from '../access/container-usage';
import { ContainerEntity, UP_STATUSES, type UpStatus } from '../model/container.entity';
import { TERM_OVER } from '../leases/lease-term';
import { idleActionOf, RunPolicies, type RunPolicy } from '../policies/run-policy';

/**
 * Finds containers whose limits may require an action, and reads next to nothing of all other containers. `planExpiry`
 * then decides on the rows themselves.
 */
@Injectable()
export class ExpiryQueries {
  constructor(
    private readonly database: Database,
    private readonly policies: RunPolicies,
    private readonly usage: ContainerUsage,
    private readonly tiers: TiersService,
    private readonly clock: Clock,
    @Inject(CONFIG)
    private readonly config: Pick<Config, 'DELETION_WARNING' | 'EXPIRY_WARNING' | 'GUEST_CONTAINER_RETENTION'>,
  ) {}

  /**
   * Database ids, those of expiring runs first. Excludes containers that an operation leases, and does not count those
   * as idle that this process is using.
   */
  async find(): Promise<string[]> {
    await this.usage.noteInProgress();
    const now = this.clock.now();
    const queries = [
      // One query for each status: with both in one, neither database would use its partial index.
      ...UP_STATUSES.flatMap((status) => [
        this.expiringSoon(status, now),
        this.withStaleExpiry(status),
        this.idle(status, now),
      ]),
      this.lifetimesOver(now),
      this.abandoned(now),
      this.ofSuspended(),
    ];
    const found = new Set<string>();
    for (const query of queries) {
      for (const { id } of await query.select('c.id', 'id').getRawMany<{ id: string }>()) found.add(id);
    }
    return [...found];
  }

  /**
   * Containers whose lifetimes ended in the last `sinceMs` or end within `withinMs`, and in how many milliseconds, less
   * than 0 if they ended. One cheap statement.
   */
  async lifetimesEnding({
    sinceMs,
    withinMs,
  }: {
    readonly sinceMs: number;
    readonly withinMs: number;
  }): Promise<{ readonly id: string; readonly inMs: number }[]> {
    const now = this.clock.now().getTime();
    const rows = await this.lifetimesOver(new Date(now + withinMs))
      .andWhere('c.endsAt > :from', { from: this.database.timestamp(new Date(now - sinceMs)) })
      .select('c.id', 'id')
      .addSelect('c.endsAt', 'endsAt')
      .getRawMany<{ id: string; endsAt: unknown }>();
    return rows.map(({ id, endsAt }) => ({ id, inMs: (readTime(endsAt)?.getTime() ?? now) - now }));
  }

  /** Running containers whose lifetimes are over by a time; a paused container's does not count. */
  private lifetimesOver(by: Date): SelectQueryBuilder<ContainerEntity> {
    return this.up('running')
      .andWhere('c.endsAt IS NOT NULL AND c.endsAt <= :by', { by: this.database.timestamp(by) })
      .orderBy('c.endsAt');
  }

  private expiringSoon(status: UpStatus, now: Date): SelectQueryBuilder<ContainerEntity> {
    const horizon = new Date(now.getTime() + this.config.EXPIRY_WARNING);
    return this.up(status)
      .andWhere('c.expiresAt IS NOT NULL AND c.expiresAt <= :horizon', { horizon: this.database.timestamp(horizon) })
      .andWhere('(c.expiresAt <= :now OR c.expiryWarnedAt IS NULL)', { now: this.database.timestamp(now) })
      .orderBy('c.expiresAt');
  }

  /**
   * Running or paused containers whose stored end does not match their user's tier or session, as far as a query
   * without arithmetic can tell. Other wrong ends are detected when they are near.
   */
  private withStaleExpiry(status: UpStatus): SelectQueryBuilder<ContainerEntity> {
    const bound = this.policies.boundTiers();
    return this.withUsers(status).andWhere(
      new Brackets((wrong) => {
        wrong
          .where('u.sessionExpiresAt IS NOT NULL AND (c.expiresAt IS NULL OR c.expiresAt <> u.sessionExpiresAt)')
          .orWhere('u.sessionExpiresAt IS NULL AND c.expiresAt IS NOT NULL AND NOT (u.tier IN (:...bound))')
          .orWhere('u.sessionExpiresAt IS NULL AND c.expiresAt IS NULL AND u.tier IN (:...bound)', {
            // If no tier sets a limit, a name that matches no tier: an empty list is invalid SQL.
            bound: bound.length > 0 ? bound : [''],
          });
      }),
    );
  }

  /** Unused running containers, and paused ones that are stopped later. */
  private idle(status: UpStatus, now: Date): SelectQueryBuilder<ContainerEntity> {
    const limit = this.shorter('c.auto_stop_seconds', ({ autoStopSeconds }) => autoStopSeconds);
    const usedAt = this.seconds('c.last_used_at');
    const since = status === 'running' ? usedAt : this.choose('most', this.seconds('c.paused_at'), usedAt);
    const due = `${since} + ${limit}`;
    const warning = this.warningPeriod(this.config.EXPIRY_WARNING, limit);
    const warned = this.seconds('c.idle_warned_at');
    return this.withUsers(status)
      .andWhere(status === 'running' ? '1 = 1' : this.stopsLater())
      .andWhere(`${due} - ${warning} <= :now`, { now: now.getTime() / 1000 })
      .andWhere(`(${due} <= :now OR ${warned} IS NULL OR ${warned} < ${due} - ${warning})`);
  }

  /** SQL for whether a container's action is `pause_then_stop`, by the containers' own actions that lead to it. */
  private stopsLater(): string {
    const leads = (policy: Pick<RunPolicy, 'idleMs' | 'idleAction'>): string => {
      const own = [null, ...IDLE_ACTIONS].filter((action) => idleActionOf(action, policy) === 'pause_then_stop');
      if (own.length === 0) return '1 = 0';
      return `COALESCE(c.idle_action, '') IN (${own.map((action) => `'${action ?? ''}'`).join(', ')})`;
    };
    const cases = this.tiers
      .all()
      .map(({ name, autoStopSeconds: idleMs, idleAction }) => `WHEN '${name}' THEN ${leads({ idleMs, idleAction })}`);
    return `(CASE u.tier ${cases.join(' ')} ELSE ${leads({ idleMs: null, idleAction: 'stop' })} END)`;
  }

  /** Running or paused containers of suspended users, and all containers of deleted users. */
  private ofSuspended(): SelectQueryBuilder<ContainerEntity> {
    return this.free("c.status <> 'creating' AND c.deletedAt IS NULL")
      .innerJoin(UserEntity, 'u', 'u.id = c.userId')
      .andWhere('u.suspendedAt IS NOT NULL')
      .andWhere("(c.status IN ('running', 'paused') OR u.deletedAt IS NOT NULL)");
  }

  /** Containers that have been stopped for too long, or whose guest's session ended too long ago. */
  private abandoned(now: Date): SelectQueryBuilder<ContainerEntity> {
    const warned = this.seconds('c.deletion_warned_at');
    const isDue = (due: string, limit: string): string => {
      const warning = this.warningPeriod(this.config.DELETION_WARNING, limit);
      const isWarned = `${due} <= :now AND ${warned} + ${warning} <= :now`;
      return `${due} - ${warning} <= :now AND (${warned} IS NULL OR ${warned} < ${due} - ${warning} OR (${isWarned}))`;
    };
    const limit = this.shorter('c.auto_delete_seconds', ({ autoDeleteSeconds }) => autoDeleteSeconds);
    const unusedSince = this.choose('most', this.seconds('c.stopped_at'), this.seconds('c.last_used_at'));
    const ends = [isDue(`${unusedSince} + ${limit}`, limit)];
    if (this.config.GUEST_CONTAINER_RETENTION !== null) {
      const retention = String(this.config.GUEST_CONTAINER_RETENTION / 1000);
      ends.push(isDue(`${this.seconds('u.session_expires_at')} + ${retention}`, retention));
    }
    return this.free("c.status IN ('stopped', 'error') AND c.stopped_at IS NOT NULL AND c.deletedAt IS NULL")
      .innerJoin(UserEntity, 'u', 'u.id = c.userId AND u.suspendedAt IS NULL')
      .andWhere(`(${ends.map((end) => `(${end})`).join(' OR ')})`, { now: now.getTime() / 1000 });
  }

  /** SQL for the smaller of the container's own limit and its tier's, in seconds; NULL if neither is set. */
  private shorter(column: string, ofTier: (tier: Tier) => number | null): string {
    const cases = this.tiers.all().flatMap((tier) => {
      const seconds = ofTier(tier);
      if (seconds === null) return [];
      const limit = String(seconds);
      // Tier names contain no quotes: see the schema of TIERS_FILE.
      return [`WHEN '${tier.name}' THEN ${this.choose('least', `COALESCE(${column}, ${limit})`, limit)}`];
    });
    return cases.length === 0 ? column : `(CASE u.tier ${cases.join(' ')} ELSE ${column} END)`;
  }

  /** SQL for how long before an end its warning is due, in seconds; the same rule as in `run-policy.ts`. */
  private warningPeriod(warningMs: number, limit: string): string {
    return this.choose('least', String(warningMs / 1000), `${limit} / 2.0`);
  }

  private choose(which: 'least' | 'most', one: string, other: string): string {
    const sqlite = which === 'least' ? 'MIN' : 'MAX';
    const postgres = which === 'least' ? 'LEAST' : 'GREATEST';
    return `${this.database.isSqlite ? sqlite : postgres}(${one}, ${other})`;
  }

  /** SQL for a time as seconds since 1970. */
  private seconds(column: string): string {
    return this.database.isSqlite ? `unixepoch(${column}, 'subsec')` : `EXTRACT(EPOCH FROM ${column})`;
  }

  private withUsers(status: UpStatus): SelectQueryBuilder<ContainerEntity> {
    return this.up(status).innerJoin(UserEntity, 'u', 'u.id = c.userId');
  }

  private up(status: UpStatus): SelectQueryBuilder<ContainerEntity> {
    return this.free(`c.status = '${status}' AND c.deletedAt IS NULL`);
  }

  /**
   * Containers without a valid lease.
   *
   * @param where has the status as a literal: with a parameter, neither database would use the partial index
   */
  private free(where: string): SelectQueryBuilder<ContainerEntity> {
    return this.database.manager
      .createQueryBuilder(ContainerEntity, 'c')
      .where(where)
      .andWhere('(c.operation IS NULL OR c.operationExpiresAt <= :over)', {
        over: this.database.timestamp(TERM_OVER),
      });
  }
}
