import { EngineError, type EngineErrorCode } from '../../engine';

/** The kind of call; the meaning of a status depends on it. */
export type DockerCall =
  | 'create container'
  | 'start container'
  | 'pause container'
  | 'unpause container'
  | 'stop container'
  | 'remove container'
  | 'rename container'
  | 'connect container'
  | 'inspect container'
  | 'exec'
  | 'stats'
  | 'list containers'
  | 'inspect image'
  | 'pull image'
  | 'look up image'
  | 'remove image'
  | 'tag image'
  | 'list images'
  | 'probe layer'
  | 'inspect layer'
  | 'commit container'
  | 'flatten image'
  | 'save image'
  | 'load image'
  | 'volume'
  | 'measure volume'
  | 'copy volume'
  | 'send volume'
  | 'receive volume'
  | 'digest volume'
  | 'network'
  | 'probe'
  | 'ping'
  | 'watch events';

/** The daemon's error answer. */
interface DockerRefusal {
  readonly status: number;
  readonly message: string;
}

/** @returns null if the error is not a response of the daemon, such as a broken connection */
export function refusalOf(error: unknown): DockerRefusal | null {
  const { statusCode } = fieldsOf(error);
  return typeof statusCode === 'number' ? { status: statusCode, message: messageOf(error) } : null;
}

/** Converts any error of a Docker call into the port's own. */
export function toEngineError(error: unknown, call: DockerCall): EngineError {
  if (error instanceof EngineError) return error;
  const refusal = refusalOf(error);
  const code = refusal === null ? codeOfFailure(error) : codeOfRefusal(refusal, call);
  const message = messageOf(error).trim();
  return new EngineError(code, `${call}: ${message}`, { cause: error, isDiskFull: saysDiskFull(message) });
}

/** A system error means that there was no complete response: refused, no socket, reset, aborted, not HTTP. */
function codeOfFailure(error: unknown): EngineErrorCode {
  const hasSystemCode = typeof fieldsOf(error).code === 'string';
  return hasSystemCode || /socket hang up|aborted|premature close/i.test(messageOf(error))
    ? 'docker_unavailable'
    : 'docker_error';
}

/** Reads fields instead of using `instanceof Error`: Node.js's own errors may belong to another realm, as in tests. */
function fieldsOf(error: unknown): { statusCode?: unknown; code?: unknown; message?: unknown } {
  return typeof error === 'object' && error !== null ? error : {};
}

function messageOf(error: unknown): string {
  const { message } = fieldsOf(error);
  return typeof message === 'string' ? message : String(error);
}

function codeOfRefusal({ status, message }: DockerRefusal, call: DockerCall): EngineErrorCode {
  if (status >= 502 && status <= 504) return 'docker_unavailable';
  // dockerd returns 500 if containerd behind it is gone or too slow (seen with 26.1).
  if (status === 500 && CONTAINERD_UNAVAILABLE.test(message)) return 'docker_unavailable';
  return MEANINGS[call]?.({ status, message }) ?? 'docker_error';
}

const CONTAINERD_UNAVAILABLE = /context (deadline exceeded|canceled)|containerd\.sock|code = Unavailable/i;

const missingContainer = ({ status }: DockerRefusal): EngineErrorCode | null =>
  status === 404 ? 'container_not_found' : null;

const missingImage = ({ status }: DockerRefusal): EngineErrorCode | null => (status === 404 ? 'image_not_found' : null);

