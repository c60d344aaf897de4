import { Injectable } from '@nestjs/common';
import { SelectQueryBuilder, UpdateQueryBuilder } from 'typeorm';
import { Clock } from '../clock';
import { Database, isUniqueViolation } from '../database';
import { DomainError } from '../errors';
import { EventLog } from '../events';
import { type Stamp, TERM_OVER } from './claim-term';
import type { ContainerReference } from './container-reference';
import { ContainerEntity, type ContainerRow } from './container.entity';
import { ClaimLostError, type ContainerChange, ContainerRepository, FREE } from './container.repository';
import { DockerIdEntity } from './docker-id.entity';
import type { LabelSelector } from './labels';
import { whereLabels } from './where-labels';

/** The right to remove a deleted container's data. */
export interface PurgeClaim {
  readonly id: string;
  readonly operationId: string;
}

/**
 * Deleted containers whose data is kept, and the sole writer of their rows. A restore needs a row that no purge has claimed,
 * a purge one whose time is over: each is one conditional update, so whichever comes first shuts the other out.
 */
@Injectable()
export class DeletedContainers {
  constructor(
    private readonly database: Database,
    private readonly eventLog: EventLog,
    private readonly live: ContainerRepository,
    private readonly clock: Clock,
  ) {}

  /** @returns null if there is none that is deleted and can be restored now */
  async findRestorable(reference: ContainerReference): Promise<ContainerRow | null> {
    if (reference.kind === 'agent') return null;
    const query = this.restorable();
    if (reference.kind === 'database_id') return query.andWhere('c.id = :id', { id: reference.id }).getOne();
    const column = reference.kind === 'docker_id' ? 'd.dockerId' : 'd.shortId';
    return query
      .innerJoin(DockerIdEntity, 'd', 'd.containerId = c.id')
      .andWhere(`${column} = :id`, { id: reference.id })
      .orderBy('c.deletedAt', 'DESC')
      .getOne();
  }

  /** One page of what a user (anybody if none is named) can restore now, the newest container first, from behind `after`. */
  async listRestorable(filter: {
    userId?: string;
    name?: string;
    labels?: readonly LabelSelector[];
    after?: { createdAt: Date; id: string };
    limit: number;
  }): Promise<ContainerRow[]> {
    const query = this.restorable();
    if (filter.userId !== undefined) query.andWhere('c.userId = :userId', { userId: filter.userId });
    if (filter.name !== undefined) query.andWhere('c.name = :name', { name: filter.name });
    whereLabels(query, filter.labels);
    if (filter.after) {
      query.andWhere('(c.createdAt < :at OR (c.createdAt = :at AND c.id < :afterId))', {
        at: this.database.timestamp(filter.after.createdAt),
        afterId: filter.after.id,
      });
    }
    return query.orderBy('c.createdAt', 'DESC').addOrderBy('c.id', 'DESC').limit(filter.limit).getMany();
  }

  /**
   * Makes a deleted container live again, with its event, under the user's row: nothing else of that user is made, renamed or
   * restored meanwhile.
   *
   * @returns null if it was restored, or its purge began, since it was read
   * @throws DomainError `name_taken`, `container_limit_reached`
   */
  async restore(
    { row, patch, events }: ContainerChange,
    { limit, tier }: { limit: number; tier: string },
  ): Promise<ContainerRow | null> {
    const restored = { ...patch, ...FREE, updatedAt: new Date(), revision: row.revision + 1 };
    try {
      await this.database.runInTxLocking(row.userId, async () => {
        await this.eventLog.append({ userId: row.userId, drafts: [...events] });
        await this.live.assertNameFree({ userId: row.userId, name: row.name, except: row.id });
        const current = await this.live.countLive(row.userId);
        if (current >= limit) throw new DomainError('container_limit_reached', { fields: { current, limit, tier } });
        const result = await this.deleted(row.id)
          .set(restored)
          .andWhere('operation IS NULL AND revision = :read', { read: row.revision })
          .andWhere('(purge_at IS NULL OR purge_at > :now)', { now: this.now() })
          .execute();
        if (result.affected !== 1) throw new ClaimLostError(`container ${row.id} is no longer to be restored`);
      });
    } catch (error) {
      if (error instanceof ClaimLostError) return null;
      if (isUniqueViolation(error)) throw new DomainError('name_taken', { cause: error });
      throw error;
    }
    return { ...row, ...restored };
  }

  /** Ids of the containers whose data is to be removed, and that nobody is at; the longest overdue first. */
  async listPurgeable(): Promise<string[]> {
    const rows = await this.database.manager
      .createQueryBuilder(ContainerEntity, 'c')
      .withDeleted()
      .select('c.id', 'id')
      .where('c.deletedAt IS NOT NULL AND c.purgedAt IS NULL AND c.purgeAt <= :now', { now: this.now() })
      .andWhere('(c.operation IS NULL OR c.operationExpiresAt <= :over)', { over: this.database.timestamp(TERM_OVER) })
      .orderBy('c.purgeAt')
      .getRawMany<{ id: string }>();
    return rows.map(({ id }) => id);
  }

  /** From here on it cannot be restored, whatever becomes of the claim. @returns null if it is not to be purged, or another is at it */
  async claimPurge(claim: PurgeClaim, { holder, expiresAt }: Stamp): Promise<ContainerRow | null> {
    const result = await this.deleted(claim.id)
      .set({
        operation: 'purge',
        operationId: claim.operationId,
        operationHolder: holder,
        operationExpiresAt: expiresAt,
        revision: () => 'revision + 1',
      })
      .andWhere('purge_at <= :now', { now: this.now() })
      .andWhere('(operation IS NULL OR operation_expires_at <= :over)', { over: this.database.timestamp(TERM_OVER) })
      .execute();
    if (result.affected !== 1) return null;
    const { manager } = this.database;
    return manager.findOneOrFail(ContainerEntity, { where: { id: claim.id }, withDeleted: true });
  }

  /** Notes that the data is gone. @returns false if another process took the purge over */
  async finishPurge({ id, operationId }: PurgeClaim): Promise<boolean> {
    const result = await this.deleted(id)
      .set({ ...FREE, purgedAt: this.clock.now(), revision: () => 'revision + 1' })
      .andWhere('operation_id = :operationId', { operationId })
      .execute();
    return result.affected === 1;
  }

  /** Leaves the purge to the next sweep of any process. */
  async postponePurge({ id, operationId }: PurgeClaim): Promise<void> {
    await this.deleted(id)
      .set({ operationExpiresAt: TERM_OVER, revision: () => 'revision + 1' })
      .andWhere('operation_id = :operationId', { operationId })
      .execute();
  }

  private restorable(): SelectQueryBuilder<ContainerEntity> {
    return this.database.manager
      .createQueryBuilder(ContainerEntity, 'c')
      .withDeleted()
      .where('c.deletedAt IS NOT NULL AND c.purgedAt IS NULL AND c.operation IS NULL')
      .andWhere('(c.purgeAt IS NULL OR c.purgeAt > :now)', { now: this.now() });
  }

  /** For retention. */
  private now(): Date | string {
    return this.database.timestamp(this.clock.now());
  }

  private deleted(id: string): UpdateQueryBuilder<ContainerEntity> {
    return this.database.manager
      .createQueryBuilder()
      .update(ContainerEntity)
      .where('id = :id AND deleted_at IS NOT NULL AND purged_at IS NULL', { id });
  }
}
