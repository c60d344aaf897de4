import type { ClientRequest, ClientRequestArgs, Agent as HttpAgent } from 'node:http';
import type { Socket } from 'node:net';

/**
 * For how long nothing was asked on a connection before it may be stale, in milliseconds. One that has just served a
 * call and then breaks is a fault of this call.
 */
const IDLE_MS = 1_000;

/** Node.js's codes for a connection that its peer has closed. */
const CLOSED: readonly unknown[] = ['ECONNRESET', 'EPIPE'];

/**
 * Calls that may be made twice, should Docker have read the first after all: a second creation of a volume or by the
 * same name makes nothing more, a second start or removal finds the work done, and a command that was created and not
 * started does nothing.
 */
const REPEATABLE: readonly RegExp[] = [
  /^(GET|HEAD|DELETE) /,
  /^POST \/(volumes|images)\/create\b/,
  /^POST \/containers\/create\?name=/,
  /^POST \/containers\/[^/]+\/(start|stop|rename|unpause|exec)\b/,
];

/** What `http.Agent` calls for each request; established by its use in other agents, absent from the types. */
export interface RequestingAgent extends HttpAgent {
  addRequest(request: ClientRequest, options: ClientRequestArgs): void;
}

const stale = new WeakSet<object>();

/**
 * Notices connections of the pool that were closed while idle: the daemon was restarted, or a proxy before it ends idle
 * ones, and this process has not read of it yet. A request on one fails at once and unread.
 *
 * @returns the agent
 */
export function noticeStale<T extends HttpAgent>(agent: T): T {
  const idleSince = new WeakMap<Socket, number>();
  agent.on('free', (socket: Socket) => idleSince.set(socket, performance.now()));
  const requesting: HttpAgent = agent;
  const pool = requesting as RequestingAgent;
  const addRequest = pool.addRequest.bind(pool);
  pool.addRequest = (request, options) => {
    let wasIdle = false;
    let isAnswered = false;
    request.once('response', () => (isAnswered = true));
    request.once('socket', (socket) => {
      wasIdle = performance.now() - (idleSince.get(socket) ?? Infinity) >= IDLE_MS;
    });
    request.once('error', (error: Error & { code?: unknown }) => {
      if (!request.reusedSocket || !wasIdle || isAnswered || !CLOSED.includes(error.code)) return;
      // What was closed together is not to be met one after the other.
      for (const sockets of Object.values(agent.freeSockets)) sockets?.forEach((socket) => socket.destroy());
      if (isRepeatable(request)) stale.add(error);
    });
    addRequest(request, options);
  };
  return agent;
}

function isRepeatable({ method, path }: ClientRequest): boolean {
  return REPEATABLE.some((call) => call.test(`${method} ${path}`));
}

/**
 * Makes a call again, once, if its connection was stale. @param signal of the call, which nobody waits for once aborted
 */
export async function againIfStale<T>(signal: AbortSignal, call: () => Promise<T>): Promise<T> {
  try {
    return await call();
  } catch (error) {
    if (signal.aborted || typeof error !== 'object' || error === null || !stale.has(error)) throw error;
    return call();
  }
}
