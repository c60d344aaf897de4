import { create as contentDisposition } from 'content-disposition';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { Readable } from 'node:stream';
import { notedBytes } from '../../audit';
import type { OpenFile } from '../../engine';
import { DomainError } from '../../errors';
import { evaluate, isRangeWanted } from '../../http';
import type { ContainerPath } from './container-path';
import { IDLE_MS } from './upload';
import { representationOf } from './validators';

/** Maximum bytes sent of a file whose size is unknown before it is read, such as those in `/proc`. */
export const MOST_UNKNOWN = 1024 * 1024;

/**
 * Maximum bytes of a response: more than a container's disk holds. The size comes from the sandbox, and a promised
 * length has to be one that can be kept.
 */
const MOST_SENT = 2 ** 40;

/** A request and its response. The client may read slowly, stall or disconnect. */
interface Client {
  readonly request: FastifyRequest;
  readonly reply: FastifyReply;
}

/** Sends a file, or the requested part of it. */
export async function sendFile(file: OpenFile, path: ContainerPath, { request, reply }: Client): Promise<void> {
  const current = representationOf(path, file.state);
  const { etag, lastModified } = current;
  if (etag === null) throw new DomainError('tools_failed');
  const { size } = file.state;
  const validators = { etag, 'last-modified': lastModified.toUTCString(), 'accept-ranges': 'bytes' };
  const headers = {
    ...validators,
    'content-type': 'application/octet-stream',
    'content-disposition': attachment(path.base),
  };
  const verdict = evaluate(request, current);
  if (verdict === 'failed') throw new DomainError('precondition_failed');
  if (verdict === 'not_modified') {
    await reply.status(304).headers(validators).send();
    return;
  }
  if (size === 0) {
    const content = await file.beginning(MOST_UNKNOWN);
    if (request.method !== 'HEAD') notedBytes()(content.length);
    const body = Readable.from(request.method === 'HEAD' ? [] : [content]);
    await send(reply.headers({ ...headers, 'content-length': content.length }), body);
    return;
  }
  const wanted = isRangeWanted(request, current) ? requestedRange(request.headers.range, size) : 'all';
  if (wanted === 'unsatisfiable') {
    throw new DomainError('range_not_satisfiable', { headers: { 'content-range': `bytes */${String(size)}` } });
  }
  const bytes = wanted === 'all' ? { offset: 0, length: size } : wanted;
  if (bytes.length > MOST_SENT) throw new DomainError('file_too_large', { fields: { limit: MOST_SENT } });
  const sized = { ...headers, 'content-length': bytes.length };
  const sendHead = (): FastifyReply =>
    wanted === 'all'
      ? reply.headers(sized)
      : reply.status(206).headers({ ...sized, 'content-range': contentRange(bytes, size) });
  if (request.method === 'HEAD') await send(sendHead(), Readable.from([]));
  else await sendAsTaken((onBytes) => file.range(bytes, onBytes), sendHead);
}

/**
 * Sends a stream as fast as the client takes it, and waits until all of it is sent.
 *
 * @param bodyOf begins the stream, which has to call `onBytes` with the size of each chunk
 * @param sendHead called once there is something to send: an earlier failure still gets an error response
 * @throws if the client disconnects, if nothing is sent for too long, or if the stream fails; the response is broken
 *   off then
 */
export async function sendAsTaken(
  bodyOf: (onBytes: (bytes: number) => void) => Promise<Readable>,
  sendHead: () => FastifyReply,
): Promise<void> {
  const note = notedBytes();
  const stall: { timer?: NodeJS.Timeout } = {};
  const body = await bodyOf((bytes) => {
    note(bytes);
    stall.timer?.refresh();
  });
  const reply = sendHead();
  stall.timer = setTimeout(() => reply.raw.destroy(), IDLE_MS).unref();
  try {
    await send(reply, body);
  } finally {
    clearTimeout(stall.timer);
  }
}

/** Sends the body and waits until the response is sent. @throws DomainError if the connection closes before */
async function send(reply: FastifyReply, body: Readable): Promise<void> {
  const { raw } = reply;
  const over = new Promise<void>((resolve, reject) => {
    raw.once('finish', resolve).once('close', () => {
      if (raw.writableFinished) resolve();
      else reject(broken());
    });
  });
  over.catch(() => undefined);
  if (raw.destroyed) {
    body.destroy();
    throw broken();
  }
  void reply.send(body);
  await over;
}

/** The client disconnected or was disconnected, so this error only reaches the audit. */
function broken(): DomainError {
  return new DomainError('tools_failed', { code: 'broken_off' });
}

function contentRange({ offset, length }: ByteRange, size: number): string {
  return `bytes ${String(offset)}-${String(offset + length - 1)}/${String(size)}`;
}

/** The `Content-Disposition` of a download (RFC 6266), for a name of any bytes. */
export function attachment(name: Buffer): string {
  return contentDisposition(name.toString());
}

/** A range of a file's bytes. */
interface ByteRange {
  readonly offset: number;
  readonly length: number;
}

const SPEC = /^bytes=(\d{0,15})-(\d{0,15})$/;

/**
 * Parses a `Range` header (RFC 9110, 14). One range of bytes is served. Several ranges and other units are ignored,
 * which the RFC allows.
 *
 * @returns `all` if the header is absent or ignored; `unsatisfiable` for a 416
 */
export function requestedRange(header: string | undefined, size: number): ByteRange | 'all' | 'unsatisfiable' {
  const [, first = '', last = ''] = SPEC.exec(header?.replaceAll(' ', '') ?? '') ?? [];
  if (first === '' && last === '') return 'all';
  if (first === '') {
    const length = Math.min(Number(last), size);
    return length === 0 ? 'unsatisfiable' : { offset: size - length, length };
  }
  const offset = Number(first);
  if (last !== '' && Number(last) < offset) return 'all';
  if (offset >= size) return 'unsatisfiable';
  const end = last === '' ? size : Math.min(Number(last) + 1, size);
  return { offset, length: end - offset };
}
