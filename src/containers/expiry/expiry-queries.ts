import { Inject, Injectable } from '@nestjs/common';
import { Brackets, type SelectQueryBuilder } from 'typeorm';
import { UserEntity } from '../../auth';
import { type Config, CONFIG } from '../../config';
import { Database } from '../../database';
import { Clock } from '../../scheduling';
import { ContainerEntity } from '../container.entity';
import { TERM_OVER } from '../leases/lease';
import { RunPolicies } from './run-policy';

/**
 * Finds running containers whose limits may need action, and reads next to nothing of all others. The decision is made
 * on the rows themselves.
 */
@Injectable()
export class ExpiryQueries {
  constructor(
    private readonly database: Database,
    private readonly policies: RunPolicies,
    private readonly clock: Clock,
    @Inject(CONFIG) private readonly config: Pick<Config, 'EXPIRY_WARNING' | 'IDLE_STOP_AFTER'>,
  ) {}

  /** Database ids, earliest end first; none that an operation leases. */
  async find(): Promise<string[]> {
    const now = this.clock.now();
    const queries = [this.expiringSoon(now), this.withStaleExpiry(), this.idle(now)];
    const found = new Set<string>();
    for (const query of queries) {
      for (const { id } of (await query?.select('c.id', 'id').getRawMany<{ id: string }>()) ?? []) found.add(id);
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

  private idle(now: Date): SelectQueryBuilder<ContainerEntity> | null {
    const tiers = [...this.config.IDLE_STOP_AFTER];
    if (tiers.length === 0) return null;
    const since = (idleMs: number): Date | string => this.database.timestamp(new Date(now.getTime() - idleMs));
    const shortest = Math.min(...tiers.map(([, idleMs]) => idleMs));
    return this.withUsers()
      .andWhere('c.lastUsedAt <= :latest', { latest: since(shortest) })
      .andWhere(
        new Brackets((any) => {
          for (const [index, [tier, idleMs]] of tiers.entries()) {
            const [name, unused] = [`tier${String(index)}`, `unused${String(index)}`];
            any.orWhere(`u.tier = :${name} AND c.lastUsedAt <= :${unused}`, { [name]: tier, [unused]: since(idleMs) });
          }
        }),
      );
  }

  private withUsers(): SelectQueryBuilder<ContainerEntity> {
    return this.running().innerJoin(UserEntity, 'u', 'u.id = c.userId');
  }

  /** The status is a literal: with a parameter, neither database would use the index of running containers. */
  private running(): SelectQueryBuilder<ContainerEntity> {
    return this.database.manager
      .createQueryBuilder(ContainerEntity, 'c')
      .where("c.status = 'running' AND c.deletedAt IS NULL")
      .andWhere('(c.operation IS NULL OR c.operationExpiresAt <= :over)', {
        over: this.database.timestamp(TERM_OVER),
      });
  }
}
