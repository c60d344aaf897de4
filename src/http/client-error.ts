import { randomUUID } from 'node:crypto';
import { STATUS_CODES } from 'node:http';
import { Socket } from 'node:net';
import { answerOfStatus, type ErrorAnswer } from '../errors';
import { API_HEADERS } from './security-headers';

const STATUS_OF: Readonly<Record<string, number>> = {
  HPE_HEADER_OVERFLOW: 431,
  HPE_CHUNK_EXTENSIONS_OVERFLOW: 413,
  ERR_HTTP_REQUEST_TIMEOUT: 408,
};

/** Answers bytes that are not an HTTP request, in the shape of every other error, and ends the connection. */
export function answerClientError(error: Error & { code?: string }, socket: Socket): void {
  // A connection that the client broke off, or that is half way through another answer, cannot be told anything.
  if (error.code === 'ECONNRESET' || !socket.writable || socket.bytesWritten > 0) {
    socket.destroy();
    return;
  }
  endWith(socket, answerOfStatus(STATUS_OF[error.code ?? ''] ?? 400, randomUUID()));
}

/** Answers on a connection that no response object is for, and ends it. */
export function endWith(socket: Socket, answer: ErrorAnswer): void {
  socket.on('error', () => socket.destroy());
  socket.end(messageOf(answer), () => socket.destroy());
}

/** The headers of every error. */
export function headersOf({ headers, body }: ErrorAnswer): Record<string, string> {
  return {
    'content-type': 'application/json; charset=utf-8',
    'content-length': String(Buffer.byteLength(JSON.stringify(body))),
    'x-request-id': body.request_id,
    ...API_HEADERS,
    ...headers,
  };
}

/** The whole answer, as it goes over the wire. */
function messageOf(answer: ErrorAnswer): string {
  const { status, body } = answer;
  const lines = Object.entries(headersOf(answer)).map(([name, value]) => `${name}: ${value}`);
  const head = [`HTTP/1.1 ${String(status)} ${STATUS_CODES[status] ?? ''}`, ...lines, 'connection: close'];
  return [...head, '', JSON.stringify(body)].join('\r\n');
}
