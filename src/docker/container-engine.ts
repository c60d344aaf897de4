import type { NetworkPolicy } from '../network-policy';
import { EngineError } from './engine-error';
import type { ContainerProcess, ExecRequest, MarkedProcesses, ProcessRequest } from './programs/container-process';
import type { ContainerStats, ListedContainer, ObservedContainer, WatchMessage } from './containers/observed-container';

/** The specification of a sandbox, in Berth's words; `create-options.ts` translates it into Docker's. */
export interface ContainerSpec {
  /** Name in the engine: unique, and never the user's own. */
  readonly name: string;
  readonly image: string;
  /** In place of the image's own user. */
  readonly user?: string;
  readonly env: Readonly<Record<string, string>>;
  readonly memoryMb: number;
  /** Millicores: 1000 is one CPU. */
  readonly cpuShares: number;
  readonly diskMb: number;
  /** `none`: no interface but loopback. A list: what the firewall lets through, besides names. */
  readonly network: NetworkPolicy;
  /** How many processes and threads it may have; fewer where its memory would not hold them. */
  readonly processes: number;
  readonly volumeName: string;
  readonly owner: OwnerLabels;
  readonly generation: number;
  /** The machine that it is created on; null or absent: the only one. */
  readonly node?: string | null;
}

/** What a list found, and what it cannot tell. */
export interface Listed<T> {
  readonly items: readonly T[];
  /** The nodes that did not answer: that something of theirs is missing in the list proves nothing. */
  readonly silent: readonly string[];
}

/** One machine of several. */
export interface EngineNode {
  /** Never another machine's, nor that of one whose data was lost. */
  readonly id: string;
  /** For people: as the machine calls itself. */
  readonly name: string;
  /** Of its engine, as `tcp://HOST:PORT`. */
  readonly address: string;
  /** Tiers name pools; a node is in one. */
  readonly pool: string;
  readonly labels: Readonly<Record<string, string>>;
  /** What the cluster's own membership says of it; `unknown` says nothing. */
  readonly state: 'ready' | 'down' | 'unknown';
  /** `drain`, `pause`: nothing is placed or started there; what runs stays. */
  readonly availability: 'active' | 'pause' | 'drain';
  readonly isManager: boolean;
  /** Of what the cluster says of it: grows with each change. */
  readonly version: number;
  readonly memoryMb: number | null;
  /** Millicores. */
  readonly cpuShares: number | null;
  /** Whether its engine answered this process when it was asked last. */
  readonly isReachable: boolean;
  /** Why no sandbox can be placed there although it answers; null: nothing is in the way. */
  readonly problem: string | null;
}

/** The owner of an object in the engine. */
export interface OwnerLabels {
  readonly instance: string;
  readonly containerId: string;
  readonly userId: string;
  /** Whether it is only for a try: it counts as nobody's, and is removed after a while if it was left behind. */
  readonly isProbe?: true;
}

export interface PullProgress {
  /** 0 to 100, never falling. */
  readonly percent: number;
  /** A sentence for users, without the engine's own wording. */
  readonly message: string;
}

/** An image in the engine. */
export interface EngineImage {
  /** Names exactly this version, whatever its reference names later. */
  readonly id: string;
  /** The same version in its registry; null if it was never pulled from, or pushed to, the reference's repository. */
  readonly digest: string | null;
}

/** How an image is made present. */
export interface EnsureImageOptions {
  /** Asks the registry for a newer version although one is present. */
  readonly refresh?: boolean;
  /** Where it is to be present; null or absent: on the only machine. */
  readonly node?: string | null;
  /** Awaited before a pull begins, with the version that is present. A failure prevents the pull. */
  readonly beforePull?: (present: EngineImage | null) => Promise<void>;
  readonly onProgress?: (progress: PullProgress) => void;
  readonly signal?: AbortSignal;
}

/** What a list is limited to. */
export interface ListFilter {
  readonly instance: string;
  readonly containerId?: string;
  /** This machine alone is asked. */
  readonly node?: string | null;
}

