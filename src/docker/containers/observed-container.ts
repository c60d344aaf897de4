/** `restarting`: the engine waits to start it again after a crash. */
export type EngineState = 'created' | 'running' | 'paused' | 'restarting' | 'exited' | 'dead' | 'removing';

/**
 * Whether a container counts as gone, though its name may still be taken: it is being removed, or `dead`, which Docker
 * shows for a moment at the end of a removal, and permanently where one failed.
 */
export function isHalfGone(state: string): boolean {
  return state === 'removing' || state === 'dead';
}

/** A container as listed. */
export interface ListedContainer {
  readonly dockerId: string;
  readonly name: string;
  readonly state: EngineState;
  readonly createdAt: Date;
  /** From the labels; null if they are not (or no longer) readable. */
  readonly containerId: string | null;
  readonly generation: number | null;
  /** Whether it is in the sandboxes' network; a stopped one counts if it will be at its next start. */
  readonly connected: boolean;
}

/** A container as inspected. */
export interface ObservedContainer {
  readonly dockerId: string;
  readonly name: string;
  readonly state: EngineState;
  /** As the engine writes it; null if it has never run. */
  readonly startedAt: string | null;
  /** Of the last run; null while it runs or if it has never run. */
  readonly exitCode: number | null;
  readonly oomKilled: boolean;
  readonly ipAddress: string | null;
  /** Of its image, whatever that is named by now. */
  readonly imageId: string;
  readonly runtime: string;
}

/** A hint that something happened to a container; the inspection that follows is authoritative. */
export interface EngineEvent {
  readonly dockerId: string;
  readonly containerId: string;
  /** `kill`: somebody had Docker send it a signal that ends it, SIGTERM or SIGKILL, as for a stop too. */
  readonly action: 'start' | 'kill' | 'oom' | 'die' | 'destroy' | 'pause' | 'unpause';
  /** With `die` only. */
  readonly exitCode: number | null;
  readonly at: Date;
}

/**
 * `connected` comes first and after each reconnection, of each machine where there are several: its earlier events may
 * have been missed.
 */
export type WatchMessage =
  | { readonly kind: 'connected'; readonly node: string | null }
  | { readonly kind: 'event'; readonly event: EngineEvent };

/** What a container has used since its start, up to a moment. */
export interface ContainerStats {
  /** By the clock of the engine's machine. */
  readonly at: Date;
  /** Since when it runs, as the engine writes it; another one: it was started again. */
  readonly startedAt: string;
  readonly cpu: {
    readonly usedMs: number;
    /** Millicores; null: as many as there are. */
    readonly limitShares: number | null;
    /** In how many periods of its limit it ran, and in how many of these it was held back. */
    readonly periods: number;
    readonly throttledPeriods: number;
  };
  readonly memory: {
    /** Without file cache that is free to go; under gVisor with gVisor's own. */
    readonly usedBytes: number;
    readonly limitBytes: number | null;
  };
  /** Processes and threads; null where the engine does not know, as under gVisor. */
  readonly pids: number | null;
  /** null without a network. */
  readonly network: { readonly rxBytes: number; readonly txBytes: number } | null;
}
