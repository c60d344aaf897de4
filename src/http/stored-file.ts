import type { FastifyReply, FastifyRequest } from 'fastify';
import { createHash } from 'node:crypto';
import { promisify } from 'node:util';
import { brotliCompress, constants, gzip } from 'node:zlib';
import { matchesTag } from './conditions';

/** Supported codings, the smallest result first. */
const CODINGS = ['br', 'gzip'] as const;
type Coding = (typeof CODINGS)[number];

/** A file in memory that does not change while the server runs. */
export interface StoredFile {
  readonly type: string;
  /** The ETag of the uncompressed file; each compressed form has its own. */
  readonly etag: string;
  readonly bodies: Readonly<Record<'identity', Buffer> & Partial<Record<Coding, Buffer>>>;
}

const compressBrotli = promisify(brotliCompress);
const compressGzip = promisify(gzip);

/** Quality for files that are compressed once. */
const SLOWLY = { br: 9, gzip: 9 } as const;
/** Quality for each single answer: a few milliseconds for 100 KB, off the event loop. */
const QUICKLY = { br: 4, gzip: 6 } as const;

/** Compresses a file once for all requests. */
export async function storedFile(type: string, identity: Buffer): Promise<StoredFile> {
  const [br, gz] = await Promise.all([compressed('br', identity, SLOWLY), compressed('gzip', identity, SLOWLY)]);
  return { type, etag: etagOf(identity), bodies: { identity, br, gzip: gz } };
}

/** A strong validator: the same for the same bytes. */
export function etagOf(content: Buffer): string {
  return `"${createHash('sha256').update(content).digest('base64url').slice(0, 22)}"`;
}

function compressed(coding: Coding, body: Buffer, quality: Readonly<Record<Coding, number>>): Promise<Buffer> {
  if (coding === 'gzip') return compressGzip(body, { level: quality.gzip });
  return compressBrotli(body, {
    params: {
      [constants.BROTLI_PARAM_QUALITY]: quality.br,
      [constants.BROTLI_PARAM_SIZE_HINT]: body.length,
    },
  });
}

export function compressAnswer(coding: Coding, body: Buffer): Promise<Buffer> {
  return compressed(coding, body, QUICKLY);
}

/**
 * Selects the coding for `Accept-Encoding` (RFC 9110, 12.5.3): the smallest accepted one. Weights are ignored, except
 * that 0 excludes a coding.
 *
 * @returns null for no compression
 */
export function codingFor(accepted: string | undefined, available: readonly Coding[] = CODINGS): Coding | null {
  const weights = new Map<string, number>();
  for (const each of (accepted ?? '').split(',')) {
    const [name = '', ...parameters] = each.split(';').map((part) => part.trim().toLowerCase());
    const weight = parameters.find((parameter) => parameter.startsWith('q='))?.slice(2);
    weights.set(name, weight === undefined ? 1 : Number(weight));
  }
  return available.find((coding) => (weights.get(coding) ?? weights.get('*') ?? 0) > 0) ?? null;
}

/** Adds `accept-encoding` to `Vary`, which may already have `Origin`. */
export function varyByCoding(reply: FastifyReply): void {
  const before = reply.getHeader('vary');
  reply.header('vary', before === undefined ? 'accept-encoding' : `${String(before)}, accept-encoding`);
}

function isText({ type }: StoredFile): boolean {
  return type.includes('charset=utf-8');
}

/** Sends a file, compressed if the client accepts it, or a 304 if the client's copy is current. */
export function sendStored(
  file: StoredFile,
  {
    request,
    reply,
    headers,
  }: { request: FastifyRequest; reply: FastifyReply; headers: Readonly<Record<string, string>> },
): FastifyReply {
  const available = CODINGS.filter((coding) => file.bodies[coding] !== undefined);
  const coding = codingFor(request.headers['accept-encoding'], available);
  const etag = coding === null ? file.etag : file.etag.replace(/"$/, `-${coding}"`);
  varyByCoding(reply.headers(headers).header('etag', etag));
  const known = request.headers['if-none-match'];
  if (known !== undefined && matchesTag(known, etag, { isWeak: true })) return reply.status(304).send();
  if (coding !== null) reply.header('content-encoding', coding);
  const body = (coding === null ? undefined : file.bodies[coding]) ?? file.bodies.identity;
  // A string is sent in one write with the head. With a buffer, the next pipelined request of a client that does not
  // read was not started.
  return reply.type(file.type).send(coding === null && isText(file) ? body.toString('utf8') : body);
}
