import { DomainError } from '../../errors';
import { type ContainerRow, isUp } from '../model/container.entity';
import type { StepResults } from './executor';
import type { OperationDefinition, PlannedOperation } from './operation';
import { NOTHING } from './outcome';
import {
  confirmStopped,
  confirmUnwritten,
  flattenLayer,
  type Plan,
  type PlanInput,
  type Step,
  stepsOnly,
  type VolumeOwner,
} from './steps';

/** A snapshot that is about to be made. */
export interface PlannedSnapshot {
  /** The owner of `volume`: the snapshot, or the only container that is made from it. */
  readonly owner: VolumeOwner;
  /** The image for the writable layer; null: it cannot be kept. */
  readonly layer: string | null;
  /** The volume for the data. */
  readonly volume: string;
  /** Whether there is data to copy. */
  readonly hasData: boolean;
}

export interface SnapshotPreparation extends Pick<PlannedOperation, 'listeners' | 'mostLayerBytes'> {
  readonly snapshot: PlannedSnapshot;
  /** Called in the transaction that ends the lease. */
  readonly finish: (results: StepResults) => Promise<void>;
}

/**
 * Makes a snapshot of a container, which is suspended meanwhile if it runs. A failure leaves it as it was.
 *
 * @param begin called with the row under the lease, once it agrees with Docker; null: nothing is to be made
 * @throws DomainError `container_not_running` if the creation of the container is under way or has failed,
 *   `snapshot_failed`, `operation_in_progress`, `container_not_found`; as `begin` does
 */
export function takingSnapshot(
  begin: (leased: ContainerRow) => Promise<SnapshotPreparation | null>,
): OperationDefinition<void> {
  return {
    verb: 'snapshot',
    prepare: async (lease, { recovery }) => {
      await recovery.observe(lease);
      if (!isUp(lease.row.status) && lease.row.status !== 'stopped') throw new DomainError('container_not_running');
      const begun = await begin(lease.row);
      if (begun === null) return { write: NOTHING };
      const { snapshot, finish, ...execution } = begun;
      return {
        plan: (input) => planSnapshot(input, snapshot),
        listeners: {},
        ...execution,
        outcome: (results) => ({ ...NOTHING, also: () => finish(results) }),
      };
    },
    result: () => undefined,
  };
}

/**
 * The container is suspended while its layer and its data are read. Slow work that does not need that comes before or
 * after.
 */
export function planSnapshot({ row }: PlanInput, { owner, layer, volume, hasData }: PlannedSnapshot): Plan {
  const runs = row.status === 'running';
  const atRest = row.engineId === null ? [] : [isUp(row.status) ? confirmPaused : confirmStopped];
  const steps: Step[] = [];
  if (hasData) {
    steps.push({ do: 'ensure_volume', volume, owner, isNew: true, because: 'the data is copied into it' });
  }
  if (runs) steps.push({ do: 'pause_container', target: 'current', because: 'nothing may write meanwhile' });
  steps.push(...atRest);
  if (runs && layer === null) steps.push(confirmUnwritten);
  const commit: Step[] = layer === null ? [] : [{ do: 'commit_layer', reference: layer, because: 'it is at rest' }];
  const copy: Step[] = hasData
    ? [{ do: 'copy_volume', from: row.volumeName, to: volume, because: 'the data is at rest' }]
    : [];
  if (layer === null || !hasData) steps.push(...commit, ...copy);
  else {
    steps.push({ do: 'in_parallel', branches: [commit, copy], because: 'the container is suspended for less long' });
  }
  steps.push(...atRest);
  if (runs) steps.push({ do: 'unpause_container', target: 'current', because: 'it was running before' });
  if (layer !== null) steps.push(flattenLayer(layer));
  return stepsOnly(steps);
}

const confirmPaused: Step = {
  do: 'confirm_paused',
  target: 'current',
  because: 'Docker reads a running container as readily, and it may have been resumed',
};
