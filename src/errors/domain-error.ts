/**
 * All expected errors: their codes, stable messages and HTTP statuses. One table, so that a client never sees the
 * same error in two forms.
 */
export const ERRORS = {
  invalid_parameters: { status: 400, message: 'invalid parameters' },
  ambiguous_id: { status: 400, message: 'id is ambiguous' },
  unauthorized: { status: 401, message: 'unauthorized' },
  not_authorized: { status: 403, message: 'not authorized' },
  insufficient_permissions: { status: 403, message: 'insufficient permissions' },
  user_suspended: { status: 403, message: 'user is suspended' },
  guest_session_expired: { status: 403, message: 'guest session expired' },
  sign_in_code_refused: { status: 403, message: 'sign-in code is unknown, used or expired' },
  sign_in_expired: { status: 403, message: 'sign-in has expired' },
  sign_in_refused: { status: 403, message: 'sign-in was refused' },
  openid_disabled: { status: 409, message: 'sign-in through an OpenID provider is disabled' },
  openid_unavailable: { status: 503, message: 'the OpenID provider is unavailable' },
  guest_login_disabled: { status: 403, message: 'guest login is disabled' },
  guest_limit_reached: { status: 403, message: 'guest limit reached' },
  container_limit_reached: { status: 403, message: 'container limit reached' },
  exec_not_allowed: { status: 403, message: 'exec is not allowed on this tier' },
  process_limit_reached: { status: 403, message: 'process limit reached' },
  snapshot_limit_reached: { status: 403, message: 'snapshot limit reached' },
  webhook_limit_reached: { status: 403, message: 'webhook limit reached' },
  link_limit_reached: { status: 403, message: 'link limit reached' },
  public_not_allowed: { status: 403, message: 'public ports are not allowed on this tier' },
  agent_limit_reached: { status: 403, message: 'agent limit reached' },
  token_limit_reached: { status: 403, message: 'token limit reached' },
  container_not_found: { status: 404, message: 'container not found' },
  snapshot_not_found: { status: 404, message: 'snapshot not found' },
  template_not_found: { status: 404, message: 'template not found' },
  link_not_found: { status: 404, message: 'link not found' },
  agent_not_found: { status: 404, message: 'agent not found' },
  webhook_not_found: { status: 404, message: 'webhook not found' },
  delivery_not_found: { status: 404, message: 'delivery not found' },
  token_not_found: { status: 404, message: 'token not found' },
  ssh_key_not_found: { status: 404, message: 'ssh key not found' },
  user_not_found: { status: 404, message: 'user not found' },
  node_not_found: { status: 404, message: 'node not found' },
  image_not_found: { status: 404, message: 'image not found' },
  variable_not_found: { status: 404, message: 'variable not found' },
  process_not_found: { status: 404, message: 'process not found' },
  execution_not_found: { status: 404, message: 'run of code not found' },
  path_denied: { status: 403, message: 'permission denied in the container' },
  path_not_found: { status: 404, message: 'path not found' },
  route_not_found: { status: 404, message: 'route not found' },
  terminal_not_found: { status: 404, message: 'terminal not found' },
  status_not_reached: { status: 408, message: 'status not reached' },
  status_unreachable: { status: 409, message: 'status cannot be reached' },
  name_taken: { status: 409, message: 'container with this name already exists' },
  image_name_taken: { status: 409, message: 'image with this name already exists' },
  agent_name_taken: { status: 409, message: 'agent with this name already exists' },
  username_taken: { status: 409, message: 'username is taken' },
  idempotency_key_reused: { status: 409, message: 'idempotency key was used for another request' },
  container_not_running: { status: 409, message: 'container is not running' },
  restart_required: { status: 409, message: 'the container must be stopped and started first' },
  sandbox_full: { status: 409, message: 'the container has no room for another process' },
  code_unavailable: { status: 409, message: 'the container runs no code' },
  previews_disabled: { status: 409, message: 'previews are disabled' },
  ssh_disabled: { status: 409, message: 'ssh is disabled' },
  ssh_key_taken: { status: 409, message: 'ssh key is registered already' },
  snapshot_not_ready: { status: 409, message: 'snapshot is not ready' },
  event_not_kept: { status: 409, message: 'event is no longer kept' },
  process_ended: { status: 409, message: 'process has ended' },
  stdin_closed: { status: 409, message: 'stdin is closed' },
  stdin_full: { status: 409, message: 'stdin is full' },
  path_exists: { status: 409, message: 'path exists' },
  path_is_directory: { status: 409, message: 'path is a directory' },
  path_not_directory: { status: 409, message: 'path is not a directory' },
  path_not_file: { status: 409, message: 'path is not a regular file' },
  path_protected: { status: 409, message: 'path cannot be moved or deleted' },
  directory_not_empty: { status: 409, message: 'directory is not empty' },
  image_never_pulled: { status: 409, message: 'image is never pulled' },
  node_reachable: { status: 409, message: 'node still answers' },
  not_clustered: { status: 409, message: 'there is only one machine' },
  same_node: { status: 409, message: 'container is on this node' },
  removal_pending: { status: 409, message: 'container is still being removed' },
  operation_in_progress: { status: 409, message: 'another operation is in progress' },
  unknown_transport: { status: 400, message: 'unknown transport' },
  unknown_session: { status: 400, message: 'unknown session' },
  unsupported_protocol: { status: 400, message: 'unsupported protocol version' },
  method_not_allowed: { status: 405, message: 'method not allowed' },
  request_timeout: { status: 408, message: 'request timeout' },
  precondition_failed: { status: 412, message: 'precondition failed' },
  body_too_large: { status: 413, message: 'request body too large' },
  file_too_large: { status: 413, message: 'file too large' },
  archive_too_large: { status: 413, message: 'archive too large' },
  unsupported_media_type: { status: 415, message: 'unsupported media type' },
  range_not_satisfiable: { status: 416, message: 'range not satisfiable' },
  expectation_failed: { status: 417, message: 'expectation failed' },
  misdirected_request: { status: 421, message: 'misdirected request' },
  wrong_pool: { status: 422, message: 'node is in another pool' },
  tools_failed: { status: 422, message: 'the operation failed inside the container' },
  upgrade_required: { status: 426, message: 'upgrade required' },
  request_header_fields_too_large: { status: 431, message: 'request header fields too large' },
  code_refused: { status: 422, message: 'code was not run' },
  command_not_started: { status: 422, message: 'command cannot be started' },
  too_many_transfers: { status: 429, message: 'too many transfers of files at once' },
  too_many_watches: { status: 429, message: 'too many watches of files at once' },
  rate_limit_exceeded: { status: 429, message: 'rate limit exceeded' },
  too_many_connections: { status: 429, message: 'too many connections' },
  too_many_terminals: { status: 429, message: 'too many terminals at once' },
  too_many_commands: { status: 429, message: 'too many commands at once' },
  start_failed: { status: 500, message: 'failed to start container' },
  stop_failed: { status: 500, message: 'failed to stop container' },
  pause_failed: { status: 500, message: 'failed to pause container' },
  resume_failed: { status: 500, message: 'failed to resume container' },
  delete_failed: { status: 500, message: 'failed to delete container' },
  update_failed: { status: 500, message: 'failed to update settings' },
  restore_failed: { status: 500, message: 'failed to restore snapshot' },
  move_failed: { status: 500, message: 'failed to move container' },
  snapshot_failed: { status: 500, message: 'failed to make snapshot' },
  template_failed: { status: 500, message: 'failed to make template' },
  create_failed: { status: 500, message: 'failed to create container' },
  pull_failed: { status: 500, message: 'failed to pull image' },
  command_failed: { status: 500, message: 'failed to run command' },
  code_failed: { status: 502, message: 'failed to run code' },
  terminal_failed: { status: 500, message: 'failed to open terminal' },
  file_access_failed: { status: 500, message: 'failed to access files' },
  stats_failed: { status: 500, message: 'failed to read statistics' },
  internal_error: { status: 500, message: 'internal error' },
  application_failed: { status: 502, message: 'the application gave no valid answer' },
  port_closed: { status: 502, message: 'nothing listens on this port' },
  database_busy: { status: 503, message: 'database is busy' },
  database_unavailable: { status: 503, message: 'database is unavailable' },
  database_read_only: { status: 503, message: 'database is read-only' },
  storage_full: { status: 503, message: 'storage is full' },
  no_capacity: { status: 503, message: 'the machine has no room' },
  node_unavailable: { status: 503, message: 'the machine of the container does not answer' },
  container_starting: { status: 503, message: 'container is starting' },
  container_not_responding: { status: 503, message: 'the container does not respond' },
  not_ready: { status: 503, message: 'not ready' },
  no_space: { status: 507, message: 'no space left in the container' },
  shutting_down: { status: 503, message: 'server is shutting down' },
} as const satisfies Record<string, { status: number; message: string }>;

