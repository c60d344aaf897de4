import { type BerthError, type BerthErrorCode, isBerthError, UnreachableError } from '@berth/client';

/** What this process does, which errors name. */
export interface Doing {
  /** Such as `admin nodes drain`. */
  command?: string | undefined;
  /** The server's address. */
  server?: string | undefined;
  /** The container or other thing that the command is about, as the user wrote it. */
  subject?: string | undefined;
}

/** Of the one command that this process runs. */
export const doing: Doing = {};

type Advice = (error: BerthError, doing: Doing) => string;

/** A container of the command, or a placeholder. */
const it = ({ subject }: Doing): string => subject ?? 'NAME';
const login = ({ server }: Doing): string => `\`berth login ${server ?? 'URL'}\``;
const says =
  (text: string): Advice =>
  () =>
    text;
const ASK_OPERATOR = says("Contact the server's operator.");
const LATER = says('Try again in a moment.');
/** For a failure of the server, whose log has the reason. */
const REPORT = "Try again, or give the request id to the server's operator.";

/** What to do about an error, by its code, in at most two sentences. Codes that explain themselves are absent. */
const ADVICE: Readonly<Partial<Record<BerthErrorCode, Advice>>> = {
  unauthorized: (_, doing) => `The token is wrong, revoked or expired. Log in again: ${login(doing)}`,
  guest_session_expired: (_, doing) => `Log in again: ${login(doing)}`,
  guest_login_disabled: says('Log in with a token: omit --guest.'),
  user_suspended: ASK_OPERATOR,
  not_authorized: says('It belongs to another user. `berth whoami` shows who you are.'),
  insufficient_permissions: says("The token lacks a scope. `berth whoami` shows the token's scopes."),
  exec_not_allowed: says('Your tier does not include terminal and file access.'),
  container_limit_reached: (error) => `${used(error)}. Delete one with \`berth rm\`; stopping one is not enough.`,
  guest_limit_reached: says('Try again when a guest session has ended.'),
  process_limit_reached: (_, doing) => `End one: \`berth top ${it(doing)}\` lists them.`,
  agent_limit_reached: (error) => `${used(error)}. Delete one with \`berth rm\`.`,
  token_limit_reached: (error) => `${used(error)}. Revoke one with \`berth tokens rm\`.`,
  snapshot_limit_reached: says('Delete one with `berth snapshot rm`.'),
  link_limit_reached: says('Revoke one with `berth port unlink`.'),
  public_not_allowed: says('Your tier allows no public ports. Use `berth port link` to create a link.'),
  webhook_limit_reached: says('Delete one with `berth webhooks rm`.'),
  container_not_found: says('`berth ls` lists containers; `berth ls -s deleted` lists those that can be restored.'),
  snapshot_not_found: says('`berth snapshot ls` lists snapshots.'),
  agent_not_found: says('`berth agents` lists agents.'),
  link_not_found: says('`berth port links` lists links.'),
  ssh_key_not_found: says('`berth ssh-keys` lists keys.'),
  variable_not_found: says('`berth env ls` lists variables; names are case-sensitive.'),
  process_ended: (_, doing) => `\`berth top ${it(doing)}\` lists running processes.`,
  stdin_full: LATER,
  container_starting: LATER,
  not_ready: LATER,
  process_not_found: says('It ended more than five minutes ago, or never ran.'),
  token_not_found: says('`berth tokens` lists tokens.'),
  webhook_not_found: says('`berth webhooks` lists webhooks.'),
  template_not_found: says('`berth admin templates` lists templates.'),
  user_not_found: says('`berth admin users` lists users.'),
  node_not_found: says('`berth admin nodes` lists nodes.'),
  image_not_found: says('`berth images` lists images.'),
  terminal_not_found: says('It has ended. `berth sh` opens a new one.'),
  route_not_found: says('The server may be older than this command line.'),
  delivery_not_found: says('`berth webhooks deliveries` lists deliveries.'),
  ambiguous_id: says('Several ids start with this. Use the name, or more of the id.'),
  name_taken: says('Choose another name, or omit it.'),
  agent_name_taken: says('Choose another name.'),
  image_name_taken: says('Choose another name.'),
  username_taken: says('Choose another name.'),
  ssh_key_taken: says('`berth ssh-keys` lists keys.'),
  container_not_running: (_, doing) => `Start it: \`berth start ${it(doing)}\``,
  sandbox_full: (_, doing) =>
    `End programs in it, which \`berth top ${it(doing)}\` lists, or stop and start it: \`berth stop ${it(doing)}\``,
  restart_required: (_, doing) =>
    `It was created by an earlier version. Stop and start it: \`berth stop ${it(doing)}\`, \`berth start ${it(doing)}\``,
  container_paused: (_, doing) => `Resume it: \`berth resume ${it(doing)}\``,
  status_unreachable: (_, doing) => `\`berth show ${it(doing)}\` shows why.`,
  status_not_reached: (_, doing) => `It may still be reached: \`berth show ${it(doing)}\` shows the status.`,
  removal_pending: LATER,
  snapshot_not_ready: LATER,
  operation_in_progress: (error) =>
    `Wait for the ${isBerthError(error, 'operation_in_progress') ? error.fields.operation : 'operation'}, then try again.`,
  event_not_kept: says('Omit --after.'),
  previews_disabled: ASK_OPERATOR,
  ssh_disabled: ASK_OPERATOR,
  command_not_started: says("Check the program's name, -w and -u. For shell syntax, use `sh -c '…'`."),
  path_denied: says("The image's user has no access. Try a path in /home/user."),
  execution_not_found: says('Run the code again. A stop or a resize of the container ends all runs.'),
  code_unavailable: says('Create a container of the image code: `berth create code`. An operator builds the image.'),
  path_not_found: (_, doing) => `\`berth exec ${it(doing)} -- ls -l\` lists files.`,
  path_is_directory: says('Use the path of a file.'),
  path_not_directory: says('Use the path of a directory.'),
  path_not_file: (_, doing) => `Read it with a command: \`berth exec ${it(doing)} -- cat\``,
  path_exists: says('Choose another path, or delete the existing file or directory.'),
  file_too_large: tooLarge,
  archive_too_large: tooLarge,
  no_space: says('Delete files, or raise --disk with `berth update`.'),
  data_too_large: says('Delete files, or choose a larger --disk.'),
  image_never_pulled: ASK_OPERATOR,
  image_not_built: ASK_OPERATOR,
  image_access_denied: says('Choose another image: `berth images` lists them.'),
  image_unavailable: says('Try again in a few minutes.'),
  start_refused: says('Choose another image: `berth images` lists them.'),
  container_broken: (_, doing) => `Stop and start it: \`berth stop ${it(doing)}\`, \`berth start ${it(doing)}\``,
  delete_failed: (_, doing) => `Delete it anyway: \`berth rm -f ${it(doing)}\``,
  node_reachable: (_, doing) => `Drain it: \`berth admin nodes drain ${it(doing)}\``,
  same_node: says('Choose another node, or none.'),
  not_clustered: says('The server has only one machine.'),
  wrong_pool: says("Choose a node in the pool of the user's tier."),
  database_read_only: ASK_OPERATOR,
  docker_changed: ASK_OPERATOR,
  storage_full: ASK_OPERATOR,
  no_capacity: (error) => `${shortOf(error)}Try again later, or ask for less.`,
  rate_limit_exceeded: ({ retryAfterMs }) =>
    retryAfterMs === null ? 'Try again later.' : `Try again in ${String(Math.ceil(retryAfterMs / 1_000))} s.`,
  too_many_commands: says('Try again when another command has ended.'),
  too_many: says('Try again when other commands in it have ended.'),
  too_many_transfers: says('Try again when another transfer has ended.'),
  too_many_terminals: says('Close one: `exit` in it, or `berth sh NAME --attach ID`.'),
  too_many_watches: says('Try again when another watch of files has ended.'),
  too_many_connections: says('Close other commands that follow events or output.'),
  node_unavailable: LATER,
  database_busy: LATER,
  database_unavailable: LATER,
  docker_unavailable: LATER,
  shutting_down: LATER,
  container_not_responding: (_, doing) => `Stop it: \`berth stop ${it(doing)}\``,
  misdirected_request: says('The operator must add this name to ALLOWED_HOSTS.'),
  unexpected_answer: says('Is this the address of a Berth server? `berth contexts` shows addresses.'),
};

