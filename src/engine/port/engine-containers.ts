import type { NetworkPolicy } from '../../network-policy';
import type {
  ContainerStats,
  ListedContainer,
  ObservedContainer,
  WatchMessage,
  WatchSubject,
} from './observed-container';

/** The owner of an object in the engine. */
export interface OwnerLabels {
  readonly instance: string;
  /** The id of the container, or with `isSnapshot` that of the snapshot. */
  readonly containerId: string;
  /** Empty for a warm container, which has no user yet. */
  readonly userId: string;
  /** Set for a container that is started before a user asks for one. */
  readonly isWarm?: true;
  /** Set for an object of a snapshot, which belongs to no container. */
  readonly isSnapshot?: true;
  /**
   * Set for a test object, which belongs to no user: the process of Berth that makes and removes it. If that process
   * dies, {@link EngineHost.removeProbes} does.
   */
  readonly probeOf?: string;
}

/**
 * The specification of a sandbox in Berth's terms, which an engine translates into its own. It has no variables of
 * users: each program gets them when it is started.
 */
export interface ContainerSpec {
  /** The name in the engine: unique, and never chosen by the user. */
  readonly name: string;
  /** The host name inside: the user's name of the container. Absent: a name of the engine's, as of warm slots. */
  readonly hostname?: string;
  readonly image: string;
  /** Replaces the image's own user. */
  readonly user?: string;
  readonly memoryMb: number;
  /** Millicores: 1000 is one CPU. */
  readonly cpuShares: number;
  readonly diskMb: number;
  /** The part of `diskMb` that kept writable layers take in the image; the container's own layer gets the rest. */
  readonly keptLayerMb?: number;
  /** `none`: only the loopback interface. A list: what the firewall allows, besides DNS. */
  readonly network: NetworkPolicy;
  /** Maximum processes and threads; lower if the sandbox's memory could not hold as many. */
  readonly processes: number;
  readonly volumeName: string;
  /**
   * The data of another container is copied into the volume, also while the container runs: nothing else is put there,
   * and the owner of the home is that of the data.
   */
  readonly isSeeded?: true;
  readonly owner: OwnerLabels;
  readonly generation: number;
  /** The node that the container is created on; null or absent on a single machine. */
  readonly node?: string | null;
}

/** The result of a list, and which nodes are missing from it. */
export interface Listed<T> {
  readonly items: readonly T[];
  /** Nodes that did not answer. An object of such a node may exist although the list does not contain it. */
  readonly silent: readonly string[];
}

/** The filter of a list. */
export interface ListFilter {
  readonly instance: string;
  readonly containerId?: string;
  /** Lists only this node. */
  readonly node?: string | null;
}

/** The containers of sandboxes. */
export interface EngineContainers {
  /**
   * @returns the new container's id; the container is not started
   * @throws EngineError `image_not_found`, `name_in_use`; `container_not_found` if it is removed meanwhile;
   *   `start_refused` if the runtime refuses the image
   */
  create(spec: ContainerSpec): Promise<string>;
  /**
   * A key of what {@link create} would make: containers with equal keys on one node differ by their names alone.
   *
   * @returns null if the image is not present
   */
  createKey(spec: ContainerSpec): Promise<string | null>;
  /**
   * Starts a container. First connects it to the sandboxes' network if it is not connected.
   *
   * @param options `isNew`: the caller has just created the container, so its network is not checked, which saves a
   *   call
   * @throws EngineError `container_not_found`, `container_paused`, `container_broken`, `start_refused`
   */
  start(engineId: string, options?: { isNew?: boolean }): Promise<'started' | 'already_running'>;
  /**
   * Suspends all processes. The memory stays taken, streams of programs stay open. Success if it is paused already.
   *
   * @throws EngineError `container_not_found`, `container_not_running`
   */
  pause(engineId: string): Promise<void>;
  /** Success if the container is not paused. @throws EngineError `container_not_found` */
  unpause(engineId: string): Promise<void>;
  /**
   * Announces a stop, so that the engine can inspect the container in advance. If the stop does not follow soon, the
   * inspection is wasted.
   *
   * @returns once the inspection is requested; never rejects
   */
  expectStop(engineId: string): Promise<void>;
  /**
   * Sends SIGTERM, then SIGKILL after `graceSeconds`. The shells of terminals also get SIGHUP, as they ignore
   * SIGTERM.
   *
   * @throws EngineError `container_not_found`; `container_not_responding` if its sandbox hangs and cannot be killed
   */
  stop(engineId: string, graceSeconds: number): Promise<'stopped' | 'already_stopped'>;
  /**
   * Kills the container if it runs, and keeps its data volume. Already gone is success.
   *
   * @throws EngineError `container_not_responding` as {@link stop}
   */
  remove(engineId: string): Promise<void>;
  /** Success if the container is gone, or already has this name. @throws EngineError `name_in_use` */
  rename(engineId: string, name: string): Promise<void>;
  /** @returns null if there is no such container */
  inspect(engineId: string): Promise<ObservedContainer | null>;
  /** Lists the engine's containers of an instance, or of one of its containers, running or not. */
  list(filter: ListFilter): Promise<Listed<ListedContainer>>;
  /** @throws EngineError `container_not_found`, `container_not_running` */
  stats(engineId: string): Promise<ContainerStats>;
  /** Yields hints until `signal` aborts; reconnects with backoff. By default about the lives of all containers. */
  watch(instance: string, signal: AbortSignal, subject?: WatchSubject): AsyncIterable<WatchMessage>;
}

/** The sandboxes' networks. */
export interface EngineNetworks {
  /**
   * Connects a container, running or not, to the sandboxes' network if it has been disconnected.
   *
   * @throws EngineError `container_not_found`
   */
  reconnect(engineId: string): Promise<'reconnected' | 'already_connected'>;
}
