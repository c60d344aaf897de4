import Docker from 'dockerode';
import { type AgentOptions, Agent as HttpAgent, type IncomingMessage } from 'node:http';
import { Agent as HttpsAgent } from 'node:https';
import type { Socket } from 'node:net';
import { inspect } from 'node:util';
import { within } from '../../scheduling';
import { EngineError } from '../engine-error';
import { noticeStale, type RequestingAgent } from './stale-connections';

/** Sockets for short calls; further calls wait for a free one. More concurrency does not make the daemon faster. */
const CALL_SOCKETS = 64;

/** TCP keepalive detects a peer that disappeared silently; on a Unix socket it has no effect. */
const KEEP_ALIVE_MS = 15_000;

/**
 * For an answer that is buffered as a whole. An inspection contains what an image's author wrote, such as its labels;
 * lists grow with their contents, and that of containers is parsed as it arrives.
 */
const MAX_ANSWER_BYTES = 16 * 1024 * 1024;
const MAX_LIST_BYTES = 256 * 1024 * 1024;
const LISTS = /\/(containers\/json|volumes|networks)(\?|$)/;

/** Two clients of one daemon, so that long-lasting calls never occupy the sockets that short calls need. */
export interface DockerClients {
  /** For calls that the daemon answers at once: a bounded, keep-alive pool. */
  readonly calls: Docker;
  /** For event streams, pulls and stops, which keep a socket for seconds to days: unbounded. */
  readonly streams: Docker;
  /** Drops every connection. */
  close(): void;
}

/** What this side of a connection over TLS shows, and whom it believes; all in PEM. */
export interface ClientCertificate {
  readonly ca: Buffer;
  readonly cert: Buffer;
  readonly key: Buffer;
}

/**
 * @param dockerHost `unix:///PATH`, `tcp://HOST:PORT`, `http://…` or `https://…`
 * @param tls if absent, docker-modem reads client certificates from `DOCKER_CERT_PATH`, as Docker's own clients do
 */
export function connectDocker(
  dockerHost: string,
  { timeoutMs, tls }: { timeoutMs: number; tls?: ClientCertificate | undefined },
): DockerClients {
  const endpoint = parseDockerHost(dockerHost, { secured: tls !== undefined || environmentSecures() });
  const callAgent = limitAnswers(agentFor(endpoint, { ...tls, maxSockets: CALL_SOCKETS }));
  const streamAgent = agentFor(endpoint, { ...tls });
  const taken = tls ? takenSockets([callAgent, streamAgent]) : [];
  // Every call has its own limit; this one frees the socket of those that docker-modem cannot abort.
  const calls: ModemOptions = { ...endpoint, agent: callAgent, timeout: timeoutMs + 1000 };
  const streams: ModemOptions = { ...endpoint, agent: streamAgent };
  return {
    calls: undescribed(new Docker(calls)),
    streams: undescribed(new Docker(streams)),
    close: () => {
      callAgent.destroy();
      streamAgent.destroy();
      for (const socket of taken) socket.destroy();
    },
  };
}

/** docker-modem accepts an agent; its types do not declare it. */
type ModemOptions = Docker.DockerOptions & { agent: HttpAgent };

/** dockerode passes the signal on from any options; its types declare it for some only. */
export function abortable<T extends object>(signal: AbortSignal, options: T): T & { abortSignal: AbortSignal } {
  return { ...options, abortSignal: signal };
}

/** Whether Docker's own clients would use TLS for any `tcp://`, whatever the port. */
function environmentSecures(): boolean {
  return [process.env['DOCKER_TLS_VERIFY'], process.env['DOCKER_CERT_PATH']].some((value) => (value ?? '') !== '');
}

/**
 * Where docker-modem connects to. `undefined` is explicit, or docker-modem reads `DOCKER_HOST` itself.
 *
 * @param secured whether `tcp://` means TLS on every port, as where there are certificates; else on 2376 alone
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
  // With its scheme, docker-modem parses the host itself, and so copes with IPv6 addresses.
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
 * The sockets that these agents have given away, to the streams of commands: an agent destroys only those that it still
 * has, and on a machine that is cut off they would be waited for without end.
 */
function takenSockets(agents: readonly HttpAgent[]): ReadonlySet<Socket> {
  const taken = new Set<Socket>();
  for (const agent of agents) {
    const requesting = agent as RequestingAgent;
    const addRequest = requesting.addRequest.bind(requesting);
    requesting.addRequest = (request, options) => {
      request.once('upgrade', (_response: IncomingMessage, socket: Socket) => {
        taken.add(socket);
        socket.once('close', () => taken.delete(socket));
      });
      addRequest(request, options);
    };
  }
  return taken;
}

/** The internals of docker-modem's own calls; its types do not declare them. */
interface Modem {
  buildRequest(options: object, ...rest: unknown[]): void;
}

/**
 * docker-modem 5.0.7 describes the options of each request, with the agent and all that hangs on it, for a debug
 * message that nobody reads: a request was 500 times slower with the agent, and still takes a tenth less without the
 * rest.
 */
function undescribed(docker: Docker): Docker {
  const modem = docker.modem as unknown as Modem;
  const buildRequest = modem.buildRequest.bind(modem);
  modem.buildRequest = (options, ...rest) =>
    buildRequest(Object.assign(options, { [inspect.custom]: () => 'a request' }), ...rest);
  return docker;
}

/**
 * docker-modem 5.0.7 listens for the end of an answer but not for its failure: a connection cut in the middle of a body
 * leaves the call hanging until its timeout. The failure is handed to the request, where docker-modem does listen.
 */
function failOnCutAnswers(agent: HttpAgent): HttpAgent {
  const requesting = agent as RequestingAgent;
  const addRequest = requesting.addRequest.bind(requesting);
  requesting.addRequest = (request, options) => {
    request.once('response', (response: IncomingMessage) => {
      response.once('error', (error) => request.emit('error', error));
    });
    addRequest(request, options);
  };
  return requesting;
}

/** Aborts an answer that is larger than any sensible one. */
function limitAnswers(agent: HttpAgent): HttpAgent {
  const requesting = agent as RequestingAgent;
  const addRequest = requesting.addRequest.bind(requesting);
  requesting.addRequest = (request, options) => {
    const limit = LISTS.test(request.path) ? MAX_LIST_BYTES : MAX_ANSWER_BYTES;
    request.once('response', (response: IncomingMessage) => {
      let bytes = 0;
      // Not by a listener, which would start the flow of an answer that is read later.
      const push = response.push.bind(response);
      response.push = (chunk: Buffer | null, encoding?: BufferEncoding) => {
        bytes += chunk?.length ?? 0;
        if (bytes <= limit) return push(chunk, encoding);
        response.destroy(new Error(`the answer to ${request.path} is larger than ${String(limit)} bytes`));
        return false;
      };
    });
    addRequest(request, options);
  };
  return requesting;
}

/**
 * Bounds a call that may never answer. The signal alone is not enough: docker-modem does not settle every aborted call.
 *
 * @param timeoutMs from now to the complete answer, including the wait for a free socket
 * @throws EngineError `docker_unavailable` when the time is over; whatever the call throws
 */
export async function boundedCall<T>(timeoutMs: number, call: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const abort = new AbortController();
  const late = () => new EngineError('docker_unavailable', `Docker did not answer within ${String(timeoutMs)} ms`);
  try {
    return await within(call(abort.signal), { ms: timeoutMs, late });
  } catch (error) {
    // Not before the rejection, or the abort's own error would come first.
    abort.abort();
    throw error;
  }
}
