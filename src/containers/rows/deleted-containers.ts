import { Injectable } from '@nestjs/common';
import type { SelectQueryBuilder } from 'typeorm';
import { AuditLog } from '../../audit';
import { Database, isUniqueViolation, type Sql, sql, type SqlPatch } from '../../database';
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

/** The container is deleted, and its data is not. */
const IS_KEPT = sql`deleted_at IS NOT NULL AND purged_at IS NULL`;

/** The value of `revision` after a write that does not depend on the row as it was read. */
const NEXT = sql`revision + 1`;

/**
 * Retention is over. Containers of a deleted user have no retention, regardless of the row: a deletion that was in
 * progress may have written one.
 */
const purgeable = (now: Date): Sql => sql`(purge_at <= ${now}
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
        const isAsRead = sql`operation IS NULL AND revision = ${row.revision}`;
        const isKept = sql`(purge_at IS NULL OR purge_at > ${this.clock.now()})`;
        if (!(await this.update(row.id, restored, sql`${isAsRead} AND ${isKept}`)))
          throw new LeaseLostError(`container ${row.id} is no longer to be restored`);
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
    const answers = (node: Sql): Sql =>
      silent.size > 0 ? sql`(${node} IS NULL OR ${node} NOT IN (${sql.list([...silent])}))` : sql`TRUE`;
    // A copy of the data may remain on the node that the container was moved from.
    const { rows } = await this.database.run<{ id: string }>(sql`
      SELECT id FROM containers WHERE ${IS_KEPT} AND ${purgeable(this.clock.now())} AND removal_pending_since IS NULL
      AND (operation IS NULL OR operation_expires_at <= ${TERM_OVER})
      AND ${answers(sql`node_id`)} AND ${answers(sql`other_node_id`)} ORDER BY purge_at`);
    return rows.map(({ id }) => id);
  }

  /**
   * Leases a purge. From then on the container cannot be restored, even if the lease is lost.
   *
   * @returns null if the purge is not due, or another process runs it
   */
  async leasePurge(grant: Grant): Promise<ContainerRow | null> {
    const isLeased = await this.store.acquire(grant, {
      set: { operation: 'purge', revision: NEXT },
      where: sql`${IS_KEPT} AND removal_pending_since IS NULL AND ${purgeable(this.clock.now())}`,
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
      const purged = { ...FREE, purgedAt, meteredSince, otherNodeId: null, revision: NEXT };
      if (!(await this.update(id, purged, sql`operation_id = ${leaseId}`))) return false;
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
      // The container was purged or restored before. If purged, only its nodes remain to be cleared.
      if (!(await this.update(row.id, { ...gone, revision: NEXT }))) {
        await this.database.run(sql`
          UPDATE containers SET node_id = NULL, other_node_id = NULL WHERE id = ${row.id} AND purged_at IS NOT NULL`);
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
    const isGivenUp = sql`docker_id IS NULL AND operation IS NULL AND revision = ${revision}`;
    await this.update(id, { nodeId: formerNodeId, revision: revision + 1 }, isGivenUp);
  }

  /** Clears `otherNodeId` of a container after that node was given up. */
  async forgetOther(row: ContainerRow): Promise<void> {
    await this.database.run(sql`
      UPDATE containers SET other_node_id = NULL, revision = ${NEXT} WHERE id = ${row.id} AND deleted_at IS NOT NULL`);
  }

  /** Releases the lease without an outcome; the next sweep of any process purges the container. */
  async postponePurge({ containerId, leaseId }: Grant): Promise<void> {
    const over = { operationExpiresAt: TERM_OVER, revision: NEXT };
    await this.update(containerId, over, sql`operation_id = ${leaseId}`);
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
    await this.update(id, { removalPendingSince: null, revision: NEXT });
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
      .andWhere('(c.purgeAt IS NULL OR c.purgeAt > :now)', { now: this.database.timestamp(this.clock.now()) });
  }

  /** @returns false if the container is live or purged, or the condition does not hold */
  private async update(id: string, set: SqlPatch<ContainerEntity>, condition = sql`TRUE`): Promise<boolean> {
    const { affected } = await this.database.run(sql`
      UPDATE containers SET ${sql.set(ContainerEntity, set)} WHERE id = ${id} AND ${IS_KEPT} AND ${condition}`);
    return affected === 1;
  }
}
