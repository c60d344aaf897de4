import Docker from 'dockerode';
import { type AgentOptions, Agent as HttpAgent, type IncomingMessage } from 'node:http';
import { Agent as HttpsAgent } from 'node:https';
import type { Socket } from 'node:net';
import { inspect } from 'node:util';
import { within } from '../../scheduling';
import { EngineError } from '../../engine';
import { noticeStale, onRequest } from './stale-connections';

/** Sockets for short calls; further calls wait for a free one. More concurrency does not make the daemon faster. */
const CALL_SOCKETS = 64;

/** TCP keepalive detects a peer that disappeared silently; on a Unix socket it has no effect. */
const KEEP_ALIVE_MS = 15_000;

/**
 * Size limits for responses that are buffered as a whole. An inspection contains text by the image's author, such as
 * labels. Lists grow with the number of objects; the list of containers is parsed as it arrives.
 */
const MAX_ANSWER_BYTES = 16 * 1024 * 1024;
const MAX_LIST_BYTES = 256 * 1024 * 1024;
const LISTS = /\/(containers\/json|containers\/[^/]+\/changes|images\/json|volumes|networks)(\?|$)/;

/** Two clients of one daemon, so that long-lasting calls never occupy the sockets that short calls need. */
export interface DockerClients {
  /** For calls that the daemon answers at once: a bounded, keep-alive pool. */
  readonly calls: Docker;
  /** For calls about volumes: on a Swarm's nodes of an older version of the API, see {@link LOCAL_VOLUMES}. */
  readonly volumes: Docker;
  /** For event streams, pulls and stops, which keep a socket for seconds to days: unbounded. */
  readonly streams: Docker;
  /** Drops every connection. */
  close(): void;
}

/** The certificate that this client presents over TLS, its key, and the CA that it trusts; all in PEM. */
export interface ClientCertificate {
  readonly ca: Buffer;
  readonly cert: Buffer;
  readonly key: Buffer;
}

interface ConnectionOptions {
  readonly timeoutMs: number;
  /** If absent, docker-modem reads client certificates from `DOCKER_CERT_PATH`, as Docker's own clients do. */
  readonly tls?: ClientCertificate | undefined;
  readonly isSwarmNode?: boolean;
}

/**
 * The last API version in which volumes are the daemon's own alone. From 1.42 on, a Swarm's manager asks the other
 * managers for the Swarm's volumes at most of these calls, and answers only after they have elected a leader.
 */
const LOCAL_VOLUMES = 'v1.41';

/**
 * @param dockerHost `unix:///PATH`, `tcp://HOST:PORT`, `http://…` or `https://…`
 */
export function connectDocker(
  dockerHost: string,
  { timeoutMs, tls, isSwarmNode = false }: ConnectionOptions,
): DockerClients {
  const endpoint = parseDockerHost(dockerHost, { secured: tls !== undefined || environmentSecures() });
  const callAgent = limitAnswers(agentFor(endpoint, { ...tls, maxSockets: CALL_SOCKETS }));
  const streamAgent = agentFor(endpoint, { ...tls });
  const taken = tls ? takenSockets([callAgent, streamAgent]) : [];
  // Every call has its own time limit. This timeout frees the sockets of calls that docker-modem cannot abort.
  const calls: ModemOptions = { ...endpoint, agent: callAgent, timeout: timeoutMs + 1000 };
  const streams: ModemOptions = { ...endpoint, agent: streamAgent };
  return {
    calls: undescribed(new Docker(calls)),
    volumes: undescribed(new Docker({ ...calls, ...(isSwarmNode && { version: LOCAL_VOLUMES }) })),
    streams: undescribed(new Docker(streams)),
    close: () => {
      callAgent.destroy();
      streamAgent.destroy();
      for (const socket of taken) socket.destroy();
    },
  };
}

/**
 * Runs a call about volumes. Docker 29 refuses versions of the API below 1.44, so there the call and all later ones
 * are of its own version.
 *
 * @throws Docker's errors
 */
export async function callVolumes<T>(docker: Docker, run: (docker: Docker) => Promise<T>): Promise<T> {
  try {
    return await run(docker);
  } catch (error) {
    const modem = docker.modem as unknown as Modem;
    const { statusCode, message } = error as { statusCode?: unknown; message?: unknown };
    if (modem.version === undefined || statusCode !== 400 || !/client version .* too old/i.test(String(message)))
      throw error;
    modem.version = undefined;
    return run(docker);
  }
}

/** docker-modem accepts an agent; its types do not declare it. */
type ModemOptions = Docker.DockerOptions & { agent: HttpAgent };

/** dockerode passes `abortSignal` on from the options of every call; its types declare it for some calls only. */
export function abortable<T extends object>(signal: AbortSignal, options: T): T & { abortSignal: AbortSignal } {
  return { ...options, abortSignal: signal };
}

/** Whether Docker's own clients would use TLS for every `tcp://` address, on any port. */
function environmentSecures(): boolean {
  return [process.env['DOCKER_TLS_VERIFY'], process.env['DOCKER_CERT_PATH']].some((value) => (value ?? '') !== '');
}

