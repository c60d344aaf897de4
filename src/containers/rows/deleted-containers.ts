import { Injectable } from '@nestjs/common';
import type { SelectQueryBuilder, UpdateQueryBuilder } from 'typeorm';
import { AuditLog } from '../../audit';
import { Database, isUniqueViolation } from '../../database';
import { DomainError } from '../../errors';
import { EventLog } from '../../events';
import { Clock } from '../../scheduling';
import { type DayUse, UsageLedger } from '../../usage';
import type { ContainerReference } from '../model/container-id';
import { ContainerEntity, type ContainerRow, DockerIdEntity } from '../model/container.entity';
import { type ContainerFilter, readContainerPage } from './container.queries';
import { type ContainerChange, ContainerRepository, FREE } from './container.repository';
import { LeaseLostError } from '../leases/lease';
import { TERM_OVER } from '../leases/lease-term';
import { type Grant, LeaseStore } from '../leases/lease-store';

/**
 * Retention is over. Containers of a deleted user have no retention, regardless of the row: a deletion that was in
 * progress may have written one.
 */
const PURGEABLE = `(purge_at <= :now
  OR user_id IN (SELECT id FROM users WHERE suspended_at IS NOT NULL AND deleted_at IS NOT NULL))`;

/**
 * Deleted containers whose data is kept. A restore needs a row that no purge has leased, a purge needs a row whose
 * retention is over. Each is one conditional update, so whichever comes first excludes the other.
 */
@Injectable()
export class DeletedContainers {
  private readonly purgeListeners: ((containerId: string) => Promise<void>)[] = [];

  constructor(
    private readonly database: Database,
    private readonly eventLog: EventLog,
    private readonly live: ContainerRepository,
    private readonly audit: AuditLog,
    private readonly store: LeaseStore,
    private readonly usage: UsageLedger,
    private readonly clock: Clock,
  ) {}

  /** Calls `listener` in the transaction of each purge, so that other modules delete their rows with the container. */
  onPurge(listener: (containerId: string) => Promise<void>): void {
    this.purgeListeners.push(listener);
  }

  /** @returns null if there is no deleted container that can be restored now */
  async findRestorable(reference: ContainerReference): Promise<ContainerRow | null> {
    if (reference.kind === 'agent') return null;
    const query = this.restorable();
    if (reference.kind === 'database_id') return query.andWhere('c.id = :id', { id: reference.id }).getOne();
    const column = reference.kind === 'engine_id' ? 'd.engineId' : 'd.shortId';
    return query
      .innerJoin(DockerIdEntity, 'd', 'd.containerId = c.id')
      .andWhere(`${column} = :id`, { id: reference.id })
      .orderBy('c.deletedAt', 'DESC')
      .getOne();
  }

  /**
   * One page of the containers that a user (any user if none is given) can restore now, newest first, after `after`.
   */
  listRestorable(filter: ContainerFilter): Promise<ContainerRow[]> {
    return readContainerPage(this.restorable(), filter, this.database);
  }

  /**
   * Makes a deleted container live again and emits its events, under the lock of the user's row: no other container
   * of that user is created, renamed or restored at the same time.
   *
   * @returns null if the container was restored, or its purge began, since it was read
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
   * Ids of the containers whose data is due for removal and not leased, the longest overdue first. The data of
   * deleted users is due at once.
   *
   * @param silent nodes that do not answer; containers on them are left out
   */
  async listPurgeable(silent: ReadonlySet<string>): Promise<string[]> {
    const query = this.database.manager
      .createQueryBuilder(ContainerEntity, 'c')
      .withDeleted()
      .select('c.id', 'id')
      .where(`c.deletedAt IS NOT NULL AND c.purgedAt IS NULL AND ${PURGEABLE}`, { now: this.now() })
      .andWhere('c.removalPendingSince IS NULL')
      .andWhere('(c.operation IS NULL OR c.operationExpiresAt <= :over)', { over: this.database.timestamp(TERM_OVER) })
      .orderBy('c.purgeAt');
    // A copy of the data may remain on the node that the container was moved from.
    for (const column of silent.size > 0 ? ['nodeId', 'otherNodeId'] : [])
      query.andWhere(`(c.${column} IS NULL OR c.${column} NOT IN (:...silent))`, { silent: [...silent] });
    const rows = await query.getRawMany<{ id: string }>();
    return rows.map(({ id }) => id);
  }

