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

/** The machine, or the machines, that sandboxes run on. */
export interface EngineHost {
  /**
   * Chooses the runtime, creates the sandboxes' network and firewall, and probes disk quotas.
   *
   * @param process names this process on probes, which it removes itself; see {@link removeProbes}
   * @throws EngineError, ConfigError
   */
  prepare(instance: string, process?: string): Promise<EngineCapabilities>;
  /**
   * Restores what {@link prepare} set up if it has been removed, and removes leftovers of probes and unused networks.
   * To be called periodically.
   */
  maintain(): Promise<void>;
  /** The processes that have probes: their own, or left when they died. @throws EngineError */
  probingProcesses(): Promise<readonly string[]>;
  /** Removes the probes of dead processes. @throws EngineError */
  removeProbes(dead: ReadonlySet<string>): Promise<void>;
  /** The capabilities that {@link prepare} found, as updated by {@link maintain}. */
  readonly capabilities: EngineCapabilities;
  ping(): Promise<void>;
  /**
   * @param node whose store to identify; null or absent: the single machine's, or that of all nodes together
   * @returns the id of the store of containers and volumes: under another id, none that were created before exist;
   *   null if there is no id
   */
  identify(node?: string | null): Promise<string | null>;
  /**
   * The machine's total and free resources now. Asks the kernel, not the engine, so it is as fast as reading a file.
   */
  resources(): Promise<MachineResources>;
}
