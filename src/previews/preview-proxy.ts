/** Passes requests and WebSockets on to an application in a container, over a connection that is used once. */
import { type IncomingMessage, request as httpRequest, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { DomainError } from '../errors';
import { type Bucket, Pace } from './preview-connections';
import { requestHeaders, responseHeaders } from './preview-headers';

/** A connection without a byte in either direction for so long is closed. */
export const IDLE_MS = 10 * 60_000;

/** How long a client that is answered before the end of its body may go on sending, so that it reads the answer. */
const LINGER_MS = 10_000;

export interface Exchange {
  /** The connection to the application; closed with the exchange. */
  readonly connection: Duplex;
  readonly port: number;
  /** Of the request, as the application gets it; null: `localhost` and the port. */
  readonly host: string | null;
  readonly clientAddress: string;
  /** The public origin of the preview. */
  readonly origin: string;
  /** How fast bytes may pass; null: as fast as they are read. */
  readonly bucket: Bucket | null;
  /** Called with the number of bytes that passed. */
  readonly onBytes: (bytes: number) => void;
}

/**
 * Passes a request on, and its response back, each as fast as its receiver reads.
 *
 * @returns once the exchange has ended; the response is complete, or its connection is broken
 * @throws DomainError `application_failed`, before anything was answered
 */
export async function forward(request: IncomingMessage, response: ServerResponse, exchange: Exchange): Promise<void> {
  const outgoing = open(request, exchange, { isUpgrade: false });
  const { connection, onBytes } = exchange;
  response.once('close', () => connection.destroy());
  request.on('data', (data: Buffer) => onBytes(data.length));
  const answered = answerOf(outgoing);
  // Not `pipeline`: an application may answer before it has read the whole body, and the client gets that answer.
  const body = exchange.bucket ? request.pipe(new Pace(exchange.bucket)) : request;
  body.pipe(outgoing);
  const answer = await answered;
  if ('socket' in answer) {
    answer.socket.destroy();
    throw failed('the application changed the protocol unasked');
  }
  await relay(answer.message, response, exchange);
  dropRest(request);
}

/** Reads and drops what is left of a body: closing at once would reset the connection, and the answer be lost. */
function dropRest(request: IncomingMessage): void {
  const { socket, complete } = request;
  if (complete || socket.destroyed) return;
  request.unpipe();
  request.resume();
  const timer = setTimeout(() => socket.destroy(), LINGER_MS).unref();
  request.once('close', () => clearTimeout(timer));
}

/**
 * Passes the handshake of a WebSocket on, and then its bytes. If the application refuses the handshake, its answer is
 * passed back.
 *
 * @param socket the client's connection
 * @param head what the client has sent after its handshake
 * @returns once both connections have ended
 * @throws DomainError `application_failed`, before anything was answered
 */
export async function forwardUpgrade(
  request: IncomingMessage,
  { socket, head }: { socket: Socket; head: Buffer },
  exchange: Exchange,
): Promise<void> {
  const outgoing = open(request, exchange, { isUpgrade: true });
  const { connection } = exchange;
  const leave = (): void => void connection.destroy();
  socket.once('close', leave);
  const answered = answerOf(outgoing);
  outgoing.end();
  const answer = await answered;
  if (!('socket' in answer)) {
    const response = new ServerResponse(request);
    response.assignSocket(socket);
    response.shouldKeepAlive = false;
    await relay(answer.message, response, exchange);
    // The client may never close its side.
    socket.destroySoon();
    return;
  }
  socket.off('close', leave);
  const { message, socket: upstream } = answer;
  const fields = responseHeaders(message);
  const lines = ['HTTP/1.1 101 Switching Protocols', 'Connection: Upgrade', 'Upgrade: websocket'];
  for (let at = 0; at < fields.length; at += 2) lines.push(`${fields[at] ?? ''}: ${fields[at + 1] ?? ''}`);
  // As the parser reads header values, one byte a character.
  socket.write(Buffer.from(`${lines.join('\r\n')}\r\n\r\n`, 'latin1'));
  if (answer.head.length > 0) socket.write(answer.head);
  if (head.length > 0) upstream.write(head);
  await join(socket, upstream, exchange);
}

/**
 * Passes the bytes of two connections on to each other, until both are closed. Not by `pipeline`, whose listeners cost
 * more memory than the connections' buffers.
 */
function join(client: Socket, upstream: Duplex, { bucket, onBytes }: Exchange): Promise<void> {
  if (client.destroyed || upstream.destroyed) {
    client.destroy();
    return Promise.resolve();
  }
  client.on('data', (data: Buffer) => onBytes(data.length));
  upstream.on('data', (data: Buffer) => onBytes(data.length));
  (bucket ? client.pipe(new Pace(bucket)) : client).pipe(upstream);
  (bucket ? upstream.pipe(new Pace(bucket)) : upstream).pipe(client);
  return new Promise((resolve) => {
    // What the application has sent at last still reaches the client.
    upstream.once('close', () => (client.destroyed ? resolve() : client.destroySoon()));
    client.once('close', () => (upstream.destroyed ? resolve() : upstream.destroy()));
  });
}

function open(
  request: IncomingMessage,
  { connection, port, host, clientAddress, origin }: Exchange,
  { isUpgrade }: { isUpgrade: boolean },
) {
  return httpRequest({
    // Without an agent: the connection is closed after the response.
    createConnection: () => connection,
    method: request.method,
    path: request.url,
    headers: requestHeaders(request, { port, host, clientAddress, origin, isUpgrade }),
    setHost: false,
  });
}

type Answer =
  | { readonly message: IncomingMessage }
  | { readonly message: IncomingMessage; readonly socket: Duplex; readonly head: Buffer };

function answerOf(outgoing: ReturnType<typeof open>): Promise<Answer> {
  return new Promise((resolve, reject) => {
    let isAnswered = false;
    const answer = (each: Answer): void => {
      isAnswered = true;
      resolve(each);
    };
    outgoing.once('response', (message) => {
      // Without an `Upgrade` field, a 101 is no change of the protocol either.
      if (message.statusCode === 101) reject(failed('the application changed the protocol, but named none'));
      else answer({ message });
    });
    outgoing.once('upgrade', (message, socket, head) => answer({ message, socket, head }));
    // The second one also after a client has gone, when nothing else ends the exchange. An error takes long to make.
    outgoing.on('error', (cause) => isAnswered || reject(failed('the application gave no answer', cause)));
    outgoing.once('close', () => isAnswered || reject(failed('the connection was closed')));
  });
}

/** Passes a response back. An application that breaks off breaks the client's connection off, too. */
async function relay(message: IncomingMessage, response: ServerResponse, exchange: Exchange): Promise<void> {
  response.sendDate = false;
  try {
    response.writeHead(message.statusCode ?? 502, message.statusMessage, responseHeaders(message));
  } catch (error) {
    // A status below 100, or a header that Node.js reads but does not write.
    throw failed('the answer of the application is not HTTP', error);
  }
  // So that the client sees the start of a stream before its first byte. Usually both are sent together.
  setImmediate(() => response.flushHeaders());
  message.on('data', (data: Buffer) => exchange.onBytes(data.length));
  // Not by `pipeline`, which takes as long as all else here.
  (exchange.bucket ? message.pipe(new Pace(exchange.bucket)) : message).pipe(response);
  message.on('error', () => response.destroy());
  await new Promise<void>((resolve) => {
    response.once('finish', resolve);
    response.once('close', resolve);
    message.once('close', () => message.complete || response.destroy());
  });
}

function failed(message: string, cause?: unknown): DomainError {
  return new DomainError('application_failed', { cause: cause ?? new Error(message) });
}
