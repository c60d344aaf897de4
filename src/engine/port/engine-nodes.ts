import { nodeOf, plainId } from './container-ids';
import { EngineError } from './engine-error';

/** One node of a cluster. */
export interface EngineNode {
  /** Unique: not reused by another machine, nor by the same machine after it has lost its data. */
  readonly id: string;
  /** The machine's hostname, for display. */
  readonly name: string;
  /** The address of the node's engine, as `tcp://HOST:PORT`. */
  readonly address: string;
  /** The node's only pool; tiers name pools. */
  readonly pool: string;
  readonly labels: Readonly<Record<string, string>>;
  /** The state according to the cluster's membership; `unknown` implies nothing. */
  readonly state: 'ready' | 'down' | 'unknown';
  /** With `drain` and `pause`, nothing is placed or started on the node; running containers stay. */
  readonly availability: 'active' | 'pause' | 'drain';
  readonly isManager: boolean;
  /** The version of the cluster's record of the node: grows with each change. */
  readonly version: number;
  readonly memoryMb: number | null;
  /** Millicores. */
  readonly cpuShares: number | null;
  /** Whether the node's engine answered this process's last ping. */
  readonly isReachable: boolean;
  /** Why no sandbox can be placed on the node although it answers; null if there is no problem. */
  readonly problem: string | null;
}

/** A copy of the image of a writable layer, with all layers below it, to another node. */
export interface LayerCopy {
  /** The engine's id of the image, the same on both nodes. */
  readonly imageId: string;
  /** The name of the copy; see `layerImage`. On the source, no image has this name afterwards. */
  readonly reference: string;
  readonly node: string | null;
  readonly toNode: string | null;
  readonly signal?: AbortSignal;
}

/** The nodes of a cluster; on a single machine {@link SINGLE_MACHINE}. */
export interface EngineNodes {
  /** The nodes as last known, without a call; null on a single machine, which has no id. */
  list(): readonly EngineNode[] | null;
  /** Whether the node is believed reachable. Always true on a single machine (`null`). */
  answers(node: string | null): boolean;
  /**
   * Sets what an earlier process knew of {@link EngineHost.identify} and {@link list}. To be called before
   * {@link EngineHost.prepare}.
   */
  remember(store: string, nodes: readonly EngineNode[]): void;
  /**
   * Tells the cluster whether containers may be placed on a node.
   *
   * @throws EngineError `docker_unavailable` if no manager can decide it, `docker_error` if there is no such node
   */
  setAvailability(node: string, availability: 'active' | 'drain'): Promise<void>;
  /**
   * Copies an image to another node, and compares their ids. Does not send it if the target has it already.
   *
   * @throws EngineError `image_not_found` if the source has no such image, `copy_failed`, `aborted`; the target may
   *   have the image then
   */
  copyLayer(copy: LayerCopy): Promise<void>;
}

/** The name of a node for the log, by its id; the id if the node is not known. */
export function nodeName(nodes: Pick<EngineNodes, 'list'>, id: string | null): string | null {
  return nodes.list()?.find((node) => node.id === id)?.name ?? id;
}

/** A container in the log: its engine's own id, and on a cluster the name of its node. */
export function containerFields(
  nodes: Pick<EngineNodes, 'list'>,
  engineId: string | null,
): { docker_id: string | null; node?: string | null } {
  const node = engineId === null ? null : nodeOf(engineId);
  if (engineId === null || node === null) return { docker_id: engineId };
  return { docker_id: plainId(engineId), node: nodeName(nodes, node) };
}

/** The nodes of an engine without a cluster: none. It is asked directly, so there is nothing to remember. */
export const SINGLE_MACHINE: EngineNodes = {
  list: () => null,
  answers: () => true,
  remember: () => undefined,
  setAvailability: (node) => Promise.reject(new EngineError('docker_error', `there is no node ${node}`)),
  copyLayer: () => Promise.reject(new EngineError('docker_error', 'there is no other node')),
};
