/** A container in events and answers. */
export interface ContainerFacts {
  /** The Docker id; the database id if it has none yet. */
  readonly id: string;
  readonly db_id: string;
  readonly name: string;
  readonly status: string;
  readonly image: string;
  readonly role: string | null;
  readonly labels: Readonly<Record<string, string>>;
  readonly resources: { readonly memory_mb: number; readonly cpu_shares: number; readonly disk_mb: number };
  readonly network: string | { readonly allow: readonly string[] };
}

/** An agent in events and answers. */
export interface AgentFacts {
  /** `agent:` and the agent's UUID. */
  readonly id: string;
  readonly type: 'agent';
  readonly name: string;
  readonly status: 'online' | 'offline';
  readonly os: string | null;
  readonly arch: string | null;
  readonly tags: readonly string[];
}

/** A kept process of a container. */
export interface ProcessFacts {
  readonly id: string;
  /**
   * The container's database id. It is not named `db_id`, which would make the event look like one about the
   * container.
   */
  readonly container_id: string;
  /** The program's name, without arguments. */
  readonly program: string;
  /** Set if it is the container's start command. */
  readonly start?: true;
}

/** A snapshot in events and answers. */
export interface SnapshotFacts {
  readonly id: string;
  /** The database id of its container; not `db_id`, as for {@link ProcessFacts}. */
  readonly container_id: string;
  readonly name: string;
  readonly status: string;
  /** Whether it contains the files outside the data volume. */
  readonly root: boolean;
  readonly bytes: number;
  readonly labels: Readonly<Record<string, string>>;
}

/** A node of several machines. */
export interface NodeFacts {
  /** Swarm's node id. */
  readonly id: string;
  readonly name: string;
  readonly pool: string;
  readonly availability: 'active' | 'pause' | 'drain';
}

/** A webhook. */
export interface WebhookFacts {
  readonly id: string;
  /** Of its URL, with the port if the URL has one. */
  readonly host: string;
  readonly for_all_users: boolean;
}

/** The `data` of every event, by the event's name. */
export interface EventMap {
  /** `forked_from` is the database id of the container that it is a copy of. */
  container_created: ContainerFacts & { forked_from?: string };
  container_started: ContainerFacts & {
    recreated?: true;
    old_id?: string;
    volume_kept?: boolean;
    image_changed?: true;
  };
  /**
   * `reason` (`exited`, `oom`, `missing`, …) only for a stop that was not requested; `message` with `oom`; `resumed`
   * only if it was paused, and resumed so that its processes could end.
   */
  container_stopped: ContainerFacts & { reason?: string; exit_code?: number; message?: string; resumed?: true };
  /** Its processes are suspended. `reason` (`idle`, `lifetime_over`) only for a pause that was not requested. */
  container_paused: ContainerFacts & { reason?: string };
  /** Its processes go on. */
  container_resumed: ContainerFacts;
  /**
   * `reason` only if the deletion was not requested for the container: `auto_delete`, `session_expired` or
   * `user_deleted`; `resumed` as for a stop.
   */
  container_deleted: ContainerFacts & { purge_at: string | null; reason?: string; resumed?: true };
  container_restored: ContainerFacts;
  /** The container will be stopped, paused or deleted (`action`) at `expires_at`, in `seconds_left`, for `reason`. */
  container_expiring: ContainerFacts & {
    action: 'stop' | 'pause' | 'delete';
    reason: string;
    expires_at: string;
    seconds_left: number;
  };
  /** `root_kept` only if it was recreated: whether the files outside its home are still there. */
  container_updated: ContainerFacts & {
    restarted: boolean;
    old_id?: string;
    root_kept?: boolean;
    image_changed?: true;
  };
  /** Moved to another node by an operator; `root_kept` as for an update. */
  container_moved: ContainerFacts & {
    restarted: boolean;
    old_id?: string;
    root_kept?: boolean;
    image_changed?: true;
  };
  /** `progress` is 0 to 100 percent of the whole operation. */
  container_progress: ContainerFacts & { stage: string; message: string; progress: number };
  /** `reason` is a code, `message` a sentence for people, `output` the end of a failed program's output. */
  container_error: ContainerFacts & { reason: string; message: string; output?: string };
  /** Its node does not answer; the container may still run there. */
  container_unreachable: ContainerFacts;
  /** Its node answers again. */
  container_reachable: ContainerFacts;
  process_started: ProcessFacts;
  /**
   * `reason`: `exited`, `ended`, `container_stopped` or, for a start command, `command_not_started`. The exit code is
   * null if unknown.
   */
  process_exited: ProcessFacts & { exit_code: number | null; reason: string };
  /** Its container ended while no server process saw it: how the process ended is unknown. */
  process_lost: ProcessFacts;
  /** The container's start command is ready, `seconds` after the command's own start. */
  container_ready: ContainerFacts & { process_id: string; seconds: number };
  /** The start command did not become ready in time; it is not checked again before its next start. */
  container_not_ready: ContainerFacts & { process_id: string; within_seconds: number };
  snapshot_created: SnapshotFacts;
  /** `percent` is 0 to 100, of the whole. */
  snapshot_progress: SnapshotFacts & { message: string; percent: number };
  /** The container was suspended for `downtime_ms`. */
  snapshot_ready: SnapshotFacts & { downtime_ms: number };
  /** `reason` is a code, `message` a sentence for people. Its container is as it was. */
  snapshot_failed: SnapshotFacts & { reason: string; message: string };
  snapshot_deleted: SnapshotFacts;
  /** Events of nodes go to administrators only. A drained node gets no containers, and none are started there. */
  node_drained: NodeFacts;
  /** The node accepts containers and starts again. */
  node_activated: NodeFacts;
  /** The node's Docker answers no process; containers there may still run. */
  node_unreachable: NodeFacts;
  /** The node's Docker answers again. */
  node_reachable: NodeFacts;
  /** The node was given up, together with its containers. */
  node_forgotten: NodeFacts;
  /** The node answers after it was given up; its remaining containers are removed. */
  node_readmitted: NodeFacts;
  agent_connected: AgentFacts;
  /** `reason`: `closed`, `silent`, `stopped` or `deleted`. */
  agent_disconnected: AgentFacts & { reason: string };
  /** Deliveries have ended because the receiver failed for too long, or said that it is gone; `reason` is a code. */
  webhook_disabled: WebhookFacts & { reason: string };
}

type EventType = keyof EventMap;

/** An event before its commit, without a `seq`. */
export type EventDraft = { [T in EventType]: { readonly type: T; readonly data: EventMap[T] } }[EventType];

/** An event as clients receive it. */
export type BerthEvent = EventDraft & { readonly seq: number; readonly timestamp: string };

/** The database id of an event's container; null if the event is about an agent, a process or a node. */
export function containerIdOf({ data }: Pick<BerthEvent, 'data'>): string | null {
  return 'db_id' in data ? data.db_id : null;
}

/**
 * What an event is about: the database id of its container, also for processes and snapshots, or the id of its agent,
 * node or webhook.
 */
export function subjectOf({ data }: Pick<BerthEvent, 'data'>): string {
  if ('db_id' in data) return data.db_id;
  return 'container_id' in data ? data.container_id : data.id;
}
