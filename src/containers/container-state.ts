/**
 * What a container's row says of it. Deleted is not a status: a deleted row has `deleted_at` and is invisible.
 *
 * ```
 *            create ok            stop, exit, oom, gone
 *  creating ──────────▶ running ◀──────────────────────▶ stopped
 *     │                    ▲            start, recreate       ▲
 *     │ create failed      │ start (tries the creation again) │
 *     └──────▶ error ──────┴────────────── stop ──────────────┘
 *
 *  every state ── delete ──▶ deleted
 * ```
 */
export const CONTAINER_STATUSES = ['creating', 'running', 'stopped', 'error'] as const;
export type ContainerStatus = (typeof CONTAINER_STATUSES)[number];

/** From where to where a status may go; the repository refuses the rest. */
export const STATUS_TRANSITIONS: Readonly<Record<ContainerStatus, readonly ContainerStatus[]>> = {
  creating: ['running', 'error'],
  running: ['stopped'],
  stopped: ['running'],
  error: ['running', 'stopped'],
};

/** What a client can ask for. */
export type Verb = 'create' | 'start' | 'stop' | 'delete' | 'update';

/**
 * What can hold a container: at most one of these at a time. Beside the verbs there are the ways back from one that failed:
 * `undo` makes Docker what the row says, `reconcile` makes the row what Docker says. `restart` is an `undo` that failed itself:
 * the row says by now that the container is stopped, which is true, and it has yet to be started again. `purge` holds a deleted
 * row while its data is removed.
 */
export type Operation = Verb | 'undo' | 'restart' | 'reconcile' | Ending | 'purge';

/** Operations that are rolled back to the state before them; the row follows wherever the others got to. */
export function isRolledBack(operation: Operation | null): boolean {
  return operation === 'update' || operation === 'undo' || operation === 'restart';
}

/** Stops that nobody asks for: the session or run is over, or nobody uses the container. */
export type Ending = 'expire' | 'idle';

export function isEnding(operation: Operation | null): operation is Ending {
  return operation === 'expire' || operation === 'idle';
}

/** Why a container stopped that nobody asked to stop. */
export type StopReason = 'exited' | 'oom' | 'missing' | 'session_expired' | 'idle';

/** How far a container's role is: what it asks for is installed by exec, after the container runs. */
export const ROLE_STATUSES = ['pending', 'installing', 'installed', 'failed'] as const;
export type RoleStatus = (typeof ROLE_STATUSES)[number];
