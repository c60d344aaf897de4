import { create as contentDisposition } from 'content-disposition';
import { Readable } from 'node:stream';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { notedBytes } from '../../audit';
import { DomainError } from '../../errors';
import { evaluate, isRangeWanted } from '../../http';
import { type ByteRange, requestedRange } from './byte-range';
import type { ContainerPath } from './container-path';
import { describe } from './listing';
import { IDLE_MS, type ScriptRun } from './script-run';
import { READING } from './scripts';
import { representationOf } from './validators';

/** Maximum bytes sent of a file whose size is unknown before it is read, such as those in `/proc`. */
const MOST_UNKNOWN = 1024 * 1024;

/**
 * Maximum bytes of a response: more than a container's disk holds. The size comes from the image's own `stat`, and a
 * promised length has to be one that can be kept.
 */
const MOST_SENT = 2 ** 40;

/** A request and its response. The client may read slowly, stall or disconnect. */
interface Client {
  readonly request: FastifyRequest;
  readonly reply: FastifyReply;
}

/** Sends a file, or the requested part of it, as {@link READ_FILE} reads it. */
export async function sendFile(run: ScriptRun, path: ContainerPath, { request, reply }: Client): Promise<void> {
  const line = await run.line();
  const description = describe(path, line);
  const current = representationOf(path, line);
  if (!description || !current?.etag) throw new DomainError('tools_failed');
  const { size } = description;
  const validators = {
    etag: current.etag,
    'last-modified': new Date(description.mod_time).toUTCString(),
    'accept-ranges': 'bytes',
  };
  const headers = {
    ...validators,
    'content-type': 'application/octet-stream',
    'content-disposition': attachment(path.base),
  };
  const verdict = evaluate(request, current);
  if (verdict === 'failed') {
    run.release();
    throw new DomainError('precondition_failed');
  }
  if (verdict === 'not_modified') {
    run.release();
    await reply.status(304).headers(validators).send();
    return;
  }
  if (size === 0) {
    const content = await readUnsized(run);
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
  if (request.method === 'HEAD') {
    run.release();
    await send(sendHead(), Readable.from([]));
    return;
  }
  run.say(READING.bytes(bytes.offset, bytes.length));
  // Nothing is sent yet, so a file that has become too short in the meantime still gets an error response.
  if (!(await run.hasMore())) throw new DomainError('tools_failed');
  await sendAsTaken(sendHead(), (onBytes) => run.bytes(bytes.length, onBytes));
}

/** Reads a file that is empty, or that the kernel generates when it is read. */
async function readUnsized(run: ScriptRun): Promise<Buffer> {
  const parts: Buffer[] = [];
  let left = MOST_UNKNOWN;
  run.say(READING.most(MOST_UNKNOWN));
  run.endInput();
  const until = performance.now() + IDLE_MS;
  while (left > 0) {
    const part = await run.read(until - performance.now());
    if (!part) {
      await run.succeeded();
      break;
    }
    parts.push(part.subarray(0, left));
    left -= Math.min(left, part.length);
  }
  return Buffer.concat(parts);
}

/**
 * Sends a program's output as fast as the client takes it, and waits until all of it is sent.
 *
 * @param sendHead called once there is something to send: an earlier failure can still get an error response
 * @throws if the client disconnects or takes nothing for too long, or if the source fails; the response is broken off
 *   then
 */
export async function sendStream(content: AsyncGenerator<Buffer>, sendHead: () => FastifyReply): Promise<void> {
  const first = await content.next();
  await sendAsTaken(sendHead(), (onBytes) => {
    async function* told(): AsyncGenerator<Buffer> {
      if (first.done !== true) yield first.value;
      for await (const data of content) {
        onBytes(data.length);
        yield data;
      }
    }
    if (first.done !== true) onBytes(first.value.length);
    return Readable.from(told(), { objectMode: false });
  });
}

/** @param bodyOf makes the body; has to call `onBytes` with the size of each chunk */
async function sendAsTaken(reply: FastifyReply, bodyOf: (onBytes: (bytes: number) => void) => Readable): Promise<void> {
  const note = notedBytes();
  const stalled = setTimeout(() => reply.raw.destroy(), IDLE_MS).unref();
  const body = bodyOf((bytes) => {
    note(bytes);
    stalled.refresh();
  });
  try {
    await send(reply, body);
  } finally {
    clearTimeout(stalled);
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
