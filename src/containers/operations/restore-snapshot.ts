import { DomainError } from '../../errors';
import { isUp } from '../model/container.entity';
import type { SnapshotRow } from '../model/snapshot.entity';
import type { OperationDefinition } from './operation';
import { NOTHING } from './outcome';
import { followDocker, planUpdate, type Updated, updated, updatedOutcome } from './update';

/**
 * Returns a container to the files of a snapshot, in a new Docker container and on a new volume: an update that changes
 * no setting. Until the new ones run, the old ones stay.
 *
 * @throws DomainError `invalid_parameters` if the snapshot does not fit, `container_not_running` if the container was
 *   never created or its node was given up (a start comes first), `restore_failed`, `operation_in_progress`,
 *   `container_not_found`, `no_capacity`
 */
export function restoringSnapshot(snapshot: SnapshotRow): OperationDefinition<Updated> {
  return {
    verb: 'update',
    failure: 'restore_failed',
    prepare: async (lease, { recovery, volumes, placement, clock }) => {
      await followDocker(lease, recovery);
      if (lease.row.engineId === null) throw new DomainError('container_not_running');
      if (isUp(lease.row.status)) await placement.reserve(lease, lease.row);
      await recovery.unpause(lease, clock.now());
      const { seed, volume } = await volumes.restored(lease.row, snapshot);
      return {
        plan: (input) => planUpdate(input, { wanted: lease.row, moveTo: volume, layer: null, seed }),
        seed,
        recoverAs: 'undo',
        outcome: (results) => {
          const returned = { ...results, volumeName: volume };
          const { patch, events } = updatedOutcome(lease.row, lease.row, { results: returned, now: clock.now() });
          return { patch: { ...patch, keptLayerMb: snapshot.keptLayerMb }, events };
        },
        // Under the lease: a sweep does not look for volumes on a machine that keeps them at a resize.
        afterCleanup: NOTHING,
      };
    },
    result: updated,
  };
}
