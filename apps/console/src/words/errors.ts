import { isBerthError } from '@berth/client';
import { bytes } from './format';
import { transferWords } from './transfers';

type Words = string | ((fields: Readonly<Record<string, unknown>>) => string);

const text = (value: unknown): string => (typeof value === 'string' || typeof value === 'number' ? String(value) : '?');

const SHORT: Readonly<Record<string, string>> = {
  memory_mb: 'memory',
  cpu_shares: 'CPU',
  free_memory_mb: 'free memory',
  free_disk_mb: 'free disk',
  networks: 'networks',
};

/** What a person is told, by the answer's `code`: what is wrong, and what helps. */
const WORDS: Readonly<Record<string, Words>> = {
  connection_failed: 'The server is not responding. Is it running, and are you online?',
  unauthorized: 'This token is unknown, revoked or expired.',
  sign_in_code_refused: 'This sign-in link has expired or was already used. Ask for a new one, or paste a token.',
  sign_in_expired: 'This sign-in took too long, or was started in another tab. Try again.',
  sign_in_refused: 'You do not have access. Ask your administrator.',
  openid_disabled: 'Single sign-on is off on this server.',
  openid_unavailable: 'The sign-in service is not responding. Try again in a moment.',
  insufficient_permissions: 'Your token does not have the required scope.',
  not_authorized: 'This belongs to another user.',
  user_suspended: 'An administrator has suspended this user.',
  guest_session_expired: 'Your guest session has ended. You can still view, stop and delete your containers.',
  guest_login_disabled: 'Guest sign-in is off on this server.',
  guest_limit_reached: 'No guest places are available. Try again later.',
  username_taken: 'This name is taken. Choose another one.',
  exec_not_allowed: 'Your tier does not include terminal and file access.',
  container_limit_reached: ({ limit, tier }) =>
    `Your tier “${text(tier)}” allows ${text(limit)} containers. Delete one to make room.`,
  snapshot_limit_reached: ({ limit, limit_mb, tier }) =>
    `Your tier “${text(tier)}” allows ${text(limit)} snapshots with ${text(limit_mb)} MB in total. Delete one first.`,
  snapshot_not_found: 'This snapshot no longer exists.',
  snapshot_not_ready: 'This snapshot is not ready. Wait until it is.',
  snapshot_failed: 'The snapshot could not be created. The container is unchanged.',
  template_not_found: 'This template no longer exists.',
  template_failed: 'The template could not be created. Nothing was changed.',
  image_name_taken: 'The catalogue already has an image with this name. Choose another.',
  webhook_limit_reached: ({ limit }) => `You have reached the limit of ${text(limit)} webhooks. Delete one first.`,
  webhook_not_found: 'This webhook no longer exists.',
  delivery_not_found: 'This delivery is no longer kept.',
  event_not_kept: 'The event of this delivery is no longer kept.',
  agent_limit_reached: ({ limit, tier }) => `Your tier “${text(tier)}” allows ${text(limit)} agents.`,
  token_limit_reached: ({ limit }) => `You have reached the limit of ${text(limit)} tokens. Revoke one first.`,
  process_limit_reached: 'This container runs the maximum number of processes.',
  process_not_found: 'This process no longer exists.',
  process_ended: 'This process has ended.',
  stdin_closed: 'The input of the process is closed.',
  stdin_full: 'The process has not read the earlier input yet. Try again in a moment.',
  name_taken: 'You already have a container with this name.',
  agent_name_taken: 'You already have an agent with this name.',
  container_not_found: 'This container no longer exists.',
  container_not_running: 'The container is not running. Start it first.',
  sandbox_full: 'The container cannot start another process. End some programs, or restart it.',
  restart_required:
    'The container was started by an earlier version of Berth. Stop it, then start it again; its files are kept.',
  variable_not_found: 'The container no longer has this variable.',
  agent_not_found: 'This agent no longer exists.',
  token_not_found: 'This token no longer exists.',
  user_not_found: 'This user no longer exists.',
  node_unavailable:
    'This container’s machine is not responding. The container can be used again when the machine is back.',
  container_not_responding: 'The container is not responding. Stop it; programs that do not exit are killed.',
  container_paused: 'The container is paused. Resume it first.',
  container_broken: 'Docker can no longer use this container. Stop it, then start it again.',
  container_starting: 'The container is starting. Try again in a moment.',
  name_in_use: 'Another program uses a name that Docker needs for this. Contact your administrator.',
  data_too_large: 'The files do not fit. Delete some, or choose a larger disk.',
  copy_failed: 'The data could not be copied. Nothing was changed.',
  not_clustered: 'The server has only one machine.',
  wrong_pool: 'This node is not in the pool of the user’s tier.',
  same_node: 'The container is already on this node.',
  move_failed: 'The container could not be moved. It is still on its node.',
  node_not_found: 'This node no longer exists.',
  node_reachable: 'This node is responding, so it cannot be removed. Drain it instead.',
  pull_failed: 'The image could not be pulled. See the server’s log for the reason.',
  image_not_found: 'The image does not exist or needs credentials.',
  image_not_built: 'The image has not been built on the machine yet.',
  image_never_pulled: 'This image is built on the machine, so it cannot be pulled.',
  image_unavailable: 'The image’s registry is not responding.',
  image_access_denied: 'The image’s registry denied access.',
  start_refused: 'This image cannot be run as a sandbox.',
  terminal_not_found: 'This terminal has ended.',
  operation_in_progress: 'Another operation on this container is in progress. Try again in a moment.',
  removal_pending: 'Docker has not removed the old container yet. Try again in a moment.',
  link_not_found: 'This link has ended.',
  link_limit_reached: ({ limit }) => `This container has reached the limit of ${text(limit)} links. Revoke one first.`,
  public_not_allowed: 'Your tier does not allow public ports. Create a link instead.',
  previews_disabled: 'Previews are off on this server.',
  ssh_disabled: 'SSH is off on this server.',
  ssh_key_not_found: 'This SSH key no longer exists.',
  ssh_key_taken: 'This SSH key is registered already.',
  path_not_found: 'This path does not exist.',
  path_exists: 'A file or folder with this name already exists.',
  path_denied: 'The container’s user does not have permission for this.',
  path_is_directory: 'This is a folder.',
  path_not_directory: 'This is not a folder.',
  path_not_file: 'This is not a regular file.',
  path_protected: 'This cannot be moved or deleted.',
  directory_not_empty: 'The folder is not empty.',
  file_too_large: ({ limit }) => transferWords.faults.fileTooLarge(bytes(Number(limit))),
  archive_too_large: ({ limit }) => transferWords.faults.archiveTooLarge(bytes(Number(limit))),
  body_too_large: 'This is too large for one request.',
  no_space: 'The container’s disk is full.',
  tools_failed: 'The operation failed inside the container.',
  command_not_started: 'The program cannot be started.',
  too_many_terminals: ({ limit }) => `This container has reached the limit of ${text(limit)} open terminals.`,
  precondition_failed: 'It has changed in the meantime.',
  too_many_transfers: 'Too many transfers are in progress. Try again in a moment.',
  too_many_commands: 'Too many commands are in progress. Try again in a moment.',
  too_many: 'The container is busy. Try again in a moment.',
  too_many_watches: 'Too many folders of this container are being watched.',
  too_many_connections: 'Too many open connections. Close a tab.',
  rate_limit_exceeded: 'Too many requests. Wait a moment.',
  docker_unavailable: 'Docker is not responding on the server.',
  docker_changed: 'The server is connected to a different Docker than the one with its containers.',
  docker_error: 'Docker rejected the request.',
  database_busy: 'The server is busy. Nothing was done; try again.',
  database_unavailable: 'The server’s database is not responding. Try again.',
  database_read_only: 'The server is read-only at the moment.',
  storage_full: 'The server’s disk is full. Nothing was done.',
  no_capacity: ({ short }) => {
    const names = Array.isArray(short)
      ? short.map((each) => SHORT[(each as { resource: string }).resource] ?? 'room')
      : ['room'];
    return `The machine does not have enough ${[...new Set(names)].join(' and ')} left. A smaller container may fit.`;
  },
  shutting_down: 'The server is restarting. Try again in a moment.',
  internal_error: 'Something went wrong on the server.',
};