/** A data volume as listed. */
export interface ListedVolume {
  readonly name: string;
  /** From the labels, or from the name where there are none; null if they are not (or no longer) readable. */
  readonly containerId: string | null;
  /** Without labels it is known only by its name: Docker has lost its options, including the size. */
  readonly labelled: boolean;
  /** The machine that it is on; null or absent: the only one. */
  readonly node?: string | null;
}

/** A volume to measure. */
export interface VolumeMeasurement {
  readonly name: string;
  /** With GNU tar and coreutils; must be present already. */
  readonly image: string;
  readonly owner: OwnerLabels;
  readonly node?: string | null;
}

/** A copy of the data from one volume to another. Nothing may write to either meanwhile. */
export interface VolumeCopy {
  readonly from: string;
  /** Must exist; its contents are removed first. */
  readonly to: string;
  /** With GNU tar and coreutils; must be present already. */
  readonly image: string;
  readonly owner: OwnerLabels;
  /** The machine that both are on, or the source. */
  readonly node?: string | null;
  /** The machine that the target is on, if it is another. */
  readonly toNode?: string;
  readonly onProgress?: (progress: CopyProgress) => void;
  readonly signal?: AbortSignal;
}

export interface CopyProgress {
  /** 0 to 100, never falling. */
  readonly percent: number;
  /** A sentence for users, without the engine's own wording. */
  readonly message: string;
}

/** The capabilities of the engine behind the port; probed at start. */
export interface EngineCapabilities {
  /** The OCI runtime that sandboxes get; `simulated`: there are none. */
  readonly runtime: 'runsc' | 'runc' | 'simulated';
  /** Whether the kernel can limit the size of volumes and writable layers. */
  readonly diskQuota: 'enforced' | 'unsupported' | 'off';
  /** Whether sandboxes are blocked from the services of their host, and from its metadata address. */
  readonly hostFirewall: 'enforced' | 'unsupported' | 'off';
  /** Whether a sandbox can be held to an allow list. */
  readonly allowLists: 'enforced' | 'unsupported';
  /**
   * What a change of size requires: `move`, a new volume, as a volume's limit is fixed at its creation; `none`,
   * nothing.
   */
  readonly volumeResize: 'move' | 'none';
}

/**
 * What the machine of the sandboxes has. null: it cannot be known from here, as with what is free on another machine.
 */
export interface MachineResources {
  readonly memoryMb: number | null;
  /** Millicores. */
  readonly cpuShares: number | null;
  /** What programs could take now without swapping. */
  readonly freeMemoryMb: number | null;
  /** Where the engine keeps images, volumes and writable layers. */
  readonly diskMb: number | null;
  /** Of that, what is free; not what the superuser alone may use. */
  readonly freeDiskMb: number | null;
}

/**
 * @param watermark percent; 0: none
 * @returns how much of the disk is used, in percent, if that is more than the watermark; otherwise, or if it is not
 *   known, null
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
 * The port to the container engine. It knows no entity, tier or user; nothing outside this module may assume that there
 * is one daemon or that a volume is local. Ids are opaque: that of a container tells its machine, where there are
 * several (see `container-ids.ts`). Every method is bounded in time, throws only `EngineError`, and is safe to repeat;
 * what concerns a machine that does not answer throws `node_unavailable`.
 */
export abstract class ContainerEngine {
  /**
   * Chooses the runtime, creates the sandboxes' network and firewall, probes disk quotas.
   *
   * @throws EngineError, ConfigError
   */
  abstract prepare(instance: string): Promise<EngineCapabilities>;
  /** Restores what {@link prepare} set up, if it has been removed since. To be called periodically. */
  abstract maintain(): Promise<void>;
  /** What {@link prepare} found, and {@link maintain} since. */
  abstract get capabilities(): EngineCapabilities;
  abstract ping(): Promise<void>;
  /**
   * @param node whose store is asked for; null or absent: that of the only machine, or of all machines together
   * @returns the id of the store of containers and volumes: under another id, none of those created before exist; null
   * if it has none
   */
  abstract identify(node?: string | null): Promise<string | null>;
  /** What the machine has, and what is free on it now. Asks the kernel, not the engine, so it is as fast as a file. */
  abstract resources(): Promise<MachineResources>;
  /** The machines, as last known; null: there is one, which has no id. Asks nobody. */
  nodes(): readonly EngineNode[] | null {
    return null;
  }

