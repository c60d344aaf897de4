import { applyDecorators, type Type } from '@nestjs/common';
import {
  ApiExtraModels,
  ApiOkResponse,
  ApiParam,
  ApiResponse,
  type ApiResponseOptions,
  getSchemaPath,
  type OpenAPIObject,
} from '@nestjs/swagger';
import { type ErrorCode, ERRORS } from '../../errors';
import { ErrorResponse } from '../../http';

type SchemaObject = NonNullable<NonNullable<OpenAPIObject['components']>['schemas']>[string];

/** A field's value, or of a list its one item. */
type FieldExample = string | number | readonly Readonly<Record<string, string | number>>[];

interface FaultDescription {
  readonly when: string;
  /** The `code`, if it is more specific than the fault's own. */
  readonly code?: string;
  /** The answer's fields beside those of every error, by an example of each. */
  readonly fields?: Readonly<Record<string, FieldExample>>;
  /** Whether it says when to retry. */
  readonly retryAfter?: true;
}

const failed = (...codes: readonly [string, ...string[]]): FaultDescription => ({
  when: `what was begun is taken back; code says why, such as ${codes.join(', ')}`,
  code: codes[0],
});

const SHORT = [{ resource: 'memory_mb', needed: 2048, available: 512 }];

const FAULTS = {
  invalid_parameters: { when: 'a field is wrong; details says which, and what it may be' },
  ambiguous_id: { when: "several of the user's containers have an id that begins like this" },
  insufficient_permissions: { when: 'the token lacks the scope' },
  not_authorized: { when: "the container is another user's" },
  guest_session_expired: { when: "the guest's session is over; reading, stopping and deleting go on to work" },
  container_limit_reached: {
    when: 'the user has as many containers as the tier allows',
    fields: { current: 5, limit: 5, tier: 'free' },
  },
  container_not_found: { when: 'there is none of this id, or it is deleted' },
  agent_not_found: { when: 'there is none of this id' },
  status_not_reached: { when: 'the time is over; status is the present one', fields: { status: 'creating' } },
  status_unreachable: {
    when: 'it takes another request for it to come; status is the present one, or deleted where it was deleted meanwhile',
    fields: { status: 'error' },
  },
  name_taken: { when: 'a live one of the same user' },
  idempotency_key_reused: { when: 'the same Idempotency-Key came with another body in the last 24 hours' },
  operation_in_progress: {
    when: 'waiting for it took too long; operation says which it is, Retry-After when to try again',
    fields: { operation: 'update' },
    retryAfter: true,
  },
  exec_not_allowed: { when: 'tier lets nobody into its containers', fields: { tier: 'guest' } },
  container_not_running: { when: 'it is stopped, or ended meanwhile' },
  command_not_started: {
    when: 'its program, working directory or user does not exist in the container, or cannot be used',
  },
  process_not_found: { when: 'there is none of this id, or it ended a while ago' },
  process_limit_reached: { when: 'a container may have 16 at a time; limit says so', fields: { limit: 16 } },
  process_ended: { when: 'it can be read for a while, and nothing else' },
  held_elsewhere: { when: 'its output and input are with the server process that started it' },
  stdin_closed: { when: 'its input has ended' },
  stdin_full: { when: 'it has not read 256 KiB of its input yet' },
  too_many_commands: {
    when: 'a container may have 16 at a time; limit says so',
    fields: { limit: 16 },
  },
  removal_pending: {
    when: 'it was deleted by force, and Docker still has it; Retry-After when to try again',
    retryAfter: true,
  },
  rate_limit_exceeded: { when: 'of the same user; Retry-After says when to try again', retryAfter: true },
  too_many_connections: {
    when:
      'one user may have 50 waits, and 50 streams of statistics, at a time to one server process; Retry-After says, of ' +
      'waits, when the first of them is over',
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
  range_not_satisfiable: { when: 'Content-Range says how large the file is' },
  file_too_large: { when: 'limit says how many bytes one may have', fields: { limit: 104_857_600 } },
  archive_too_large: { when: 'limit says how many bytes one may have', fields: { limit: 1_073_741_824 } },
  tools_missing: { when: 'sh, stat, cat and the like, of GNU or of busybox' },
  tools_failed: { when: 'it did not do what such programs do, or nothing for a minute' },
  too_many_transfers: { when: 'one container may have 16; limit says so', fields: { limit: 16 } },
  file_access_failed: { when: 'code says why', code: 'docker_unavailable' },
  no_space: { when: 'nothing is left of what was written' },
  no_capacity: {
    when: 'nothing was done; short says of what there is too little, Retry-After when to try again',
    fields: { short: SHORT },
    retryAfter: true,
  },
  terminal_not_found: { when: 'there is none of this id, or it has ended' },
  terminal_failed: {
    when: 'code says why; the terminal may go on',
    code: 'docker_unavailable',
  },
  stats_failed: { when: 'code says why', code: 'docker_unavailable' },
  command_failed: {
    when: 'code says why; the command may have been started, and is ended then',
    code: 'docker_unavailable',
  },
  start_failed: failed(
    'docker_unavailable',
    'docker_changed',
    'docker_error',
    'image_not_found',
    'image_access_denied',
    'image_unavailable',
    'start_refused',
  ),
  stop_failed: failed('docker_unavailable', 'docker_error'),
  delete_failed: failed('docker_unavailable', 'docker_error'),
  update_failed: failed(
    'docker_unavailable',
    'docker_changed',
    'docker_error',
    'image_not_found',
    'image_access_denied',
    'image_unavailable',
    'start_refused',
    'data_too_large',
    'copy_failed',
  ),
} satisfies Partial<Record<ErrorCode, FaultDescription>>;

type ApiFault = keyof typeof FAULTS;

/** Documents a route's deliberate refusals; their statuses come from the table of errors. */
export function ApiFaults(...faults: readonly ApiFault[]): MethodDecorator {
  const statuses = [...new Set(faults.map((fault) => ERRORS[fault].status))];
  return applyDecorators(
    ...statuses.map((status) =>
      ApiResponse(answer({ status, faults: faults.filter((fault) => ERRORS[fault].status === status) })),
    ),
  );
}

/** Faults of one status are one answer in OpenAPI, distinguished by its examples. */
function answer({ status, faults }: { status: number; faults: readonly ApiFault[] }): ApiResponseOptions {
  const described = faults.map((fault): { fault: ApiFault; description: FaultDescription } => {
    return { fault, description: FAULTS[fault] };
  });
  const fields = described.flatMap(({ description }) => Object.entries(description.fields ?? {}));
  const examples = described.map(({ fault, description: { code = fault, fields } }) => {
    return [fault, { value: { error: ERRORS[fault].message, code, request_id: REQUEST_ID, ...fields } }] as const;
  });
  return {
    status,
    description: described
      .map(({ fault, description }) => `${ERRORS[fault].message}: ${description.when}.`)
      .join('\n\n'),
    ...(described.some(({ description }) => description.retryAfter) && { headers: { 'Retry-After': RETRY_AFTER } }),
    content: { 'application/json': { schema: errorWith(fields), examples: Object.fromEntries(examples) } },
  };
}

const REQUEST_ID = '0b7e5c1a-2f64-4d0e-9a35-6b1f0c2d3e4f';
const RETRY_AFTER = { description: 'Seconds.', schema: { type: 'integer', minimum: 1 } };

function errorWith(fields: readonly (readonly [string, FieldExample])[]) {
  const error = { $ref: getSchemaPath(ErrorResponse) };
  if (fields.length === 0) return error;
  return { allOf: [error, objectLike(fields)] };
}

function objectLike(fields: readonly (readonly [string, FieldExample])[]): SchemaObject {
  const properties = fields.map(([name, example]) => [name, schemaLike(example)] as const);
  return { type: 'object', properties: Object.fromEntries(properties) };
}

function schemaLike(example: FieldExample): SchemaObject {
  if (typeof example === 'number') return { type: 'integer', example };
  if (typeof example === 'string') return { type: 'string', example };
  return { type: 'array', items: objectLike(Object.entries(example[0] ?? {})), example: [...example] };
}

const DOCKER_ID = '4f1d2c3b'.repeat(8);

/**
 * Documents a route on one container: the forms of `:id`, and its errors: those given and those of every such route.
 */
export function ApiContainerById(...faults: readonly ApiFault[]): MethodDecorator {
  return applyDecorators(
    ApiParam({
      name: 'id',
      description:
        'The database id (a UUID), its beginning (8 characters or more, where no other of the user’s begins alike), the ' +
        'Docker id (64 hex), its short form (12 hex), or any Docker id that the container had before, in either form. An agent’s is "agent:" and a UUID; agents can be read, stopped and deleted here.',
      schema: { type: 'string' },
      examples: {
        database_id: { value: '3f0c8a52-6d1b-4c7e-9b1a-2e5d7f904c11' },
        beginning: { value: '3f0c8a52-6d1' },
        docker_id: { value: DOCKER_ID },
        docker_short_id: { value: DOCKER_ID.slice(0, 12) },
        agent: { value: 'agent:3f0c8a52-6d1b-4c7e-9b1a-2e5d7f904c11' },
      },
    }),
    ApiFaults(
      ...faults,
      'ambiguous_id',
      'insufficient_permissions',
      'not_authorized',
      'container_not_found',
      'agent_not_found',
    ),
  );
}

/** Documents the answer of a route that accepts ids of containers and of agents. */
export function ApiOkEither(container: Type, agent: Type): MethodDecorator {
  const oneOf = [container, agent].map((view) => ({ $ref: getSchemaPath(view) }));
  return applyDecorators(ApiExtraModels(container, agent), ApiOkResponse({ schema: { oneOf } }));
}
