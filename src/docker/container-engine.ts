/** What a sandbox is made of, in Berth's words; `create-options.ts` turns it into Docker's. */
export interface ContainerSpec {
  /** Name in the engine: unique, and never the user's own. */
  readonly name: string;
  readonly image: string;
  readonly env: Readonly<Record<string, string>>;
  readonly memoryMb: number;
  /** Millicores: 1000 is one CPU. */
  readonly cpuShares: number;
  readonly diskMb: number;
  readonly volumeName: string;
  readonly owner: OwnerLabels;
  readonly generation: number;
}

/** Who an object of the engine belongs to. */
export interface OwnerLabels {
  readonly instance: string;
  readonly containerId: string;
  readonly userId: string;
}

/** `restarting`: the engine waits to start it again after a crash. */
export type EngineState = 'created' | 'running' | 'paused' | 'restarting' | 'exited' | 'dead' | 'removing';

/**
 * Whether a container is to be taken for one that is gone, though its name may still be taken: it is being removed, or `dead`, which
 * Docker shows at the end of a removal for a moment and where one failed for good.
 */
export function isHalfGone(state: string): boolean {
  return state === 'removing' || state === 'dead';
}

/** What a list tells of a container. */
export interface ListedContainer {
  readonly dockerId: string;
  readonly name: string;
  readonly state: EngineState;
  readonly createdAt: Date;
  /** From the labels; null if they are not (or no longer) readable. */
  readonly containerId: string | null;
  readonly generation: number | null;
  /** Whether it is in the sandboxes' network; what does not run is if it will be at its next start. */
  readonly connected: boolean;
}

/** What an inspection tells of a container. */
export interface ObservedContainer {
  readonly dockerId: string;
  readonly name: string;
  readonly state: EngineState;
  /** As the engine writes it; null if it never ran. */
  readonly startedAt: string | null;
  /** Of the last run; null while it runs or if it never ran. */
  readonly exitCode: number | null;
  readonly oomKilled: boolean;
  readonly ipAddress: string | null;
  /** Of what the image is, whatever its name is by now. */
  readonly imageId: string;
  readonly runtime: string;
}

/** A hint that something happened to a container; the truth is what an inspection says afterwards. */
export interface EngineEvent {
  readonly dockerId: string;
  readonly containerId: string;
  readonly action: 'start' | 'die' | 'oom' | 'destroy' | 'pause' | 'unpause';
  /** With `die` only. */
  readonly exitCode: number | null;
  readonly at: Date;
}

/** `connected` comes first and after each reconnection: what happened before it may have been missed. */
export type WatchMessage = { readonly kind: 'connected' } | { readonly kind: 'event'; readonly event: EngineEvent };

export interface PullProgress {
  /** 0 to 100, never falling. */
  readonly percent: number;
  /** A sentence for people, without the engine's own wording. */
  readonly message: string;
}

/** A command to run in a container. */
export interface ExecRequest {
  /** The program and its arguments; no shell reads them. */
  readonly command: readonly string[];
  /** Beside the container's own; wins over it. */
  readonly env?: Readonly<Record<string, string>>;
  /** Name or id; the image's own if absent. */
  readonly user?: string;
  /** From now to the end of the command. */
  readonly timeoutMs: number;
  /** Of both outputs together; a command that says more is cut off. */
  readonly maxOutputBytes: number;
  /**
   * What ends the command in the container where it is cut off, run as the same user: the engine cannot. A variable in the
   * command's environment is what its processes are known by.
   */
  readonly end?: { readonly command: readonly string[]; readonly env?: Readonly<Record<string, string>> };
  readonly signal?: AbortSignal;
  /** Called with bytes as they come; must not throw. */
  readonly onOutput?: (output: ExecOutput) => void;
}

export interface ExecOutput {
  readonly stream: 'stdout' | 'stderr';
  readonly data: Buffer;
}

/** What a list tells of a data volume. */
export interface ListedVolume {
  readonly name: string;
  /** From the labels, or from the name where there are none; null if they are not (or no longer) readable. */
  readonly containerId: string | null;
  /** Without labels it is known by its name alone: Docker has forgotten what it was asked for, its size included. */
  readonly labelled: boolean;
}

