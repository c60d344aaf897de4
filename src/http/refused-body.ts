import type { FastifyInstance } from 'fastify';
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import { hasBody } from './request-head';

/** Maximum bytes of a body that are discarded after its request was answered. As much again may wait unread. */
const MAX_DISCARDED = 65_536;

/** Time for a client to notice that its body is refused, and to read the answer. */
const NOTICE_MS = 2_000;

/** Responses to requests with `Expect: 100-continue` that have not been sent `100 Continue` yet. */
const awaited = new WeakSet<ServerResponse>();

/**
 * Limits how much is read of an unwanted body, that is, one whose request was answered before the whole body arrived.
 * Node.js would read all of it, however long, to find the next request behind it.
 */
export function boundRefusedBodies(fastify: FastifyInstance): void {
  fastify.addHook('onSend', ({ raw: request }, { raw: response }, _payload, done) => {
    if (hasBody(request) && !request.complete && !request.destroyed) refuse(request, response);
    done();
  });
}

function refuse(request: IncomingMessage, response: ServerResponse): void {
  // A client that waits for `100 Continue` may send nothing at all; Node.js closes the connection.
  if (awaited.has(response)) return;
  request.on('error', () => undefined);
  if (Number(request.headers['content-length'] ?? Infinity) <= MAX_DISCARDED) {
    // The rest is short enough to discard, so the connection can be kept.
    request.resume();
    return;
  }
  response.shouldKeepAlive = false;
  let discarded = 0;
  request.on('data', ({ length }: Buffer) => {
    discarded += length;
    // What comes then stays unread, so that Node.js reads the connection no further.
    if (discarded >= MAX_DISCARDED) request.pause();
  });
  // Resumes a paused request. Node.js would otherwise discard the whole unread body.
  request.resume();
  closeAfterBody(request, NOTICE_MS);
}

/**
 * Has a connection that is to be closed with its response wait for the end of the request's body, up to `ms`. Closing
 * at once would reset the connection of a client that still sends, which would lose the answer.
 */
export function closeAfterBody(request: IncomingMessage, ms: number): void {
  const { socket } = request;
  // Node.js calls this once the answer is sent.
  socket.destroySoon = () => {
    socket.end();
    const destroy = (): void => void socket.destroy();
    if (request.complete) socket.once('finish', destroy);
    else request.once('end', destroy);
    const timer = setTimeout(destroy, ms).unref();
    socket.once('close', () => clearTimeout(timer));
  };
}

/** Sends `100 Continue` when the handler starts to read the body, and not before. */
export function continueOnceRead(server: Server): void {
  // Without a listener, Node.js sends it at once.
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
