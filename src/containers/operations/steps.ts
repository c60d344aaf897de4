import { type EngineState, layerImage } from '../../engine';
import { isSamePolicy, type NetworkPolicy } from '../../network-policy';
import type { ContainerRow } from '../model/container.entity';

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

/** What each verb's plan follows from, besides the verb's own preparation. */
export interface PlanInput {
  readonly row: Pick<ContainerRow, 'id' | 'status' | 'engineId' | 'generation' | 'volumeName'> & ContainerLimits;
  readonly observed: ObservedState;
  /** With a creation only: no attempt has done anything in Docker for this row yet. */
  readonly isNew?: boolean;
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

/**
 * The name of a volume that a row's data moves to. Unique per attempt, so that the volume of an abandoned attempt never
 * interferes with a later one.
 *
 * @param attempt the lease's id
 */
export function movedVolumeName(row: Pick<ContainerRow, 'id' | 'generation'>, attempt: string): string {
  return `${containerName(row.id)}-v${String(row.generation + 1)}-${attempt.slice(0, 8)}`;
}

/** A plan without cleanup. */
export function stepsOnly(steps: readonly Step[]): Plan {
  return { steps, cleanup: [] };
}

/** Whether Docker has the row's container whole. */
export function exists({ row, observed }: PlanInput): boolean {
  return row.engineId !== null && observed !== 'missing' && observed !== 'broken';
}

export function sameLimits(a: ContainerLimits, b: ContainerLimits): boolean {
  const isSameSize = a.memoryMb === b.memoryMb && a.cpuShares === b.cpuShares && a.diskMb === b.diskMb;
  return isSameSize && isSamePolicy(a.network, b.network);
}

/** A half-removed container still holds its name. */
export function removeRemains({ row, observed }: PlanInput): Step[] {
  return row.engineId !== null && observed === 'broken'
    ? [{ do: 'remove_container', target: 'current', because: `it is ${observed}` }]
    : [];
}

/** Creates and starts a container where Docker has none. @param seed the snapshot that it is made from */
export function recreate({ row, isNew = false }: PlanInput, seed: Seed | null): Step[] {
  const data: Step[] = [];
  if (seed?.untilMade) data.push({ do: 'await_seed', because: 'the snapshot is still being made' });
  data.push(...copySeed(seed, { to: row.volumeName, because: 'it begins with this data' }));
  const start: Step = { do: 'start_container', target: 'replacement', because: 'asked to run' };
  const image: Step[] = [...copySeedLayer(row, seed), { do: 'ensure_image', because: 'a container needs its image' }];
  return [
    {
      do: 'in_parallel',
      branches: [[ensureVolume(row, { isNew })], image],
      because: 'independent of each other',
    },
    {
      do: 'create_container',
      name: containerName(row.id),
      generation: row.generation + 1,
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

export function ensureVolume({ volumeName }: PlanInput['row'], { isNew = false } = {}): Step {
  return { do: 'ensure_volume', volume: volumeName, ...(isNew && { isNew }), because: 'the data lives in it' };
}

/** Copies the data of a snapshot, which is at rest. */
export function copySeed(seed: Seed | null, { to, because }: { to: string; because: string }): Step[] {
  if (seed?.volume == null) return [];
  const { volume: from, node: fromNode } = seed;
  return [{ do: 'copy_volume', from, to, ...(fromNode !== undefined && { fromNode }), because }];
}

/** Brings the layer of a snapshot to the node of the container that is made from it. */
export function copySeedLayer(row: PlanInput['row'], seed: Seed | null): Step[] {
  if (seed?.node === undefined || seed.layerId === null) return [];
  return [{ ...copyLayer(row), imageId: seed.layerId, fromNode: seed.node }];
}

/** Copies the image of a layer between nodes; the caller adds the nodes, and the image if it exists already. */
export function copyLayer({ id, generation }: PlanInput['row']): CopyLayer {
  const because = 'no registry has this image';
  return { do: 'copy_layer', reference: layerImage(id, generation), because };
}

/** Makes an image of the writable layer. Nothing may write to it. */
export function keepLayer(reference: string): Step[] {
  return [{ do: 'commit_layer', reference, because: 'the new container begins with it' }, flattenLayer(reference)];
}

export function flattenLayer(reference: string): Step {
  return { do: 'flatten_layer', reference, because: 'the number of layers is limited' };
}

export function stopCurrent(because: string): Step {
  return { do: 'stop_container', target: 'current', because };
}

/** Stops the container for its replacement, which begins without the layer that was found unwritten. */
export function stopReplaced(layer: LayerToKeep | null, because: string): Step[] {
  return layer?.isKept === true ? [stopCurrent(because), confirmUnwritten] : [stopCurrent(because)];
}

export const confirmUnwritten: Step = {
  do: 'confirm_unwritten',
  target: 'current',
  because: 'its layer may have been written since',
};
export const confirmStopped: Step = {
  do: 'confirm_stopped',
  target: 'current',
  because: 'an operator may have started it, and it writes to the old volume',
};
export const confirmFirstRun: Step = {
  do: 'confirm_running',
  target: 'replacement',
  by: 'watch_unless_proven',
  because: 'this image has not yet run as a sandbox',
};
export const startReplacement: readonly Step[] = [
  { do: 'start_container', target: 'replacement', because: 'it was running before' },
  {
    do: 'confirm_running',
    target: 'replacement',
    by: 'one_look',
    because: 'the old one is removed only once the new one runs',
  },
];
