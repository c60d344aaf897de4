import { type EngineState, isHalfGone, layerImage } from '../../engine';
import { isSamePolicy, type NetworkPolicy } from '../../network-policy';
import { type ContainerRow, isUp, type Verb } from '../model/container.entity';

/** `current` is the row's Docker container, `replacement` the one that the plan creates. */
export type Target = 'current' | 'replacement';

/**
 * How a start is confirmed. `one_look`: one inspection. `watch_unless_proven`: if this process has not seen the image
 * run yet, the container must stay up for a moment, as a missing main process fails only after a successful start.
 */
type Confirmation = 'one_look' | 'watch_unless_proven';

/** One call to the engine, and why. `node`: the node of the call, if it is not the row's. */
export type Step = { readonly because: string } & (
  | { readonly do: 'ensure_image'; readonly node?: string }
  /** `isNew`: the volume cannot exist yet. */
  | {
      readonly do: 'ensure_volume';
      readonly volume: string;
      readonly isNew?: boolean;
      readonly node?: string;
      /** The owner of the volume, if that is not the container. */
      readonly owner?: VolumeOwner;
    }
  /** `sawCurrent`: the row's container was just seen in this Docker, so its volume is in this Docker too. */
  | {
      readonly do: 'create_container';
      readonly name: string;
      readonly generation: number;
      readonly volume: string;
      readonly sawCurrent?: boolean;
      /** The data of a snapshot is copied into the volume, also after the container has started. */
      readonly isSeeded?: boolean;
      readonly node?: string;
    }
  | { readonly do: 'start_container'; readonly target: Target }
  | { readonly do: 'pause_container' | 'unpause_container'; readonly target: Target }
  | { readonly do: 'stop_container'; readonly target: Target }
  | { readonly do: 'confirm_running'; readonly target: Target; readonly by: Confirmation }
  /**
   * Copies the data, from `fromNode` and to `node` if set, and compares copy and source. No container may run on either
   * volume.
   */
  | {
      readonly do: 'copy_volume';
      readonly from: string;
      readonly to: string;
      readonly fromNode?: string;
      readonly node?: string;
    }
  /** Waits until the snapshot that the container is made from has all its files. */
  | { readonly do: 'await_seed' }
  /** Fails with {@link LayerWrittenError} if something was written to the layer, which was found unwritten before. */
  | { readonly do: 'confirm_unwritten'; readonly target: Target }
  /** Makes an image of the writable layer, which nothing may write to. */
  | { readonly do: 'commit_layer'; readonly reference: string }
  /** Copies the image of a layer between nodes. Without `imageId`: the one that was just made. */
  | {
      readonly do: 'copy_layer';
      readonly reference: string;
      readonly imageId?: string;
      readonly fromNode?: string;
      readonly node?: string;
    }
  /** Keeps the image below Docker's limit of layers. */
  | { readonly do: 'flatten_layer'; readonly reference: string }
  | { readonly do: 'confirm_stopped' | 'confirm_paused'; readonly target: Target }
  | { readonly do: 'remove_container'; readonly target: Target }
  | { readonly do: 'rename_container'; readonly target: Target; readonly name: string }
  | { readonly do: 'remove_volume'; readonly volume: string }
  /** Independent branches, the steps of each in order. Ends when all branches have ended, also if one fails. */
  | { readonly do: 'in_parallel'; readonly branches: readonly (readonly Step[])[] }
);

type CopyVolume = Extract<Step, { readonly do: 'copy_volume' }>;
type CopyLayer = Extract<Step, { readonly do: 'copy_layer' }>;

/** What an operation does: `steps` before its outcome is committed, `cleanup` in the background afterwards. */
export interface Plan {
  readonly steps: readonly Step[];
  readonly cleanup: readonly Step[];
}

/**
 * The observed state of the row's Docker container. `unseen`: not inspected; the row is trusted until Docker disagrees.
 */
export type ObservedState = EngineState | 'missing' | 'unseen';

