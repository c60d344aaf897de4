import type { Excuse } from './excuses';

/** What a user does, one request each. */
export const VERBS = [
  'create',
  'start',
  'stop',
  'resize',
  'rename',
  'delete',
  'restore',
  'list',
  'get',
  'wait',
  'events',
] as const;
export type Verb = (typeof VERBS)[number];

/** What an answer may be when nothing goes wrong, as `status` or `status code`. */
const EXPECTED: Readonly<Record<Verb, readonly string[]>> = {
  create: ['202', '403 container_limit_reached', '409 name_taken'],
  start: ['200', '404 container_not_found', '409 operation_in_progress'],
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
  list: ['200'],
  get: ['200', '404 container_not_found'],
  wait: ['200', '408 status_not_reached', '409 status_unreachable', '404 container_not_found'],
  events: ['200'],
};

/** What operates on a container while the client waits. */
const OPERATIONS: readonly Verb[] = ['start', 'stop', 'resize', 'rename', 'delete'];
/** What writes. */
const WRITES: readonly Verb[] = [...OPERATIONS, 'create', 'restore'];

/** What Docker's faults, and other processes' leases on what a dead one held, may do to an operation. */
const UNDER_FAULTS = ['500 docker_unavailable', '500 docker_error', '500 start_refused', '500 claim_lost'];

/** What else may become of an operation on a Docker without its data: before it is found out, and after. */
const WITHOUT_DATA = ['500 image_not_found', '500 image_not_built', '500 image_unavailable', '500 docker_changed'];

interface Answer {
  readonly status: number;
  /** Of an error. */
  readonly code?: unknown;
  /** The header. */
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
    // What others have left may be too little, and a drained node starts nothing.
    if ((excuses.has('node_silent') || excuses.has('node_drained')) && words === '503 no_capacity') return true;
  }
  // It came, and was read half a minute later.
  if (excuses.has('stood_still') && words === '408 request_timeout') return true;
  if (excuses.has('database_down') && status === 500) return true;
  if (excuses.has('database_down') && words === '503 database_unavailable' && Number(retryAfter) > 0) return true;
  // Nobody who only reads waits for a lock.
  const isLocked = excuses.has('database_busy') || excuses.has('late');
  const mayBeBusy = excuses.has('database_down') || (isLocked && WRITES.includes(verb));
  return mayBeBusy && words === '503 database_busy' && Number(retryAfter) > 0;
}
