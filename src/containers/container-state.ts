/**
 * What a container's row says of it. Deleted is not a status: a deleted row has `deleted_at` and is invisible.
 *
 * ```
 *            create ok            stop, exit, oom, gone
 *  creating ──────────▶ running ◀──────────────────────▶ stopped
 *     │                    ▲            start, recreate
 *     │ create failed      │ start (tries the creation again)
 *     └──────▶ error ──────┘            every state ── delete ──▶ deleted
 * ```
 */
export const CONTAINER_STATUSES = ['creating', 'running', 'stopped', 'error'] as const;
export type ContainerStatus = (typeof CONTAINER_STATUSES)[number];

/** From where to where a status may go; the repository refuses the rest. */
export const STATUS_TRANSITIONS: Readonly<Record<ContainerStatus, readonly ContainerStatus[]>> = {
  creating: ['running', 'error'],
  running: ['stopped'],
  stopped: ['running'],
  error: ['running'],
};

/** What a client can ask for. */
export type Verb = 'create' | 'start' | 'stop' | 'delete' | 'update';

/**
 * What can hold a container: at most one of these at a time. Beside the verbs there are the two ways back from one that
 * failed: `undo` makes Docker what the row says, `reconcile` makes the row what Docker says.
 */
export type Operation = Verb | 'undo' | 'reconcile';

/** Why a container stopped that nobody asked to stop. */
export type StopReason = 'exited' | 'oom' | 'missing' | 'session_expired' | 'idle';
