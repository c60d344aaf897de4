import { FastifyError, FastifyReply, FastifyRequest } from 'fastify';
import { randomUUID } from 'node:crypto';
import { type IncomingHttpHeaders, STATUS_CODES } from 'node:http';
import { Socket } from 'node:net';
import { answerOfStatus, type ErrorAnswer, errorAnswer } from '../errors';
import { isWatched } from './streamed-body';

const SANE = /^[A-Za-z0-9._-]{1,128}$/;

/** The caller's `x-request-id` if it is safe in logs and headers, else a new one. */
export function requestIdOf(headers: IncomingHttpHeaders): string {
  const given = headers['x-request-id'];
  return typeof given === 'string' && SANE.test(given) ? given : randomUUID();
}

/** Headers of every answer: browsers must not frame, sniff, cache or run it. */
const API_HEADERS = {
  'x-content-type-options': 'nosniff',
  'x-frame-options': 'DENY',
  'referrer-policy': 'no-referrer',
  'cache-control': 'no-store',
  'content-security-policy': "default-src 'none'; frame-ancestors 'none'",
} as const;

/** Headers of the documentation pages, which run their own scripts and styles and call this API. */
const PAGE_HEADERS = {
  ...API_HEADERS,
  'content-security-policy':
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; font-src 'self'; " +
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
} as const;

const PAGES = /^\/api\/docs(\/|$)/;

/** @param route the pattern of the matched route; undefined if none matched */
export function securityHeaders(route: string | undefined): Readonly<Record<string, string>> {
  return route !== undefined && PAGES.test(route) ? PAGE_HEADERS : API_HEADERS;
}

const STATUS_OF: Readonly<Record<string, number>> = {
  HPE_HEADER_OVERFLOW: 431,
  HPE_CHUNK_EXTENSIONS_OVERFLOW: 413,
  ERR_HTTP_REQUEST_TIMEOUT: 408,
};

/** Answers bytes that are not an HTTP request with an error of the usual shape, and closes the connection. */
export function answerClientError(error: Error & { code?: string }, socket: Socket): void {
  // A streamed body may take longer: its route enforces an idle timeout.
  if (error.code === 'ERR_HTTP_REQUEST_TIMEOUT' && isWatched(socket)) return;
  // No answer is possible if the client reset the connection, or an answer was already partly sent.
  if (error.code === 'ECONNRESET' || !socket.writable || socket.bytesWritten > 0) {
    socket.destroy();
    return;
  }
  endWith(socket, answerOfStatus(STATUS_OF[error.code ?? ''] ?? 400, randomUUID()));
}

/** Writes an answer to a connection without a response object, and closes it. */
export function endWith(socket: Socket, answer: ErrorAnswer): void {
  socket.on('error', () => socket.destroy());
  socket.end(messageOf(answer), () => socket.destroy());
}

export function headersOf({ headers, body }: ErrorAnswer): Record<string, string> {
  return {
    'content-type': 'application/json; charset=utf-8',
    'content-length': String(Buffer.byteLength(JSON.stringify(body))),
    'x-request-id': body.request_id,
    ...API_HEADERS,
    ...headers,
  };
}

function messageOf(answer: ErrorAnswer): string {
  const { status, body } = answer;
  const headers = Object.assign({ date: new Date().toUTCString() }, headersOf(answer));
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}`);
  const head = [`HTTP/1.1 ${String(status)} ${STATUS_CODES[status] ?? ''}`, ...lines, 'connection: close'];
  return [...head, '', JSON.stringify(body)].join('\r\n');
}

/** Answers requests that Fastify's router refuses before any hook runs, such as a URL that cannot be decoded. */
export function answerFrameworkError(error: FastifyError, request: FastifyRequest, reply: FastifyReply): void {
  const { status, headers, body } = errorAnswer(error, request.id);
  void reply
    .status(status)
    .headers({ 'x-request-id': request.id, ...API_HEADERS, ...headers })
    .send(body);
}
