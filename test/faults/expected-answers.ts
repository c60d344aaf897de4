import type { Excuse } from './excuses';

/** A container that is being created, or could not be. */
const NOT_READY = ['409 container_not_running'];
/** A snapshot that was deleted, is being made, or could not be made. */
const NO_SNAPSHOT = ['404 snapshot_not_found', '409 snapshot_not_ready'];

/** The requests of a user, with the answers without any fault as `status` or `status code`. */
const EXPECTED = {
  create: ['202', '403 container_limit_reached', '409 name_taken'],
  // The snapshot of a copy or fork that was cut off may be gone.
  start: ['200', '404 container_not_found', '409 operation_in_progress', '404 snapshot_not_found'],
  stop: ['200', '404 container_not_found', '409 operation_in_progress'],
  resize: ['200', '404 container_not_found', '409 operation_in_progress', '409 name_taken'],
  rename: ['200', '404 container_not_found', '409 operation_in_progress', '409 name_taken'],
  delete: ['200', '404 container_not_found', '409 operation_in_progress'],
  restore: [
    '200',
    '404 container_not_found',
    '409 operation_in_progress',
    '409 name_taken',
    '403 container_limit_reached',
  ],
  snapshot: ['202', '404 container_not_found', '409 operation_in_progress', ...NOT_READY, '403 snapshot_limit_reached'],
  fork: ['202', '404 container_not_found', '409 operation_in_progress', ...NOT_READY, '403 container_limit_reached'],
  copy: ['202', ...NO_SNAPSHOT, '403 container_limit_reached'],
  revert: ['200', '404 container_not_found', ...NO_SNAPSHOT, '409 operation_in_progress', ...NOT_READY],
  discard: ['200', '404 snapshot_not_found'],
  list: ['200'],
  get: ['200', '404 container_not_found'],
  wait: ['200', '408 status_not_reached', '409 status_unreachable', '404 container_not_found'],
  events: ['200'],
} satisfies Record<string, readonly string[]>;

export type Verb = keyof typeof EXPECTED;

/** Operations on a container for which the client waits. */
const OPERATIONS: readonly Verb[] = ['start', 'stop', 'resize', 'rename', 'delete', 'snapshot', 'fork', 'revert'];
/** Requests that write. */
const WRITES: readonly Verb[] = [...OPERATIONS, 'create', 'restore', 'copy', 'discard'];

/**
 * Further answers of operations, caused by Docker's faults and by takeovers of a dead process's leases. A container
 * does not respond if a single call about it is not answered, while Docker answers others.
 */
const UNDER_FAULTS = [
  '500 docker_unavailable',
  '500 docker_error',
  // Of a copy that the operation makes, or has first to finish for a dead process.
  '500 copy_failed',
  '500 start_refused',
  '500 claim_lost',
  '503 container_not_responding',
];

/** Further answers of operations on a Docker without its data, before and after Berth detects it. */
const WITHOUT_DATA = ['500 image_not_found', '500 image_not_built', '500 image_unavailable', '500 docker_changed'];

interface Answer {
  readonly status: number;
  /** The code of an error. */
  readonly code?: unknown;
  /** The `Retry-After` header. */
  readonly retryAfter?: unknown;
}

/**
 * @param excuses of the faults that met the request
 * @returns whether the API's documentation allows this answer
 */
export function isExpected(verb: Verb, answer: Answer, excuses: ReadonlySet<Excuse>): boolean {
  const { status, code, retryAfter } = answer;
  const words = typeof code === 'string' ? `${String(status)} ${code}` : String(status);
  if (EXPECTED[verb].includes(words)) return true;
  if (OPERATIONS.includes(verb) && UNDER_FAULTS.includes(words)) return true;
  if (OPERATIONS.includes(verb) && excuses.has('docker_emptied') && WITHOUT_DATA.includes(words)) return true;
  if (WRITES.includes(verb) && Number(retryAfter) > 0) {
    if (excuses.has('node_silent') && words === '503 node_unavailable') return true;
    // The other nodes may have too little room, and a drained node starts nothing.
    if ((excuses.has('node_silent') || excuses.has('node_drained')) && words === '503 no_capacity') return true;
  }
  // The request arrived, and was read half a minute later.
  if (excuses.has('stood_still') && words === '408 request_timeout') return true;
  if (excuses.has('database_down') && status === 500) return true;
  if (excuses.has('database_down') && words === '503 database_unavailable' && Number(retryAfter) > 0) return true;
  // Requests that only read never wait for a lock.
  const isLocked = excuses.has('database_busy') || excuses.has('late');
  const mayBeBusy = excuses.has('database_down') || (isLocked && WRITES.includes(verb));
  return mayBeBusy && words === '503 database_busy' && Number(retryAfter) > 0;
}
