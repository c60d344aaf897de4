import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';

/** Node.js's internal fields of a connection. They are private only in the types, and have no public equivalent. */
interface HttpSocket extends Socket {
  /** The response that the connection is currently sending. */
  readonly _httpMessage?: ServerResponse | null;
  /** While true, reading a request's body does not resume the connection. */
  _paused?: boolean;
  readonly parser?: {
    onIncoming: (request: IncomingMessage & { upgrade?: boolean }, keepAlive: boolean) => number;
  } | null;
}

/** Return value of a parser's `onIncoming`: the message ends with its head, and the rest is passed on unparsed. */
const UPGRADE = 2;

/** Pipelined requests that arrived before the previous one was answered. */
const early = new WeakSet<IncomingMessage>();

/**
 * Handles a connection's pipelined requests one after the other. Node.js would start all of them at once, and keep
 * their answers for as long as the client does not read. Here, the head of the next request is put back unparsed with
 * the bytes behind it, and reading stops until the previous answer is sent. So a connection can make the server keep
 * only one answer, and a request whose client leaves in the meantime never starts.
 *
 * Node.js parses everything it has read unless a request is an upgrade. So an early request is marked as an upgrade,
 * and reaches the server's `upgrade` or `connect` event, where {@link postpone} puts it back.
 */
export function beginInTurn(server: Server): void {
  // A head that is put back is rebuilt from its fields, so all of them are needed: by default, Node.js drops those
  // past 1,000. Their total length is bounded.
  server.maxHeadersCount = 0;
  server.on('connection', (socket: HttpSocket) => {
    const { parser } = socket;
    if (!parser) return;
    const begin = parser.onIncoming;
    parser.onIncoming = (request, keepAlive) => {
      if (!socket._httpMessage) {
        const verdict = begin(request, keepAlive);
        // Node.js 26 would parse the body first, and pass on a stream that cannot be given back to the server.
        return request.upgrade ? UPGRADE : verdict;
      }
      early.add(request);
      Object.assign(request, { upgrade: true });
      return UPGRADE;
    };
  });
}

/** A connection that Node.js detached for an upgrade, and the bytes that arrived on it. */
interface Detached {
  readonly server: Server;
  readonly request: IncomingMessage;
  readonly socket: Socket;
  /** The bytes after the request's head. */
  readonly rest: Buffer;
}

/**
 * Puts back a request that came early.
 *
 * @returns false if the request may be handled now; true if it will be emitted again
 */
export function postpone(detached: Detached): boolean {
  if (!early.has(detached.request)) return false;
  putBack(
    detached,
    headOf(detached.request, (_name, value) => value),
  );
  return true;
}

/**
 * Returns a connection to the server with the given head in place of the request's own, once the previous answer is
 * sent. The body, further requests and time limits then work as on any connection.
 */
export function putBack({ server, socket, rest }: Detached, head: Buffer): void {
  const connection = socket as HttpSocket;
  const onError = (): void => void socket.destroy();
  socket.on('error', onError);
  // Immediately: a connection whose end was read accepts no data back.
  if (rest.length > 0) socket.unshift(rest);
  socket.unshift(head);
  const serve = (): void => {
    if (socket.destroyed || socket.writableEnded) return;
    socket.off('error', onError);
    // Node.js adds these listeners again, and does not clear the keep-alive timeout that it set before.
    socket.removeAllListeners('resume');
    socket.removeAllListeners('pause');
    socket.setTimeout(0);
    // Node.js documents that code that injects a connection emits this event.
    server.emit('connection', socket);
  };
  const answer = connection._httpMessage;
  if (!answer) {
    serve();
    return;
  }
  connection._paused = true;
  const onDrain = (): void => void answer.emit('drain');
  socket.on('drain', onDrain);
  answer.once('close', () => {
    socket.off('drain', onDrain);
    serve();
  });
}

/**
 * Rebuilds the request's head as it came over the wire.
 *
 * @param keep returns the field's remaining value, or null to omit the field
 */
export function headOf(
  { method, url, httpVersion, rawHeaders }: IncomingMessage,
  keep: (name: string, value: string) => string | null,
): Buffer {
  const lines = [`${method ?? ''} ${url ?? ''} HTTP/${httpVersion}`];
  for (let index = 0; index + 1 < rawHeaders.length; index += 2) {
    const name = rawHeaders[index] ?? '';
    const kept = keep(name.toLowerCase(), rawHeaders[index + 1] ?? '');
    if (kept !== null) lines.push(`${name}: ${kept}`);
  }
  return Buffer.from(`${lines.join('\r\n')}\r\n\r\n`, 'latin1');
}
