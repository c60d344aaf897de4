import { ApiExtension, getSchemaPath, type OpenAPIObject } from '@nestjs/swagger';
import { BEARER_CHALLENGE, type ErrorCode, ERRORS, type FailureReason } from './domain-error';
import { ErrorResponse } from './error-response';

type SchemaObject = NonNullable<NonNullable<OpenAPIObject['components']>['schemas']>[string];
type Operation = NonNullable<OpenAPIObject['paths'][string]['get']>;
type ResponseObject = Extract<Operation['responses'][string], { description: string }>;

/** The value of a field, or the single item of a list. */
type FieldExample = string | number | readonly Readonly<Record<string, string | number>>[];

interface FaultDescription {
  readonly when: string;
  /** The `code`s that the error may have, if not its own. */
  readonly codes?: readonly (ErrorCode | FailureReason)[];
  /** The error's additional fields, each with an example. */
  readonly fields?: Readonly<Record<string, FieldExample>>;
  readonly retryAfter?: true;
}

const DOCKER = ['docker_unavailable', 'docker_changed', 'docker_error'] as const;
/** Failures of Berth's own programs in a container, and of Docker below them. */
const PROGRAM = [
  ...DOCKER,
  'container_broken',
  'command_not_started',
  'timed_out',
  'output_too_large',
  'output_endless',
  'aborted',
] as const;
const IMAGE = [
  'image_not_found',
  'image_not_built',
  'image_access_denied',
  'image_unavailable',
  'start_refused',
] as const;

/**
 * Describes a failed operation, which may first have had to finish an abandoned one.
 *
 * @param own the code if no other is known
 */
const failed = (own: ErrorCode): FaultDescription => ({
  when: 'the operation was rolled back; code gives the reason',
  codes: [...DOCKER, ...IMAGE, 'data_too_large', 'copy_failed', 'claim_lost', own],
});

const REQUEST_ID = '0b7e5c1a-2f64-4d0e-9a35-6b1f0c2d3e4f';
const SHORT = [{ resource: 'memory_mb', needed: 2048, available: 512 }];
const TIER_LIMIT = { current: 5, limit: 5, tier: 'free' } as const;

