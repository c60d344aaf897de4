import type { TaggedRequest } from '../../http';
import type { SettingsPatch } from '../dto/requests';
import { containerFacts, type ContainerRow, isUp } from '../model/container.entity';
import { settingsTag } from '../model/settings-tag';
import type { ContainerPatch } from '../rows/container.repository';
import { isLayerWritten, type StepResults } from './executor';
import type { Completed, OperationDefinition, OperationContext, PlannedOperation } from './operation';
import type { OperationLease } from './operation-lease';
import { NOTHING, type Outcome, replaced, replacementData, wasRestarted } from './outcome';
import { lifetimeEnd } from '../policies/run-policy';
import type { Recovery } from './recovery';
import { changesPlain, settingsAfter, type Settings } from './settings';
import {
  confirmStopped,
  type ContainerLimits,
  containerName,
  copySeed,
  copySeedLayer,
  ensureVolume,
  exists,
  keepLayer,
  type LayerToKeep,
  type Plan,
  type PlanInput,
  removeRemains,
  sameLimits,
  type Seed,
  startReplacement,
  type Step,
  stepsOnly,
  stopCurrent,
  stopReplaced,
} from './steps';

/** What an update, a move or a return to a snapshot did. */
export interface Updated {
  readonly row: ContainerRow;
  readonly restarted: boolean;
  /** Only if the container was replaced: whether the files outside its data volume are kept. */
  readonly rootKept?: boolean;
}

/**
 * Changes the name, resources, network, variables, labels, start command and idle limits. Only new resources or a new
 * network need Docker. A new name does not, as everything in Docker is named by the database id. New variables do not,
 * as each program gets them when it is started.
 *
 * @param patch is applied to the row under the lease, so that no other change comes between the two
 * @param tag its conditions must hold for that row
 * @throws DomainError `invalid_parameters` if the data is too large, or the merged settings are not valid;
 *   `precondition_failed`, `update_failed`, `name_taken`, `operation_in_progress`, `container_not_found`
 */
export function updating(
  patch: SettingsPatch,
  tag?: Pick<TaggedRequest, 'assertConditions'>,
): OperationDefinition<Updated> {
  const change = (row: ContainerRow, { environments }: OperationContext): Settings => {
    tag?.assertConditions(settingsTag(row));
    return settingsAfter(row, patch, environments);
  };
  return {
    verb: 'update',
    isRepeatedAfter: isLayerWritten,
    ofRowAlone: (row, context) => {
      const wanted = change(row, context);
      if (!sameLimits(row, wanted)) return null;
      const now = context.clock.now();
      if (!changesPlain(row, wanted)) return { patch: { lastUsedAt: now }, events: [] };
      return updatedOutcome(row, wanted, { results: {}, now });
    },
    prepare: async (lease, context) => {
      const { recovery, volumes, placement, clock } = context;
      await followDocker(lease, recovery);
      const wanted = change(lease.row, context);
      await lease.assertNameFree(wanted.name);
      if (isUp(lease.row.status)) await placement.reserve(lease, wanted);
      await recovery.unpause(lease, clock.now());
      return replace(lease, context, { wanted, moveTo: await volumes.destination(lease.row, wanted) });
    },
    result: updated,
  };
}

/**
 * Moves a stopped container's data to a volume with a size limit, if Docker has lost the size of the current one. Does
 * not wait for another operation.
 *
 * @throws DomainError `update_failed`, `operation_in_progress`, `container_not_found`
 */
export function movingData(): OperationDefinition<void> {
  return {
    verb: 'update',
    waitMs: 0,
    prepare: async (lease, context) => {
      const { recovery, volumes } = context;
      await followDocker(lease, recovery);
      const moveTo = lease.row.status === 'stopped' ? await volumes.destinationOfUnlabelled(lease.row) : null;
      return moveTo === null ? { write: NOTHING } : replace(lease, context, { wanted: lease.row, moveTo });
    },
    result: () => undefined,
  };
}

/**
 * Makes the row agree with Docker before an update. For a row without a container this removes unknown containers: a
 * creation that failed while Docker was unreachable may have left one running on the volume.
 */
export async function followDocker(lease: OperationLease, recovery: Recovery): Promise<void> {
  if (lease.row.engineId === null) await recovery.recover(lease, 'reconcile');
  else await recovery.observe(lease);
}

/** Replaces the Docker container by one with these settings. @param moveTo the volume that the data has to move to */
async function replace(
  lease: OperationLease,
  { volumes, clock }: OperationContext,
  { wanted, moveTo }: { wanted: Settings; moveTo: string | null },
): Promise<PlannedOperation> {
  const isReplaced = lease.row.engineId !== null && (moveTo !== null || !sameLimits(lease.row, wanted));
  const layer = isReplaced ? await volumes.layerToKeep(lease.row, wanted) : null;
  return {
    plan: (input) => planUpdate(input, { wanted, moveTo, layer, seed: null }),
    resources: wanted,
    layer,
    mostLayerBytes: await volumes.mostLayerBytes(wanted.diskMb - lease.row.keptLayerMb),
    recoverAs: 'undo',
    outcome: (results) => updatedOutcome(lease.row, wanted, { results, now: clock.now() }),
  };
}

interface UpdatePlanOptions {
  readonly wanted: ContainerLimits;
  /** The volume that the data has to move to; null: the data stays. */
  readonly moveTo: string | null;
  readonly layer: LayerToKeep | null;
  /** The snapshot that the container returns to. */
  readonly seed: Seed | null;
}