/** The limits and the network that an update requests. */
export interface ContainerLimits {
  readonly memoryMb: number;
  readonly cpuShares: number;
  readonly diskMb: number;
  readonly network: NetworkPolicy;
}

export interface PlanInput {
  readonly verb: Verb;
  readonly row: Pick<ContainerRow, 'id' | 'status' | 'engineId' | 'generation' | 'volumeName'> & ContainerLimits;
  readonly observed: ObservedState;
  /** With `create` only: no attempt has done anything in Docker for this row yet. */
  readonly isNew?: boolean;
  /** With `start` only: the present container is not to be used. */
  readonly isReplaced?: boolean;
  /** With `update` only. */
  readonly wanted?: ContainerLimits & { readonly name?: string };
  /** With `update` and `move` only, if the container is replaced. */
  readonly layer?: LayerToKeep | null;
  /** With `update` only: the volume that the data has to move to; null: the data stays. */
  readonly moveTo?: string | null;
  /** With `move` only. */
  readonly move?: Destination;
  /** With `snapshot` only. */
  readonly snapshot?: PlannedSnapshot;
  /**
   * What the container is made from: with `create`, with `start` before the first container, and with an `update` that
   * restores a snapshot.
   */
  readonly seed?: Seed | null;
}

/** What happens to the writable layer of a container that is replaced. */
export interface LayerToKeep {
  /** False if its files are lost with it. */
  readonly isKept: boolean;
  /** The image to make of it; null: nothing was written to it. */
  readonly reference: string | null;
  /** Docker's id of the container's image if that was made of a layer, and no registry has it. */
  readonly imageId?: string | null;
}

/** A snapshot, or another container of the same user. */
export interface VolumeOwner {
  readonly id: string;
  readonly isSnapshot: boolean;
}

/** A snapshot to make. */
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

/** The snapshot that a container is made from; its image is known, while its data may still be copied. */
export interface Seed {
  /** Docker's id of the image of the writable layer; null: the image that the snapshot's container had. */
  readonly layerId: string | null;
  readonly image: Pick<ContainerRow, 'image' | 'imageId' | 'imageDigest'>;
  readonly hasData: boolean;
  /** The volume to copy; null: there is no data, or the making of the snapshot copies it where it belongs. */
  readonly volume: string | null;
  /** Resolves once the snapshot is made; null: it is. Rejects if it failed, or as `assertWanted` does. */
  readonly untilMade: ((assertWanted: () => Promise<void>) => Promise<void>) | null;
  /** The node of both, if the container is on another one. */
  readonly node?: string;
}

/** The target of a move to another node. */
export interface Destination {
  readonly node: string;
  /** The name of the new volume there. */
  readonly volume: string;
  /** Whether there is data to copy. */
  readonly hasData: boolean;
}

/** The name of the Docker container of a row. */
export function containerName(id: string): string {
  return `berth-${id}`;
}

/** The name of a row's second container: at first the replacement has it, later the container that was replaced. */
function generationName(id: string, generation: number): string {
  return `${containerName(id)}-g${String(generation)}`;
}

/**
 * The name of a volume that a row's data moves to. Unique per attempt, so that the volume of an abandoned attempt never
 * interferes with a later one.
 *
 * @param attempt the lease's id
 */
export function movedVolumeName(row: Pick<ContainerRow, 'id' | 'generation'>, attempt: string): string {
  return `${containerName(row.id)}-v${String(row.generation + 1)}-${attempt.slice(0, 8)}`;
}

