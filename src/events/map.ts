/** A container as events and answers show it. */
export interface ContainerFacts {
  /** The Docker id; the database id while there is none. */
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

/** An agent as events and answers show it. */
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

/** A process that is kept in a container. */
export interface ProcessFacts {
  readonly id: string;
  /** The container's database id: not `db_id`, or clients would take the event for one about the container itself. */
  readonly container_id: string;
  /** Its name, without arguments. */
  readonly program: string;
  /** It is the container's start command. */
  readonly start?: true;
}

/** One of several machines. */
export interface NodeFacts {
  /** Swarm's own. */
  readonly id: string;
  readonly name: string;
  readonly pool: string;
  readonly availability: 'active' | 'pause' | 'drain';
}

/** Every event's name and what its `data` holds beside the container's facts. */
export interface EventMap {
  container_created: ContainerFacts;
  container_started: ContainerFacts & {
    recreated?: true;
    old_id?: string;
    volume_kept?: boolean;
    image_changed?: true;
  };
  /** `reason` (`exited`, `oom`, `missing`, …) only where nobody asked for the stop; `message` with `oom`. */
  container_stopped: ContainerFacts & { reason?: string; exit_code?: number; message?: string };
  /** `reason` only where nobody asked for the deletion: `auto_delete` or `session_expired`. */
  container_deleted: ContainerFacts & { purge_at: string | null; reason?: string };
  container_restored: ContainerFacts;
  /** The container will be stopped or deleted (`action`) at `expires_at`, in `seconds_left`, and for which reason. */
  container_expiring: ContainerFacts & {
    action: 'stop' | 'delete';
    reason: string;
    expires_at: string;
    seconds_left: number;
  };
  container_updated: ContainerFacts & { restarted: boolean; old_id?: string; image_changed?: true };
  /** To another machine, for the operator's reasons. */
  container_moved: ContainerFacts & { restarted: boolean; old_id?: string; image_changed?: true };
  /** `progress` is 0 to 100 over the whole of the operation. */
  container_progress: ContainerFacts & { stage: string; message: string; progress: number };
  /** `reason` is a machine word, `message` a sentence for people, `output` the tail of what a failed program said. */
  container_error: ContainerFacts & { reason: string; message: string; output?: string };
  /** Its machine does not answer; what runs there may go on. */
  container_unreachable: ContainerFacts;
  /** Its machine answers again. */
  container_reachable: ContainerFacts;
  process_started: ProcessFacts;
  /** `reason`: `exited`, `ended` or `container_stopped`; the exit code is null where it is not known. */
  process_exited: ProcessFacts & { exit_code: number | null; reason: string };
  /** Its server process, or Docker, ended or was restarted; it was ended too. */
  process_lost: ProcessFacts;
  /** What was started with the container is ready; `seconds` after its own start. */
  container_ready: ContainerFacts & { process_id: string; seconds: number };
  /** It did not become so in its time, and is not looked at again before its next start. */
  container_not_ready: ContainerFacts & { process_id: string; within_seconds: number };
  /** Events of nodes are told to administrators alone. Nothing is placed or started there any more. */
  node_drained: NodeFacts;
  /** Containers are placed and started there again. */
  node_activated: NodeFacts;
  /** No process gets an answer of its Docker; what runs there may go on. */
  node_unreachable: NodeFacts;
  /** Its Docker answers again. */
  node_reachable: NodeFacts;
  /** It was given up, and what was there with it. */
  node_forgotten: NodeFacts;
  /** It answers after it was given up; what it still has is removed. */
  node_readmitted: NodeFacts;
  agent_connected: AgentFacts;
  /** `reason`: `closed`, `silent`, `stopped` or `deleted`. */
  agent_disconnected: AgentFacts & { reason: string };
}

type EventType = keyof EventMap;

/** An event that is not committed yet, so it has no `seq`. */
export type EventDraft = { [T in EventType]: { readonly type: T; readonly data: EventMap[T] } }[EventType];

/** An event as clients get it. */
export type BerthEvent = EventDraft & { readonly seq: number; readonly timestamp: string };

/** The database id of the container that an event is about; null where it is about an agent or a process. */
export function containerIdOf({ data }: Pick<BerthEvent, 'data'>): string | null {
  return 'db_id' in data ? data.db_id : null;
}
