import type { ApiFault } from './api-faults';
import type { ErrorCode, FailureReason } from './domain-error';

/** Every `code` that an answer may have. `client_gone` appears only in the audit. */
export type AnswerCode = ErrorCode | Exclude<FailureReason, 'client_gone'>;

/**
 * Whether the same request may be sent again: `no`; `later`, since the request had no effect; or `repeatable`, only
 * if repeating it is harmless, since it may have been executed.
 */
export type Retry = 'no' | 'later' | 'repeatable';

interface Guidance {
  readonly retry: Retry;
  /** Advice for the API's callers, in sentences. */
  readonly advice: string;
}

/** Guidance for a code that no route's description covers. */
interface WithMeaning extends Guidance {
  readonly when: string;
}

const OPERATOR = 'Report the `request_id` to the operator: the log contains the reason.';
const OF_SOCKET_IO = 'returned by the Socket.IO endpoint; `message` is the original message of the protocol';

/** How a client reacts to each code. The type requires an entry for every new code. */
export const GUIDANCE: { readonly [Code in AnswerCode]: Code extends ApiFault ? Guidance : WithMeaning } = {
  invalid_parameters: {
    retry: 'no',
    advice: 'Correct the fields listed in `details`. Values are never rounded or clamped.',
  },
  ambiguous_id: { retry: 'no', advice: 'Use the full `db_id`.' },
  unauthorized: { retry: 'no', advice: 'Sign in again. Refused tokens count against the rate limit of the address.' },
  not_authorized: { retry: 'no', advice: "Use one of the user's own resources." },
  insufficient_permissions: { retry: 'no', advice: 'Use a token with the scope that the route requires.' },
  user_suspended: { retry: 'no', advice: 'Contact the operator. The same tokens work again when the suspension ends.' },
  guest_session_expired: { retry: 'no', advice: 'Offer to log in again.' },
  sign_in_code_refused: { retry: 'no', advice: 'Create a new code: each can be used once.' },
  sign_in_expired: {
    retry: 'no',
    advice: 'Begin the sign-in again.',
    when: 'in the fragment of the console after a sign-in through the OpenID provider that took longer than ten minutes, was begun in another browser or tab, or was finished before',
  },
  sign_in_refused: {
    retry: 'no',
    advice: 'Contact the operator. The log has the reason.',
    when: 'in the fragment of the console if the OpenID provider, or the rules of the server for its claims, do not let the user in',
  },
  openid_disabled: {
    retry: 'no',
    advice: 'Offer another way to sign in: `GET /api/auth/methods` lists them.',
    when: 'this server has no OpenID provider',
  },
  openid_unavailable: {
    retry: 'later',
    advice: 'Begin the sign-in again in a moment. The log has the reason.',
    when: 'in the fragment of the console if the OpenID provider does not answer, or answers what cannot be used',
  },
  guest_login_disabled: { retry: 'no', advice: 'Offer another way to sign in.' },
  guest_limit_reached: { retry: 'later', advice: 'Wait until a guest session ends, which may take hours.' },
  container_limit_reached: {
    retry: 'no',
    advice: 'Show `current` and `limit`. Delete a container; stopping one is not enough.',
  },
  exec_not_allowed: { retry: 'no', advice: 'Do not offer commands, terminals or files on this tier.' },
  process_limit_reached: { retry: 'no', advice: 'Terminate a process that is not needed.' },
  snapshot_limit_reached: { retry: 'no', advice: 'Delete a snapshot.' },
  webhook_limit_reached: { retry: 'no', advice: 'Delete a webhook.' },
  agent_limit_reached: { retry: 'no', advice: 'Delete an agent.' },
  token_limit_reached: { retry: 'no', advice: 'Revoke a token.' },
  container_not_found: {
    retry: 'no',
    advice: 'Refresh the list. `GET /api/containers?status=deleted` lists containers that can be restored.',
  },
  snapshot_not_found: {
    retry: 'no',
    advice:
      'Refresh the list. On a start, the snapshot was deleted before the container was created from it: delete the ' +
      'container.',
  },
  template_not_found: { retry: 'no', advice: 'Refresh the list.' },
  variable_not_found: { retry: 'no', advice: 'Refresh the list. Names are case-sensitive.' },
  agent_not_found: { retry: 'no', advice: 'Refresh the list.' },
  webhook_not_found: { retry: 'no', advice: 'Refresh the list.' },
  delivery_not_found: { retry: 'no', advice: 'Refresh the list.' },
  token_not_found: { retry: 'no', advice: 'Refresh the list.' },
  user_not_found: { retry: 'no', advice: 'Refresh the list.' },
  node_not_found: { retry: 'no', advice: 'See `GET /api/admin/nodes`.' },
  image_not_found: {
    retry: 'no',
    advice:
      'With 404, use a name from `GET /api/images`. With 500, the reference is wrong, or its registry requires ' +
      'credentials, which the operator configures.',
  },
  image_never_pulled: { retry: 'no', advice: 'Rebuild it on the machine: `npm run images -- --rebuild`.' },
  process_not_found: { retry: 'no', advice: 'Refresh the list of processes.' },
  path_denied: { retry: 'no', advice: 'Choose another path, such as one in `/home/user`, or change the permissions.' },
  path_not_found: { retry: 'no', advice: 'Refresh the directory listing.' },
  route_not_found: {
    retry: 'no',
    when: 'the path does not exist',
    advice: 'Correct the path. Older servers lack newer routes.',
  },
  terminal_not_found: { retry: 'no', advice: 'Open a new terminal.' },
  status_not_reached: { retry: 'later', advice: 'Wait again, or follow the events.' },
  status_unreachable: { retry: 'no', advice: 'Check `status` and `status_reason`. Start the container or give up.' },
  name_taken: { retry: 'no', advice: 'Choose another name, or omit it to have one generated.' },
  image_name_taken: { retry: 'no', advice: 'Choose another name.' },
  agent_name_taken: { retry: 'no', advice: 'Choose another name.' },
  username_taken: { retry: 'no', advice: 'Choose another name.' },
  idempotency_key_reused: { retry: 'no', advice: 'Use a new key for each new request.' },
  container_not_running: { retry: 'no', advice: 'Start the container first.' },
  restart_required: { retry: 'no', advice: 'Stop and start the container; its files are kept.' },
  sandbox_full: { retry: 'later', advice: 'Terminate programs in the container, or restart it.' },
  event_not_kept: { retry: 'no', advice: 'Read the current state instead.' },
  snapshot_not_ready: { retry: 'later', advice: 'Wait for the snapshot: `GET /api/snapshots/:id/wait`.' },
  process_ended: { retry: 'no', advice: 'Read the remaining output.' },
  stdin_closed: { retry: 'no', advice: 'Start another process.' },
  stdin_full: { retry: 'later', advice: 'Continue when the process has read its input.' },
  path_exists: { retry: 'no', advice: 'Choose another path, or delete the existing file or directory.' },
  path_is_directory: { retry: 'no', advice: 'Use the path of a file.' },
  path_not_directory: { retry: 'no', advice: 'Use the path of a directory.' },
  path_not_file: { retry: 'no', advice: 'Read it with a command.' },
  path_protected: { retry: 'no', advice: 'Delete or move its contents instead.' },
  directory_not_empty: { retry: 'no', advice: 'Ask for confirmation, then send `recursive=true`.' },
  node_reachable: { retry: 'no', advice: 'Drain the node, or shut it down first.' },
  not_clustered: { retry: 'no', advice: 'Set `CLUSTER`. A single machine has no other nodes.' },
  same_node: { retry: 'no', advice: 'Choose another node, or none.' },
  removal_pending: { retry: 'later', advice: 'Wait: the removal continues in the background.' },
  operation_in_progress: { retry: 'later', advice: 'Wait for the operation in `operation`.' },
  unknown_transport: { retry: 'no', when: OF_SOCKET_IO, advice: 'Use the official Socket.IO client, version 4.' },
  unknown_session: {
    retry: 'no',
    when: OF_SOCKET_IO,
    advice:
      'Connect again, as the client does by default. If the error persists, a load balancer distributes the ' +
      'requests of one session.',
  },
  unsupported_protocol: { retry: 'no', when: OF_SOCKET_IO, advice: 'Use the official Socket.IO client, version 4.' },
  method_not_allowed: {
    retry: 'no',
    when: 'the path does not support this method',
    advice: 'Use a method from `Allow`.',
  },
  request_timeout: { retry: 'later', advice: 'Send the request without pauses.' },
  body_too_large: { retry: 'no', advice: 'Send less. Use file uploads for large input.' },
  file_too_large: { retry: 'no', advice: 'Show `limit`.' },
  archive_too_large: { retry: 'no', advice: 'Show `limit`. Extract the archive in parts.' },
  unsupported_media_type: {
    retry: 'no',
    advice: 'Send `Content-Type: application/json`, or the type that the route expects, without compression.',
  },
  precondition_failed: {
    retry: 'no',
    advice: 'Read the file or settings again, and decide based on their current state.',
  },
  range_not_satisfiable: { retry: 'no', advice: 'Request again, starting from the size in `Content-Range`.' },
  expectation_failed: { retry: 'no', advice: 'Omit the header.' },
  misdirected_request: {
    retry: 'no',
    advice: "Use an IP address, `localhost` or a name in the operator's `ALLOWED_HOSTS`.",
  },
  wrong_pool: { retry: 'no', advice: "Choose a node of the right pool, or change the user's tier first." },
  tools_failed: {
    retry: 'repeatable',
    advice: 'Retry. If the error persists, the disk or a full machine may be the cause.',
  },
  upgrade_required: {
    retry: 'no',
    when: 'the WebSocket handshake does not use version 13',
    advice: 'Use a client that implements RFC 6455.',
  },
  request_header_fields_too_large: { retry: 'no', advice: 'Send fewer headers or cookies.' },
  execution_not_found: { retry: 'no', advice: 'Run the code again. A stop or a resize ends all runs.' },
  code_unavailable: { retry: 'no', advice: 'Use a container of the image `code`.' },
  code_refused: { retry: 'no', advice: 'Show `reason`, and correct the language or the context.' },
  command_not_started: {
    retry: 'no',
    advice: 'Correct the program, working directory or user. A shell must be given explicitly.',
  },
  too_many_transfers: { retry: 'later', advice: 'Wait until another transfer ends.' },
  too_many_watches: { retry: 'later', advice: 'End another watch, or watch a directory with fewer below it.' },
  rate_limit_exceeded: { retry: 'later', advice: 'Follow events instead of polling.' },
  too_many_connections: { retry: 'later', advice: 'Close some. A page needs only one event connection.' },
  too_many_terminals: {
    retry: 'later',
    when: 'the container has the maximum of 8 terminals, which is `limit`',
    advice: 'Close one. `GET …/terminals` lists them.',
  },
  too_many_commands: { retry: 'later', advice: 'Wait until another command ends.' },
  start_failed: { retry: 'repeatable', advice: OPERATOR },
  stop_failed: { retry: 'repeatable', advice: OPERATOR },
  pause_failed: { retry: 'repeatable', advice: OPERATOR },
  resume_failed: { retry: 'repeatable', advice: OPERATOR },
  delete_failed: {
    retry: 'repeatable',
    advice: `\`force=true\` deletes a container that Docker cannot remove. ${OPERATOR}`,
  },
  update_failed: { retry: 'repeatable', advice: `The container is unchanged. ${OPERATOR}` },
  restore_failed: { retry: 'repeatable', advice: `The container is unchanged. ${OPERATOR}` },
  move_failed: { retry: 'repeatable', advice: `The container is still on its previous node. ${OPERATOR}` },
  snapshot_failed: { retry: 'repeatable', advice: `The container is unchanged. ${OPERATOR}` },
  template_failed: { retry: 'repeatable', advice: `The template is unchanged. ${OPERATOR}` },
  create_failed: {
    retry: 'no',
    when: 'not used in responses: creations fail after their response, with the event `container_error`',
    advice: '`status_reason` is the reason. Start the container to retry.',
  },
  pull_failed: { retry: 'repeatable', advice: 'Handle by `code`.' },
  command_failed: { retry: 'repeatable', advice: 'Handle by `code`.' },
  code_failed: { retry: 'repeatable', advice: 'Handle by `code`.' },
  terminal_failed: { retry: 'repeatable', advice: 'Handle by `code`.' },
  file_access_failed: { retry: 'repeatable', advice: 'Handle by `code`.' },
  stats_failed: { retry: 'repeatable', advice: 'Handle by `code`.' },
  internal_error: { retry: 'no', advice: OPERATOR },
  database_busy: { retry: 'later', advice: 'Usually resolved within seconds.' },
  database_unavailable: {
    retry: 'repeatable',
    advice: 'Check the result, or retry with the same idempotency key.',
  },
  database_read_only: {
    retry: 'later',
    advice: 'Reads still work. Writes fail until the operator resolves the problem.',
  },
  storage_full: { retry: 'later', advice: 'Reads still work. Writes fail until the operator frees space.' },
  no_capacity: {
    retry: 'later',
    advice:
      'A smaller container may fit. `resource` in `short` is `memory_mb` or `cpu_shares` (sum of the limits of ' +
      'running containers), `free_memory_mb` or `free_disk_mb` (actual free space), `networks` or `nodes`. Tiers ' +
      'are not involved.',
  },
  node_unavailable: {
    retry: 'repeatable',
    advice: 'Read the container first. The event `container_reachable` reports when the node is back.',
  },
  container_not_responding: {
    retry: 'repeatable',
    advice: `Stop the container: programs that do not end are killed. If that fails too: ${OPERATOR}`,
  },
  container_starting: {
    retry: 'later',
    advice: 'Retry after `Retry-After`. Only returned by previews.',
    when: 'the container of the preview is being created, started or updated',
  },
  port_closed: {
    retry: 'later',
    advice: 'Start a server on this port. Only returned by previews.',
    when: 'no program in the container listens on this port',
  },
  application_failed: {
    retry: 'repeatable',
    advice: 'Check the log of the application. Only returned by previews.',
    when: 'the application closed the connection, or its response is not HTTP',
  },
  link_limit_reached: { retry: 'no', advice: 'Revoke a link, or make a port private.' },
  public_not_allowed: { retry: 'no', advice: 'Create a link instead.' },
  link_not_found: { retry: 'no', advice: 'Nothing is left to revoke. For a file, create a new link.' },
  ssh_key_not_found: { retry: 'no', advice: 'Nothing is left to delete.' },
  ssh_key_taken: { retry: 'no', advice: 'Register another key, or delete this one where it is registered.' },
  ssh_disabled: { retry: 'no', advice: 'Contact the operator: `SSH_PORT` enables SSH.' },
  previews_disabled: { retry: 'no', advice: 'Contact the operator: `PREVIEW_PORT` enables previews.' },
  not_ready: { retry: 'later', advice: 'Wait until `/health/ready` reports ok.' },
  no_space: { retry: 'no', advice: 'Delete files, or resize the container.' },
  shutting_down: {
    retry: 'repeatable',
    advice: 'Another process, or the restarted one, will respond. A running command was terminated.',
  },
  docker_unavailable: {
    retry: 'repeatable',
    when: 'Docker does not respond; an operation is rolled back, or finished when Docker responds again',
    advice: 'Read the container first; its status is updated automatically.',
  },
  docker_changed: {
    retry: 'no',
    when: 'Docker is not the daemon that holds the containers',
    advice: 'Contact the operator, who must decide how to proceed.',
  },
  docker_error: { retry: 'no', when: 'Docker returned an error', advice: OPERATOR },
  container_paused: {
    retry: 'repeatable',
    when: 'the container was paused just before its use, or previews may not resume it; nothing was started',
    advice: 'The next request resumes it. If previews do not, use `POST /api/containers/:id/resume`.',
  },
  container_broken: {
    retry: 'no',
    when: 'Docker can no longer use the container',
    advice: 'Stop and start the container: it is recreated with its data.',
  },
  name_in_use: { retry: 'no', when: 'Docker already has an object with this name', advice: OPERATOR },
  image_not_built: {
    retry: 'no',
    when: 'the image is not on the machine and is never pulled',
    advice: 'Contact the operator, who can build it: `npm run images`.',
  },
  image_access_denied: {
    retry: 'no',
    when: "the image's registry denies access",
    advice: 'Choose another image, or ask the operator for credentials.',
  },
  image_unavailable: {
    retry: 'repeatable',
    when: "the image's registry does not respond or is temporarily unavailable",
    advice: 'Wait a few minutes. The pull has already been retried.',
  },
  start_refused: {
    retry: 'no',
    when: 'the image cannot run as a sandbox',
    advice: 'Choose another image.',
  },
  timed_out: { retry: 'repeatable', when: 'a program in the container took too long', advice: 'Retry.' },
  output_too_large: { retry: 'no', when: 'a program in the container wrote too much output', advice: 'Request less.' },
  too_many: {
    retry: 'later',
    when: 'the container has the maximum number of concurrent programs, connections or requests',
    advice: 'Retry when some have ended.',
  },
  output_endless: {
    retry: 'no',
    when: 'a program in the container produces endless output and could not be terminated',
    advice: 'Stop the container.',
  },
  data_too_large: {
    retry: 'no',
    when: 'the data does not fit into the new `disk_mb` or on the other node; nothing was changed',
    advice: 'Delete files, or choose a larger size.',
  },
  copy_failed: {
    retry: 'repeatable',
    when:
      'the data could not be copied to another volume, or the container changed it during the copy; nothing was ' +
      'changed',
    advice: OPERATOR,
  },
  aborted: {
    retry: 'repeatable',
    when: 'the request was aborted, for example because the server shut down',
    advice: 'Check the result first.',
  },
  claim_lost: {
    retry: 'repeatable',
    when: 'another process has taken over the operation, and finishes it or rolls it back',
    advice: 'Read the container first.',
  },
  process_not_ended: {
    retry: 'no',
    when: 'a process did not end although it was killed',
    advice: 'Stop the container.',
  },
  broken_off: {
    retry: 'repeatable',
    when: 'the client disconnected during a transfer; mostly seen in the audit log, as no client receives the response',
    advice: 'Retry: an aborted upload leaves the previous file unchanged.',
  },
};