export function planUpdate(input: PlanInput, options: UpdatePlanOptions): Plan {
  const { row } = input;
  const { wanted, moveTo, layer, seed } = options;
  if (moveTo === null && sameLimits(row, wanted)) return stepsOnly([]);
  const data = copyData(input, options);
  const outgrown: Step[] =
    moveTo === null ? [] : [{ do: 'remove_volume', volume: row.volumeName, because: 'the data has moved' }];
  if (row.engineId === null) return { steps: [...newVolume(moveTo), ...data], cleanup: outgrown };
  const isThere = exists(input);
  const cleanup: Step[] = isThere
    ? [{ do: 'remove_container', target: 'current', because: 'replaced' }, ...outgrown]
    : outgrown;
  if (isThere && layer?.reference != null) {
    return { steps: keepLayerAndReplace(row, { moveTo, reference: layer.reference, data }), cleanup };
  }
  const generation = row.generation + 1;
  const prepare: Step[] = [
    ...removeRemains(input),
    ...copySeedLayer(row, seed),
    { do: 'ensure_image', because: 'the image may have been removed since' },
    ...(moveTo === null && !isThere ? [ensureVolume(row)] : newVolume(moveTo)),
    // Before the container stops.
    ...(moveTo === null ? [] : copySeed(seed, { to: moveTo, because: 'the container returns to this data' })),
    {
      do: 'create_container',
      name: isThere ? generationName(row.id, generation) : containerName(row.id),
      generation,
      volume: moveTo ?? row.volumeName,
      ...(seed?.hasData && { isSeeded: true }),
      // An update inspects the container before it is planned.
      ...(isThere && isUp(row.status) && { sawCurrent: true }),
      because: 'new limits take a new container; created before the old one stops',
    },
  ];
  if (!isThere) return { steps: [...prepare, ...data], cleanup };
  if (!isUp(row.status)) return { steps: [...prepare, ...data, ...handOverName(row)], cleanup };
  const swap: Step = {
    do: 'in_parallel',
    branches: [stopReplaced(layer, 'two must never run on one volume'), handOverName(row)],
    because: 'the old one can be renamed while it stops',
  };
  return { steps: [...prepare, swap, ...data, ...startReplacement], cleanup };
}

/**
 * The layer can be read only once nothing writes to it, so the old container stops before the new one is created. It
 * stays until the new one runs, and is started again if anything fails.
 */
function keepLayerAndReplace(
  row: PlanInput['row'],
  { moveTo, reference, data }: { moveTo: string | null; reference: string; data: readonly Step[] },
): Step[] {
  const generation = row.generation + 1;
  const runs = isUp(row.status);
  const steps: Step[] = newVolume(moveTo);
  if (runs) steps.push(stopCurrent('nothing may write to the layer that is kept'));
  steps.push(...keepLayer(reference), {
    do: 'create_container',
    name: generationName(row.id, generation),
    generation,
    volume: moveTo ?? row.volumeName,
    ...(runs && { sawCurrent: true }),
    because: 'new limits take a new container',
  });
  steps.push(...handOverName(row), ...data);
  if (runs) steps.push(...startReplacement);
  return steps;
}

function newVolume(moveTo: string | null): Step[] {
  if (moveTo === null) return [];
  return [{ do: 'ensure_volume', volume: moveTo, because: "a volume's size is fixed at creation" }];
}

/** Copies the data if it has to move. */
function copyData(input: PlanInput, { moveTo, seed }: UpdatePlanOptions): Step[] {
  if (moveTo === null || seed !== null) return [];
  return [
    { do: 'copy_volume', from: input.row.volumeName, to: moveTo, because: 'the data is at rest' },
    ...(exists(input) ? [confirmStopped] : []),
  ];
}

/** Part of the steps, not of the cleanup: clients that receive the outcome must find the new container by its name. */
function handOverName({ id, generation }: PlanInput['row']): Step[] {
  return [
    {
      do: 'rename_container',
      target: 'current',
      name: generationName(id, generation),
      because: 'names are unique in Docker',
    },
    {
      do: 'rename_container',
      target: 'replacement',
      name: containerName(id),
      because: 'the container is found by this name',
    },
  ];
}

/** The name of a row's second container: at first the replacement has it, later the container that was replaced. */
function generationName(id: string, generation: number): string {
  return `${containerName(id)}-g${String(generation)}`;
}

export function updatedOutcome(
  row: ContainerRow,
  wanted: Settings,
  { results, now }: { results: StepResults; now: Date },
): Outcome {
  const { name, memoryMb, cpuShares, diskMb, network, labels, start, env } = wanted;
  const { autoStopSeconds, idleAction, autoDeleteSeconds, autoStart } = wanted;
  const { lifetimeSeconds, endAction } = wanted;
  const patch: ContainerPatch = {
    name,
    memoryMb,
    cpuShares,
    diskMb,
    network,
    labels,
    start,
    autoStopSeconds,
    idleAction,
    autoDeleteSeconds,
    autoStart,
    lifetimeSeconds,
    endAction,
    lastUsedAt: now,
    // Without a run, it counts from the next start.
    ...(wanted.hasNewLifetime && { endsAt: row.status === 'running' ? lifetimeEnd(wanted, now) : null }),
    ...(env && { sealedEnv: env.sealed }),
    ...(results.volumeName !== undefined && { volumeName: results.volumeName }),
    ...replaced(row, results),
  };
  const data = { ...containerFacts({ ...row, ...patch }), ...replacementData(row, results) };
  return { patch, events: [{ type: 'container_updated', data }] };
}

export function updated({ row, before, results }: Completed): Updated {
  const { replacementId, rootKept } = results;
  return {
    row,
    restarted: wasRestarted(before, results),
    ...(replacementId !== undefined && before.engineId !== null && { rootKept: rootKept === true }),
  };
}
