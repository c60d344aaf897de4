import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type { FastifyReply, FastifyRequest, RequestPayload } from 'fastify';
import { DomainError, invalidParameters } from '../errors';
import type { RouteRegistry } from './route-registry';

/** A Fastify hook that runs as soon as a request's head has arrived. */
export type OnRequest = (request: FastifyRequest, reply: FastifyReply, done: (error?: Error) => void) => void;

/** A Fastify hook that runs before the body is read. */
export type PreParsing = (
  request: FastifyRequest,
  reply: FastifyReply,
  payload: RequestPayload,
  done: (error: Error | null, payload?: RequestPayload) => void,
) => void;

/** Passes requests with an unsupported `Expect` on like any other, so that {@link headFault} refuses them. */
export function passExpectations(server: Server): void {
  // Without a listener, Node.js answers with an empty body.
  server.on('checkExpectation', (request: IncomingMessage, response: ServerResponse) => {
    server.emit('request', request, response);
  });
}

/**
 * Checks a request's head: no `Host` in HTTP/1.1, or several (RFC 9112, 3.2); several `Authorization` (RFC 9110,
 * 5.3); and an expectation other than `100-continue` (RFC 9110, 10.1.1). Node.js would answer with an empty body, and
 * accepts several of either field.
 */
export function headFault({ httpVersion, headers, rawHeaders }: IncomingMessage): DomainError | null {
  const hosts = timesIn(rawHeaders, 'host');
  if (hosts > 1 || (hosts === 0 && httpVersion === '1.1')) {
    return invalidParameters([{ field: 'host', message: 'must be given once, as a header' }]);
  }
  // Node.js would use the first; a proxy in front may have used the last.
  if (timesIn(rawHeaders, 'authorization') > 1) {
    return invalidParameters([{ field: 'authorization', message: 'must be given once' }]);
  }
  const { expect } = headers;
  const isUnmet = expect !== undefined && httpVersion !== '1.0' && expect.toLowerCase() !== '100-continue';
  return isUnmet ? new DomainError('expectation_failed') : null;
}

/** Refuses the faults of {@link headFault}, a path without a route (404), and a method that its path lacks (405). */
export function refuseUnroutable(routes: RouteRegistry): OnRequest {
  return (request, _reply, done) => {
    const { raw } = request;
    const fault = headFault(raw);
    if (fault) done(fault);
    else if (request.is404) done(unroutable(routes, raw));
    else if (leadsElsewhere(request)) done(new DomainError('route_not_found'));
    else done();
  };
}

function unroutable(routes: RouteRegistry, request: IncomingMessage): DomainError {
  const headers = routes.describe(pathOf(request));
  return headers ? new DomainError('method_not_allowed', { headers }) : new DomainError('route_not_found');
}

/**
 * True if a path below a static folder contains segments such as `..`. They are not resolved but a 404; the static
 * file handler would answer 403.
 */
function leadsElsewhere(request: FastifyRequest): boolean {
  if (!request.route?.url?.endsWith('*')) return false;
  const segments = decodeURIComponent(pathOf(request.raw)).slice(1).split('/');
  return segments.some((segment) => /^\.{0,2}$|[\\\0]/.test(segment));
}

/** The path without the query, and without the scheme and host of an absolute target (RFC 9112, 3.2.2). */
export function pathOf({ url = '' }: Pick<IncomingMessage, 'url'>): string {
  return url.replace(/^https?:\/\/[^/?]*/i, '').split('?', 1)[0] ?? '';
}

/**
 * True if the headers announce a body. Before the parser has seen the end of a request's head, `complete` is false even
 * without one.
 */
export function hasBody({ headers }: IncomingMessage): boolean {
  return headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > 0;
}

/** Counts a field in the raw headers: of repeated ones, Node.js keeps only the first. */
export function timesIn(rawHeaders: readonly string[], wanted: string): number {
  let times = 0;
  for (let index = 0; index < rawHeaders.length; index += 2) {
    const name = rawHeaders[index];
    if (name?.length === wanted.length && name.toLowerCase() === wanted) times += 1;
  }
  return times;
}

/** The value of a cookie; null if there is none. Of several of one name, which no browser sends, none counts. */
export function cookieOf(header: string | undefined, name: string): string | null {
  const values = (header ?? '').split(';').flatMap((pair) => {
    const [key = '', ...value] = pair.split('=');
    return key.trim() === name ? [value.join('=').trim()] : [];
  });
  return values.length === 1 ? (values[0] ?? null) : null;
}

/** The server's address as the client wrote it; null if it cannot be part of a header. */
export function originOf({ protocol, host }: Pick<FastifyRequest, 'protocol' | 'host'>): string | null {
  return /^[A-Za-z0-9.:[\]_-]+$/.test(host) ? `${protocol}://${host}` : null;
}