export type ErrorCode = keyof typeof ERRORS;

/**
 * Reasons of a failure, more specific than the table's codes. An answer has the reason as its `code`, and the message
 * of the failed operation. `client_gone` appears only in the audit, since no client receives that answer.
 */
export const FAILURE_REASONS = [
  'docker_unavailable',
  'docker_changed',
  'docker_error',
  'container_paused',
  'container_broken',
  'name_in_use',
  'image_not_built',
  'image_access_denied',
  'image_unavailable',
  'start_refused',
  'timed_out',
  'output_too_large',
  'output_endless',
  'too_many',
  'data_too_large',
  'copy_failed',
  'aborted',
  'claim_lost',
  'process_not_ended',
  'broken_off',
  'client_gone',
] as const;

export type FailureReason = (typeof FAILURE_REASONS)[number];

/** Engine errors that only a defect or a hostile sandbox can cause. An answer has `docker_error` in their place. */
const INTERNAL_REASONS = ['program_not_found', 'program_exists', 'program_running'] as const;

type InternalReason = (typeof INTERNAL_REASONS)[number];

interface DomainErrorOptions {
  /**
   * Additional fields of the answer, beside `error` and `code`, such as `limit` or `operation`. Never secrets or
   * internals.
   */
  readonly fields?: Readonly<Record<string, unknown>>;
  /** A more specific `code` for the answer, such as `docker_unavailable`. */
  readonly code?: ErrorCode | FailureReason | InternalReason;
  /** Seconds; sent as `Retry-After`. */
  readonly retryAfter?: number;
  readonly headers?: Readonly<Record<string, string>>;
  /** Logged, never sent. */
  readonly cause?: unknown;
}

