/**
 * `restarting`: the container crashed, and the engine waits before it starts the container again. `broken`: it is being
 * removed, or what is left of it can only be removed; its name may still be taken.
 */
export type EngineState = 'created' | 'running' | 'paused' | 'restarting' | 'exited' | 'broken';

/** A container as listed. */
export interface ListedContainer {
  readonly engineId: string;
  readonly name: string;
  readonly state: EngineState;
  readonly createdAt: Date;
  /** From the labels; null if they are not readable, or no longer. */
  readonly containerId: string | null;
  readonly generation: number | null;
  /** Whether the container is in a sandbox network; a stopped one counts if its next start will connect it. */
  readonly connected: boolean;
}

/** A container as inspected. */
export interface ObservedContainer {
  readonly engineId: string;
  readonly name: string;
  readonly state: EngineState;
  /** As the engine writes it; null if the container has never run. */
  readonly startedAt: string | null;
  /** Of the last run; null if the container runs or has never run. */
  readonly exitCode: number | null;
  readonly oomKilled: boolean;
  readonly ipAddress: string | null;
  /** The id of the container's image, even if the image's names have changed. */
  readonly imageId: string;
  readonly runtime: string;
}

/** A hint that something happened to a container; the inspection that follows is authoritative. */
export interface EngineEvent {
  readonly engineId: string;
  readonly containerId: string;
  /**
   * `kill`: the engine was told to send the container a signal that ends it, SIGTERM or SIGKILL; a stop does so too.
   * `exec_start`: a program was started in it, other than the connection of a channel; see {@link WatchSubject}.
   */
  readonly action: 'start' | 'kill' | 'oom' | 'die' | 'destroy' | 'pause' | 'unpause' | 'exec_start';
  /** With `die` only. */
  readonly exitCode: number | null;
  readonly at: Date;
}

/** The lives of all containers, or the programs in those that were started before a user asked for one. */
export type WatchSubject = 'lives' | 'warm_programs';

/**
 * `connected` comes first and after each reconnection, on a cluster for each node: earlier events may have been
 * missed.
 */
export type WatchMessage =
  | { readonly kind: 'connected'; readonly node: string | null }
  | { readonly kind: 'event'; readonly event: EngineEvent };

/** The resources that a container has used since its start, up to a moment. */
export interface ContainerStats {
  /** By the clock of the engine's machine. */
  readonly at: Date;
  /** The start of the present run, as the engine writes it; it changes if the container is started again. */
  readonly startedAt: string;
  readonly cpu: {
    readonly usedMs: number;
    /** Millicores; null means no limit. */
    readonly limitShares: number | null;
    /** Periods of the CPU limit in which the container ran, and those of them in which it was throttled. */
    readonly periods: number;
    readonly throttledPeriods: number;
  };
  readonly memory: {
    /** Without reclaimable file cache; under gVisor, including the memory of gVisor itself. */
    readonly usedBytes: number;
    readonly limitBytes: number | null;
  };
  /** Processes and threads; null if the engine does not know, as under gVisor. */
  readonly pids: number | null;
  /** null if the container has no network. */
  readonly network: { readonly rxBytes: number; readonly txBytes: number } | null;
}
