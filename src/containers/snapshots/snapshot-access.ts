import { Injectable } from '@nestjs/common';
import { DomainError } from '../../errors';
import { assertOwner, type Caller, noteSubject } from '../access/container-access';
import type { SnapshotRow } from '../model/snapshot.entity';
import { SnapshotRepository } from '../rows/snapshot.repository';

/** Finds a caller's snapshots. */
@Injectable()
export class SnapshotAccess {
  constructor(private readonly snapshots: SnapshotRepository) {}

  /** @throws DomainError `snapshot_not_found`, `not_authorized` */
  async find(caller: Pick<Caller, 'userId'>, id: string): Promise<SnapshotRow> {
    const row = await this.findForOperator(id);
    assertOwner(caller, { id: row.containerId, userId: row.userId });
    return row;
  }

  /** Finds any user's snapshot. @throws DomainError `snapshot_not_found` */
  async findForOperator(id: string): Promise<SnapshotRow> {
    const row = await this.snapshots.find(id.toLowerCase());
    if (row === null || row.isTransient) throw new DomainError('snapshot_not_found');
    noteSubject({ id: row.containerId, userId: row.userId });
    return row;
  }

  /** Finds a snapshot to create containers from. @throws DomainError as {@link find} does, `snapshot_not_ready` */
  async findReady(caller: Pick<Caller, 'userId'>, id: string): Promise<SnapshotRow> {
    const row = await this.find(caller, id);
    if (row.status !== 'ready') throw new DomainError('snapshot_not_ready', { fields: { status: row.status } });
    return row;
  }
}