/** @returns what to do; for a server that was not reached, the whole sentence; empty if there is no advice */
export function adviceOn(error: BerthError, doing: Doing): string {
  if (error instanceof UnreachableError) return unreachable(error, doing);
  const advice = ADVICE[error.code];
  if (advice !== undefined) return advice(error, doing);
  return error.status >= 500 && error.requestId !== null ? REPORT : '';
}

/** Node.js's codes in words. */
const REASONS: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'connection refused',
  ECONNRESET: 'connection reset',
  ENOTFOUND: 'unknown host',
  EAI_AGAIN: 'the name could not be resolved',
  ETIMEDOUT: 'timed out',
  UND_ERR_CONNECT_TIMEOUT: 'timed out',
  EHOSTUNREACH: 'no route to the host',
  ENETUNREACH: 'no network',
  UND_ERR_SOCKET: 'connection closed',
};

function unreachable({ message, reason, host }: UnreachableError, { server }: Doing): string {
  const address = server ?? host;
  const why = REASONS[reason ?? ''] ?? /: (.+)$/.exec(message)?.[1] ?? reason;
  const because = why === null ? '' : ` (${why})`;
  if (message.includes('broke off')) return `the connection to ${address} broke off${because}: try again`;
  const check = 'check the address with `berth contexts`';
  if (/CERT|SELF_SIGNED|SIGNATURE|TLS|SSL/.test(reason ?? '')) {
    return `cannot trust ${address}${because}: set NODE_EXTRA_CA_CERTS to its authority's certificate`;
  }
  const isName = reason === 'ENOTFOUND' || reason === 'EAI_AGAIN';
  return `cannot reach ${address}${because}: ${isName ? check : `is the server running? Or ${check}`}`;
}

/** Such as `5 of 5 on the tier free`. */
function used({ fields }: BerthError): string {
  const { current, limit, tier } = fields as Readonly<Record<string, unknown>>;
  return `${String(current)} of ${String(limit)}${typeof tier === 'string' ? ` on the tier ${tier}` : ''}`;
}

function tooLarge({ fields }: BerthError): string {
  const { limit } = fields as Readonly<Record<string, unknown>>;
  return `At most ${String(limit)} bytes are allowed.`;
}

function shortOf(error: BerthError): string {
  if (!isBerthError(error, 'no_capacity')) return '';
  const { short = [] } = error.fields as Partial<typeof error.fields>;
  const parts = short.map(
    (each) => `${each.resource}: needs ${String(each.needed)}, ${String(each.available)} available`,
  );
  return parts.length === 0 ? '' : `${parts.join('; ')}. `;
}
