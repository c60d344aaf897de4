import type { ApiFault } from '../../src/errors/api-faults';
import type { ErrorCode, FailureReason } from '../../src/errors/domain-error';

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

const OPERATOR = 'Give the operator the `request_id`: the log has the reason.';
const OF_SOCKET_IO = "of Socket.IO's endpoint; `message` has the protocol's own words";

/** How a client reacts to each code. The type requires an entry for every new code. */
export const GUIDANCE: { readonly [Code in AnswerCode]: Code extends ApiFault ? Guidance : WithMeaning } = {
  invalid_parameters: { retry: 'no', advice: 'Correct what `details` names; nothing is rounded or clamped.' },
  ambiguous_id: { retry: 'no', advice: 'Use the whole `db_id`.' },
  unauthorized: { retry: 'no', advice: 'Sign in again. Refused tokens count against the address.' },
  not_authorized: { retry: 'no', advice: "Use the id of one of the user's own." },
  insufficient_permissions: { retry: 'no', advice: 'Use a token with the scope that the route asks for.' },
  user_suspended: { retry: 'no', advice: 'Ask the operator. The same tokens work again afterwards.' },
  guest_session_expired: { retry: 'no', advice: 'Offer another log-in; this token still reads, stops and deletes.' },
  sign_in_code_refused: { retry: 'no', advice: 'Have a new code made: each works once.' },
  guest_login_disabled: { retry: 'no', advice: 'Offer another way to sign in.' },
  guest_limit_reached: { retry: 'later', advice: 'A place becomes free when a session ends, which may take hours.' },
  container_limit_reached: {
    retry: 'no',
    advice: 'Show `current` and `limit`. Deleting one makes room; stopping does not.',
  },
  exec_not_allowed: { retry: 'no', advice: 'Offer no commands, terminals and files on this tier.' },
  process_limit_reached: { retry: 'no', advice: 'End a process that is not needed.' },
  snapshot_limit_reached: { retry: 'no', advice: 'Delete a snapshot.' },
  webhook_limit_reached: { retry: 'no', advice: 'Delete a webhook.' },
  agent_limit_reached: { retry: 'no', advice: 'Delete an agent.' },
  token_limit_reached: { retry: 'no', advice: 'Revoke a token.' },
  container_not_found: {
    retry: 'no',
    advice: 'List again. `GET /api/containers?status=deleted` has what can be restored.',
  },
  snapshot_not_found: {
    retry: 'no',
    advice: 'List again. At a start: its snapshot is gone before the container was made from it; delete the container.',
  },
  template_not_found: { retry: 'no', advice: 'List again.' },
  variable_not_found: { retry: 'no', advice: 'List again; names are case-sensitive.' },
  agent_not_found: { retry: 'no', advice: 'List again.' },
  webhook_not_found: { retry: 'no', advice: 'List again.' },
  delivery_not_found: { retry: 'no', advice: 'List again.' },
  token_not_found: { retry: 'no', advice: 'List again.' },
  user_not_found: { retry: 'no', advice: 'List again.' },
  node_not_found: { retry: 'no', advice: 'Look into `GET /api/admin/nodes`.' },
  image_not_found: {
    retry: 'no',
    advice:
      'With 404, choose a name of `GET /api/images`. With 500, the reference is wrong, or its registry wants ' +
      "credentials, which are the operator's to give.",
  },
  image_never_pulled: { retry: 'no', advice: 'Build it anew on the machine: `npm run images -- --rebuild`.' },
  process_not_found: { retry: 'no', advice: 'List the processes again.' },
  path_denied: { retry: 'no', advice: 'Choose another path, such as one below `/home/user`, or change its mode.' },
  path_not_found: { retry: 'no', advice: 'List the directory again.' },
  route_not_found: {
    retry: 'no',
    when: 'there is no such path',
    advice: 'Correct it. A server of an earlier version lacks later routes.',
  },
  terminal_not_found: { retry: 'no', advice: 'Open a new one.' },
  status_not_reached: { retry: 'later', advice: 'Wait again, or follow the events.' },
  status_unreachable: { retry: 'no', advice: 'Look at `status` and at `status_reason`; start it, or give up.' },
  name_taken: { retry: 'no', advice: 'Ask for another name, or leave it out: one is made up.' },
  image_name_taken: { retry: 'no', advice: 'Ask for another name.' },
  agent_name_taken: { retry: 'no', advice: 'Ask for another name.' },
  username_taken: { retry: 'no', advice: 'Ask for another name.' },
  idempotency_key_reused: { retry: 'no', advice: 'Use a new key for a new request.' },
  container_not_running: { retry: 'no', advice: 'Start it first.' },
  restart_required: { retry: 'no', advice: 'Stop the container, then start it; its files are kept.' },
  sandbox_full: { retry: 'later', advice: 'End programs in it, or restart it.' },
  event_not_kept: { retry: 'no', advice: 'Read the present state instead.' },
  snapshot_not_ready: { retry: 'later', advice: 'Wait for it: `GET /api/snapshots/:id/wait`.' },
  process_ended: { retry: 'no', advice: 'Read the rest of its output.' },
  stdin_closed: { retry: 'no', advice: 'Start another process.' },
  stdin_full: { retry: 'later', advice: 'Go on once it has read.' },
  path_exists: { retry: 'no', advice: 'Choose another path, or delete what is there.' },
  path_is_directory: { retry: 'no', advice: 'Name a file.' },
  path_not_directory: { retry: 'no', advice: 'Name a directory.' },
  path_not_file: { retry: 'no', advice: 'Read it by a command.' },
  path_protected: { retry: 'no', advice: 'Delete or move what is in it.' },
  directory_not_empty: { retry: 'no', advice: 'Ask whether all of it may go, then send `recursive=true`.' },
  node_reachable: { retry: 'no', advice: 'Drain it, or turn it off first.' },
  not_clustered: { retry: 'no', advice: 'Set `CLUSTER`; a single machine has no other.' },
  same_node: { retry: 'no', advice: 'Name another one, or none.' },
  removal_pending: { retry: 'later', advice: 'The removal goes on by itself.' },
  operation_in_progress: { retry: 'later', advice: '`operation` says what it waits for.' },
  unknown_transport: { retry: 'no', when: OF_SOCKET_IO, advice: "Use Socket.IO's own client, of version 4." },
  unknown_session: {
    retry: 'no',
    when: OF_SOCKET_IO,
    advice: "Connect anew, as its client does by itself. If it lasts, a load balancer spreads one session's requests.",
  },
  unsupported_protocol: { retry: 'no', when: OF_SOCKET_IO, advice: "Use Socket.IO's own client, of version 4." },
  method_not_allowed: { retry: 'no', when: 'the path has no such method', advice: '`Allow` has those that it has.' },
  request_timeout: { retry: 'later', advice: 'Send it without pauses.' },
  body_too_large: { retry: 'no', advice: 'Send less; large input goes through files.' },
  file_too_large: { retry: 'no', advice: 'Show `limit`.' },
  archive_too_large: { retry: 'no', advice: 'Show `limit`; unpack it in parts.' },
  unsupported_media_type: {
    retry: 'no',
    advice: 'Send `Content-Type: application/json`, or what the route names, and nothing compressed.',
  },
  precondition_failed: { retry: 'no', advice: 'Read the file or the settings again, and decide by what they are now.' },
  range_not_satisfiable: { retry: 'no', advice: 'Ask again from the size that `Content-Range` has.' },
  expectation_failed: { retry: 'no', advice: 'Leave the header out.' },
  misdirected_request: {
    retry: 'no',
    advice: 'Ask by an IP address, `localhost` or a name that the operator has put into `ALLOWED_HOSTS`.',
  },
  wrong_pool: { retry: 'no', advice: "Name a node of that pool, or change the user's tier first." },
  tools_failed: {
    retry: 'repeatable',
    advice: 'Once more may help; else the disk, or a full machine, is at fault.',
  },
  upgrade_required: {
    retry: 'no',
    when: 'a WebSocket handshake is of another version than 13',
    advice: 'Use a client of RFC 6455.',
  },
  request_header_fields_too_large: { retry: 'no', advice: 'Send fewer headers or cookies.' },
  command_not_started: {
    retry: 'no',
    advice: 'Correct program, working directory or user; a shell is asked for by name.',
  },
  too_many_transfers: { retry: 'later', advice: 'Begin the next one when one has ended.' },
  rate_limit_exceeded: { retry: 'later', advice: 'Follow events rather than poll.' },
  too_many_connections: { retry: 'later', advice: 'Close some: one connection to events is enough for a whole page.' },
  too_many_terminals: {
    retry: 'later',
    when: 'a container may have eight at a time; `limit` says so',
    advice: 'Close one; `GET …/terminals` lists them.',
  },
  too_many_commands: { retry: 'later', advice: 'Run the next one when one has ended.' },
  start_failed: { retry: 'repeatable', advice: OPERATOR },
  stop_failed: { retry: 'repeatable', advice: OPERATOR },
  pause_failed: { retry: 'repeatable', advice: OPERATOR },
  resume_failed: { retry: 'repeatable', advice: OPERATOR },
  delete_failed: { retry: 'repeatable', advice: `\`force=true\` deletes what Docker cannot remove. ${OPERATOR}` },
  update_failed: { retry: 'repeatable', advice: `The container is as it was. ${OPERATOR}` },
  restore_failed: { retry: 'repeatable', advice: `The container is as it was. ${OPERATOR}` },
  move_failed: { retry: 'repeatable', advice: `The container is where it was. ${OPERATOR}` },
  snapshot_failed: { retry: 'repeatable', advice: `The container is as it was. ${OPERATOR}` },
  template_failed: { retry: 'repeatable', advice: `The template is as it was. ${OPERATOR}` },
  create_failed: {
    retry: 'no',
    when: 'of no answer: a creation is answered before it can fail, and then it is `container_error`',
    advice: '`status_reason` says why; a start tries again.',
  },
  pull_failed: { retry: 'repeatable', advice: 'Go by `code`.' },
  command_failed: { retry: 'repeatable', advice: 'Go by `code`.' },
  terminal_failed: { retry: 'repeatable', advice: 'Go by `code`.' },
  file_access_failed: { retry: 'repeatable', advice: 'Go by `code`.' },
  stats_failed: { retry: 'repeatable', advice: 'Go by `code`.' },
  internal_error: { retry: 'no', advice: OPERATOR },
  database_busy: { retry: 'later', advice: 'Mostly it is over in seconds.' },
  database_unavailable: {
    retry: 'repeatable',
    advice: 'Read what became of it, or ask again with the same idempotency key.',
  },
  database_read_only: { retry: 'later', advice: 'Reading works. No write does before the operator has seen to it.' },
  storage_full: { retry: 'later', advice: 'Reading works. No write does before the operator has made room.' },
  no_capacity: {
    retry: 'later',
    advice:
      'A smaller container may fit. `resource` in `short` is `memory_mb` or `cpu_shares` (limits of what runs, ' +
      'together), `free_memory_mb` or `free_disk_mb` (actually free), `networks` or `nodes` (machines). Tiers do not count here.',
  },
  node_unavailable: {
    retry: 'repeatable',
    advice: 'Read the container first; `container_reachable` is the event of its return.',
  },
  container_not_responding: {
    retry: 'repeatable',
    advice: `Stop the container: what does not end is killed. If that fails too: ${OPERATOR}`,
  },
  container_starting: {
    retry: 'later',
    advice: 'Send it again after `Retry-After`. Only previews answer so.',
    when: 'the container of a preview is being created, started or changed',
  },
  port_closed: {
    retry: 'later',
    advice: 'Start a server on this port. Only previews answer so.',
    when: 'no program in the container listens on the port of a preview',
  },
  application_failed: {
    retry: 'repeatable',
    advice: "Look at the application's own log. Only previews answer so.",
    when: 'the application behind a preview closed the connection, or its answer is not HTTP',
  },
  link_limit_reached: { retry: 'no', advice: 'Revoke a link, or make a port private again.' },
  public_not_allowed: { retry: 'no', advice: 'Make a link instead.' },
  link_not_found: { retry: 'no', advice: 'It is over: nothing is left to revoke. Of a file, make a new link.' },
  ssh_key_not_found: { retry: 'no', advice: 'It is over: nothing is left to delete.' },
  ssh_key_taken: { retry: 'no', advice: 'Register another key, or delete it where it is registered.' },
  ssh_disabled: { retry: 'no', advice: 'Ask the operator: `SSH_PORT` turns it on.' },
  previews_disabled: { retry: 'no', advice: 'Ask the operator: `PREVIEW_PORT` turns them on.' },
  not_ready: { retry: 'later', advice: 'Wait until `/health/ready` is well.' },
  no_space: { retry: 'no', advice: 'Delete files, or resize the container.' },
  shutting_down: {
    retry: 'repeatable',
    advice: 'Another process, or the next one, answers. A command that ran was begun, and is ended.',
  },
  docker_unavailable: {
    retry: 'repeatable',
    when: 'Docker does not answer; of an operation, what was begun is taken back or finished when it does',
    advice: 'Read the container first; its status follows Docker by itself.',
  },
  docker_changed: {
    retry: 'no',
    when: 'Docker is not the one that the containers are in',
    advice: 'Tell the operator; nothing is done before they have decided.',
  },
  docker_error: { retry: 'no', when: 'Docker refused', advice: OPERATOR },
  container_paused: {
    retry: 'repeatable',
    when: 'the container was paused just before it could be used, or previews resume none here; nothing was started',
    advice: 'The next request resumes it; where previews do not, `POST /api/containers/:id/resume` does.',
  },
  container_broken: {
    retry: 'no',
    when: 'Docker cannot use the container any more',
    advice: 'Stop and start it: it is recreated, with its data.',
  },
  name_in_use: { retry: 'no', when: 'Docker has something else of this name', advice: OPERATOR },
  image_not_built: {
    retry: 'no',
    when: 'the image is not on the machine, and is never pulled',
    advice: 'Tell the operator, who can build it there: `npm run images`.',
  },
  image_access_denied: {
    retry: 'no',
    when: "the image's registry refuses access",
    advice: 'Choose another image, or ask the operator for credentials.',
  },
  image_unavailable: {
    retry: 'repeatable',
    when: "the image's registry does not answer, or not now",
    advice: 'Wait some minutes. A pull is tried more than once already.',
  },
  start_refused: {
    retry: 'no',
    when: 'the image cannot be run as a sandbox',
    advice: 'Choose another image.',
  },
  timed_out: { retry: 'repeatable', when: 'a program in the container took too long', advice: 'Once more may help.' },
  output_too_large: { retry: 'no', when: 'a program in the container wrote too much', advice: 'Ask for less.' },
  too_many: {
    retry: 'later',
    when: 'the container has as many programs, connections or requests as it may have at a time',
    advice: 'Try again when some have ended.',
  },
  output_endless: {
    retry: 'no',
    when: 'a program in the container writes without end, and could not be ended',
    advice: 'Stop the container.',
  },
  data_too_large: {
    retry: 'no',
    when: 'the data does not fit into the new `disk_mb`, or on the other machine; nothing was changed',
    advice: 'Delete files, or choose more.',
  },
  copy_failed: {
    retry: 'repeatable',
    when: 'the data could not be copied to another volume, or the container wrote meanwhile; all is as it was',
    advice: OPERATOR,
  },
  aborted: {
    retry: 'repeatable',
    when: 'it was given up, as the server ends for example',
    advice: 'Read first what became of it.',
  },
  claim_lost: {
    retry: 'repeatable',
    when: 'another process has taken the operation over, and finishes it or rolls it back',
    advice: 'Read the container first.',
  },
  process_not_ended: {
    retry: 'no',
    when: 'a process did not end, though it was killed',
    advice: 'Stop the container.',
  },
  broken_off: {
    retry: 'repeatable',
    when: 'the client hung up during a transfer; mostly in the audit, as nobody reads the answer',
    advice: 'Send it again: an upload that was broken off left what was.',
  },
};