/** When each error is returned. Errors of Socket.IO's endpoint and of requests without a route are missing. */
const FAULTS = {
  invalid_parameters: { when: 'a field, a header or the body is invalid; see details' },
  ambiguous_id: { when: 'the prefix matches the ids of several containers' },
  unauthorized: { when: 'the token is missing, unknown, revoked or expired' },
  insufficient_permissions: { when: 'the token lacks a required scope' },
  user_suspended: { when: 'an administrator has suspended the user' },
  not_authorized: { when: 'the resource belongs to another user' },
  guest_session_expired: { when: 'reading, stopping and deleting still work' },
  sign_in_code_refused: { when: 'or the token that created the code is no longer valid' },
  guest_login_disabled: { when: 'this server accepts no guests' },
  guest_limit_reached: {
    when: 'the maximum number of guest sessions is reached; try again later',
    fields: { current: 100, limit: 100 },
  },
  container_limit_reached: { when: 'the user has the maximum number of containers in the tier', fields: TIER_LIMIT },
  snapshot_limit_reached: {
    when: "the number or total size of the user's snapshots would exceed the tier's limit",
    fields: { ...TIER_LIMIT, current_mb: 51_300, limit_mb: 51_200 },
  },
  snapshot_not_found: { when: 'no snapshot has this id, or it is deleted' },
  snapshot_not_ready: {
    when:
      'it is still being created, failed, or is lost: with its node (reason node_lost), or because its files are ' +
      'missing from Docker (files_missing); see status',
    fields: { status: 'failed', reason: 'node_lost' },
  },
  template_not_found: { when: 'no template has this name' },
  link_limit_reached: {
    when: 'the container has the maximum number of links or public ports',
    fields: { current: 100, limit: 100 },
  },
  public_not_allowed: { when: "the user's tier allows only private ports", fields: { tier: 'guest' } },
  link_not_found: {
    when: 'the link does not exist, has expired or was revoked, or a file link is invalid',
  },
  previews_disabled: { when: 'PREVIEW_PORT is off on this server' },
  agent_limit_reached: { when: 'the user has the maximum number of agents in the tier', fields: TIER_LIMIT },
  webhook_limit_reached: { when: 'the user has the maximum number of webhooks in the tier', fields: TIER_LIMIT },
  webhook_not_found: { when: 'no webhook has this id, or it is deleted' },
  delivery_not_found: { when: 'the webhook has no delivery with this id, or it is no longer stored' },
  event_not_kept: { when: "the event is older than the server's retention" },
  token_limit_reached: {
    when: 'the user has the maximum number of active tokens on this server',
    fields: { current: 50, limit: 50 },
  },
  container_not_found: { when: 'no container has this id, or it is deleted' },
  variable_not_found: { when: 'the container has no variable with this name' },
  agent_not_found: { when: 'no agent has this id' },
  token_not_found: { when: 'no token has this id, or it is already revoked' },
  ssh_key_not_found: { when: 'no key has this id, or it has expired' },
  ssh_key_taken: { when: 'by you or another user; a key belongs to only one user' },
  ssh_disabled: { when: 'SSH_PORT is off on this server' },
  user_not_found: { when: 'no user has this id' },
  node_not_found: { when: 'no node has this name or id' },
  node_reachable: { when: 'the node responded within the last few seconds, so it is not given up' },
  not_clustered: { when: 'a move needs a cluster with several nodes' },
  same_node: { when: 'the target is the current node' },
  wrong_pool: { when: "the container's tier uses a different pool" },
  image_not_found: { when: 'no catalogue image has this name' },
  image_name_taken: { when: 'the catalogue has an image with this name, or the name is "custom"' },
  image_never_pulled: { when: 'its pull policy is `never`, as it is built on the machine' },
  status_not_reached: { when: 'the timeout has elapsed; status is the current status', fields: { status: 'creating' } },
  status_unreachable: {
    when: 'it needs another request; status is the current status, or deleted if the container was deleted meanwhile',
    fields: { status: 'error' },
  },
  name_taken: { when: 'the user already has a container with this name' },
  agent_name_taken: { when: 'the user already has an agent with this name' },
  username_taken: { when: 'a user or an active guest has this name' },
  idempotency_key_reused: { when: 'the same Idempotency-Key was sent with a different body in the last 24 hours' },
  operation_in_progress: {
    when: 'the wait for it timed out; operation is its name, Retry-After when to try again',
    fields: { operation: 'update' },
    retryAfter: true,
  },
  exec_not_allowed: { when: "the user's tier gives no access to the inside of containers", fields: { tier: 'guest' } },
  container_not_running: {
    when: 'it was stopped before or during the request; container_paused if it is paused and the request does not resume it',
    codes: ['container_not_running', 'container_paused'],
  },
  restart_required: { when: 'it was created by an earlier version of Berth; the next start updates it' },
  sandbox_full: { when: 'its limit of processes or memory is used up; nothing was started' },
  command_not_started: {
    when: 'the program, working directory or user does not exist in the container or cannot be used',
  },
  execution_not_found: { when: 'no run has this id, or the container no longer keeps it' },
  code_unavailable: { when: 'no kernels are served on its port 49999, as in the image `code`' },
  code_refused: {
    when: 'the image has no such language, or too many contexts or runs; reason says which',
    fields: { reason: 'this image has no ruby: it runs python, javascript, bash' },
  },
  process_not_found: { when: 'no process has this id, or it ended some time ago' },
  process_limit_reached: { when: 'limit is the maximum per container (16)', fields: { limit: 16 } },
  process_ended: { when: 'only its output can still be read, for a limited time' },
  stdin_closed: { when: 'the input of the process has been closed' },
  stdin_full: { when: 'the process has 256 KiB of unread input' },
  too_many_commands: { when: 'limit is the maximum per container (16)', fields: { limit: 16 } },
  removal_pending: {
    when: 'it was deleted by force and Docker still has it; Retry-After when to try again',
    retryAfter: true,
  },
  rate_limit_exceeded: { when: 'Retry-After is the number of seconds to wait', retryAfter: true },
  too_many_connections: {
    when:
      'each user can have 50 waits and 50 streams per server process; for waits, Retry-After is when the first one ' +
      'ends',
    retryAfter: true,
  },
  path_not_found: { when: 'the path does not exist in the container' },
  path_denied: { when: "the image's user has no access to the path" },
  path_exists: { when: 'the target path already exists' },
  path_is_directory: { when: 'this route does not accept directories' },
  path_not_directory: { when: 'the path or one of its parents is not a directory' },
  path_not_file: { when: 'the path is a device, a pipe or another special file' },
  path_protected: { when: 'the path is /home/user, one of its parents, or a mount point' },
  directory_not_empty: { when: 'set recursive=true to delete it with its contents' },
  precondition_failed: { when: 'a condition of the request, such as If-Match, is not or no longer met' },
  range_not_satisfiable: { when: 'Content-Range gives the size of the file' },
  file_too_large: { when: 'limit is the maximum size in bytes', fields: { limit: 104_857_600 } },
  archive_too_large: { when: 'limit is the maximum size in bytes', fields: { limit: 2_147_483_648 } },
  tools_failed: { when: 'an I/O error, a file changed during the operation, or no progress for 60 s' },
  too_many_transfers: { when: 'limit is the maximum per container (16)', fields: { limit: 16 } },
  too_many_watches: {
    when: 'limit is the maximum per container (16), directories that of all directories that they watch (4,096)',
    fields: { limit: 16, directories: 4_096 },
  },
  file_access_failed: { when: 'code gives the reason', codes: PROGRAM },
  no_space: { when: 'incomplete data was removed' },
  no_capacity: {
    when: 'nothing was changed; short lists the missing resources, Retry-After when to try again',
    fields: { short: SHORT },
    retryAfter: true,
  },
  terminal_not_found: { when: 'no terminal has this id, or it has ended' },
  terminal_failed: {
    when: 'code gives the reason; the terminal may keep running',
    codes: ['docker_unavailable', 'docker_error', 'command_not_started', 'too_many'],
  },
  stats_failed: { when: 'code gives the reason', codes: PROGRAM },
  command_failed: {
    when: 'code gives the reason; if the command was started, it is terminated',
    codes: [...PROGRAM, 'too_many', 'process_not_ended'],
  },
  code_failed: {
    when: 'code gives the reason: the server of kernels answers wrongly, or not in time',
    codes: [...PROGRAM, 'code_failed', 'timed_out', 'output_too_large', 'broken_off'],
  },
  start_failed: failed('start_failed'),
  stop_failed: failed('stop_failed'),
  pause_failed: failed('pause_failed'),
  resume_failed: failed('resume_failed'),
  delete_failed: failed('delete_failed'),
  update_failed: failed('update_failed'),
  restore_failed: failed('restore_failed'),
  move_failed: failed('move_failed'),
  snapshot_failed: failed('snapshot_failed'),
  template_failed: failed('template_failed'),
  pull_failed: { when: 'code gives the reason', codes: [...DOCKER, ...IMAGE, 'aborted'] },
  node_unavailable: {
    when:
      'in a cluster, the node of the container or snapshot is unreachable; the request may have taken effect; ' +
      'Retry-After when to try again',
    retryAfter: true,
  },
  container_not_responding: { when: 'Docker responds, but the sandbox does not; the request may have taken effect' },
  not_ready: { when: 'Docker does not respond; nothing was changed', codes: DOCKER },
  request_timeout: { when: 'the request was not complete after 30 s; for files, no byte arrived for 60 s' },
  body_too_large: { when: 'the maximum is 64 KiB' },
  unsupported_media_type: { when: 'the route does not accept this media type, or the body has a Content-Encoding' },
  expectation_failed: { when: 'the only supported value of Expect is 100-continue' },
  misdirected_request: { when: 'the host name of the request is not in ALLOWED_HOSTS' },
  request_header_fields_too_large: { when: 'the maximum is 16 KiB' },
  internal_error: { when: 'unexpected server error' },
  database_busy: { when: 'nothing was changed; Retry-After when to try again', retryAfter: true },
  database_unavailable: {
    when: 'the request may have taken effect; Retry-After when to try again',
    retryAfter: true,
  },
  database_read_only: { when: 'the database accepts no writes; nothing was changed' },
  storage_full: { when: 'the database has no space left; nothing was changed' },
  shutting_down: { when: 'nothing was changed; try again' },
} satisfies Partial<Record<ErrorCode, FaultDescription>>;

