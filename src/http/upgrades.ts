import { Injectable } from '@nestjs/common';
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { DomainError, errorAnswer, invalidParameters } from '../errors';
import { endWith, requestIdOf } from './protocol-errors';
import { pathOf, type PreParsing } from './request-head';

/** Something that speaks WebSocket, such as Socket.IO. It is asked for handshakes alone that RFC 6455 allows. */
export interface WebSocketEndpoint {
  /** @param path the request's path, without its query */
  serves(path: string): boolean;
  /** Takes the connection over: answers the handshake or refuses it. @param head the bytes that came after it */
  accept(request: IncomingMessage, socket: Socket, head: Buffer): void;
}

/** Of hop-by-hop fields, those that offer an upgrade. RFC 9113, 3.1 and RFC 9110, 7.8. */
const OFFER = new Set(['upgrade', 'http2-settings']);

/** The versions that `ws` speaks. */
const WEBSOCKET_VERSIONS = ['8', '13'];
const WEBSOCKET_KEY = /^[+/0-9A-Za-z]{22}==$/;

/**
 * Decides what becomes of requests that offer an upgrade. WebSocket handshakes go to the endpoint that serves their
 * path. All other offers are declined by not taking them up (RFC 9110, 7.8): the request is answered over HTTP/1.1.
 */
@Injectable()
export class Upgrades {
  private readonly endpoints: WebSocketEndpoint[] = [];

  /** Adds an endpoint; the first that serves a path gets its handshakes. */
  add(endpoint: WebSocketEndpoint): void {
    this.endpoints.push(endpoint);
  }

  /** Handles the server's upgrades, and CONNECT, which is no proxy's here. Nobody else may listen to them. */
  watch(server: Server): void {
    server.on('upgrade', (request: IncomingMessage, socket: Socket, head: Buffer) => {
      const endpoint = isHandshake(request) ? this.endpoints.find((each) => each.serves(pathOf(request))) : undefined;
      if (!endpoint) void decline({ server, request, socket, head });
      else if (!WEBSOCKET_VERSIONS.includes(String(request.headers['sec-websocket-version']))) {
        const headers = { upgrade: 'websocket', 'sec-websocket-version': '13' };
        refuseUpgrade(request, socket, new DomainError('upgrade_required', { headers }));
      } else if (!WEBSOCKET_KEY.test(request.headers['sec-websocket-key'] ?? '')) {
        const fault = { field: 'sec-websocket-key', message: 'must be 16 bytes in base64' };
        refuseUpgrade(request, socket, invalidParameters([fault]));
      } else endpoint.accept(request, socket, head);
    });
    server.on('connect', (request: IncomingMessage, socket: Socket) =>
      refuseUpgrade(request, socket, new DomainError('route_not_found')),
    );
  }
}

/** What still is a handshake here found no endpoint, so there is no WebSocket at its path. */
export const refuseUnservedHandshake: PreParsing = ({ method, headers }, _reply, payload, done) => {
  const isUnserved = method === 'GET' && headers['sec-websocket-key'] !== undefined;
  done(isUnserved ? new DomainError('route_not_found') : null, payload);
};

function isHandshake({ method, headers }: IncomingMessage): boolean {
  return method === 'GET' && /(^|,)\s*websocket\s*(,|$)/i.test(headers.upgrade ?? '');
}

/** Refuses a handshake in the form of every error, and ends the connection. */
export function refuseUpgrade({ headers }: IncomingMessage, socket: Socket, fault: DomainError): void {
  endWith(socket, errorAnswer(fault, requestIdOf(headers)));
}

/**
 * Gives the connection back to the server as it was before the request, which comes again without the offer. So its
 * body, further requests and time limits are dealt with as on any connection. Node.js has let go of the connection by
 * now.
 */
async function decline(offer: {
  server: Server;
  request: IncomingMessage;
  socket: Socket;
  head: Buffer;
}): Promise<void> {
  const { server, request, socket, head } = offer;
  const onError = (): void => void socket.destroy();
  socket.on('error', onError);
  await answersBefore(socket);
  socket.off('error', onError);
  if (socket.destroyed) return;
  socket.unshift(Buffer.concat([headWithoutOffer(request), head]));
  // To be emitted by whoever injects a connection, says Node.js.
  server.emit('connection', socket);
}

/**
 * Waits until requests that came on the same connection before are answered: answers go out in the order of requests.
 */
async function answersBefore(socket: Socket): Promise<void> {
  for (let answer = answerOn(socket); answer && !socket.destroyed; answer = answerOn(socket)) {
    const onDrain = answer.emit.bind(answer, 'drain');
    socket.on('drain', onDrain);
    await new Promise<void>((resolve) => answer.once('close', resolve));
    socket.off('drain', onDrain);
  }
}

/** Private in the types alone, and there is no other way to see which answer a connection is busy with. */
function answerOn(socket: Socket): ServerResponse | null | undefined {
  return (socket as unknown as { readonly _httpMessage?: ServerResponse | null })._httpMessage;
}

/** The request's head as it came over the wire, but for what offers the upgrade. */
function headWithoutOffer({ method, url, httpVersion, rawHeaders }: IncomingMessage): Buffer {
  const lines = [`${method ?? ''} ${url ?? ''} HTTP/${httpVersion}`];
  for (let index = 0; index + 1 < rawHeaders.length; index += 2) {
    const name = rawHeaders[index] ?? '';
    const value = rawHeaders[index + 1] ?? '';
    const kept = name.toLowerCase() === 'connection' ? withoutOffer(value) : value;
    if (!OFFER.has(name.toLowerCase()) && kept !== null) lines.push(`${name}: ${kept}`);
  }
  return Buffer.from(`${lines.join('\r\n')}\r\n\r\n`, 'latin1');
}

/** @returns null where the field would be left empty */
function withoutOffer(connection: string): string | null {
  const kept = connection.split(',').filter((option) => !OFFER.has(option.trim().toLowerCase()));
  return kept.length > 0 ? kept.join(',') : null;
}