/** A volume whose space is to be measured. */
export interface VolumeMeasurement {
  readonly name: string;
  /** With GNU tar and coreutils; must be here already. */
  readonly image: string;
  readonly owner: OwnerLabels;
}

/** Data that moves from one volume to another. Nothing may write to either meanwhile. */
export interface VolumeCopy {
  readonly from: string;
  /** Must be there; whatever it holds is removed first. */
  readonly to: string;
  /** With GNU tar and coreutils; must be here already. */
  readonly image: string;
  readonly owner: OwnerLabels;
  readonly onProgress?: (progress: CopyProgress) => void;
  readonly signal?: AbortSignal;
}

export interface CopyProgress {
  /** 0 to 100, never falling. */
  readonly percent: number;
  /** A sentence for people, without the engine's own wording. */
  readonly message: string;
}

/** What the engine behind the port can do; probed at start. */
export interface EngineCapabilities {
  /** The OCI runtime that sandboxes get. */
  readonly runtime: 'runsc' | 'runc';
  /** Whether the kernel can hold volumes and writable layers to a size. */
  readonly diskQuota: 'enforced' | 'unsupported' | 'off';
  /** Whether sandboxes are kept from the services of the machine that they run on, and from its metadata address. */
  readonly hostFirewall: 'enforced' | 'unsupported' | 'off';
  /** What another size takes: `move`, a new volume, as a volume is held to the size that it was made with; `none`, nothing. */
  readonly volumeResize: 'move' | 'none';
}

/**
 * The port to whatever runs the containers. It knows no entity, tier or user; nothing outside this module may know that
 * there is one daemon or that a volume is local. Ids are opaque. Every method is bounded in time, throws only
 * {@link EngineError}, and is safe to repeat.
 */
export abstract class ContainerEngine {
  /** Decides the runtime, makes the sandboxes' network and firewall, probes disk quotas. @throws EngineError, ConfigError */
  abstract prepare(instance: string): Promise<EngineCapabilities>;
  /** Puts back what {@link prepare} made around the sandboxes, if it has vanished since. To be called now and then. */
  abstract maintain(): Promise<void>;
  /** What {@link prepare} found, and {@link maintain} since. */
  abstract get capabilities(): EngineCapabilities;
  abstract ping(): Promise<void>;
  /** @returns the id of what keeps containers and volumes: under another id there is none of those made before; null if it has none */
  abstract identify(): Promise<string | null>;

  /** @returns the new container's id; not started. @throws EngineError `image_not_found`, `name_in_use` */
  abstract createContainer(spec: ContainerSpec): Promise<string>;
  /**
   * Connects it to the sandboxes' network first where it is not.
   *
   * @param options `isNew`: the caller has just created it, so its network is not checked, which saves a call
   * @throws EngineError `container_not_found`, `container_paused`, `container_broken`, `start_refused`
   */
  abstract startContainer(dockerId: string, options?: { isNew?: boolean }): Promise<'started' | 'already_running'>;
  abstract unpauseContainer(dockerId: string): Promise<void>;
  /** SIGTERM, then SIGKILL after `graceSeconds`. @throws EngineError `container_not_found` */
  abstract stopContainer(dockerId: string, graceSeconds: number): Promise<'stopped' | 'already_stopped'>;
  /** Kills it if it runs. Its data volume is kept. Gone already is success. */
  abstract removeContainer(dockerId: string): Promise<void>;
  /** Gone already, or named so already, is success. @throws EngineError `name_in_use` */
  abstract renameContainer(dockerId: string, name: string): Promise<void>;
  /**
   * Connects a container, running or not, to the sandboxes' network where somebody has disconnected it.
   *
   * @throws EngineError `container_not_found`
   */
  abstract reconnectContainer(dockerId: string): Promise<'reconnected' | 'already_connected'>;
  /**
   * Runs a command in a running container and waits for its end. After a timeout or too much output the command is ended by
   * `end`; after an abort or a broken connection, or without `end`, it may go on in the container. The end of the container
   * under the command is an exit code, mostly (137).
   * @throws EngineError `container_not_found`, `container_not_running`, `container_paused`, `command_not_started`, `timed_out`,
   * `output_too_large`, `output_endless`, `aborted`
   */
  abstract exec(dockerId: string, request: ExecRequest): Promise<{ exitCode: number }>;
  /** @returns null if there is no such container */
  abstract inspectContainer(dockerId: string): Promise<ObservedContainer | null>;
  /** Running or not, of one instance, or of one of its containers alone. */
  abstract listContainers(filter: { instance: string; containerId?: string }): Promise<ListedContainer[]>;

