import { EngineError } from '../../engine';
import { codeOfPullFailure, type DockerCall, isNetworkMissing, isVolumeMissing, toEngineError } from './errors';

const refusal = (statusCode: number, message: string): Error => Object.assign(new Error(message), { statusCode });

describe('what Docker answers', () => {
  // The messages are those of Docker 26.1.
  it.each<[DockerCall, number, string, string]>([
    ['create container', 404, 'No such image: nope:1', 'image_not_found'],
    ['create container', 409, 'Conflict. The container name "/q" is already in use by container "c8de"', 'name_in_use'],
    ['create container', 400, 'unknown or invalid runtime name: rnope', 'docker_error'],
    ['create container', 400, 'no command specified', 'docker_error'],
    ['start container', 404, 'No such container: q', 'container_not_found'],
    ['start container', 404, 'network 769349a6 not found', 'docker_error'],
    ['start container', 404, 'failed to set up container networking: network 769349a6 not found', 'docker_error'],
    ['start container', 409, 'cannot start a paused container, try unpause instead', 'container_paused'],
    ['start container', 409, 'container is marked for removal and cannot be started', 'container_broken'],
    [
      'start container',
      500,
      `stat /var/lib/docker/overlay2/${'4e6f2ee8'.repeat(8)}: no such file or directory`,
      'container_broken',
    ],
    [
      // Docker 28.5.
      'start container',
      500,
      'could not delete stale containerd task object: unknown error after kill: runsc did not terminate successfully: ' +
        'exit status 128: cannot signal container "7625fdc9" in state created',
      'container_broken',
    ],
    [
      'start container',
      400,
      'failed to create task for container: OCI runtime create failed: exec: "x": executable file not found in $PATH',
      'start_refused',
    ],
    [
      'start container',
      500,
      'failed to create shim task: OCI runtime create failed: cannot create sandbox',
      'start_refused',
    ],
    ['start container', 500, 'could not find an available, non-overlapping IPv4 address pool', 'docker_error'],
    ['stop container', 404, 'No such container: q', 'container_not_found'],
    ['stop container', 500, 'tried to kill container, but did not receive an exit event', 'docker_error'],
    ['unpause container', 404, 'No such container: q', 'container_not_found'],
    ['exec', 404, 'No such container: q', 'container_not_found'],
    ['exec', 404, 'No such exec instance: 98b4', 'container_not_running'],
    ['exec', 409, '(HTTP code 409) container stopped/paused - container q is not running', 'container_not_running'],
    ['exec', 409, 'Container q is paused, unpause the container before exec', 'container_paused'],
    ['exec', 400, 'unable to find user nobody: no matching entries in passwd file', 'command_not_started'],
    ['exec', 500, 'unable to find user nobody: no matching entries in passwd file', 'command_not_started'],
    ['rename container', 409, 'Error when allocating new name: Conflict.', 'name_in_use'],
    [
      'remove container',
      500,
      'driver "overlay2" failed to remove root filesystem: device or resource busy',
      'docker_error',
    ],
    ['volume', 409, 'remove v: volume is in use - [c8de]', 'docker_error'],
    ['pull image', 404, 'manifest for alpine:0 not found: manifest unknown', 'image_not_found'],
    [
      'pull image',
      404,
      "pull access denied for x, repository does not exist or may require 'docker login'",
      'image_not_found',
    ],
    [
      'pull image',
      500,
      'Head "https://registry.example/v2/team/tool/manifests/1": no basic auth credentials',
      'image_access_denied',
    ],
    [
      'pull image',
      500,
      'Get "https://registry.example/v2/": dial tcp: lookup registry.example: no such host',
      'image_unavailable',
    ],
    ['pull image', 429, 'toomanyrequests: You have reached your pull rate limit', 'image_unavailable'],
    ['list containers', 503, 'Service Unavailable', 'docker_unavailable'],
    ['list containers', 504, 'Gateway Timeout', 'docker_unavailable'],
    [
      'start container',
      500,
      'connection error: dial unix /run/containerd/containerd.sock: connect: no such file',
      'docker_unavailable',
    ],
    ['inspect container', 500, 'context deadline exceeded', 'docker_unavailable'],
    ['list containers', 500, 'something new', 'docker_error'],
  ])('must mean for "%s" with %i "%s": %s', (call, status, message, code) => {
    expect(toEngineError(refusal(status, message), call)).toMatchObject({ name: 'EngineError', code });
  });
});

