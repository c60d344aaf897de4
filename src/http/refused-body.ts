import type { FastifyInstance } from 'fastify';
import type { IncomingMessage, Server, ServerResponse } from 'node:http';

/** Maximum bytes of a body that are read once its request is answered. */
const MAX_DISCARDED = 65_536;

/** How long a client may take to notice that its body is not wanted, and to read the answer. */
const NOTICE_MS = 2_000;

/** Responses to requests that expect `100 Continue`, and were not told so yet. */
const awaited = new WeakSet<ServerResponse>();

/**
 * Bounds what is read of a body that is not wanted: one whose request is answered before it is there as a whole.
 * Node.js would take it to its end, however long it is, to find the next request behind it.
 */
export function boundRefusedBodies(fastify: FastifyInstance): void {
  fastify.addHook('onSend', ({ raw: request }, { raw: response }, _payload, done) => {
    if (hasBody(request) && !request.complete && !request.destroyed) refuse(request, response);
    done();
  });
}

/** Before the parser has seen the end of a request's head, it does not know that there is no body. */
function hasBody({ headers }: IncomingMessage): boolean {
  return headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > 0;
}

function refuse(request: IncomingMessage, response: ServerResponse): void {
  // A client that waits to be told to send may send nothing at all: Node.js closes the connection.
  if (awaited.has(response)) return;
  request.on('error', () => undefined);
  if (Number(request.headers['content-length'] ?? Infinity) <= MAX_DISCARDED) {
    // The connection stays.
    request.resume();
    return;
  }
  const { socket } = request;
  response.shouldKeepAlive = false;
  let discarded = 0;
  request.on('data', ({ length }: Buffer) => {
    discarded += length;
    if (discarded < MAX_DISCARDED) return;
    // Each read of the request would resume the connection.
    request._read = () => undefined;
    socket.pause();
  });
  // It may have been paused. Node.js would discard all of what nothing reads.
  request.resume();
  // What Node.js calls once the answer has gone out. A client that still sends would lose the answer if the connection
  // were broken at once.
  socket.destroySoon = () => {
    socket.end();
    const destroy = (): void => void socket.destroy();
    if (request.complete) socket.once('finish', destroy);
    else request.once('end', destroy);
    const timer = setTimeout(destroy, NOTICE_MS).unref();
    socket.once('close', () => clearTimeout(timer));
  };
}

/** Has clients that ask first told to send their body when it is read, and not before. */
export function continueOnceRead(server: Server): void {
  // Without a listener, Node.js tells them at once.
  server.on('checkContinue', (request: IncomingMessage, response: ServerResponse) => {
    awaited.add(response);
    const read = request._read.bind(request);
    request._read = (size) => {
      request._read = read;
      if (awaited.delete(response) && !response.headersSent) response.writeContinue();
      read(size);
    };
    server.emit('request', request, response);
  });
}