/** A sentence for a person; never empty. */
export function inWords(error: unknown): string {
  if (!isBerthError(error)) {
    return error instanceof Error && error.message !== '' ? error.message : 'Something went wrong.';
  }
  const words = WORDS[error.code];
  if (words !== undefined)
    return typeof words === 'string' ? words : words(error.fields as Readonly<Record<string, unknown>>);
  if (error.code === 'invalid_parameters' && error.details.length > 0) {
    return error.details
      .map(({ field, message }) => `${FIELDS[field] ?? field}${isPredicate(message) ? '' : ':'} ${message}.`)
      .join(' ');
  }
  return `${error.message.charAt(0).toUpperCase()}${error.message.slice(1)}.`;
}

/** Whether a message continues a sentence that begins with the field: "must be …"; others are rules alone. */
const isPredicate = (message: string): boolean => /^(must|is|has|does|may) /.test(message);

/** The names of fields, as forms have them. */
const FIELDS: Readonly<Record<string, string>> = {
  name: 'Name',
  username: 'Name',
  image: 'Image',
  source: 'Start from',
  ready_port: 'Ready port',
  auto_start: 'Start when a preview is opened',
  restart: 'When it exits',
  custom_image: 'Image',
  role: 'Role',
  memory_mb: 'Memory',
  cpu_shares: 'CPU',
  disk_mb: 'Disk',
  network: 'Network',
  labels: 'Labels',
  env: 'Environment',
  start: 'Start command',
  auto_stop_seconds: 'Idle timeout',
  idle_action: 'When idle',
  auto_delete_seconds: 'Delete when stopped for',
  lifetime_seconds: 'Lifetime',
  end_action: 'At the end of the lifetime',
  expires_in: 'Expiry',
  description: 'Description',
  url: 'URL',
  events: 'Events',
  count: 'Copies',
  snapshot: 'Snapshot',
  version: 'Version',
  tiers: 'Tiers',
  data: 'Data',
  scopes: 'Scopes',
};

