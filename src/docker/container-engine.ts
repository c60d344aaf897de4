import type { NetworkPolicy } from '../network-policy';
import { EngineError } from './engine-error';
import type { ContainerProcess, ExecRequest, MarkedProcesses, ProcessRequest } from './programs/container-process';
import type { ContainerStats, ListedContainer, ObservedContainer, WatchMessage } from './containers/observed-container';

/** The specification of a sandbox in Berth's terms; `create-options.ts` translates it into Docker's. */
export interface ContainerSpec {
  /** The name in the engine: unique, and never chosen by the user. */
  readonly name: string;
  readonly image: string;
  /** Replaces the image's own user. */
  readonly user?: string;
  readonly env: Readonly<Record<string, string>>;
  readonly memoryMb: number;
  /** Millicores: 1000 is one CPU. */
  readonly cpuShares: number;
  readonly diskMb: number;
  /** `none`: only the loopback interface. A list: what the firewall allows, besides DNS. */
  readonly network: NetworkPolicy;
  /** Maximum processes and threads; lower if the sandbox's memory could not hold as many. */
  readonly processes: number;
  readonly volumeName: string;
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

/** The owner of an object in the engine. */
export interface OwnerLabels {
  readonly instance: string;
  readonly containerId: string;
  readonly userId: string;
  /** Set for a test object: it belongs to no user, and is removed after a while if it was left behind. */
  readonly isProbe?: true;
}

export interface PullProgress {
  /** 0 to 100; never decreases. */
  readonly percent: number;
  /** A sentence for users, without the engine's own wording. */
  readonly message: string;
}

/** An image in the engine. */
export interface EngineImage {
  /** Identifies exactly this version, even if its reference names another one later. */
  readonly id: string;
  /**
   * The digest of this version in its registry; null if it was never pulled from, or pushed to, the reference's
   * repository.
   */
  readonly digest: string | null;
}

/** Options for {@link ContainerEngine.ensureImage}. */
export interface EnsureImageOptions {
  /** Asks the registry for a newer version even if one is present. */
  readonly refresh?: boolean;
  /** The node that needs the image; null or absent on a single machine, and on a cluster for all reachable nodes. */
  readonly node?: string | null;
  /** Awaited before a pull begins; gets the present version. If it rejects, there is no pull. */
  readonly beforePull?: (present: EngineImage | null) => Promise<void>;
  readonly onProgress?: (progress: PullProgress) => void;
  readonly signal?: AbortSignal;
}

/** The filter of a list. */
export interface ListFilter {
  readonly instance: string;
  readonly containerId?: string;
  /** Lists only this node. */
  readonly node?: string | null;
}

/** A data volume as listed. */
export interface ListedVolume {
  readonly name: string;
  /** From the labels, or from the name if there are none; null if they are not readable, or no longer. */
  readonly containerId: string | null;
  /** False if the volume is known only by its name: Docker has lost its labels and options, including the size. */
  readonly labelled: boolean;
  /** The node of the volume; null or absent on a single machine. */
  readonly node?: string | null;
}

/** A volume to measure. */
export interface VolumeMeasurement {
  readonly name: string;
  /** An image with GNU tar and coreutils; must be present already. */
  readonly image: string;
  readonly owner: OwnerLabels;
  readonly node?: string | null;
}

/** A copy of the data from one volume to another. Meanwhile nothing may write to either volume. */
export interface VolumeCopy {
  readonly from: string;
  /** Must exist; its contents are removed first. */
  readonly to: string;
  /** An image with GNU tar and coreutils; must be present already. */
  readonly image: string;
  readonly owner: OwnerLabels;
  /** The node of both volumes, or of the source. */
  readonly node?: string | null;
  /** The node of the target, if it is another one. */
  readonly toNode?: string;
  readonly onProgress?: (progress: CopyProgress) => void;
  readonly signal?: AbortSignal;
}

export interface CopyProgress {
  /** 0 to 100; never decreases. */
  readonly percent: number;
  /** A sentence for users, without the engine's own wording. */
  readonly message: string;
}

/** The capabilities of the engine behind the port, probed at start. */
export interface EngineCapabilities {
  /** The OCI runtime of the sandboxes; `simulated` if there are no sandboxes. */
  readonly runtime: 'runsc' | 'runc' | 'simulated';
  /** Whether the kernel can limit the size of volumes and writable layers. */
  readonly diskQuota: 'enforced' | 'unsupported' | 'off';
  /** Whether sandboxes are blocked from the services of their host and from its metadata address. */
  readonly hostFirewall: 'enforced' | 'unsupported' | 'off';
  /** Whether allow lists of sandboxes can be enforced. */
  readonly allowLists: 'enforced' | 'unsupported';
  /**
   * How a volume's size is changed. `move`: into a new volume, because a volume's limit is fixed at its creation.
   * `none`: nothing has to be done.
   */
  readonly volumeResize: 'move' | 'none';
}

/**
 * The resources of the sandboxes' machine. A null value cannot be determined from here, such as the free resources of
 * another machine.
 */
export interface MachineResources {
  readonly memoryMb: number | null;
  /** Millicores. */
  readonly cpuShares: number | null;
  /** What programs could allocate now without swapping. */
  readonly freeMemoryMb: number | null;
  /** The size of the disk where the engine keeps images, volumes and writable layers. */
  readonly diskMb: number | null;
  /** The free space of that disk, without what is reserved for root. */
  readonly freeDiskMb: number | null;
}

/**
 * @param watermark percent; 0 means no watermark
 * @returns the used share of the disk in percent if it exceeds the watermark; null if it does not, or is unknown
 */
export function diskUsedAbove(
  { diskMb, freeDiskMb }: Pick<MachineResources, 'diskMb' | 'freeDiskMb'>,
  watermark: number,
): number | null {
  if (watermark === 0 || diskMb === null || freeDiskMb === null) return null;
  const used = (1 - freeDiskMb / diskMb) * 100;
  return used > watermark ? used : null;
}

/**
 * The port to the container engine. It knows no entities, tiers or users. Code outside this module must not assume
 * that there is one daemon or that a volume is local. Ids are opaque; on a cluster, a container's id includes its
 * node (see `container-ids.ts`). Every method has a time limit, throws only `EngineError` (and {@link prepare}
 * `ConfigError`), and is safe to repeat. A call that concerns a node that does not answer throws `node_unavailable`.
 */
export abstract class ContainerEngine {
  /**
   * Chooses the runtime, creates the sandboxes' network and firewall, and probes disk quotas.
   *
   * @throws EngineError, ConfigError
   */
  abstract prepare(instance: string): Promise<EngineCapabilities>;
  /**
   * Restores what {@link prepare} set up if it has been removed, and removes leftovers of probes and unused networks.
   * To be called periodically.
   */
  abstract maintain(): Promise<void>;
  /** The capabilities that {@link prepare} found, as updated by {@link maintain}. */
  abstract get capabilities(): EngineCapabilities;
  abstract ping(): Promise<void>;
  /**
   * @param node whose store to identify; null or absent: the single machine's, or that of all nodes together
   * @returns the id of the store of containers and volumes: under another id, none that were created before exist;
   *   null if there is no id
   */
  abstract identify(node?: string | null): Promise<string | null>;
  /**
   * The machine's total and free resources now. Asks the kernel, not the engine, so it is as fast as reading a file.
   */
  abstract resources(): Promise<MachineResources>;
  /** The nodes as last known, without a call; null on a single machine, which has no id. */
  nodes(): readonly EngineNode[] | null {
    return null;
  }

