/** What a user does, one request each. */
export const VERBS = [
  ...(['create', 'start', 'stop', 'resize', 'rename', 'delete', 'restore'] as const),
  ...(['list', 'get', 'wait', 'events'] as const),
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
    ...['200', '404 container_not_found', '409 operation_in_progress', '409 name_taken'],
    '403 container_limit_reached',
  ],
  list: ['200'],
  get: ['200', '404 container_not_found'],
  wait: ['200', '408 status_not_reached', '409 status_unreachable', '404 container_not_found'],
  events: ['200'],
};

const CHANGES: readonly Verb[] = ['start', 'stop', 'resize', 'rename', 'delete'];

/** What Docker's faults, and other processes' claims on what a dead one held, may do to a verb that changes something. */
const UNDER_FAULTS = ['500 docker_unavailable', '500 docker_error', '500 start_refused', '500 claim_lost'];

/**
 * @param answer `code` of an error
 * @param circumstances databaseDown: at some time during the request
 * @returns whether the API's documentation allows this answer
 */
export function isExpected(
  verb: Verb,
  { status, code }: { status: number; code?: unknown },
  { databaseDown }: { databaseDown: boolean },
): boolean {
  const answer = typeof code === 'string' ? `${String(status)} ${code}` : String(status);
  if (EXPECTED[verb].includes(answer)) return true;
  if (databaseDown && status === 500) return true;
  return CHANGES.includes(verb) && UNDER_FAULTS.includes(answer);
}
