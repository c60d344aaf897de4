import type { FastifyReply, FastifyRequest } from 'fastify';
import { createHash } from 'node:crypto';
import { promisify } from 'node:util';
import { brotliCompress, constants, gzip } from 'node:zlib';

/** How an answer can be compressed, the smallest first. */
const CODINGS = ['br', 'gzip'] as const;
type Coding = (typeof CODINGS)[number];

/** A file that stays as it is while the server runs, in memory. */
export interface StoredFile {
  readonly type: string;
  /** Of the file as it is; each compressed form has its own. */
  readonly etag: string;
  readonly bodies: Readonly<Record<'identity', Buffer> & Partial<Record<Coding, Buffer>>>;
}

const compressBrotli = promisify(brotliCompress);
const compressGzip = promisify(gzip);

/** Of what is compressed once. */
const SLOWLY = { br: 9, gzip: 9 } as const;
/** Of what is compressed for each answer: some milliseconds for 100 KB, beside the event loop. */
const QUICKLY = { br: 4, gzip: 6 } as const;

/** Compresses a file once, for all who ask for it. */
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

/** Compresses one answer. */
export function compressAnswer(coding: Coding, body: Buffer): Promise<Buffer> {
  return compressed(coding, body, QUICKLY);
}

/**
 * The best coding that a client accepts (RFC 9110, 12.5.3). Of several it takes the smallest, whatever their weights,
 * but none with the weight 0.
 *
 * @returns null: as it is
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

/** Adds to what the answer varies by, which may be the page that asks, too. */
export function varyByCoding(reply: FastifyReply): void {
  const before = reply.getHeader('vary');
  reply.header('vary', before === undefined ? 'accept-encoding' : `${String(before)}, accept-encoding`);
}

/** Whether `If-None-Match` names an ETag, so that the client has what it would be sent (RFC 9110, 13.1.2). */
function isKnown(condition: string | undefined, etag: string): boolean {
  const named = condition?.split(',').map((each) => each.trim().replace(/^W\//, '')) ?? [];
  return named.includes(etag) || named.includes('*');
}

function isText({ type }: StoredFile): boolean {
  return type.includes('charset=utf-8');
}

/** Sends a file, compressed if the client takes that, or a 304 if it has it. */
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
  if (isKnown(request.headers['if-none-match'], etag)) return reply.status(304).send();
  if (coding !== null) reply.header('content-encoding', coding);
  const body = (coding === null ? undefined : file.bodies[coding]) ?? file.bodies.identity;
  // Text goes out in one write with the head. As a buffer, the next request of a client that does not read was not
  // begun.
  return reply.type(file.type).send(coding === null && isText(file) ? body.toString('utf8') : body);
}