describe('a network that is gone', () => {
  const inSwarm = 'Could not attach to network berth-prod: rpc error: code = ';

  it.each([
    [404, 'network 769349a6 not found', true],
    [404, 'No such container: c1', false],
    [500, `${inSwarm}NotFound desc = network berth-prod not found`, true],
    [500, `${inSwarm}Unknown desc = The swarm does not have a leader`, true],
    [500, 'failed to set up container networking: exchange full', false],
  ])('must be known by the refusal of a start: %s %s', (status, message, expected) => {
    expect(isNetworkMissing(refusal(status, message))).toBe(expected);
  });
});

describe('a volume that is not there', () => {
  it.each([
    [404, 'get berth-1: no such volume', true],
    [500, 'rpc error: code = Unknown desc = The swarm does not have a leader. It is possible that…', true],
    [500, 'rpc error: code = DeadlineExceeded desc = context deadline exceeded', true],
    [500, 'rpc error: code = Unavailable desc = connection error', true],
    [500, 'context deadline exceeded', false],
    [500, 'something new', false],
  ])('must be known by the refusal of a look: %s %s', (status, message, expected) => {
    expect(isVolumeMissing(refusal(status, message))).toBe(expected);
  });
});

describe('no answer at all', () => {
  it.each([
    'ECONNREFUSED',
    'ENOENT',
    'ECONNRESET',
    'EPIPE',
    'EACCES',
    'ETIMEDOUT',
    'HPE_INVALID_CONSTANT',
    'ABORT_ERR',
  ])('must be docker_unavailable: %s', (code) => {
    const error = Object.assign(new Error('connect'), { code });
    expect(toEngineError(error, 'ping')).toMatchObject({ code: 'docker_unavailable' });
  });

  it('must be docker_unavailable when the socket hangs up', () => {
    expect(toEngineError(new Error('socket hang up'), 'ping').code).toBe('docker_unavailable');
  });
});

it('must keep an error that is the port’s own already, and the cause of any other', () => {
  const own = new EngineError('aborted', 'enough');
  expect(toEngineError(own, 'pull image')).toBe(own);
  const bug = new TypeError('x is not a function');
  expect(toEngineError(bug, 'ping')).toMatchObject({ code: 'docker_error', cause: bug });
});

it.each([
  ['write /var/lib/docker/volumes/metadata.db: no space left on device', true],
  ['no such volume', false],
])('knows by the words of an answer whether the disk is full: %s', (message, isDiskFull) => {
  expect(toEngineError(refusal(500, message), 'create container')).toMatchObject({ code: 'docker_error', isDiskFull });
});

describe('a failure inside the stream of a pull', () => {
  it.each([
    ['unauthorized: authentication required', 'image_access_denied'],
    ['unauthorized: incorrect username or password', 'image_access_denied'],
    ['failed to register layer: permission denied', null],
    ['error parsing HTTP 403 response body: unexpected end of JSON input: ""', 'image_not_found'],
    ['error parsing HTTP 401 response body: unexpected end of JSON input: ""', 'image_access_denied'],
    ['error parsing HTTP 503 response body: unexpected end of JSON input: ""', null],
    ['no matching manifest for linux/riscv64 in the manifest list entries', 'image_not_found'],
    ['toomanyrequests: rate limit: not found in cache', 'image_unavailable'],
    ['failed to register layer: write /usr/lib/x: no space left on device', 'docker_error'],
    ['failed to register layer: no space left in the pool', 'docker_error'],
    ['net/http: TLS handshake timeout', null],
  ])('must be read as words: %s', (message, code) => {
    expect(codeOfPullFailure(message)).toBe(code);
  });
});