  /** Whether what is on this node can be asked for now, as far as is known; of the only machine (null) nothing is. */
  answers(node: string | null): boolean {
    const nodes = node === null ? null : this.nodes();
    return nodes === null || nodes.some(({ id, isReachable }) => id === node && isReachable);
  }

  /** Before {@link prepare}: what an earlier process knew of {@link identify} and {@link nodes}. */
  remember(_store: string, _nodes: readonly EngineNode[]): void {
    // A single machine is asked itself.
  }

  /**
   * Tells the cluster whether anything is to be placed on a machine.
   *
   * @throws EngineError `docker_unavailable` if nobody who can decide it answers, `docker_error` without such a node
   */
  setAvailability(node: string, _availability: 'active' | 'drain'): Promise<void> {
    return Promise.reject(new EngineError('docker_error', `there is no node ${node}`));
  }

  /**
   * @param options.assertWanted throws if the caller must not go on; called before the container is created once more,
   * in another way, because its image has no shell
   * @returns the new container's id; not started
   * @throws EngineError `image_not_found`, `name_in_use`; `container_not_found` if it is removed meanwhile;
   * `start_refused` if the image has nothing that a sandbox can idle in
   */
  abstract createContainer(spec: ContainerSpec, options?: { assertWanted?: () => Promise<void> }): Promise<string>;
  /**
   * Connects it to the sandboxes' network first if it is not.
   *
   * @param options `isNew`: the caller has just created it, so its network is not checked, which saves a call
   * @throws EngineError `container_not_found`, `container_paused`, `container_broken`, `start_refused`
   */
  abstract startContainer(dockerId: string, options?: { isNew?: boolean }): Promise<'started' | 'already_running'>;
  abstract unpauseContainer(dockerId: string): Promise<void>;
  /**
   * Says that the container is about to be stopped: what the stop has to know of it can be looked at meanwhile. Where
   * the stop does not come, or not at once, this was for nothing.
   *
   * @returns once it is asked for; never rejects
   */
  async expectStop(_dockerId: string): Promise<void> {
    // Only an engine whose stop looks first has something to do.
  }
  /**
   * SIGTERM, then SIGKILL after `graceSeconds`. The shells of terminals get SIGHUP too, as they ignore SIGTERM.
   *
   * @throws EngineError `container_not_found`
   */
  abstract stopContainer(dockerId: string, graceSeconds: number): Promise<'stopped' | 'already_stopped'>;
  /** Kills it if it is running. Its data volume is kept. Already gone is success. */
  abstract removeContainer(dockerId: string): Promise<void>;
  /** Already gone, or already so named, is success. @throws EngineError `name_in_use` */
  abstract renameContainer(dockerId: string, name: string): Promise<void>;
  /**
   * Connects a container, running or not, to the sandboxes' network if somebody has disconnected it.
   *
   * @throws EngineError `container_not_found`
   */
  abstract reconnectContainer(dockerId: string): Promise<'reconnected' | 'already_connected'>;
  /**
   * Runs a command in a running container and waits for its end. After a timeout or too much output the command is
   * ended by `end`; after an abort or a broken connection, or without `end`, it may continue in the container. If the
   * container ends first, the result is an exit code, usually 137.
   *
   * @throws EngineError `container_not_found`, `container_not_running`, `container_paused`, `command_not_started`,
   * `timed_out`, `output_too_large`, `output_endless`, `aborted`
   */
  abstract exec(dockerId: string, request: ExecRequest): Promise<{ exitCode: number }>;
  /**
   * Starts a program in a running container, and returns once it has started, or need not be waited for.
   *
   * @throws EngineError `container_not_found`, `container_not_running`, `container_paused`, `command_not_started`
   */
  abstract startProcess(dockerId: string, request: ProcessRequest): Promise<ContainerProcess>;
  /**
   * Ends programs with all that they started: the signal, then SIGKILL after `graceMs`. A program that removes the
   * marker from its environment escapes, and so does all in an image without a shell.
   *
   * @returns whether all have ended; `ended` too if there are none
   * @throws EngineError `container_not_found`, `container_not_running`, `container_paused`, `command_not_started` (the
   * image has no shell), `timed_out`, `output_too_large`
   */
  abstract endProcesses(
    dockerId: string,
    processes: MarkedProcesses & { graceMs: number },
  ): Promise<'ended' | 'still_running'>;
  /** Sends a signal to programs and all that they started. @throws EngineError as {@link endProcesses} */
  abstract signalProcesses(dockerId: string, processes: MarkedProcesses): Promise<'sent' | 'none'>;
  /** @throws EngineError `container_not_found`, `container_not_running` */
  abstract stats(dockerId: string): Promise<ContainerStats>;
  /** @returns null if there is no such container */
  abstract inspectContainer(dockerId: string): Promise<ObservedContainer | null>;
  /** Running or not, of one instance, or of one of its containers alone. */
  abstract listContainers(filter: ListFilter): Promise<Listed<ListedContainer>>;

