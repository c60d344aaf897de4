import type { BerthEvent, ContainerFacts } from '../../src/events';

/** A row of `containers`, deleted ones included, with the fields that the invariants compare. */
export interface RowTruth {
  readonly id: string;
  readonly user_id: string;
  readonly name: string;
  readonly status: string;
  readonly memory_mb: number;
  readonly cpu_shares: number;
  readonly docker_id: string | null;
  readonly image_id: string | null;
  /** The node of the container if there are several Dockers. */
  readonly node_id: string | null;
  /** The node to which the container is being moved, or which may have remains of a move. */
  readonly other_node_id: string | null;
  readonly generation: number;
  readonly volume_name: string;
  readonly ip_address: string | null;
  /** In Docker's format. */
  readonly run_started_at: string | null;
  readonly operation: string | null;
  readonly deleted_at: Date | null;
  readonly purged_at: Date | null;
}

/** A container of this instance as Docker reports it. */
export interface ContainerTruth {
  /** In the format of rows: with the node if there are several Dockers. */
  readonly id: string;
  readonly node: string | null;
  readonly name: string;
  readonly running: boolean;
  /** From its labels. */
  readonly containerId: string;
  readonly generation: number;
  readonly memoryMb: number;
  readonly cpuShares: number;
  readonly runtime: string;
  readonly volume: string;
  /** Whether it is connected to the sandboxes' network. */
  readonly connected: boolean;
  /** Null if it does not run. */
  readonly ip: string | null;
  readonly startedAt: string | null;
}

/** A volume of this instance, with its marks: file name → text. */
export interface VolumeTruth {
  readonly name: string;
  readonly node: string | null;
  readonly containerId: string;
  readonly marks: ReadonlyMap<string, string>;
}

/** A row of `snapshots`. */
export interface SnapshotTruth {
  readonly id: string;
  readonly user_id: string;
  readonly status: string;
  readonly is_transient: boolean;
  readonly is_clean: boolean;
  /** The id of the image; null if there is none. */
  readonly layer_id: string | null;
  /** 0: there is no volume. */
  readonly data_bytes: number;
}

/** An image of a layer of this instance. */
export interface ImageTruth {
  readonly id: string;
  readonly tags: readonly string[];
}

/** The reserved sum of a machine, as stored in the database. */
export interface ReservedTruth {
  readonly node: string;
  readonly memory_mb: number;
  readonly cpu_shares: number;
}

/** The API's answers to one user. */
export interface UserTruth {
  readonly id: string;
  readonly name: string;
  /** How many containers the tier allows. */
  readonly limit: number;
  /** The answer of `GET /api/containers`. */
  readonly list: {
    readonly containers: readonly ContainerFacts[];
    readonly count: number;
    readonly usage: { readonly containers: number };
    readonly event_seq: number;
  };
  /** All pages of `GET /api/events`. */
  readonly events: readonly BerthEvent[];
  /** The events that the follower received over Socket.IO. */
  readonly followed: readonly BerthEvent[];
}

/** All the states that must agree, at one moment. */
export interface Truth {
  readonly rows: readonly RowTruth[];
  readonly containers: readonly ContainerTruth[];
  readonly volumes: readonly VolumeTruth[];
  readonly snapshots: readonly SnapshotTruth[];
  readonly images: readonly ImageTruth[];
  readonly reserved: readonly ReservedTruth[];
  readonly users: readonly UserTruth[];
}
