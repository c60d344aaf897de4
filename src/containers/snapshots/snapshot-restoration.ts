import { Injectable } from '@nestjs/common';
import { DomainError, invalidParameters } from '../../errors';
import { type Caller, ContainerAccess } from '../access/container-access';
import type { RestoreSnapshotDto, SnapshotRestoredView } from '../dto/snapshots';
import { containerFacts, type ContainerRow } from '../model/container.entity';
import { OperationRunner } from '../operations/operation-runner';
import { restoringSnapshot } from '../operations/restore-snapshot';
import { SnapshotCreation } from './snapshot-making';
import { SnapshotWait } from './snapshot-wait';
import { SnapshotAccess } from './snapshot-access';

/** The state before is being copied for so long at most; the request fails then, and changes nothing. */
const KEEP_WITHIN_MS = 30 * 60_000;

/** Returns containers to their snapshots. */
@Injectable()
export class SnapshotRestoration {
  constructor(
    private readonly containers: ContainerAccess,
    private readonly access: SnapshotAccess,
    private readonly creation: SnapshotCreation,
    private readonly waiting: SnapshotWait,
    private readonly operations: OperationRunner,
  ) {}

  /**
   * Returns a container to one of its snapshots. Unless the request says otherwise, the state before is kept as a
   * snapshot first.
   *
   * @throws DomainError `container_not_found`, `ambiguous_id`, `not_authorized`, `guest_session_expired`,
   *   `snapshot_not_found`, `snapshot_not_ready`, `invalid_parameters` if the snapshot is another container's or does
   *   not fit, `restore_failed`, `operation_in_progress`, `no_capacity`; as {@link SnapshotCreation.accept}
   */
  async restore(
    caller: Caller,
    id: string,
    { snapshot: snapshotId, keep = true }: Readonly<RestoreSnapshotDto>,
  ): Promise<SnapshotRestoredView> {
    const row = await this.containers.findInSession(caller, id);
    const snapshot = await this.access.findReady(caller, snapshotId);
    if (snapshot.containerId !== row.id) {
      throw invalidParameters([{ field: 'snapshot', message: 'must be a snapshot of this container' }]);
    }
    const kept = keep ? await this.keep(caller, row) : null;
    const { row: after, restarted } = await this.operations.run(row, restoringSnapshot(snapshot));
    return Object.assign({}, containerFacts(after), {
      message: 'snapshot restored',
      restarted,
      snapshot: snapshot.id,
      kept,
    });
  }

  private async keep(caller: Caller, row: ContainerRow): Promise<string> {
    const { id } = await this.creation.accept(caller, row.id, {});
    try {
      await this.waiting.untilReady(caller, id, { timeoutMs: KEEP_WITHIN_MS });
    } catch (error) {
      throw error instanceof DomainError && error.kind === 'status_unreachable'
        ? new DomainError('snapshot_failed', { cause: error })
        : error;
    }
    return id;
  }
}
