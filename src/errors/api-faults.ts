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
  when: 'what was begun is taken back; code says why',
  codes: [...DOCKER, ...IMAGE, 'data_too_large', 'copy_failed', 'claim_lost', own],
});

const REQUEST_ID = '0b7e5c1a-2f64-4d0e-9a35-6b1f0c2d3e4f';
const SHORT = [{ resource: 'memory_mb', needed: 2048, available: 512 }];
const TIER_LIMIT = { current: 5, limit: 5, tier: 'free' } as const;

/** When each error is returned. Errors of Socket.IO's endpoint and of requests without a route are missing. */
const FAULTS = {
  invalid_parameters: { when: 'a field, the body or the head of the request is wrong; details says which' },
  ambiguous_id: { when: 'several containers have an id that begins like this' },
  unauthorized: { when: 'there is no token, or it is unknown, revoked or expired' },
  insufficient_permissions: { when: 'the token lacks the scope' },
  user_suspended: { when: 'an administrator has suspended the user' },
  not_authorized: { when: "the container is another user's" },
  guest_session_expired: { when: "the guest's session is over; reading, stopping and deleting go on to work" },
  sign_in_code_refused: { when: 'the code is unknown, was used, or its time or the token that made it has ended' },
  guest_login_disabled: { when: 'this server takes no guests' },
  guest_limit_reached: {
    when: 'as many have a session as may have one; try again later',
    fields: { current: 100, limit: 100 },
  },
  container_limit_reached: { when: 'the user has as many containers as the tier allows', fields: TIER_LIMIT },
  snapshot_limit_reached: {
    when: "the user's snapshots are as many, or with this one as large together, as the tier allows",
    fields: { ...TIER_LIMIT, current_mb: 51_300, limit_mb: 51_200 },
  },
  snapshot_not_found: { when: 'there is none of this id, or it is deleted' },
  snapshot_not_ready: {
    when:
      'it is being made, could not be made, or is lost: with its machine (reason node_lost), or as Docker lacks its ' +
      'files (files_missing); status says which',
    fields: { status: 'failed', reason: 'node_lost' },
  },
  template_not_found: { when: 'there is none of this name' },
  link_limit_reached: {
    when: 'the container has as many links, or public ports, as it may have',
    fields: { current: 100, limit: 100 },
  },
  public_not_allowed: { when: 'the tier does not let everybody see a port', fields: { tier: 'guest' } },
  link_not_found: {
    when: 'the port has none of this id, or it is revoked or has ended; or a link to a file is over or wrong',
  },
  previews_disabled: { when: 'this server serves no previews: PREVIEW_PORT is off' },
  agent_limit_reached: { when: 'the user has as many agents as the tier allows', fields: TIER_LIMIT },
  webhook_limit_reached: { when: 'the user has as many webhooks as the tier allows', fields: TIER_LIMIT },
  webhook_not_found: { when: 'there is none of this id, or it is deleted' },
  delivery_not_found: { when: 'the webhook has none of this id, or it is no longer kept' },
  event_not_kept: { when: 'the event is older than what the server keeps' },
  token_limit_reached: {
    when: 'the user has as many live tokens as the server allows',
    fields: { current: 50, limit: 50 },
  },
  container_not_found: { when: 'there is none of this id, or it is deleted' },
  variable_not_found: { when: 'the container has none of this name' },
  agent_not_found: { when: 'there is none of this id' },
  token_not_found: { when: 'there is none of this id, or it is revoked already' },
  ssh_key_not_found: { when: 'there is none of this id, or it has ended' },
  ssh_key_taken: { when: 'by you, or by another user: a key belongs to one' },
  ssh_disabled: { when: 'this server serves no SSH: SSH_PORT is off' },
  user_not_found: { when: 'there is none of this id' },
  node_not_found: { when: 'there is none of this name or id' },
  node_reachable: { when: 'nothing of it is given up; it was heard of within the last seconds' },
  not_clustered: { when: 'there is nowhere to move it' },
  same_node: { when: 'it is there already' },
  wrong_pool: { when: "the container's tier names another one" },
  image_not_found: { when: 'the catalogue has none of this name' },
  image_name_taken: { when: 'the catalogue has one, or it is "custom"' },
  image_never_pulled: { when: 'its pull policy is never: it is built on the machine' },
  status_not_reached: { when: 'the time is over; status is the present one', fields: { status: 'creating' } },
  status_unreachable: {
    when: 'it takes another request for it to come; status is the present one, or deleted where it was deleted meanwhile',
    fields: { status: 'error' },
  },
  name_taken: { when: 'a live one of the same user' },
  agent_name_taken: { when: 'another one of the same user' },
  username_taken: { when: 'by a user, or by a guest whose session goes on' },
  idempotency_key_reused: { when: 'the same Idempotency-Key came with another body in the last 24 hours' },
  operation_in_progress: {
    when: 'waiting for it took too long; operation says which it is, Retry-After when to try again',
    fields: { operation: 'update' },
    retryAfter: true,
  },
  exec_not_allowed: { when: 'tier lets nobody into its containers', fields: { tier: 'guest' } },
  container_not_running: {
    when: 'it is stopped, or ended meanwhile; container_paused if it was paused, and the request does not resume it',
    codes: ['container_not_running', 'container_paused'],
  },
  restart_required: { when: 'it was created by an earlier version of Berth; its next start makes it current' },
  sandbox_full: { when: 'its programs have used up its processes or its memory; nothing was started' },
  command_not_started: {
    when: 'its program, working directory or user does not exist in the container, or cannot be used',
  },
  process_not_found: { when: 'there is none of this id, or it ended a while ago' },
  process_limit_reached: { when: 'a container may have 16 at a time; limit says so', fields: { limit: 16 } },
  process_ended: { when: 'it can be read for a while, and nothing else' },
  stdin_closed: { when: 'its input has ended' },
  stdin_full: { when: 'it has not read 256 KiB of its input yet' },
  too_many_commands: { when: 'a container may have 16 at a time; limit says so', fields: { limit: 16 } },
  removal_pending: {
    when: 'it was deleted by force, and Docker still has it; Retry-After when to try again',
    retryAfter: true,
  },
  rate_limit_exceeded: { when: 'Retry-After says in how many seconds to try again', retryAfter: true },
  too_many_connections: {
    when:
      'one user may have 50 waits, and 50 streams, at a time to one server process; Retry-After says, of waits, when ' +
      'the first of them is over',
    retryAfter: true,
  },
  path_not_found: { when: 'in the container' },
  path_denied: { when: "to the image's user" },
  path_exists: { when: 'something else is there' },
  path_is_directory: { when: 'it is none of the files that the route takes' },
  path_not_directory: { when: 'or what is above it is not' },
  path_not_file: { when: 'such as a device or a pipe' },
  path_protected: { when: 'it is /home/user, something above it, or a mount' },
  directory_not_empty: { when: 'recursive=true was not asked for' },
  precondition_failed: { when: 'a condition of the request, such as If-Match, does not hold, or held no longer' },
  range_not_satisfiable: { when: 'Content-Range says how large the file is' },
  file_too_large: { when: 'limit says how many bytes one may have', fields: { limit: 104_857_600 } },
  archive_too_large: { when: 'limit says how many bytes one may have', fields: { limit: 2_147_483_648 } },
  tools_failed: { when: 'an input or output error, a file that changed meanwhile, or nothing happened for a minute' },
  too_many_transfers: { when: 'one container may have 16; limit says so', fields: { limit: 16 } },
  file_access_failed: { when: 'code says why', codes: PROGRAM },
  no_space: { when: 'nothing is left of what was written' },
  no_capacity: {
    when: 'nothing was done; short says of what there is too little, Retry-After when to try again',
    fields: { short: SHORT },
    retryAfter: true,
  },
  terminal_not_found: { when: 'there is none of this id, or it has ended' },
  terminal_failed: {
    when: 'code says why; the terminal may go on',
    codes: ['docker_unavailable', 'docker_error', 'command_not_started', 'too_many'],
  },
  stats_failed: { when: 'code says why', codes: PROGRAM },
  command_failed: {
    when: 'code says why; the command may have been started, and is ended then',
    codes: [...PROGRAM, 'too_many', 'process_not_ended'],
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
  pull_failed: { when: 'code says why', codes: [...DOCKER, ...IMAGE, 'aborted'] },
  node_unavailable: {
    when: 'one of several machines, and the container, or its snapshot, is on it; what was begun may have been done; Retry-After when to try again',
    retryAfter: true,
  },
  container_not_responding: { when: 'Docker answers, and its sandbox does not; what was begun may have been done' },
  not_ready: { when: 'Docker does not answer; nothing was done', codes: DOCKER },
  request_timeout: { when: 'the request was not complete after 30 seconds; of a file, no byte came for 60 seconds' },
  body_too_large: { when: 'it has more than 64 KiB' },
  unsupported_media_type: { when: 'the body is none of the types that the route takes, or has a Content-Encoding' },
  expectation_failed: { when: 'of the header Expect, 100-continue alone is understood' },
  misdirected_request: { when: 'the server is asked by a name that is not among its ALLOWED_HOSTS' },
  request_header_fields_too_large: { when: 'they have more than 16 KiB' },
  internal_error: { when: 'a fault of the server' },
  database_busy: { when: 'nothing was done; Retry-After when to try again', retryAfter: true },
  database_unavailable: {
    when: 'what was under way may have been done; Retry-After when to try again',
    retryAfter: true,
  },
  database_read_only: { when: 'it takes no writes now; nothing was done' },
  storage_full: { when: "the database's; nothing was done" },
  shutting_down: { when: 'nothing was done; try again' },
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
  description: 'A token is asked for; with `error="invalid_token"` where one was given.',
  schema: { type: 'string', enum: [BEARER_CHALLENGE, `${BEARER_CHALLENGE}, error="invalid_token"`] },
};
const SCOPE_CHALLENGE = {
  description: 'With `insufficient_permissions`: the scopes that the request needs.',
  schema: { type: 'string', pattern: '^Bearer realm="berth", error="insufficient_scope"' },
  example: `${BEARER_CHALLENGE}, error="insufficient_scope", scope="write"`,
};
const CONTENT_RANGE = { description: 'The size.', schema: { type: 'string' }, example: 'bytes */1024' };

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