export type ApiFault = keyof typeof FAULTS;

/** {@link FAULTS} indexed by any code, for the error catalogue. */
export const FAULT_DESCRIPTIONS: Readonly<Partial<Record<string, FaultDescription>>> = FAULTS;

/** OpenAPI extension in which {@link ApiFaults} stores the errors until the document is built. */
export const FAULTS_EXTENSION = 'x-faults';

/** Documents a route's own errors, beside those of every route; their statuses come from the table of errors. */
export function ApiFaults(...faults: readonly ApiFault[]): MethodDecorator {
  const needsNode = faults.some((fault) => (FAULTS[fault] as FaultDescription).codes?.includes('docker_unavailable'));
  const unreachable = ['node_unavailable', 'container_not_responding'] as const;
  return ApiExtension(FAULTS_EXTENSION, needsNode ? [...faults, ...unreachable] : faults);
}

/** An example of each error, by its name; {@link faultResponse} refers to them. */
export const FAULT_EXAMPLES = Object.fromEntries(
  (Object.keys(FAULTS) as ApiFault[]).map((fault) => {
    const { codes: [code = fault] = [], fields }: FaultDescription = FAULTS[fault];
    const error = ERRORS[fault].message;
    return [fault, { value: Object.assign({ error, code, request_id: REQUEST_ID }, fields) }];
  }),
);