  /**
   * Leases a purge. From then on the container cannot be restored, even if the lease is lost.
   *
   * @returns null if the purge is not due, or another process runs it
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

  /** Records that the data was removed, also in the audit log. @returns false if another process took over the purge */
  async finishPurge({ leaseId }: Grant, row: ContainerRow): Promise<boolean> {
    const { id } = row;
    const purgedAt = this.clock.now();
    const { meteredSince, used } = this.usage.settle(row, { ...row, purgedAt });
    return this.database.runInTx(async () => {
      const result = await this.deleted(id)
        .set({ ...FREE, purgedAt, meteredSince, otherNodeId: null, revision: () => 'revision + 1' })
        .andWhere('operation_id = :leaseId', { leaseId })
        .execute();
      if (result.affected !== 1) return false;
      await this.recordPurge(row, used);
      return true;
    });
  }

  /** Records that the data was lost with its node. Does nothing to a container that was restored since it was read. */
  async giveUp(row: ContainerRow): Promise<void> {
    const purgedAt = this.clock.now();
    const { meteredSince, used } = this.usage.settle(row, { ...row, purgedAt });
    await this.database.runInTx(async () => {
      const gone = { ...FREE, purgedAt, meteredSince, removalPendingSince: null, nodeId: null, otherNodeId: null };
      const result = await this.deleted(row.id)
        .set({ ...gone, revision: () => 'revision + 1' })
        .execute();
      // The container was purged or restored before. If purged, only its nodes remain to be cleared.
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
      await this.recordPurge(row, used);
    });
  }

  private async recordPurge({ id, userId }: ContainerRow, used: readonly DayUse[]): Promise<void> {
    await this.usage.record(userId, used);
    for (const listener of this.purgeListeners) await listener(id);
    await this.audit.recordSystem({ action: 'container.purge', subjectUserId: userId, containerId: id });
  }

  /**
   * Puts a container back on the node that it was given up with, as that node and the data on it are back. Skips a
   * container that was written since it was read, or that an operation leases.
   */
  async giveBack({ id, formerNodeId, revision }: ContainerRow): Promise<void> {
    await this.deleted(id)
      .set({ nodeId: formerNodeId, revision: revision + 1 })
      .andWhere('docker_id IS NULL AND operation IS NULL AND revision = :read', { read: revision })
      .execute();
  }

  /** Clears `otherNodeId` of a container after that node was given up. */
  async forgetOther(row: ContainerRow): Promise<void> {
    await this.database.manager
      .createQueryBuilder()
      .update(ContainerEntity)
      .set({ otherNodeId: null, revision: () => 'revision + 1' })
      .where('id = :id AND deleted_at IS NOT NULL', row)
      .execute();
  }

  /** Releases the lease without an outcome; the next sweep of any process purges the container. */
  async postponePurge({ containerId, leaseId }: Grant): Promise<void> {
    await this.deleted(containerId)
      .set({ operationExpiresAt: TERM_OVER, revision: () => 'revision + 1' })
      .andWhere('operation_id = :leaseId', { leaseId })
      .execute();
  }

  /** Deleted containers that Docker has not removed yet, the oldest first. */
  async listRemoving(): Promise<Pick<ContainerRow, 'id' | 'nodeId'>[]> {
    const query = this.removing().select('c.id', 'id').addSelect('c.nodeId', 'nodeId');
    return query.orderBy('c.removalPendingSince').getRawMany<Pick<ContainerRow, 'id' | 'nodeId'>>();
  }

  /** The number of deleted containers that Docker has not removed yet. */
  async countRemoving(): Promise<number> {
    return this.removing().getCount();
  }

  /**
   * Records that Docker has nothing left of the container except its data. From then on it can be restored or purged.
   */
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

  /** The current time as a query parameter, for comparisons with `purge_at`. */
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