  /**
   * Makes sure that the image is present, pulling it if it is missing; one pull for any number of callers.
   *
   * @returns what the reference names now
   * An image that is built here (`berth/…`) is never pulled.
   *
   * @throws EngineError `image_not_found`, `image_not_built`, `image_access_denied`, `image_unavailable`, `aborted`
   */
  abstract ensureImage(reference: string, options?: EnsureImageOptions): Promise<EngineImage>;
  /** @param name a reference or an image's id @returns null if there is no such image */
  abstract findImage(name: string, node?: string | null): Promise<EngineImage | null>;
  /**
   * Takes the reference from the image, and removes the image if it has no other name.
   *
   * @returns `in_use` if a container, running or not, or another image needs it; `kept` if the reference names another
   * version by now and this one has a name of somebody else's
   */
  abstract removeImage(image: {
    reference: string;
    id: string;
    node?: string | null;
  }): Promise<'removed' | 'in_use' | 'kept' | 'gone'>;
  /** @returns the references that are already present, wherever a sandbox may be created */
  abstract presentImages(references: readonly string[]): Promise<ReadonlySet<string>>;

  /**
   * Makes sure that the volume exists. An unlabelled, empty volume that no container uses is left behind when Docker
   * crashes during a creation: it is recreated, with its size. One with data is kept as it is.
   *
   * @param volume.isNew nobody can have created it before: Docker is not asked
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
   * In use or not, of one instance, or of one of its containers alone; unlabelled ones belong to whoever has the row.
   */
  abstract listVolumes(filter: ListFilter): Promise<Listed<ListedVolume>>;
  /**
   * The disk space that a volume's data uses, in bytes; it may be in use.
   *
   * @returns null if there is no such volume
   */
  abstract measureVolume(volume: VolumeMeasurement): Promise<{ bytes: number } | null>;
  /**
   * Copies a volume with all file attributes, and compares the copy with the source before it returns.
   *
   * @returns the disk space that the copy uses
   * @throws EngineError `data_too_large` if the target is full, `copy_failed`, `aborted`; the target is unusable then
   */
  abstract copyVolume(copy: VolumeCopy): Promise<{ bytes: number }>;

  /** Yields hints until `signal` aborts; reconnects by itself with backoff. */
  abstract watch(instance: string, signal: AbortSignal): AsyncIterable<WatchMessage>;
}