  /**
   * Makes sure that the image is here, pulling it if it is missing; one pull for any number of callers.
   * @throws EngineError `image_not_found`, `image_access_denied`, `image_unavailable`, `aborted`
   */
  abstract ensureImage(
    reference: string,
    options?: { onProgress?: (progress: PullProgress) => void; signal?: AbortSignal },
  ): Promise<void>;
  /** @returns which of the references are here already */
  abstract presentImages(references: readonly string[]): Promise<ReadonlySet<string>>;

  /**
   * Makes sure that the volume is there. One without labels that holds nothing and that no container has is what a crash
   * of Docker leaves of a creation: it is made anew, with its size. One with data is kept as it is.
   *
   * @returns whether the volume was there before
   * @throws EngineError `docker_error` if it is that of another container
   */
  abstract ensureVolume(volume: { name: string; diskMb: number; owner: OwnerLabels }): Promise<{ existed: boolean }>;
  /** Gone already is success. */
  abstract removeVolume(name: string): Promise<void>;
  /** In use or not, of one instance, or of one of its containers alone; those without labels are anybody's who has the row. */
  abstract listVolumes(filter: { instance: string; containerId?: string }): Promise<ListedVolume[]>;
  /**
   * The space that a volume's data takes, in bytes; it may be in use.
   *
   * @returns null if there is no such volume
   */
  abstract measureVolume(volume: VolumeMeasurement): Promise<{ bytes: number } | null>;
  /**
   * Copies a volume with all that its files are, and compares the copy with the source, before it returns.
   *
   * @returns the space that the copy takes
   * @throws EngineError `data_too_large` if the target is full, `copy_failed`, `aborted`; the target is of no use then
   */
  abstract copyVolume(copy: VolumeCopy): Promise<{ bytes: number }>;

  /** Yields hints until `signal` aborts; reconnects by itself with backoff. */
  abstract watch(instance: string, signal: AbortSignal): AsyncIterable<WatchMessage>;
}

/** What went wrong at the engine, in words that say what a caller can do about it. */
export type EngineErrorCode =
  /** Not reachable, or it did not answer in time: what was asked for may have happened or not. */
  | 'docker_unavailable'
  /** It is not the one that the container was made on; what is missing in it proves nothing. */
  | 'docker_changed'
  /** It answered, with an error that nothing here expects. */
  | 'docker_error'
  | 'container_not_found'
  | 'container_paused'
  /** It is there, and what was asked needs it to run. */
  | 'container_not_running'
  /** It is there, and can never be started again: half removed, or its writable layer is of no use any more. */
  | 'container_broken'
  | 'name_in_use'
  | 'image_not_found'
  /** The registry refuses the credentials, or wants some. Registries that hide what is private say that it is not found. */
  | 'image_access_denied'
  /** The registry does not answer, or has no answer now. */
  | 'image_unavailable'
  /** The image cannot run the sandbox's main process, or the runtime refused it. */
  | 'start_refused'
  /** A command's program, user or working directory is not there, or cannot be run. */
  | 'command_not_started'
  /** A command in a container took longer than it was given; it may go on there. */
  | 'timed_out'
  /** A command in a container wrote more than it may, and was cut off. */
  | 'output_too_large'
  /** The same, and it could not be ended: it goes on until its container ends. */
  | 'output_endless'
  /** The volume that data was to be copied to is full. */
  | 'data_too_large'
  /** The data could not be copied, or the copy is not what its source is. */
  | 'copy_failed'
  | 'aborted';

/** The only error that a `ContainerEngine` throws. `message` may hold the engine's own words: log it, never send it. */
export class EngineError extends Error {
  override readonly name = 'EngineError';

  constructor(
    readonly code: EngineErrorCode,
    message: string,
    options: { cause?: unknown } = {},
  ) {
    super(message, options);
  }
}
