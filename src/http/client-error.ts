import { randomUUID } from 'node:crypto';
import { STATUS_CODES } from 'node:http';
import { Socket } from 'node:net';
import { answerOfStatus } from '../errors';
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
  socket.end(clientErrorMessage(STATUS_OF[error.code ?? ''] ?? 400), () => socket.destroy());
}

/** The whole answer, as it goes over the wire. @param more headers beside those of every error */
export function clientErrorMessage(status: number, more: Readonly<Record<string, string>> = {}): string {
  const id = randomUUID();
  const body = JSON.stringify(answerOfStatus(status, id).body);
  const headers = {
    'content-type': 'application/json; charset=utf-8',
    'content-length': String(Buffer.byteLength(body)),
    connection: 'close',
    'x-request-id': id,
    ...API_HEADERS,
    ...more,
  };
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}`);
  return [`HTTP/1.1 ${String(status)} ${STATUS_CODES[status] ?? ''}`, ...lines, '', body].join('\r\n');
}
