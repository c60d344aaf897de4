import { Injectable } from '@nestjs/common';
import type { IncomingMessage, Server } from 'node:http';
import type { Socket } from 'node:net';
import type { WebSocket } from 'ws';
import { DomainError, errorAnswer, invalidParameters } from '../errors';
import { AllowedHosts } from './allowed-hosts';
import { endWith, requestIdOf } from './protocol-errors';
import { pathOf, type OnRequest } from './request-head';

/** An endpoint that speaks WebSocket, such as Socket.IO. It only receives handshakes that are valid by RFC 6455. */
export interface WebSocketEndpoint {
  /** @param path the request's path, without its query */
  serves(path: string): boolean;
  /** Takes over the connection, and answers or refuses the handshake. @param head the bytes after the request's head */
  accept(request: IncomingMessage, socket: Socket, head: Buffer): void;
}

/** Hop-by-hop fields that offer an upgrade. RFC 9113, 3.1 and RFC 9110, 7.8. */
const OFFER = new Set(['upgrade', 'http2-settings']);

/** The versions that `ws` speaks. */
const WEBSOCKET_VERSIONS = ['8', '13'];
const WEBSOCKET_KEY = /^[+/0-9A-Za-z]{22}==$/;

/**
 * Routes requests that offer an upgrade. WebSocket handshakes go to the endpoint that serves their path. Other offers
 * are ignored (RFC 9110, 7.8): the request is answered over HTTP/1.1.
 */
@Injectable()
export class Upgrades {
  private readonly endpoints: WebSocketEndpoint[] = [];

  constructor(private readonly hosts: AllowedHosts) {}

  /** Adds an endpoint; the first one that serves a path gets its handshakes. */
  add(endpoint: WebSocketEndpoint): void {
    this.endpoints.push(endpoint);
  }

  /**
   * Handles the server's `upgrade` and `connect` events; no other code may listen to them. CONNECT is refused, as
   * Berth is not a proxy.
   */
  watch(server: Server): void {
    server.on('upgrade', (request: IncomingMessage, socket: Socket, head: Buffer) => {
      const endpoint = isHandshake(request) ? this.endpoints.find((each) => each.serves(pathOf(request))) : undefined;
      const misdirected = this.hosts.fault(request);
      if (!endpoint) putBack(server, { request, socket, rest: head });
      else if (misdirected) refuseUpgrade(request, socket, misdirected);
      else if (!WEBSOCKET_VERSIONS.includes(String(request.headers['sec-websocket-version']))) {
        const headers = { upgrade: 'websocket', 'sec-websocket-version': '13' };
        refuseUpgrade(request, socket, new DomainError('upgrade_required', { headers }));
      } else if (!WEBSOCKET_KEY.test(request.headers['sec-websocket-key'] ?? '')) {
        const fault = { field: 'sec-websocket-key', message: 'must be 16 bytes in base64' };
        refuseUpgrade(request, socket, invalidParameters([fault]));
      } else endpoint.accept(request, socket, head);
    });
    server.on('connect', (request: IncomingMessage, socket: Socket) => {
      refuseUpgrade(request, socket, new DomainError('route_not_found'));
    });
  }
}

/** Refuses a handshake whose path no WebSocket endpoint serves. */
export const refuseUnservedHandshake: OnRequest = ({ method, headers }, _reply, done) => {
  const isUnserved = method === 'GET' && headers['sec-websocket-key'] !== undefined;
  done(isUnserved ? new DomainError('route_not_found') : undefined);
};

function isHandshake({ method, headers }: IncomingMessage): boolean {
  return method === 'GET' && /(^|,)\s*websocket\s*(,|$)/i.test(headers.upgrade ?? '');
}

/** Refuses a handshake with an error of the usual shape, and closes the connection. */
export function refuseUpgrade({ headers }: IncomingMessage, socket: Socket, fault: DomainError): void {
  endWith(socket, errorAnswer(fault, requestIdOf(headers)));
}

/** Maximum bytes that may wait for a client which sends pings without reading the pongs. */
const PONG_ROOM_BYTES = 64 * 1024;

/**
 * Answers pings only while the client reads: by default `ws` answers each, and buffers unread pongs without a limit.
 * The `ws` server needs `autoPong: false`. A ping may go unanswered if another one follows (RFC 6455, 5.5.3).
 */
export function answerPings(client: WebSocket): void {
  client.on('ping', (data) => {
    if (client.bufferedAmount <= PONG_ROOM_BYTES) client.pong(data, undefined, () => undefined);
  });
}

/** A connection that Node.js detached for an upgrade, and the bytes that arrived behind the request's head. */
interface Detached {
  readonly request: IncomingMessage;
  readonly socket: Socket;
  readonly rest: Buffer;
}

/**
 * Returns a connection to the server, with the request's head without its offer. The body, further requests and time
 * limits then work as on any connection.
 */
function putBack(server: Server, { request, socket, rest }: Detached): void {
  if (rest.length > 0) socket.unshift(rest);
  socket.unshift(headWithoutOffer(request));
  // Node.js adds these listeners again, and does not clear the keep-alive timeout that it set before.
  socket.removeAllListeners('resume');
  socket.removeAllListeners('pause');
  socket.setTimeout(0);
  // Node.js documents that code that injects a connection emits this event.
  server.emit('connection', socket);
}

/** The request's head as it came over the wire, without its offer of an upgrade. */
function headWithoutOffer({ method, url, httpVersion, rawHeaders }: IncomingMessage): Buffer {
  const lines = [`${method ?? ''} ${url ?? ''} HTTP/${httpVersion}`];
  for (let index = 0; index + 1 < rawHeaders.length; index += 2) {
    const name = rawHeaders[index] ?? '';
    const value = rawHeaders[index + 1] ?? '';
    const key = name.toLowerCase();
    const kept = OFFER.has(key) ? null : key === 'connection' ? withoutOffer(value) : value;
    if (kept !== null) lines.push(`${name}: ${kept}`);
  }
  return Buffer.from(`${lines.join('\r\n')}\r\n\r\n`, 'latin1');
}

/** @returns null if no option is left */
function withoutOffer(connection: string): string | null {
  const kept = connection.split(',').filter((option) => !OFFER.has(option.trim().toLowerCase()));
  return kept.length > 0 ? kept.join(',') : null;
}
