import Docker from 'dockerode';
import {
  type AgentOptions,
  type ClientRequest,
  type ClientRequestArgs,
  Agent as HttpAgent,
  type IncomingMessage,
} from 'node:http';
import { Agent as HttpsAgent } from 'node:https';
import { inspect } from 'node:util';
import { EngineError, type EngineErrorCode } from './container-engine';

/** Sockets for short calls; more calls than that wait for a free one. The daemon gains nothing from more at once. */
const CALL_SOCKETS = 64;

/** TCP keepalive finds a peer that went away without a word; it does nothing, and no harm, on a Unix socket. */
const KEEP_ALIVE_MS = 15_000;

/**
 * Of an answer that is kept as a whole. An inspection shows what an image's author wrote, such as its labels; lists grow with
 * what there is, and that of containers is read as it arrives.
 */
const MAX_ANSWER_BYTES = 16 * 1024 * 1024;
const MAX_LIST_BYTES = 256 * 1024 * 1024;
const LISTS = /\/(containers\/json|volumes|networks)(\?|$)/;

/** Two clients of one daemon, so that what lasts long never holds the sockets that short calls need. */
export interface DockerClients {
  /** For calls that the daemon answers at once: bounded, kept alive. */
  readonly calls: Docker;
  /** For event streams, pulls and stops, which keep a socket for seconds to days: unbounded. */
  readonly streams: Docker;
  /** Drops every connection. */
  close(): void;
}

/**
 * @param dockerHost `unix:///PATH`, `tcp://HOST:PORT`, `http://…` or `https://…`; client certificates are read from
 *   `DOCKER_CERT_PATH` by docker-modem, as Docker's own clients do
 */
export function connectDocker(dockerHost: string, { timeoutMs }: { timeoutMs: number }): DockerClients {
  const endpoint = parseDockerHost(dockerHost);
  const callAgent = limitAnswers(agentFor(endpoint, { maxSockets: CALL_SOCKETS }));
  const streamAgent = agentFor(endpoint, {});
  // Every call has a limit of its own; this one frees the socket of those that docker-modem cannot abort.
  const calls: ModemOptions = { ...endpoint, agent: callAgent, timeout: timeoutMs + 1000 };
  const streams: ModemOptions = { ...endpoint, agent: streamAgent };
  return {
    calls: new Docker(calls),
    streams: new Docker(streams),
    close: () => {
      callAgent.destroy();
      streamAgent.destroy();
    },
  };
}

/** docker-modem takes an agent; the types do not know. */
type ModemOptions = Docker.DockerOptions & { agent: HttpAgent };

/** dockerode passes the signal on from any options; the types know of some only. */
export function abortable<T extends object>(signal: AbortSignal, options: T): T & { abortSignal: AbortSignal } {
  return { ...options, abortSignal: signal };
}

/** Where docker-modem connects to. `undefined` is written out, or its own reading of `DOCKER_HOST` shines through. */
export function parseDockerHost(dockerHost: string): Docker.DockerOptions {
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
  const tls = url.protocol === 'https:' || (url.protocol === 'tcp:' && url.port === '2376');
  const protocol = tls ? 'https' : 'http';
  // With its scheme, docker-modem parses the host itself, and so copes with IPv6 addresses.
  const port = url.port === '' ? (tls ? 2376 : 2375) : Number(url.port);
  return { host: `${protocol}://${url.hostname}`, port, protocol, socketPath: undefined, timeout: undefined };
}

function agentFor(endpoint: Docker.DockerOptions, limits: { maxSockets?: number }): HttpAgent {
  const options: AgentOptions & { keepAliveInitialDelay: number } = {
    ...limits,
    keepAlive: true,
    keepAliveInitialDelay: KEEP_ALIVE_MS,
  };
  const agent = endpoint.protocol === 'https' ? new HttpsAgent(options) : new HttpAgent(options);
  // docker-modem 5.0.7 inspects the agent, to any depth, for a debug message at each request: 500 times slower without this.
  Object.assign(agent, { [inspect.custom]: () => 'Agent' });
  return failOnCutAnswers(agent);
}

/** What `http.Agent` calls for each request; documented by its use in other agents, absent from the types. */
interface RequestingAgent extends HttpAgent {
  addRequest(request: ClientRequest, options: ClientRequestArgs): void;
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

/** Breaks off an answer that is larger than what is asked for can sensibly be. */
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
 * Runs a call that may never answer. Not left to the signal alone: docker-modem does not settle every call that is aborted.
 *
 * @param timeoutMs from now to the whole answer, waiting for a free socket included
 * @throws EngineError `docker_unavailable` when the time is over; whatever the call throws
 */
export async function boundedCall<T>(timeoutMs: number, call: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const abort = new AbortController();
  let timer: NodeJS.Timeout | undefined;
  const timeout = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => {
      // Rejects before it aborts, or the abortion's own error would come first.
      reject(new EngineError('docker_unavailable', `Docker did not answer within ${String(timeoutMs)} ms`));
      abort.abort();
    }, timeoutMs);
  });
  try {
    return await Promise.race([call(abort.signal), timeout]);
  } finally {
    clearTimeout(timer);
  }
}

/** A call to the engine that is over. */
export interface EndedCall {
  /** Such as `create container`. */
  readonly call: string;
  readonly outcome: 'ok' | EngineErrorCode;
  readonly seconds: number;
}

/** Tells whoever measures of every call to the engine, so that the engine need not know them. */
export class EngineCalls {
  private readonly listeners: ((ended: EndedCall) => void)[] = [];

  /** Calls `listener` at the end of each call. It must not throw. */
  onEnded(listener: (ended: EndedCall) => void): void {
    this.listeners.push(listener);
  }

  ended(call: EndedCall): void {
    for (const listener of this.listeners) listener(call);
  }
}
