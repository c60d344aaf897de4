import { plainId } from '../../engine';
import type { EventDraft } from '../../events';
import {
  containerFacts,
  type ContainerRow,
  type DeletionReason,
  isUp,
  keptWith,
  type PauseReason,
  type StopEnding,
  type StopReason,
} from '../model/container.entity';
import { lifetimeEnd, NO_RUN } from '../policies/run-policy';
import type { ContainerPatch } from '../rows/container.repository';
import type { StepResults } from './executor';

/** What a successful operation writes. A verb's own outcome stands in its file; recoveries write those below too. */
export interface Outcome {
  readonly patch: ContainerPatch;
  readonly events: readonly EventDraft[];
  /** Writes of other rows in the same transaction, which locks the user's row. */
  readonly also?: () => Promise<void>;
}

/** The outcome of an operation that changed nothing. */
export const NOTHING: Outcome = { patch: {}, events: [] };

/**
 * Points the row at its new Docker container. If the container was not inspected yet, the first inspection adds the
 * address and the start time.
 */
export function recreated(results: StepResults): ContainerPatch {
  if (results.replacementId === undefined || results.generation === undefined) return {};
  const { replacementId: engineId, generation, runtime = null } = results;
  const { ipAddress = null, startedAt: runStartedAt = null } = results.observed ?? {};
  return { engineId, generation, runtime, ipAddress, runStartedAt, seedSnapshotId: null, ...imageOf(results) };
}

/**
 * The image version that the new container was created from. The container's inspection decides: since it was looked
 * up, the reference may name another version.
 */
function imageOf({ observed, image }: StepResults): Pick<ContainerPatch, 'imageId' | 'imageDigest'> {
  const imageId = observed?.imageId ?? image?.version.id ?? null;
  return { imageId, imageDigest: image?.version.id === imageId ? image.version.digest : null };
}

/** Present only if the old container's image version was no longer available, so that the new container has another. */
export function imageChange({ image }: StepResults): { image_changed?: true } {
  return image?.isChanged === true ? { image_changed: true } : {};
}

/**
 * The outcome of a pause. The run goes on, with its end; its lifetime begins anew when it is resumed.
 *
 * @param reason if the pause was not requested
 */
export function pausedOutcome(row: ContainerRow, reason: PauseReason | null = null): Outcome {
  const patch: ContainerPatch = { status: 'paused', statusReason: reason, endsAt: null };
  const data = { ...containerFacts({ ...row, ...patch }), ...(reason && { reason }) };
  return { patch, events: [{ type: 'container_paused', data }] };
}

/** The outcome of resuming a paused container, which counts as a use: otherwise it could be idle at once. */
export function resumedOutcome(row: ContainerRow, now: Date): Outcome {
  const patch: ContainerPatch = {
    status: 'running',
    statusReason: null,
    lastUsedAt: now,
    endsAt: lifetimeEnd(row, now),
  };
  return { patch, events: [{ type: 'container_resumed', data: containerFacts({ ...row, ...patch }) }] };
}

/** Present only if the container was paused, and was resumed so that its processes could end. */
function resumption({ status }: ContainerRow): { resumed?: true } {
  return status === 'paused' ? { resumed: true } : {};
}

/**
 * The outcome of stopping a running or paused container, or one in `error`, which has no container in Docker.
 *
 * @param ending the reason, if the stop was not requested
 */
export function stoppedOutcome(row: ContainerRow, ending: StopEnding | null = null): Outcome {
  if (!isUp(row.status) && row.status !== 'error') return NOTHING;
  const reason = ending && ENDED[ending];
  const patch: ContainerPatch = {
    status: 'stopped',
    statusReason: reason,
    ipAddress: null,
    runStartedAt: null,
    ...NO_RUN,
  };
  const data = { ...containerFacts({ ...row, ...patch }), ...(reason && { reason }), ...resumption(row) };
  return { patch, events: [{ type: 'container_stopped', data }] };
}

const ENDED: Readonly<Record<StopEnding, StopReason>> = {
  expire: 'session_expired',
  lifetime: 'lifetime_over',
  idle: 'idle',
  suspend: 'user_suspended',
};

/**
 * @param options.purgeAt when the volume may be removed; null: never
 * @param options.reason why, if the deletion was not requested
 * @param options.isForced Docker may still have the container
 */
export function deletedOutcome(
  row: ContainerRow,
  options: { now: Date; purgeAt: Date | null; reason?: DeletionReason | undefined; isForced?: boolean },
): Outcome {
  const purge_at = options.purgeAt?.toISOString() ?? null;
  const { reason } = options;
  const data = { ...containerFacts(row), status: 'deleted', purge_at, ...(reason && { reason }), ...resumption(row) };
  return {
    patch: {
      deletedAt: options.now,
      purgeAt: options.purgeAt,
      removalPendingSince: options.isForced === true ? options.now : null,
      ...NO_RUN,
    },
    events: [{ type: 'container_deleted', data }],
  };
}

/** How the row changes if its container was replaced: see {@link recreated}; also the layers that were kept. */
export function replaced(row: ContainerRow, results: StepResults): ContainerPatch {
  const { committedBytes } = results;
  return { ...recreated(results), ...(committedBytes !== undefined && { keptLayerMb: keptWith(row, committedBytes) }) };
}

/** What clients are told of the replacement of a container. */
export function replacementData(row: ContainerRow, results: StepResults) {
  const restarted = wasRestarted(row, results);
  if (results.replacementId === undefined || row.engineId === null) return { restarted };
  return { restarted, old_id: plainId(row.engineId), root_kept: results.rootKept === true, ...imageChange(results) };
}

/** Whether an operation restarted a running container by replacing it. */
export function wasRestarted(row: ContainerRow, results: StepResults): boolean {
  return row.status === 'running' && results.replacementId !== undefined;
}

/** The outcome of a failed creation. The row stays, with the reason; a start retries the creation. */
export function failedCreationOutcome(row: ContainerRow, reason: string): Outcome {
  const patch: ContainerPatch = { status: 'error', statusReason: reason };
  const data = {
    ...containerFacts({ ...row, ...patch }),
    reason,
    message: CREATION_FAULTS[reason] ?? 'the creation failed',
  };
  return { patch, events: [{ type: 'container_error', data }] };
}

/** The outcome of a creation that was superseded by another operation: failed. Rows in other statuses do not change. */
export function supersededOutcome(row: ContainerRow): Outcome {
  return row.status === 'creating' ? failedCreationOutcome(row, 'interrupted') : NOTHING;
}

const CREATION_FAULTS: Readonly<Record<string, string>> = {
  image_not_found: 'the image does not exist, or requires credentials to be pulled',
  image_not_built: 'the image is missing from the machine, where an operator must build it',
  image_access_denied: 'the registry denied access to the image; its credentials are missing or wrong',
  image_unavailable: 'the image could not be pulled; its registry does not respond',
  start_refused: 'the image cannot run as a sandbox',
  copy_failed: 'the snapshot or the copy of its data could not be created',
  data_too_large: "the snapshot's data does not fit",
  docker_unavailable: 'Docker is unreachable',
  node_unavailable: 'the node is unreachable',
  docker_changed: 'Docker is not the daemon that holds the containers; an operator must resolve this',
  docker_error: 'Docker returned an error',
  no_capacity: 'the machine has not enough capacity for another container',
  cancelled: 'the creation was cancelled',
  interrupted: 'the creation was interrupted',
};
