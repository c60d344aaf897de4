import { Inject, Injectable } from '@nestjs/common';
import { Brackets, type SelectQueryBuilder } from 'typeorm';
import { UserEntity } from '../../auth';
import { type Config, CONFIG } from '../../config';
import { Database } from '../../database';
import { Clock } from '../../scheduling';
import { type Tier, TiersService } from '../../tiers';
import { ContainerUsage } from '../container-usage';
import { ContainerEntity } from '../container.entity';
import { TERM_OVER } from '../leases/lease-term';
import { RunPolicies } from './run-policy';

/**
 * Finds containers whose limits may need action, and reads next to nothing of all others. The decision is made on the
 * rows themselves.
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

  /** Database ids, the ends of runs first; none that an operation leases, and none idle that this process uses. */
  async find(): Promise<string[]> {
    await this.usage.noteInProgress();
    const now = this.clock.now();
    const queries = [
      this.expiringSoon(now),
      this.withStaleExpiry(),
      this.idle(now),
      this.abandoned(now),
      this.ofSuspended(),
    ];
    const found = new Set<string>();
    for (const query of queries) {
      for (const { id } of await query.select('c.id', 'id').getRawMany<{ id: string }>()) found.add(id);
    }
    return [...found];
  }

  private expiringSoon(now: Date): SelectQueryBuilder<ContainerEntity> {
    const horizon = new Date(now.getTime() + this.config.EXPIRY_WARNING);
    return this.running()
      .andWhere('c.expiresAt IS NOT NULL AND c.expiresAt <= :horizon', { horizon: this.database.timestamp(horizon) })
      .andWhere('(c.expiresAt <= :now OR c.expiryWarnedAt IS NULL)', { now: this.database.timestamp(now) })
      .orderBy('c.expiresAt');
  }

  /**
   * Those whose user has changed tier, as far as a query without arithmetic can decide; the rest is detected near their
   * end.
   */
  private withStaleExpiry(): SelectQueryBuilder<ContainerEntity> {
    const bound = this.policies.boundTiers();
    return this.withUsers().andWhere(
      new Brackets((wrong) => {
        wrong
          .where('u.sessionExpiresAt IS NOT NULL AND (c.expiresAt IS NULL OR c.expiresAt <> u.sessionExpiresAt)')
          .orWhere('u.sessionExpiresAt IS NULL AND c.expiresAt IS NOT NULL AND NOT (u.tier IN (:...bound))')
          .orWhere('u.sessionExpiresAt IS NULL AND c.expiresAt IS NULL AND u.tier IN (:...bound)', {
            // Matches no tier if no tier sets a limit: an empty list is invalid SQL.
            bound: bound.length > 0 ? bound : [''],
          });
      }),
    );
  }

  private idle(now: Date): SelectQueryBuilder<ContainerEntity> {
    const limit = this.shorter('c.auto_stop_seconds', ({ autoStopSeconds }) => autoStopSeconds);
    const due = `${this.seconds('c.last_used_at')} + ${limit}`;
    const warning = this.warningPeriod(this.config.EXPIRY_WARNING, limit);
    const warned = this.seconds('c.idle_warned_at');
    return this.withUsers()
      .andWhere(`${due} - ${warning} <= :now`, { now: now.getTime() / 1000 })
      .andWhere(`(${due} <= :now OR ${warned} IS NULL OR ${warned} < ${due} - ${warning})`);
  }

  /** Those that run although their user is suspended, and all of a deleted user. */
  private ofSuspended(): SelectQueryBuilder<ContainerEntity> {
    return this.free("c.status <> 'creating' AND c.deletedAt IS NULL")
      .innerJoin(UserEntity, 'u', 'u.id = c.userId')
      .andWhere('u.suspendedAt IS NOT NULL')
      .andWhere("(c.status = 'running' OR u.deletedAt IS NOT NULL)");
  }

  /** Those that stayed stopped for too long, or whose guest's session has long been over. */
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

  /** SQL for a container's own limit within its tier's, in seconds; NULL where neither is set. */
  private shorter(column: string, ofTier: (tier: Tier) => number | null): string {
    const cases = this.tiers.all().flatMap((tier) => {
      const seconds = ofTier(tier);
      if (seconds === null) return [];
      const limit = String(seconds);
      // Names of tiers have no quotes: see the schema of TIERS_FILE.
      return [`WHEN '${tier.name}' THEN ${this.choose('least', `COALESCE(${column}, ${limit})`, limit)}`];
    });
    return cases.length === 0 ? column : `(CASE u.tier ${cases.join(' ')} ELSE ${column} END)`;
  }

  /** SQL for how long before an end its warning is due: see the policy. */
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

  private withUsers(): SelectQueryBuilder<ContainerEntity> {
    return this.running().innerJoin(UserEntity, 'u', 'u.id = c.userId');
  }

  private running(): SelectQueryBuilder<ContainerEntity> {
    return this.free("c.status = 'running' AND c.deletedAt IS NULL");
  }

  /** The status is a literal: with a parameter, neither database would use the index of such containers. */
  private free(where: string): SelectQueryBuilder<ContainerEntity> {
    return this.database.manager
      .createQueryBuilder(ContainerEntity, 'c')
      .where(where)
      .andWhere('(c.operation IS NULL OR c.operationExpiresAt <= :over)', {
        over: this.database.timestamp(TERM_OVER),
      });
  }
}
