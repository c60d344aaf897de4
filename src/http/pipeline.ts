import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';

/** What Node.js keeps at a connection; private in the types alone, and there is no other way to it. */
interface HttpSocket extends Socket {
  /** The answer that the connection is busy with. */
  readonly _httpMessage?: ServerResponse | null;
  /** While it is true, reading the body of a request does not resume the connection. */
  _paused?: boolean;
  readonly parser?: { onIncoming: (request: IncomingMessage, keepAlive: boolean) => number } | null;
}

/** From a parser's `onIncoming`: the message ends with its head, and what follows is handed over unparsed. */
const UPGRADE = 2;

/** Requests that came before the one in front of them was answered. */
const early = new WeakSet<IncomingMessage>();

/**
 * Has the requests of a connection begun one after the other. Node.js would begin all that a client sends without
 * waiting, and keep their answers for as long as the client does not read. Here, the head of the next one is put back
 * unparsed with what follows it, and nothing more is read, until the answer in front has gone out. So what a connection
 * can make the server keep is one answer, and a request whose client goes away in the meantime never begins.
 *
 * Node.js parses on to the end of what it has read, unless a request is an upgrade. Hence an early one is given the
 * looks of an upgrade, and comes to the server's `upgrade` or `connect`, where {@link postpone} takes it.
 */
export function beginInTurn(server: Server): void {
  // A head that is put back must be whole, and is made of its fields: without this, Node.js drops those past 1,000.
  // Their length in all is bounded.
  server.maxHeadersCount = 0;
  server.on('connection', (socket: HttpSocket) => {
    const { parser } = socket;
    if (!parser) return;
    const begin = parser.onIncoming;
    parser.onIncoming = (request, keepAlive) => {
      if (!socket._httpMessage) return begin(request, keepAlive);
      early.add(request);
      Object.assign(request, { upgrade: true });
      return UPGRADE;
    };
  });
}

/** A connection that Node.js has let go of, and what came on it. */
export interface Detached {
  readonly server: Server;
  readonly request: IncomingMessage;
  readonly socket: Socket;
  /** The bytes behind the request's head. */
  readonly rest: Buffer;
}

/** @returns false if the request's turn has come; else it comes again when it has */
export function postpone(detached: Detached): boolean {
  if (!early.has(detached.request)) return false;
  putBack(
    detached,
    headOf(detached.request, (_name, value) => value),
  );
  return true;
}

/**
 * Gives a connection back to the server as it was before the request, but for the request's head, once the answer in
 * front has gone out. So its body, further requests and time limits are dealt with as on any connection.
 */
export function putBack({ server, socket, rest }: Detached, head: Buffer): void {
  const connection = socket as HttpSocket;
  const onError = (): void => void socket.destroy();
  socket.on('error', onError);
  // At once: a connection whose end was read cannot take anything back.
  if (rest.length > 0) socket.unshift(rest);
  socket.unshift(head);
  const serve = (): void => {
    if (socket.destroyed || socket.writableEnded) return;
    socket.off('error', onError);
    // Node.js adds these anew, and does not know of the timeout between requests that it set before.
    socket.removeAllListeners('resume').removeAllListeners('pause').setTimeout(0);
    // To be emitted by whoever injects a connection, says Node.js.
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
 * The request's head as it came over the wire.
 *
 * @param keep returns what is left of a field, null to leave it out
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