/** The name of a field of a form; of a row, that of all its rows. */
export function fieldInWords(field: string): string {
  const [name = field] = field.split('.');
  return FIELDS[name] ?? name;
}

/** Why a container is as it is, by the row's or an event's `reason`. */
const REASONS: Readonly<Record<string, string>> = {
  exited: 'its process ended',
  oom: 'out of memory',
  missing: 'missing from Docker',
  files_missing: 'its files are missing from Docker',
  node_lost: 'its node was removed, and its data with it',
  session_expired: 'the session is over',
  lifetime_over: 'its lifetime is over',
  idle: 'unused',
  user_suspended: 'the user is suspended',
  auto_delete: 'unused for too long',
  user_deleted: 'the user was deleted',
  role_failed: 'the role could not be installed',
  image_not_found: 'no such image',
  image_not_built: 'the image is not built on the machine',
  image_unavailable: 'the registry does not respond',
  image_access_denied: 'the registry refuses access',
  start_refused: 'the image cannot be run',
  docker_unavailable: 'Docker does not respond',
  docker_error: 'Docker refused',
  node_unavailable: 'its machine does not respond',
  interrupted: 'interrupted',
  snapshot_limit_reached: 'larger than the tier allows',
  data_too_large: 'no room for the copy of the data',
  copy_failed: 'the data could not be copied',
  container_not_running: 'the container ended',
  closed: 'it disconnected',
  silent: 'it stopped responding',
  failing: 'it failed for too long',
  gone: 'its receiver answered that it is gone',
};

export function reasonInWords(reason: string | null | undefined): string | null {
  if (!reason) return null;
  return REASONS[reason] ?? reason.replaceAll('_', ' ');
}

/** What a snapshot contains, by its `root`. */
export function contentsInWords({ root }: { readonly root: boolean }): string {
  return root ? 'Data and installed software' : 'Data only';
}