/** Builds one OpenAPI response for the errors of one status; examples distinguish them. */
export function faultResponse(faults: readonly ApiFault[]): ResponseObject {
  const described = faults.map((fault): { fault: ApiFault; description: FaultDescription } => {
    return { fault, description: FAULTS[fault] };
  });
  const examples = faults.map((fault) => [fault, { $ref: `#/components/examples/${fault}` }] as const);
  const headers: NonNullable<ResponseObject['headers']> = {};
  if (described.some(({ description }) => description.retryAfter)) headers['Retry-After'] = RETRY_AFTER;
  if (faults.includes('unauthorized')) headers['WWW-Authenticate'] = CHALLENGE;
  if (faults.includes('insufficient_permissions')) headers['WWW-Authenticate'] = SCOPE_CHALLENGE;
  if (faults.includes('range_not_satisfiable')) headers['Content-Range'] = CONTENT_RANGE;
  return {
    description: described
      .map(({ fault, description }) => `${ERRORS[fault].message}: ${description.when}.`)
      .join('\n\n'),
    headers,
    content: {
      'application/json': {
        schema: schemaOf(described),
        examples: Object.fromEntries(examples) as Record<string, { $ref: string }>,
      },
    },
  };
}

const RETRY_AFTER = { description: 'Seconds.', schema: { type: 'integer', minimum: 1 }, example: 2 };
const CHALLENGE = {
  description: 'Requests a token; with `error="invalid_token"` if the given one was refused.',
  schema: { type: 'string', enum: [BEARER_CHALLENGE, `${BEARER_CHALLENGE}, error="invalid_token"`] },
};
const SCOPE_CHALLENGE = {
  description: 'With `insufficient_permissions`: the required scopes.',
  schema: { type: 'string', pattern: '^Bearer realm="berth", error="insufficient_scope"' },
  example: `${BEARER_CHALLENGE}, error="insufficient_scope", scope="write"`,
};
const CONTENT_RANGE = { description: 'Size of the file.', schema: { type: 'string' }, example: 'bytes */1024' };

/** The schema of an error with the sentences, codes and fields of these errors. */
function schemaOf(described: readonly { fault: ApiFault; description: FaultDescription }[]): SchemaObject {
  const codes = described.flatMap(({ fault, description }) => description.codes ?? [fault]);
  const own = {
    error: { type: 'string', enum: [...new Set(described.map(({ fault }) => ERRORS[fault].message))] },
    code: { type: 'string', enum: [...new Set(codes)] },
  };
  const fields = described.flatMap(({ description }) => Object.entries(description.fields ?? {}));
  const properties = Object.assign(own, objectLike(fields).properties);
  return { allOf: [{ $ref: getSchemaPath(ErrorResponse) }, { type: 'object', properties }] };
}

function objectLike(fields: readonly (readonly [string, FieldExample])[]): Extract<SchemaObject, { type?: string }> {
  const properties = fields.map(([name, example]) => [name, schemaLike(example)] as const);
  return { type: 'object', properties: Object.fromEntries(properties) };
}

function schemaLike(example: FieldExample): SchemaObject {
  if (typeof example === 'number') return { type: 'integer', minimum: 0, example };
  if (typeof example === 'string') return { type: 'string', example };
  return { type: 'array', items: objectLike(Object.entries(example[0] ?? {})), example: [...example] };
}
