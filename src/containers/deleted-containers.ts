import { Injectable } from '@nestjs/common';
import type { SelectQueryBuilder, UpdateQueryBuilder } from 'typeorm';
import { AuditLog } from '../audit';
import { Database, isUniqueViolation } from '../database';
import { DomainError } from '../errors';
import { EventLog } from '../events';
import { Clock } from '../scheduling';
import { UsageLedger } from '../usage';
import type { ContainerReference } from './container-id';
import { ContainerEntity, type ContainerRow, DockerIdEntity } from './container.entity';
import { type ListFilter, readPage } from './container.queries';
import { type ContainerChange, ContainerRepository, FREE } from './container.repository';
import { LeaseLostError } from './leases/lease';
import { TERM_OVER } from './leases/lease-term';
import { type Grant, LeaseStore } from './leases/lease-store';

/**
 * Retention is over. A deleted user's has none, whatever the row says: a deletion that was under way may have written
 * it.
 */
const PURGEABLE = `(purge_at <= :now
  OR user_id IN (SELECT id FROM users WHERE suspended_at IS NOT NULL AND deleted_at IS NOT NULL))`;

/**
 * Deleted containers whose data is kept, and the sole writer of their rows. A restore needs a row that no purge has
 * leased, a purge one whose retention is over: each is one conditional update, so whichever comes first excludes the
 * other.
 */
@Injectable()
export class DeletedContainers {
  constructor(
    private readonly database: Database,
    private readonly eventLog: EventLog,
    private readonly live: ContainerRepository,
    private readonly audit: AuditLog,
    private readonly store: LeaseStore,
    private readonly usage: UsageLedger,
    private readonly clock: Clock,
  ) {}

  /** @returns null if there is no deleted container that can be restored now */
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

  /** One page of what a user (any user if none is given) can restore now, newest container first, after `after`. */
  listRestorable(filter: ListFilter): Promise<ContainerRow[]> {
    return readPage(this.restorable(), filter, this.database);
  }