const MEANINGS: Partial<Record<DockerCall, (refusal: DockerRefusal) => EngineErrorCode | null>> = {
  'create container': ({ status, message }) => {
    if (status === 404 && /no such image/i.test(message)) return 'image_not_found';
    return status === 409 ? 'name_in_use' : null;
  },
  'start container': ({ status, message }) => {
    if (status === 404 && /no such container/i.test(message)) return 'container_not_found';
    if (status === 409 && /paused/i.test(message)) return 'container_paused';
    if (status === 409 && /marked for removal|dead/i.test(message)) return 'container_broken';
    if (LAYER_LOST.test(message) || REMAINS_IN_RUNTIME.test(message)) return 'container_broken';
    return RUNTIME_REFUSED.test(message) ? 'start_refused' : null;
  },
  'pause container': ({ status, message }) => {
    if (status === 404) return 'container_not_found';
    return /is not running|is restarting/i.test(message) ? 'container_not_running' : null;
  },
  'unpause container': missingContainer,
  'stop container': missingContainer,
  'inspect container': missingContainer,
  stats: missingContainer,
  'inspect layer': missingContainer,
  'commit container': missingContainer,
  'flatten image': missingImage,
  'tag image': missingImage,
  'connect container': ({ status, message }) =>
    status === 404 && /no such container/i.test(message) ? 'container_not_found' : null,
  exec: ({ status, message }) => {
    // Docker 28.5 looks up the user before it starts the command, Docker 26.1 while starting it.
    if (/unable to find user/i.test(message)) return 'command_not_started';
    // Docker forgets the commands of a container that has ended.
    if (status === 404) return /no such exec/i.test(message) ? 'container_not_running' : 'container_not_found';
    // "is paused": dockerode prefixes both refusals with "container stopped/paused".
    if (status === 409) return /is paused/i.test(message) ? 'container_paused' : 'container_not_running';
    return /is not running/i.test(message) ? 'container_not_running' : null;
  },
  'rename container': ({ status }) => (status === 409 ? 'name_in_use' : null),
  'pull image': ({ status, message }) =>
    codeOfPullFailure(message) ?? (status === 404 ? 'image_not_found' : 'image_unavailable'),
};

/**
 * gVisor without `--overlay2=none`, after the sandbox was killed: gVisor refuses the filestore file that was left
 * (seen with 20240729). Docker 26.1 and 28.5, if the folder of the writable layer is gone: 500 "stat …/overlay2/…: no
 * such file".
 */
const LAYER_LOST =
  /already has a filestore file|repeated submounts|\bstat \S+\/overlay2\/[0-9a-f]{64}: no such file or directory/i;

/**
 * Docker 28.5 creates the sandbox before it connects the network. If that fails, it leaves the sandbox behind and
 * cannot delete it at any later start, as gVisor (20240729) refuses to signal a container "in state created".
 */
const REMAINS_IN_RUNTIME = /could not delete stale containerd (task|container) object/i;

const RUNTIME_REFUSED =
  /OCI runtime|failed to create (shim )?task|executable file not found|no such file or directory|exec format error|permission denied/i;

/**
 * Classifies a pull failure by its message. Docker says "pull access denied" where Docker Hub does not reveal whether
 * the image exists. Most failures come inside the stream of a 200.
 *
 * @returns null if the message is unknown
 */
export function codeOfPullFailure(message: string): EngineErrorCode | null {
  if (isOverRateLimit(message)) return 'image_unavailable';
  // Docker 20.10 writes this for a refusal without a body; later versions say "pull access denied" for a 403.
  if (/error parsing HTTP 403 response body/i.test(message)) return 'image_not_found';
  if (/error parsing HTTP 401 response body/i.test(message)) return 'image_access_denied';
  if (/pull access denied/i.test(message)) return 'image_not_found';
  if (/unauthorized|no basic auth|authentication required|\bdenied: /i.test(message)) {
    return 'image_access_denied';
  }
  if (/not found|manifest unknown|does not exist|no matching manifest|invalid reference/i.test(message)) {
    return 'image_not_found';
  }
  return /no space left/i.test(message) ? 'docker_error' : null;
}

/** Whether Docker says that the disk with its data is full. */
export function saysDiskFull(message: string): boolean {
  return /no space left on device/i.test(message);
}

/** Whether the registry's rate limit is exceeded. */
export function isOverRateLimit(message: string): boolean {
  return /toomanyrequests|rate limit/i.test(message);
}

