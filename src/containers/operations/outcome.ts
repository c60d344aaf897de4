import { plainId } from '../../engine';
import { isDeepStrictEqual } from 'node:util';
import type { EventDraft } from '../../events';
import {
  containerFacts,
  type ContainerRow,
  type DeletionReason,
  isUp,
  keptWith,
  type StopEnding,
  type StopReason,
} from '../model/container.entity';
import type { ContainerPatch } from '../rows/container.repository';
import type { NewEnvironment } from '../rows/environments';
import { newRun, NO_RUN, resumedRun, type RunPolicy } from '../policies/run-policy';
import type { Facts } from './executor';
import type { SnapshotRow } from '../model/snapshot.entity';
import type { IdleAction } from '../../tiers';
import type { StartCommand } from '../model/start-command';
import type { ContainerLimits, Destination } from './plan';

/** What a successful operation writes. */
export interface Outcome {
  readonly patch: ContainerPatch;
  readonly events: readonly EventDraft[];
  /** Writes of other rows in the same transaction, which locks the user's row. */
  readonly also?: () => Promise<void>;
}

/** The settings that an update requests. The name may be unchanged; an absent property leaves its setting unchanged. */
export type Wanted = ContainerLimits & {
  readonly name: string;
  readonly env?: NewEnvironment;
  readonly autoStopSeconds?: number | null | undefined;
  readonly idleAction?: IdleAction | null | undefined;
  readonly autoDeleteSeconds?: number | null | undefined;
  readonly autoStart?: boolean | undefined;
  readonly start?: StartCommand | null | undefined;
  readonly labels?: Readonly<Record<string, string>> | undefined;
};

/**
 * What a client's request wants of a container, given the row under the lease: what the request leaves out stays.
 *
 * @throws DomainError if the request does not apply to the row
 */
export type Change = (row: ContainerRow) => Wanted;

/** Whether an update changes the name, the variables, the labels, the idle limits or the start command. */
export function changesSettings(row: ContainerRow, wanted: Wanted): boolean {
  const isSame = isDeepStrictEqual(endsAfter(row, wanted), endsAfter(row, {}));
  const isSameStart = wanted.start === undefined || isDeepStrictEqual(row.start, wanted.start);
  const isSameLabels = wanted.labels === undefined || isDeepStrictEqual(row.labels, wanted.labels);
  return row.name !== wanted.name || wanted.env !== undefined || !isSame || !isSameStart || !isSameLabels;
}

/** The columns about what happens to an unused container, and at its next use. */
type Ends = Pick<ContainerRow, 'autoStopSeconds' | 'idleAction' | 'autoDeleteSeconds' | 'autoStart'>;

function endsAfter(row: ContainerRow, wanted: { readonly [F in keyof Ends]?: Ends[F] | undefined }): Ends {
  const { autoStopSeconds = row.autoStopSeconds, autoDeleteSeconds = row.autoDeleteSeconds } = wanted;
  const { idleAction = row.idleAction, autoStart = row.autoStart } = wanted;
  return { autoStopSeconds, idleAction, autoDeleteSeconds, autoStart };
}

/** The outcome of an operation that changed nothing. */
export const NOTHING: Outcome = { patch: {}, events: [] };

/**
 * Points the row at its new Docker container. If the container was not inspected yet, the first inspection adds the
 * address and the start time.
 */
function recreated(facts: Facts): ContainerPatch {
  if (facts.replacementId === undefined || facts.generation === undefined) return {};
  const { replacementId: engineId, generation, runtime = null } = facts;
  const { ipAddress = null, startedAt: runStartedAt = null } = facts.observed ?? {};
  return { engineId, generation, runtime, ipAddress, runStartedAt, seedSnapshotId: null, ...imageOf(facts) };
}

/**
 * The image version that the new container was created from. The container's inspection decides: since it was looked
 * up, the reference may name another version.
 */
function imageOf({ observed, image }: Facts): Pick<ContainerPatch, 'imageId' | 'imageDigest'> {
  const imageId = observed?.imageId ?? image?.version.id ?? null;
  return { imageId, imageDigest: image?.version.id === imageId ? image.version.digest : null };
}

/** Present only if the old container's image version was no longer available, so that the new container has another. */
function imageChange({ image }: Facts): { image_changed?: true } {
  return image?.isChanged === true ? { image_changed: true } : {};
}

/** The outcome of a creation or a start: running, with an event unless the container was running already. */
export function startedOutcome(row: ContainerRow, facts: Facts, policy: RunPolicy): Outcome {
  const replacement = recreated(facts);
  const used: ContainerPatch = { lastUsedAt: policy.now };
  if (row.status === 'running' && replacement.engineId === undefined && facts.wasRunning === true) {
    return { patch: used, events: [] };
  }
  if (row.status === 'paused' && replacement.engineId === undefined) return resumedOutcome(row, policy.now);
  const run = replacement.engineId === undefined ? newRun(policy) : resumedRun(row, policy);
  const patch: ContainerPatch = {
    status: 'running',
    statusReason: null,
    runStartedAt: null,
    ...used,
    ...run,
    ...replacement,
  };
  const data = { ...containerFacts({ ...row, ...patch }), ...recreation(row, facts) };
  return { patch, events: [{ type: 'container_started', data }] };
}