  /**
   * Makes a deleted container live again, with its event, under the lock of the user's row: no other container of that
   * user is created, renamed or restored meanwhile.
   *
   * @returns null if it was restored, or its purge began, since it was read
   * @throws DomainError `name_taken`, `container_limit_reached`
   */
  async restore(
    { row, patch, events }: ContainerChange,
    { limit, tier }: { limit: number; tier: string },
  ): Promise<ContainerRow | null> {
    const now = this.clock.now();
    const { meteredSince, used } = this.usage.settle(row, { ...row, ...patch });
    const written = { stoppedAt: now, updatedAt: now, meteredSince, revision: row.revision + 1 };
    const restored = { ...patch, ...FREE, ...written };
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
        if (result.affected !== 1) throw new LeaseLostError(`container ${row.id} is no longer to be restored`);
        await this.usage.record(row.userId, used);
      });
    } catch (error) {
      if (error instanceof LeaseLostError) return null;
      if (isUniqueViolation(error)) throw new DomainError('name_taken', { cause: error });
      throw error;
    }
    return { ...row, ...restored };
  }

  /**
   * Ids of the containers whose data is due for removal and not leased; the longest overdue first. That of deleted
   * users is due at once.
   *
   * @param silent nodes that do not answer: what is there waits
   */
  async listPurgeable(silent: ReadonlySet<string> = new Set()): Promise<string[]> {
    const query = this.database.manager
      .createQueryBuilder(ContainerEntity, 'c')
      .withDeleted()
      .select('c.id', 'id')
      .where(`c.deletedAt IS NOT NULL AND c.purgedAt IS NULL AND ${PURGEABLE}`, { now: this.now() })
      .andWhere('c.removalPendingSince IS NULL')
      .andWhere('(c.operation IS NULL OR c.operationExpiresAt <= :over)', { over: this.database.timestamp(TERM_OVER) })
      .orderBy('c.purgeAt');
    // A copy may be where it was moved from, too.
    for (const column of silent.size > 0 ? ['nodeId', 'otherNodeId'] : [])
      query.andWhere(`(c.${column} IS NULL OR c.${column} NOT IN (:...silent))`, { silent: [...silent] });
    const rows = await query.getRawMany<{ id: string }>();
    return rows.map(({ id }) => id);
  }

  /**
   * From here on it cannot be restored, whatever happens to the lease.
   *
   * @returns null if it is not due, or another process purges it
   */
  async leasePurge(grant: Grant): Promise<ContainerRow | null> {
    const isLeased = await this.store.acquire(grant, {
      set: { operation: 'purge', revision: () => 'revision + 1' },
      where: `deleted_at IS NOT NULL AND purged_at IS NULL AND removal_pending_since IS NULL AND ${PURGEABLE}`,
      parameters: { now: this.now() },
    });
    if (!isLeased) return null;
    const { manager } = this.database;
    return manager.findOneOrFail(ContainerEntity, { where: { id: grant.containerId }, withDeleted: true });
  }

  /** Records that the data is removed, also in the audit. @returns false if another process took the purge over */
  async finishPurge({ leaseId }: Grant, row: ContainerRow): Promise<boolean> {
    const { id, userId } = row;
    const purgedAt = this.clock.now();
    const { meteredSince, used } = this.usage.settle(row, { ...row, purgedAt });
    return this.database.runInTx(async () => {
      const result = await this.deleted(id)
        .set({ ...FREE, purgedAt, meteredSince, otherNodeId: null, revision: () => 'revision + 1' })
        .andWhere('operation_id = :leaseId', { leaseId })
        .execute();
      if (result.affected !== 1) return false;
      await this.usage.record(userId, used);
      await this.audit.recordSystem({ action: 'container.purge', subjectUserId: userId, containerId: id });
      return true;
    });
  }

  /** Records that the data is gone with its machine; nothing of one that was restored since it was read. */
  async giveUp(row: ContainerRow): Promise<void> {
    const purgedAt = this.clock.now();
    const { meteredSince, used } = this.usage.settle(row, { ...row, purgedAt });
    await this.database.runInTx(async () => {
      const gone = { ...FREE, purgedAt, meteredSince, removalPendingSince: null, nodeId: null, otherNodeId: null };
      const result = await this.deleted(row.id)
        .set({ ...gone, revision: () => 'revision + 1' })
        .execute();
      // Purged before: only where it was is to be forgotten.
      if (result.affected !== 1) {
        const { manager } = this.database;
        await manager
          .createQueryBuilder()
          .update(ContainerEntity)
          .set({ nodeId: null, otherNodeId: null })
          .where('id = :id AND purged_at IS NOT NULL', row)
          .execute();
        return;
      }
      await this.usage.record(row.userId, used);
      const act = { action: 'container.purge', subjectUserId: row.userId, containerId: row.id } as const;
      await this.audit.recordSystem(act);
    });
  }

  /** Its data is there again, with the machine that it was given up with, unless it was purged meanwhile. */
  async giveBack({ id, formerNodeId, revision }: ContainerRow): Promise<void> {
    await this.deleted(id)
      .set({ nodeId: formerNodeId, revision: revision + 1 })
      .andWhere('docker_id IS NULL AND operation IS NULL AND revision = :read', { read: revision })
      .execute();
  }

  /** Forgets that something may be on a machine that is gone for good. */
  async forgetOther(row: ContainerRow): Promise<void> {
    await this.database.manager
      .createQueryBuilder()
      .update(ContainerEntity)
      .set({ otherNodeId: null, revision: () => 'revision + 1' })
      .where('id = :id AND deleted_at IS NOT NULL', row)
      .execute();
  }

  /** Leaves the purge to the next sweep of any process. */
  async postponePurge({ containerId, leaseId }: Grant): Promise<void> {
    await this.deleted(containerId)
      .set({ operationExpiresAt: TERM_OVER, revision: () => 'revision + 1' })
      .andWhere('operation_id = :leaseId', { leaseId })
      .execute();
  }

  /** The containers that Docker has not removed yet, though they are deleted; the oldest first. */
  async listRemoving(): Promise<Pick<ContainerRow, 'id' | 'nodeId'>[]> {
    const query = this.removing().select('c.id', 'id').addSelect('c.nodeId', 'nodeId');
    return query.orderBy('c.removalPendingSince').getRawMany<Pick<ContainerRow, 'id' | 'nodeId'>>();
  }

  /** How many those are. */
  async countRemoving(): Promise<number> {
    return this.removing().getCount();
  }

  /** Docker has proven that nothing of it is left but its data: from here on it can be restored or purged. */
  async finishRemoval(id: string): Promise<void> {
    await this.deleted(id)
      .set({ removalPendingSince: null, revision: () => 'revision + 1' })
      .execute();
  }

  private removing(): SelectQueryBuilder<ContainerEntity> {
    return this.database.manager
      .createQueryBuilder(ContainerEntity, 'c')
      .withDeleted()
      .where('c.removalPendingSince IS NOT NULL');
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