/**
 * Options for docker-modem's connection. The `undefined` values are explicit: without them docker-modem reads
 * `DOCKER_HOST` itself.
 *
 * @param secured whether `tcp://` means TLS on every port, as when there are certificates; otherwise only on port
 *   2376
 */
export function parseDockerHost(dockerHost: string, { secured = false } = {}): Docker.DockerOptions {
  const url = new URL(dockerHost);
  if (url.protocol === 'unix:') {
    return {
      socketPath: decodeURIComponent(url.pathname),
      host: undefined,
      port: undefined,
      protocol: 'http',
      timeout: undefined,
    };
  }
  const tls = url.protocol === 'https:' || (url.protocol === 'tcp:' && (secured || url.port === '2376'));
  const protocol = tls ? 'https' : 'http';
  // If the host has a scheme, docker-modem parses it itself and then handles IPv6 addresses.
  const port = url.port === '' ? (tls ? 2376 : 2375) : Number(url.port);
  return { host: `${protocol}://${url.hostname}`, port, protocol, socketPath: undefined, timeout: undefined };
}

function agentFor(
  endpoint: Docker.DockerOptions,
  limits: { maxSockets?: number } & Partial<ClientCertificate>,
): HttpAgent {
  const options: AgentOptions & { keepAliveInitialDelay: number } = {
    ...limits,
    keepAlive: true,
    keepAliveInitialDelay: KEEP_ALIVE_MS,
  };
  const agent = endpoint.protocol === 'https' ? new HttpsAgent(options) : new HttpAgent(options);
  return noticeStale(failOnCutAnswers(agent));
}

/**
 * Tracks sockets that left these agents on an upgrade, for the streams of commands. An agent destroys only the
 * sockets that it still holds; on a machine that is cut off, the upgraded ones would stay open forever.
 */
function takenSockets(agents: readonly HttpAgent[]): ReadonlySet<Socket> {
  const taken = new Set<Socket>();
  for (const agent of agents) {
    onRequest(agent, (request) => {
      request.once('upgrade', (_response: IncomingMessage, socket: Socket) => {
        taken.add(socket);
        socket.once('close', () => taken.delete(socket));
      });
    });
  }
  return taken;
}

/** The internals of docker-modem's own calls; its types do not declare them. */
interface Modem {
  version?: string | undefined;
  buildRequest(options: object, ...rest: unknown[]): void;
}

/**
 * docker-modem 5.0.7 formats the options of each request, including the agent and everything reachable from it, for a
 * debug message. With the agent, this made a request 500 times slower; without the other options, a request takes
 * another tenth less time.
 */
function undescribed(docker: Docker): Docker {
  const modem = docker.modem as unknown as Modem;
  const buildRequest = modem.buildRequest.bind(modem);
  modem.buildRequest = (options, ...rest) =>
    buildRequest(Object.assign(options, { [inspect.custom]: () => 'a request' }), ...rest);
  return docker;
}

/**
 * docker-modem 5.0.7 listens for the end of a response but not for its error: if the connection breaks in the middle
 * of a body, the call hangs until its timeout. This passes the error on to the request, where docker-modem does
 * listen.
 */
function failOnCutAnswers(agent: HttpAgent): HttpAgent {
  return onRequest(agent, (request) => {
    request.once('response', (response: IncomingMessage) => {
      response.once('error', (error) => request.emit('error', error));
    });
  });
}

/** Aborts a response that exceeds the size limit of its path. */
function limitAnswers(agent: HttpAgent): HttpAgent {
  return onRequest(agent, (request) => {
    const limit = LISTS.test(request.path) ? MAX_LIST_BYTES : MAX_ANSWER_BYTES;
    request.once('response', (response: IncomingMessage) => {
      let bytes = 0;
      // Not a `data` listener: that would start the flow of a response that is read later.
      const push = response.push.bind(response);
      response.push = (chunk: Buffer | null, encoding?: BufferEncoding) => {
        bytes += chunk?.length ?? 0;
        if (bytes <= limit) return push(chunk, encoding);
        response.destroy(new Error(`the answer to ${request.path} is larger than ${String(limit)} bytes`));
        return false;
      };
    });
  });
}

/**
 * Limits the time of a call. The signal alone is not enough: docker-modem does not settle every aborted call.
 *
 * @param timeoutMs from now to the complete response, including the wait for a free socket
 * @throws EngineError `docker_unavailable` when the time is over; otherwise the errors of the call
 */
export async function boundedCall<T>(timeoutMs: number, call: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const abort = new AbortController();
  const late = () => new EngineError('docker_unavailable', `Docker did not answer within ${String(timeoutMs)} ms`);
  try {
    return await within(call(abort.signal), { ms: timeoutMs, late });
  } catch (error) {
    // Only after the rejection: otherwise the abort's own error would come first.
    abort.abort();
    throw error;
  }
}