/** Present only if an existing container was recreated. */
export function recreation(
  row: ContainerRow,
  facts: Facts,
): { recreated?: true; old_id?: string; volume_kept?: boolean; image_changed?: true } {
  if (facts.replacementId === undefined || row.engineId === null) return {};
  return {
    recreated: true,
    old_id: plainId(row.engineId),
    volume_kept: facts.volumeExisted === true,
    ...imageChange(facts),
  };
}

/** The outcome of a pause. The run goes on, with its end. @param reason if the pause was not requested */
export function pausedOutcome(row: ContainerRow, reason: 'idle' | null = null): Outcome {
  const patch: ContainerPatch = { status: 'paused', statusReason: reason };
  const data = { ...containerFacts({ ...row, ...patch }), ...(reason && { reason }) };
  return { patch, events: [{ type: 'container_paused', data }] };
}

/** The outcome of resuming a paused container, which counts as a use: otherwise it could be idle at once. */
export function resumedOutcome(row: ContainerRow, now: Date): Outcome {
  const patch: ContainerPatch = { status: 'running', statusReason: null, lastUsedAt: now };
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

/** The outcome of a restoration. Always `stopped`, as only the container's data is left. */
export function restoredOutcome(row: ContainerRow): Outcome {
  const patch: ContainerPatch = {
    deletedAt: null,
    purgeAt: null,
    status: 'stopped',
    statusReason: null,
    ipAddress: null,
    runStartedAt: null,
    ...NO_RUN,
  };
  return { patch, events: [{ type: 'container_restored', data: containerFacts({ ...row, ...patch }) }] };
}

export function updatedOutcome(
  row: ContainerRow,
  wanted: Wanted,
  { facts, now }: { facts: Facts; now: Date },
): Outcome {
  const { name, memoryMb, cpuShares, diskMb, network, env } = wanted;
  const patch: ContainerPatch = {
    name,
    memoryMb,
    cpuShares,
    diskMb,
    network,
    ...endsAfter(row, wanted),
    lastUsedAt: now,
    ...(wanted.start !== undefined && { start: wanted.start }),
    ...(wanted.labels !== undefined && { labels: wanted.labels }),
    ...(env && { sealedEnv: env.sealed }),
    ...(facts.volumeName !== undefined && { volumeName: facts.volumeName }),
    ...recreated(facts),
    ...keptLayer(row, facts),
  };
  const data = { ...containerFacts({ ...row, ...patch }), ...replacementOf(row, facts) };
  return { patch, events: [{ type: 'container_updated', data }] };
}

/** The outcome of a return to a snapshot: an update that changes no setting. */
export function restoredSnapshotOutcome(
  row: ContainerRow,
  { keptLayerMb: layerMb }: Pick<SnapshotRow, 'keptLayerMb'>,
  { facts, now }: { facts: Facts; now: Date },
): Outcome {
  const { patch, events } = updatedOutcome(row, row, { facts, now });
  return { patch: { ...patch, keptLayerMb: layerMb }, events };
}

/** The outcome of a move to another node. The row keeps the old node as `otherNodeId` until the cleanup is done. */
export function movedOutcome(row: ContainerRow, { node, volume, hasData }: Destination, facts: Facts): Outcome {
  const isMade = facts.replacementId !== undefined;
  // Otherwise the data is on a node that was given up, and returns if that node does.
  const isDataHere = row.formerNodeId === null || row.formerNodeId === row.nodeId;
  const patch: ContainerPatch = {
    nodeId: node,
    otherNodeId: row.nodeId,
    unreachableSince: null,
    notMovedBecause: null,
    ...((isMade || hasData) && { volumeName: volume }),
    ...(!isMade && hasData && isDataHere && { formerNodeId: node }),
    ...recreated(facts),
    ...keptLayer(row, facts),
  };
  const data = { ...containerFacts({ ...row, ...patch }), ...replacementOf(row, facts) };
  return { patch, events: [{ type: 'container_moved', data }] };
}

/** What clients are told of the replacement of a container. */
function replacementOf(row: ContainerRow, facts: Facts) {
  const restarted = wasRestarted(row, facts);
  if (facts.replacementId === undefined || row.engineId === null) return { restarted };
  return { restarted, old_id: plainId(row.engineId), root_kept: facts.rootKept === true, ...imageChange(facts) };
}

/** The layers of a container whose own layer was kept. */
function keptLayer(row: ContainerRow, { committedBytes }: Facts): ContainerPatch {
  return committedBytes === undefined ? {} : { keptLayerMb: keptWith(row, committedBytes) };
}

/** Whether an operation restarted a running container by replacing it. */
export function wasRestarted(row: ContainerRow, facts: Facts): boolean {
  return row.status === 'running' && facts.replacementId !== undefined;
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
