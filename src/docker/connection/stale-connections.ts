import type { ClientRequest, ClientRequestArgs, Agent as HttpAgent } from 'node:http';
import type { Socket } from 'node:net';

/**
 * A connection may be stale if it was idle for at least this long, in milliseconds. If a connection that has just
 * served a call breaks, the fault belongs to this call.
 */
const IDLE_MS = 1_000;

/** Node.js's codes for a connection that its peer has closed. */
const CLOSED: readonly unknown[] = ['ECONNRESET', 'EPIPE'];

/**
 * Calls that may be sent twice, in case Docker did read the first request. A second creation of a volume, an image or
 * a named container creates nothing more; a second start or removal finds the work done; a command that was created
 * but not started does nothing.
 */
const REPEATABLE: readonly RegExp[] = [
  /^(GET|HEAD|DELETE) /,
  /^POST \/(volumes|images)\/create\b/,
  /^POST \/containers\/create\?name=/,
  /^POST \/containers\/[^/]+\/(start|stop|rename|pause|unpause|exec)\b/,
];

/** `http.Agent` calls this for each request. Other agents rely on it, but the types do not declare it. */
interface RequestingAgent {
  addRequest(request: ClientRequest, options: ClientRequestArgs): void;
}

/** Calls `listener` with each request before it is sent. @returns the agent */
export function onRequest<T extends HttpAgent>(agent: T, listener: (request: ClientRequest) => void): T {
  const requesting = agent as unknown as RequestingAgent;
  const addRequest = requesting.addRequest.bind(requesting);
  requesting.addRequest = (request, options) => {
    listener(request);
    addRequest(request, options);
  };
  return agent;
}

const stale = new WeakSet<object>();

/**
 * Detects pooled connections that were closed while idle, because the daemon restarted or a proxy in front of it
 * closes idle connections, before this process has noticed. A request on such a connection fails at once, without
 * Docker having read it.
 *
 * @returns the agent
 */
export function noticeStale<T extends HttpAgent>(agent: T): T {
  const idleSince = new WeakMap<Socket, number>();
  agent.on('free', (socket: Socket) => idleSince.set(socket, performance.now()));
  return onRequest(agent, (request) => {
    let wasIdle = false;
    let isAnswered = false;
    request.once('response', () => (isAnswered = true));
    request.once('socket', (socket) => {
      wasIdle = performance.now() - (idleSince.get(socket) ?? Infinity) >= IDLE_MS;
    });
    request.once('error', (error: Error & { code?: unknown }) => {
      if (!request.reusedSocket || !wasIdle || isAnswered || !CLOSED.includes(error.code)) return;
      // The other idle connections were probably closed at the same time: drop them instead of failing on each.
      for (const sockets of Object.values(agent.freeSockets)) sockets?.forEach((socket) => socket.destroy());
      if (isRepeatable(request)) stale.add(error);
    });
  });
}

function isRepeatable({ method, path }: ClientRequest): boolean {
  return REPEATABLE.some((call) => call.test(`${method} ${path}`));
}

/**
 * Repeats a call once if its connection was stale.
 *
 * @param signal of the call; an aborted call is not repeated
 */
export async function againIfStale<T>(signal: AbortSignal, call: () => Promise<T>): Promise<T> {
  try {
    return await call();
  } catch (error) {
    if (signal.aborted || typeof error !== 'object' || error === null || !stale.has(error)) throw error;
    return call();
  }
}