  /** Whether the node is believed reachable. Always true on a single machine (`null`). */
  answers(node: string | null): boolean {
    const nodes = node === null ? null : this.nodes();
    return nodes === null || nodes.some(({ id, isReachable }) => id === node && isReachable);
  }

  /** Sets what an earlier process knew of {@link identify} and {@link nodes}. To be called before {@link prepare}. */
  remember(_store: string, _nodes: readonly EngineNode[]): void {
    // A single machine is asked directly.
  }

  /**
   * Tells the cluster whether containers may be placed on a node.
   *
   * @throws EngineError `docker_unavailable` if no manager can decide it, `docker_error` if there is no such node
   */
  setAvailability(node: string, _availability: 'active' | 'drain'): Promise<void> {
    return Promise.reject(new EngineError('docker_error', `there is no node ${node}`));
  }

  /**
   * @param options.assertWanted throws if the caller must not go on; called before the container is created again in
   *   another way because its image has no shell
   * @returns the new container's id; the container is not started
   * @throws EngineError `image_not_found`, `name_in_use`; `container_not_found` if it is removed meanwhile;
   *   `start_refused` if the image has no program in which a sandbox can idle
   */
  abstract createContainer(spec: ContainerSpec, options?: { assertWanted?: () => Promise<void> }): Promise<string>;
  /**
   * Starts a container. First connects it to the sandboxes' network if it is not connected.
   *
   * @param options `isNew`: the caller has just created the container, so its network is not checked, which saves a
   *   call
   * @throws EngineError `container_not_found`, `container_paused`, `container_broken`, `start_refused`
   */
  abstract startContainer(dockerId: string, options?: { isNew?: boolean }): Promise<'started' | 'already_running'>;
  abstract unpauseContainer(dockerId: string): Promise<void>;
  /**
   * Announces a stop, so that the engine can inspect the container in advance. If the stop does not follow soon, the
   * inspection is wasted.
   *
   * @returns once the inspection is requested; never rejects
   */
  async expectStop(_dockerId: string): Promise<void> {
    // Only an engine that inspects the container before a stop overrides this.
  }
  /**
   * Sends SIGTERM, then SIGKILL after `graceSeconds`. The shells of terminals also get SIGHUP, as they ignore
   * SIGTERM.
   *
   * @throws EngineError `container_not_found`; `container_not_responding` if its sandbox hangs and cannot be killed
   */
  abstract stopContainer(dockerId: string, graceSeconds: number): Promise<'stopped' | 'already_stopped'>;
  /**
   * Kills the container if it runs, and keeps its data volume. Already gone is success.
   *
   * @throws EngineError `container_not_responding` as {@link stopContainer}
   */
  abstract removeContainer(dockerId: string): Promise<void>;
  /** Success if the container is gone, or already has this name. @throws EngineError `name_in_use` */
  abstract renameContainer(dockerId: string, name: string): Promise<void>;
  /**
   * Connects a container, running or not, to the sandboxes' network if it has been disconnected.
   *
   * @throws EngineError `container_not_found`
   */
  abstract reconnectContainer(dockerId: string): Promise<'reconnected' | 'already_connected'>;
  /**
   * Runs a command in a running container and waits for its end. After a timeout or too much output, the request's
   * `end` ends the command. After an abort or a broken connection, or without `end`, the command may still run in the
   * container.
   *
   * @throws EngineError `container_not_found`, `container_not_running` (also if the container's end kills the
   *   command), `container_paused`, `container_not_responding`, `command_not_started`, `timed_out`,
   *   `output_too_large`, `output_endless`, `aborted`
   */
  abstract exec(dockerId: string, request: ExecRequest): Promise<{ exitCode: number }>;
  /**
   * Starts a program in a running container, and returns once it has started, or at once with `startUnawaited`.
   *
   * @throws EngineError `container_not_found`, `container_not_running`, `container_paused`,
   *   `container_not_responding`, `command_not_started`
   */
  abstract startProcess(dockerId: string, request: ProcessRequest): Promise<ContainerProcess>;
  /**
   * Ends programs and all their descendants: sends the signal, then SIGKILL after `graceMs`. A program that removes
   * the marker from its environment escapes, and so do all programs in an image without a shell.
   *
   * @returns `ended` if all have ended, or there were none
   * @throws EngineError `container_not_found`, `container_not_running`, `container_paused`,
   *   `container_not_responding`, `command_not_started` (the image has no shell), `timed_out`, `output_too_large`
   */
  abstract endProcesses(
    dockerId: string,
    processes: MarkedProcesses & { graceMs: number },
  ): Promise<'ended' | 'still_running'>;
  /** Sends a signal to programs and all their descendants. @throws EngineError as {@link endProcesses} */
  abstract signalProcesses(dockerId: string, processes: MarkedProcesses): Promise<'sent' | 'none'>;
  /** @throws EngineError `container_not_found`, `container_not_running` */
  abstract stats(dockerId: string): Promise<ContainerStats>;
  /** @returns null if there is no such container */
  abstract inspectContainer(dockerId: string): Promise<ObservedContainer | null>;
  /** Lists the Docker containers of an instance, or of one of its containers, running or not. */
  abstract listContainers(filter: ListFilter): Promise<Listed<ListedContainer>>;

