import type { BerthEvent, ContainerFacts } from '../../src/events';

/** A row of `containers`, deleted ones included, as far as it must agree with anything. */
export interface RowTruth {
  readonly id: string;
  readonly user_id: string;
  readonly name: string;
  readonly status: string;
  readonly memory_mb: number;
  readonly cpu_shares: number;
  readonly docker_id: string | null;
  /** Of several Dockers, the one that it is on. */
  readonly node_id: string | null;
  /** The one that it is being moved to, or that may still have something of a move. */
  readonly other_node_id: string | null;
  readonly generation: number;
  readonly volume_name: string;
  readonly ip_address: string | null;
  /** As Docker writes it. */
  readonly run_started_at: string | null;
  readonly operation: string | null;
  readonly deleted_at: Date | null;
  readonly purged_at: Date | null;
}

/** A container of this Berth's as Docker has it. */
export interface ContainerTruth {
  /** As rows have it: of several Dockers, with the node. */
  readonly id: string;
  readonly node: string | null;
  readonly name: string;
  readonly running: boolean;
  /** Of its labels. */
  readonly containerId: string;
  readonly generation: number;
  readonly memoryMb: number;
  readonly cpuShares: number;
  readonly runtime: string;
  readonly volume: string;
  /** To the sandboxes' network. */
  readonly connected: boolean;
  /** null where it does not run. */
  readonly ip: string | null;
  readonly startedAt: string | null;
}

/** A volume of this Berth's, with the marks in it: the text of each by its file's name. */
export interface VolumeTruth {
  readonly name: string;
  readonly node: string | null;
  readonly containerId: string;
  readonly marks: ReadonlyMap<string, string>;
}

/** What rows reserve together of a machine, as the database keeps the sum. */
export interface ReservedTruth {
  readonly node: string;
  readonly memory_mb: number;
  readonly cpu_shares: number;
}

/** What one user is told. */
export interface UserTruth {
  readonly id: string;
  readonly name: string;
  /** How many containers the tier allows. */
  readonly limit: number;
  /** Of `GET /api/containers`. */
  readonly list: {
    readonly containers: readonly ContainerFacts[];
    readonly count: number;
    readonly usage: { readonly containers: number };
    readonly event_seq: number;
  };
  /** All pages of `GET /api/events`. */
  readonly events: readonly BerthEvent[];
  /** What the follower on Socket.IO was sent. */
  readonly followed: readonly BerthEvent[];
}

/** Everything that must agree, at one moment. */
export interface Truth {
  readonly rows: readonly RowTruth[];
  readonly containers: readonly ContainerTruth[];
  readonly volumes: readonly VolumeTruth[];
  readonly reserved: readonly ReservedTruth[];
  readonly users: readonly UserTruth[];
}