/** An error that the caller sees. One filter converts it to HTTP; services know no status codes. */
export class DomainError extends Error {
  override readonly name = 'DomainError';

  constructor(
    readonly kind: ErrorCode,
    readonly options: DomainErrorOptions = {},
  ) {
    super(ERRORS[kind].message, { cause: options.cause });
  }

  /** True if the server failed, mostly its database, so that a retry may help. */
  get isServerFault(): boolean {
    return ERRORS[this.kind].status >= 500;
  }

  get code(): ErrorCode | FailureReason {
    const { code = this.kind } = this.options;
    return isInternal(code) ? 'docker_error' : code;
  }
}

function isInternal(code: ErrorCode | FailureReason | InternalReason): code is InternalReason {
  return (INTERNAL_REASONS as readonly string[]).includes(code);
}

/** The container is paused: again, after it was resumed for a request, or as nothing may resume it. */
export function pausedMeanwhile(cause?: unknown): DomainError {
  return new DomainError('container_not_running', { code: 'container_paused', cause });
}

/** Whether this is the error of {@link pausedMeanwhile}. */
export function isPausedMeanwhile(error: unknown): boolean {
  return error instanceof DomainError && error.code === 'container_paused';
}

/** The challenge of every 401 (RFC 6750, 3); parameters are added if a token was given. */
export const BEARER_CHALLENGE = 'Bearer realm="berth"';

/** One entry of a validation error's `details`. */
export interface FieldFault {
  readonly field: string;
  readonly message: string;
  readonly min?: number;
  readonly max?: number;
  readonly tier?: string;
}

/** @returns a 400 that names every faulty field */
export function invalidParameters(details: readonly FieldFault[]): DomainError {
  return new DomainError('invalid_parameters', { fields: { details } });
}