  /**
   * Ensures that the image is present, and pulls it if it is missing; any number of callers share one pull. An image
   * that is built here (`berth/…`) is never pulled.
   *
   * @returns the image that the reference names now
   * @throws EngineError `image_not_found`, `image_not_built`, `image_access_denied`, `image_unavailable`, `aborted`
   */
  abstract ensureImage(reference: string, options?: EnsureImageOptions): Promise<EngineImage>;
  /**
   * @param name a reference or an image id
   * @returns null if there is no such image
   */
  abstract findImage(name: string, node?: string | null): Promise<EngineImage | null>;
  /**
   * Removes the reference from the image, and removes the image if it has no other name.
   *
   * @returns `in_use` if a container, running or not, or another image needs it; `kept` if the reference no longer
   *   names this image, and the image has another name
   */
  abstract removeImage(image: {
    reference: string;
    id: string;
    node?: string | null;
  }): Promise<'removed' | 'in_use' | 'kept' | 'gone'>;
  /** @returns the references that are present on every node where a sandbox may be created */
  abstract presentImages(references: readonly string[]): Promise<ReadonlySet<string>>;

  /**
   * Ensures that the volume exists. If Docker crashes while creating a volume, it leaves an unlabelled, empty volume
   * that no container uses: such a volume is created again, with its size. A volume with data is kept as it is.
   *
   * @param volume.isNew the volume cannot exist yet, so Docker is not asked
   * @returns whether the volume existed before
   * @throws EngineError `docker_error` if it belongs to another container
   */
  abstract ensureVolume(volume: {
    name: string;
    diskMb: number;
    owner: OwnerLabels;
    node?: string | null;
    isNew?: boolean;
  }): Promise<{ existed: boolean }>;
  /** Already gone is success. */
  abstract removeVolume(name: string, node?: string | null): Promise<void>;
  /**
   * Lists the volumes of an instance, or of one of its containers, in use or not. Unlabelled volumes are found by
   * name, so they may be another instance's: the instance with the row owns them.
   */
  abstract listVolumes(filter: ListFilter): Promise<Listed<ListedVolume>>;
  /**
   * The disk space that a volume's data uses, in bytes. The volume may be in use.
   *
   * @returns null if there is no such volume
   */
  abstract measureVolume(volume: VolumeMeasurement): Promise<{ bytes: number } | null>;
  /**
   * Copies a volume with all file attributes, and compares the copy with its source before returning.
   *
   * @returns the disk space that the copy uses
   * @throws EngineError `data_too_large` if the target is full, `copy_failed`, `aborted`; the target is then unusable
   */
  abstract copyVolume(copy: VolumeCopy): Promise<{ bytes: number }>;

  /** Yields hints until `signal` aborts; reconnects with backoff. */
  abstract watch(instance: string, signal: AbortSignal): AsyncIterable<WatchMessage>;
}