/** Plans an operation; makes no calls. Every combination of row, observed state and verb has a plan. */
export function planOperation(input: PlanInput): Plan {
  const exists = input.row.engineId !== null && input.observed !== 'missing' && !isHalfGone(input.observed);
  switch (input.verb) {
    case 'create':
      return before([...removeRemains(input), ...recreate(input), firstRun]);
    case 'start':
      if (exists && input.isReplaced === true) {
        const because = 'a warm slot that does not run may have had other use';
        return before([{ do: 'remove_container', target: 'current', because }, ...recreate(input)]);
      }
      return before(exists ? [resume(input)] : [...removeRemains(input), ...recreate(input), ...ifFirstRun(input)]);
    case 'stop':
      return before(exists ? [stop('asked to stop')] : []);
    case 'pause':
      return before([{ do: 'pause_container', target: 'current', because: 'asked to pause' }]);
    case 'resume':
      return before([{ do: 'unpause_container', target: 'current', because: 'asked to go on' }]);
    case 'delete':
      return before(exists ? takeDown(input) : removeRemains(input));
    case 'update':
      return planUpdate(input, exists);
    case 'move':
      return planMove(input);
    case 'snapshot':
      return before(planSnapshot(input));
  }
}

/**
 * The container is suspended while its layer and its data are read. Slow work that does not need that comes before or
 * after.
 */
function planSnapshot({ row, snapshot }: PlanInput): Step[] {
  if (!snapshot) return [];
  const { owner, layer, volume, hasData } = snapshot;
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
  if (layer !== null) steps.push(flatten(layer));
  return steps;
}

/**
 * Renames no container: container names are unique per node. A layer that is to be kept can be read only once nothing
 * writes to it, so the old container stops before the new one is created then.
 */
function planMove(input: PlanInput): Plan {
  const { row, move: destination, layer } = input;
  if (!destination) return before([]);
  const { node, volume, hasData } = destination;
  const hasContainer = row.engineId !== null;
  const runs = hasContainer && isUp(row.status);
  const { reference = null, imageId = null } = (hasContainer ? layer : null) ?? {};
  const steps: Step[] = [];
  const cleanup: Step[] = [];
  if (hasContainer) cleanup.push({ do: 'remove_container', target: 'current', because: 'it has moved' });
  if (hasContainer && reference === null) {
    if (imageId !== null) steps.push({ ...copiedLayer(row), imageId, node });
    steps.push({ do: 'ensure_image', node, because: 'the other machine may not have it' });
  }
  if (hasContainer || hasData) steps.push({ do: 'ensure_volume', volume, node, because: 'the data moves into it' });
  if (reference !== null) {
    if (runs) steps.push(stop('nothing may write to layer and data'));
    steps.push(...keepLayer(reference), { ...copiedLayer(row), node });
  }
  if (hasContainer) {
    const created = { name: containerName(row.id), generation: row.generation + 1, volume, node };
    const because = reference === null ? 'created before the old one stops' : 'it begins with the layer';
    steps.push({ do: 'create_container', ...created, because });
  }
  if (runs && reference === null) steps.push(...stopReplaced(input, 'what writes to the data must end'));
  if (hasData) {
    steps.push({ do: 'copy_volume', from: row.volumeName, to: volume, node, because: 'the data is at rest' });
    cleanup.push({ do: 'remove_volume', volume: row.volumeName, because: 'the data has moved' });
  }
  if (hasContainer && (hasData || reference !== null)) steps.push(confirmStopped);
  if (runs) steps.push(...startReplacement);
  return { steps, cleanup };
}

function planUpdate(input: PlanInput, exists: boolean): Plan {
  const { row, wanted, moveTo = null } = input;
  if (!wanted || (moveTo === null && sameLimits(row, wanted))) return before([]);
  const outgrown: Step[] =
    moveTo === null ? [] : [{ do: 'remove_volume', volume: row.volumeName, because: 'the data has moved' }];
  if (row.engineId === null) return { steps: [...newVolume(moveTo), ...move(input, 'nothing')], cleanup: outgrown };
  const generation = row.generation + 1;
  const name = exists ? generationName(row.id, generation) : containerName(row.id);
  const reference = input.layer?.reference ?? null;
  if (exists && reference !== null) return planKeepingUpdate(input, { reference, outgrown });
  const prepare: Step[] = [
    ...removeRemains(input),
    ...seededLayer(input),
    { do: 'ensure_image', because: 'the image may have been removed since' },
    ...(moveTo === null && !exists ? [ensureVolume(row)] : newVolume(moveTo)),
    ...restoredData(input),
    {
      do: 'create_container',
      name,
      generation,
      volume: moveTo ?? row.volumeName,
      ...(input.seed?.hasData && { isSeeded: true }),
      // An update inspects the container before it is planned.
      ...(exists && isUp(row.status) && { sawCurrent: true }),
      because: 'new limits take a new container; created before the old one stops',
    },
  ];
  if (!exists) return { steps: [...prepare, ...move(input, 'nothing')], cleanup: outgrown };
  const remove: Step = { do: 'remove_container', target: 'current', because: 'replaced' };
  const cleanup = [remove, ...outgrown];
  if (!isUp(row.status)) {
    return { steps: [...prepare, ...move(input, 'current'), ...handOverName(row)], cleanup };
  }
  const swap: Step[] = [
    {
      do: 'in_parallel',
      branches: [stopReplaced(input, 'two must never run on one volume'), handOverName(row)],
      because: 'the old one can be renamed while it stops',
    },
    ...move(input, 'current'),
    ...startReplacement,
  ];
  return { steps: [...prepare, ...swap], cleanup };
}

