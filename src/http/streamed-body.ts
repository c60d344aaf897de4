import { applyDecorators, createParamDecorator, type ExecutionContext, SetMetadata, type Type } from '@nestjs/common';
import { RouteConfig } from '@nestjs/platform-fastify';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import type { IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import { Readable } from 'node:stream';
import { DomainError } from '../errors';
import { closeAfterBody } from './refused-body';
import type { PreParsing } from './request-head';

declare module 'fastify' {
  interface FastifyContextConfig {
    /** Whether the route's handler reads the body itself, as a stream. */
    streamsBody?: boolean;
    /** Whether the handler decodes a body with `Content-Encoding: gzip`. */
    takesGzip?: boolean;
  }
  interface FastifyRequest {
    /** The original `content-type` of a streamed body. */
    streamedType?: string | undefined;
  }
}

/** Internal media type that selects the streaming parser; clients cannot use it. */
const STREAMED = 'application/vnd.berth.streamed-body';

/** Time for a client that is still sending to read the end of the answer. */
const LINGER_MS = 10_000;

/** Connections exempt from the request timeout, because their body has an idle timeout. */
const watched = new WeakSet<Socket>();

/** Metadata key of a handler: the class of the first line of its body. */
export const FIRST_LINE = Symbol('the class of the first line of a body');

/**
 * Lets a route's handler read the body itself, of any type and size: see {@link StreamedBody}.
 *
 * @param options firstLine: the class of the JSON at the start of the body, for the OpenAPI document; gzip: the handler
 *   decodes a body of this coding
 */
export const StreamsBody = ({
  firstLine,
  gzip,
}: { readonly firstLine?: Type; readonly gzip?: true } = {}): MethodDecorator =>
  applyDecorators(
    RouteConfig({ streamsBody: true, ...(gzip && { takesGzip: true }) }),
    SetMetadata(FIRST_LINE, firstLine),
  );

/** Adds the parser of streamed bodies. Call it before any route is added. */
export function passStreamedBodies(fastify: FastifyInstance): void {
  fastify.addHook('preParsing', nameStreamed);
  fastify.addContentTypeParser(STREAMED, (_request, payload, done) => done(null, payload));
}

const nameStreamed: PreParsing = (request, _reply, payload, done) => {
  const { headers } = request.raw;
  if (request.route?.streamsBody) {
    request.streamedType = headers['content-type'];
    headers['content-type'] = STREAMED;
  } else if (headers['content-type']?.startsWith(STREAMED)) {
    headers['content-type'] = 'application/octet-stream';
  }
  done(null, payload);
};

/** True if the handler, rather than Node.js, enforces the time limit of the current request. */
export function isWatched(socket: Socket): boolean {
  return watched.has(socket);
}

/** The body of a route with {@link StreamsBody}. */
export class BodyStream {
  private reader: WatchedBody | undefined;
  private isDropped = false;

  constructor(private readonly request: FastifyRequest) {}

  /** The client's `content-type`. */
  get type(): string | undefined {
    return this.request.streamedType;
  }

  /** The client's `content-length`; undefined if absent. */
  get length(): number | undefined {
    const length = Number(this.request.headers['content-length'] ?? NaN);
    return Number.isNaN(length) ? undefined : length;
  }

  /**
   * Reads the body; call it once. There is no total time limit as long as bytes arrive. Fails with `request_timeout`,
   * or with `invalid_parameters` if the client disconnects before the end.
   *
   * @param idleMs maximum time without any bytes
   */
  read(idleMs: number): Readable {
    this.reader = new WatchedBody(this.request.raw, idleMs);
    return this.reader;
  }

  /** Stops reading, unless the rest is {@link drop}ped. `boundRefusedBodies` handles it once the answer is sent. */
  discard(): void {
    this.reader?.destroy();
    const body: IncomingMessage = this.request.raw;
    if (body.complete || body.destroyed || this.isDropped) return;
    body.on('error', () => undefined);
    body.pause();
  }

  /**
   * Reads the rest and drops it, for an answer that ends before the body does: closing a connection with unread data
   * resets it, and the client would lose the end of the answer. The connection ends with the body, with the client, or
   * {@link LINGER_MS} after the answer.
   */
  drop(): void {
    this.reader?.destroy();
    const body: IncomingMessage = this.request.raw;
    if (body.complete || body.destroyed) return;
    this.isDropped = true;
    watched.add(body.socket);
    body.on('error', () => undefined).resume();
    closeAfterBody(body, LINGER_MS);
  }
}

/** Reads a body with an idle timeout. If the reader destroys the stream, the rest of the body is dropped. */
class WatchedBody extends Readable {
  private idle: NodeJS.Timeout | undefined;
  /** True while the reader waits for data. */
  private isWanted = false;

  constructor(
    private readonly body: IncomingMessage,
    private readonly idleMs: number,
  ) {
    super();
  }

  override _read(): void {
    if (this.isWanted) return;
    this.isWanted = true;
    if (this.idle) {
      this.idle.refresh();
      this.body.resume();
    } else {
      this.begin();
    }
  }

  private begin(): void {
    const { body } = this;
    watched.add(body.socket);
    this.idle = setTimeout(() => this.late(), this.idleMs);
    body.on('data', this.onData).on('end', this.onEnd).on('error', this.onGone).on('close', this.onGone);
    if (body.readableEnded) this.onEnd();
    else if (body.destroyed) this.onGone();
  }

  private readonly onData = (data: Buffer): void => {
    this.idle?.refresh();
    if (this.push(data)) return;
    this.isWanted = false;
    this.body.pause();
  };

  private readonly onEnd = (): void => {
    if (this.body.complete) this.push(null);
    else this.destroy(gone());
  };

  /** Received but unread data may be lost as well, so only `end` counts as a complete body. */
  private readonly onGone = (): void => {
    if (!this.body.readableEnded) this.destroy(gone());
  };

  private late(): void {
    if (this.isWanted) this.destroy(new DomainError('request_timeout'));
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    const { body } = this;
    clearTimeout(this.idle);
    watched.delete(body.socket);
    body.off('data', this.onData).off('end', this.onEnd).off('error', this.onGone).off('close', this.onGone);
    // `boundRefusedBodies` handles the rest.
    if (this.idle) body.pause();
    done(error);
  }
}

/** For the audit log; the disconnected client does not receive it. */
function gone(): DomainError {
  return new DomainError('invalid_parameters', { code: 'broken_off' });
}

/** Injects the body into the handler of a route with {@link StreamsBody}. */
export const StreamedBody = createParamDecorator((_data: unknown, context: ExecutionContext): BodyStream => {
  return new BodyStream(context.switchToHttp().getRequest<FastifyRequest>());
});
