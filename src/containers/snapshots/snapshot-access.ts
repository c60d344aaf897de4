import { Injectable } from '@nestjs/common';
import { isUUID } from 'class-validator';
import { ContainerEngine } from '../../engine';
import { DomainError } from '../../errors';
import { ContainerRights, noteSubject, type Owner } from '../access/container-access';
import type { SnapshotRow } from '../model/snapshot.entity';
import { SnapshotRepository } from '../rows/snapshot.repository';

/** Finds a caller's snapshots. */
@Injectable()
export class SnapshotAccess {
  constructor(
    private readonly snapshots: SnapshotRepository,
    private readonly rights: ContainerRights,
    private readonly engine: ContainerEngine,
  ) {}

  /** @throws DomainError `snapshot_not_found`, `not_authorized` */
  async find(caller: Owner, id: string): Promise<SnapshotRow> {
    const row = await this.findForOperator(id);
    await this.rights.assertOwner(caller, { id: row.containerId, userId: row.userId });
    return row;
  }

  /** Finds any user's snapshot. @throws DomainError `snapshot_not_found` */
  async findForOperator(id: string): Promise<SnapshotRow> {
    // Text that cannot be an id never reaches the database: PostgreSQL refuses some.
    const row = isUUID(id) ? await this.snapshots.find(id.toLowerCase()) : null;
    if (row === null || row.isTransient) throw new DomainError('snapshot_not_found');
    noteSubject({ id: row.containerId, userId: row.userId });
    return row;
  }

  /**
   * Finds a snapshot to create containers from.
   *
   * @throws DomainError as {@link find} does, `snapshot_not_ready`, `node_unavailable` if its node does not answer
   */
  async findReady(caller: Owner, id: string): Promise<SnapshotRow> {
    const row = await this.find(caller, id);
    this.assertUsable(row);
    return row;
  }

  /** @throws DomainError `snapshot_not_ready`, `node_unavailable` */
  assertUsable({ status, statusReason, nodeId }: SnapshotRow): void {
    if (status !== 'ready') {
      throw new DomainError('snapshot_not_ready', {
        fields: { status, ...(statusReason && { reason: statusReason }) },
      });
    }
    if (!this.engine.nodes.answers(nodeId)) throw new DomainError('node_unavailable');
  }
}