/** Whether the daemon returned exactly this status. */
export function hasStatus(error: unknown, status: number): boolean {
  return refusalOf(error)?.status === status;
}

/** Whether the object is gone, or another caller is removing it. Both are success for a removal. */
export function isGoneOrGoing(error: unknown): boolean {
  const refusal = refusalOf(error);
  return refusal?.status === 404 || (refusal?.status === 409 && /already in progress/i.test(refusal.message));
}

/** Waits for a removal; already gone is success. */
export async function ignoringGone(call: Promise<unknown>): Promise<void> {
  try {
    await call;
  } catch (error) {
    if (!isGoneOrGoing(error)) throw error;
  }
}

/**
 * Waits for a call whose refusal does not matter. If there is no response at all, the error is still thrown.
 *
 * @returns false if Docker refused the call
 */
export async function ignoringRefusal(call: Promise<unknown>): Promise<boolean> {
  try {
    await call;
    return true;
  } catch (error) {
    if (refusalOf(error) === null) throw error;
    return false;
  }
}

/** @returns null if the object does not exist in Docker */
export async function unlessMissing<T>(
  look: Promise<T>,
  isMissing = (error: unknown): boolean => hasStatus(error, 404),
): Promise<T | null> {
  try {
    return await look;
  } catch (error) {
    if (isMissing(error)) return null;
    throw error;
  }
}

/** Errors of a Swarm manager. Docker does not call volume drivers over gRPC, so `rpc error` cannot come from one. */
const NO_LEADER = /swarm does not have a leader|rpc error: code = (DeadlineExceeded|Unavailable)/i;

/**
 * A Swarm manager that does not have a volume asks the Swarm for a cluster volume of that name. If the Swarm has no
 * leader, or has lost it and not noticed yet, the manager answers 500 (Docker 26.1), after up to 20 s. Berth's
 * volumes are never cluster volumes.
 */
export function isVolumeMissing(error: unknown): boolean {
  const { status, message } = refusalOf(error) ?? { status: 0, message: '' };
  return status === 404 || (status === 500 && NO_LEADER.test(message));
}

/** @returns whether an inspection found its object */
export async function exists(inspection: Promise<unknown>): Promise<boolean> {
  const found = inspection.then((answer) => {
    // docker-modem returns bytes if it expected JSON and got none.
    if (Buffer.isBuffer(answer)) throw new EngineError('docker_unavailable', "Docker's answer cannot be read");
    return true;
  });
  return (await unlessMissing(found)) ?? false;
}

/**
 * Docker 26.1 and 28.5 return 404 for a start if the container's network is gone, the same status as for a missing
 * container. In a Swarm they first ask the managers for a network of that name, and return 500 "Could not attach to
 * network" whatever the managers answer.
 */
export function isNetworkMissing(error: unknown): boolean {
  const { status, message } = refusalOf(error) ?? { status: 0, message: '' };
  return (
    (status === 404 && /network .*not found/i.test(message)) ||
    (status === 500 && /could not attach to network/i.test(message))
  );
}

/**
 * Whether a start was refused because the bridge has no free port (1,023: moby#44973) or the subnet no free address.
 */
export function isNetworkFull(error: unknown): boolean {
  return /exchange full|no available IPv4 addresses/i.test(refusalOf(error)?.message ?? '');
}

/** Docker 26.1 returns 403 for a container that is already in the network. */
export function isConnected(error: unknown): boolean {
  const refusal = refusalOf(error);
  return refusal?.status === 403 && /already exists in network/i.test(refusal.message);
}

export function isAlreadyPaused(error: unknown): boolean {
  return /is already paused/i.test(refusalOf(error)?.message ?? '');
}

/** Docker 26.1 returns 500 for a container that is not paused. */
export function isNotPaused(error: unknown): boolean {
  return /is not paused/i.test(refusalOf(error)?.message ?? '');
}