/**
 * The layer can be read only once nothing writes to it, so the old container stops before the new one is created. It
 * stays until the new one runs, and is started again if anything fails.
 */
function planKeepingUpdate(
  input: PlanInput,
  { reference, outgrown }: { reference: string; outgrown: readonly Step[] },
): Plan {
  const { row, moveTo = null } = input;
  const generation = row.generation + 1;
  const runs = isUp(row.status);
  const steps: Step[] = [
    ...newVolume(moveTo),
    ...(runs ? [stop('nothing may write to the layer that is kept')] : []),
    ...keepLayer(reference),
    {
      do: 'create_container',
      name: generationName(row.id, generation),
      generation,
      volume: moveTo ?? row.volumeName,
      ...(runs && { sawCurrent: true }),
      because: 'new limits take a new container',
    },
    ...handOverName(row),
    ...move(input, 'current'),
  ];
  if (runs) steps.push(...startReplacement);
  return { steps, cleanup: [{ do: 'remove_container', target: 'current', because: 'replaced' }, ...outgrown] };
}

function keepLayer(reference: string): Step[] {
  return [{ do: 'commit_layer', reference, because: 'the new container begins with it' }, flatten(reference)];
}

function flatten(reference: string): Step {
  return { do: 'flatten_layer', reference, because: 'the number of layers is limited' };
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

function newVolume(moveTo: string | null): Step[] {
  if (moveTo === null) return [];
  return [{ do: 'ensure_volume', volume: moveTo, because: "a volume's size is fixed at creation" }];
}

/** The data of a snapshot is at rest, so it is copied before the container stops. */
function restoredData({ moveTo = null, seed }: PlanInput): Step[] {
  if (moveTo === null || seed?.volume == null) return [];
  return [{ ...seededData(seed, seed.volume), to: moveTo, because: 'the container returns to this data' }];
}

function seededData({ node }: Seed, volume: string): Pick<CopyVolume, 'do' | 'from' | 'fromNode'> {
  return { do: 'copy_volume', from: volume, ...(node !== undefined && { fromNode: node }) };
}

/** Brings the layer of a snapshot to the node of the container that is made from it. */
function seededLayer({ row, seed }: PlanInput): Step[] {
  if (seed?.node === undefined || seed.layerId === null) return [];
  return [{ ...copiedLayer(row), imageId: seed.layerId, fromNode: seed.node }];
}

function copiedLayer({ id, generation }: PlanInput['row']): CopyLayer {
  const because = 'no registry has this image';
  return { do: 'copy_layer', reference: layerImage(id, generation), because };
}

/** Copies the data if it has to move. @param user the container that might write to the data meanwhile */
function move({ row, moveTo = null, seed }: PlanInput, user: 'current' | 'nothing'): Step[] {
  if (moveTo === null || seed) return [];
  return [
    { do: 'copy_volume', from: row.volumeName, to: moveTo, because: 'the data is at rest' },
    ...(user === 'nothing' ? [] : [confirmStopped]),
  ];
}

export function sameLimits(a: ContainerLimits, b: ContainerLimits): boolean {
  const isSameSize = a.memoryMb === b.memoryMb && a.cpuShares === b.cpuShares && a.diskMb === b.diskMb;
  return isSameSize && isSamePolicy(a.network, b.network);
}

const ensureVolume = ({ volumeName }: PlanInput['row'], isNew = false): Step => ({
  do: 'ensure_volume',
  volume: volumeName,
  ...(isNew && { isNew }),
  because: 'the data lives in it',
});
const confirmStopped: Step = {
  do: 'confirm_stopped',
  target: 'current',
  because: 'an operator may have started it, and it writes to the old volume',
};
const startReplacement: readonly Step[] = [
  { do: 'start_container', target: 'replacement', because: 'it was running before' },
  {
    do: 'confirm_running',
    target: 'replacement',
    by: 'one_look',
    because: 'the old one is removed only once the new one runs',
  },
];
const confirmPaused: Step = {
  do: 'confirm_paused',
  target: 'current',
  because: 'Docker reads a running container as readily, and it may have been resumed',
};
const confirmUnwritten: Step = {
  do: 'confirm_unwritten',
  target: 'current',
  because: 'its layer may have been written since',
};
const firstRun: Step = {
  do: 'confirm_running',
  target: 'replacement',
  by: 'watch_unless_proven',
  because: 'this image has not yet run as a sandbox',
};
const ifFirstRun = ({ row }: PlanInput): Step[] => (row.engineId === null ? [firstRun] : []);
const stop = (because: string): Step => ({ do: 'stop_container', target: 'current', because });
/** Stops the container for its replacement, which begins without the layer that was found unwritten. */
const stopReplaced = ({ layer }: PlanInput, because: string): Step[] => {
  return layer?.isKept === true ? [stop(because), confirmUnwritten] : [stop(because)];
};
const before = (steps: readonly Step[]): Plan => ({ steps, cleanup: [] });

/** A half-removed container still holds its name. */
function removeRemains({ row, observed }: PlanInput): Step[] {
  return row.engineId !== null && isHalfGone(observed)
    ? [{ do: 'remove_container', target: 'current', because: `it is ${observed}` }]
    : [];
}

function recreate(input: PlanInput): Step[] {
  const { row, isNew, seed } = input;
  const generation = row.generation + 1;
  const data: Step[] = [];
  if (seed?.untilMade) data.push({ do: 'await_seed', because: 'the snapshot is still being made' });
  if (seed?.volume != null) {
    data.push({ ...seededData(seed, seed.volume), to: row.volumeName, because: 'it begins with this data' });
  }
  const start: Step = { do: 'start_container', target: 'replacement', because: 'asked to run' };
  const image: Step[] = [...seededLayer(input), { do: 'ensure_image', because: 'a container needs its image' }];
  return [
    {
      do: 'in_parallel',
      branches: [[ensureVolume(row, isNew)], image],
      because: 'independent of each other',
    },
    {
      do: 'create_container',
      name: containerName(row.id),
      generation,
      volume: row.volumeName,
      ...(seed?.hasData && { isSeeded: true }),
      because: 'there is none in Docker',
    },
    data.length === 0
      ? start
      : {
          do: 'in_parallel',
          branches: [[start], data],
          because: 'nothing uses the data before the outcome is written',
        },
  ];
}

function resume({ observed, row }: PlanInput): Step {
  return observed === 'paused' || (observed === 'unseen' && row.status === 'paused')
    ? { do: 'unpause_container', target: 'current', because: 'a paused container cannot be started' }
    : { do: 'start_container', target: 'current', because: 'asked to run' };
}

function takeDown({ row, observed }: PlanInput): Step[] {
  const idle = observed === 'exited' || observed === 'created' || (observed === 'unseen' && !isUp(row.status));
  const remove: Step = { do: 'remove_container', target: 'current', because: 'deleted' };
  return idle ? [remove] : [stop('processes get their SIGTERM before the end'), remove];
}
