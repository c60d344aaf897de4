import { applyDecorators, createParamDecorator, type ExecutionContext, SetMetadata, type Type } from '@nestjs/common';
import { RouteConfig } from '@nestjs/platform-fastify';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import type { IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import { Readable } from 'node:stream';
import { DomainError } from '../errors';
import type { PreParsing } from './request-head';

declare module 'fastify' {
  interface FastifyContextConfig {
    /** Whether the route's handler reads the body itself, as it comes. */
    streamsBody?: boolean;
  }
  interface FastifyRequest {
    /** Of a streamed body, what the client said that it is. */
    streamedType?: string | undefined;
  }
}

/** A type that no client can name, by which the parser of streamed bodies alone is found. */
const STREAMED = 'application/vnd.berth.streamed-body';

/** Connections whose request may take longer than any other's, because its body is watched as it comes. */
const watched = new WeakSet<Socket>();

/** Of a handler: the class of the first line of its body. */
export const FIRST_LINE = Symbol('the class of the first line of a body');

/**
 * Lets a route's handler read the body itself, whatever its type and size: see {@link StreamedBody}.
 *
 * @param options firstLine: the class of the JSON that the body begins with, for the documents
 */
export const StreamsBody = ({ firstLine }: { readonly firstLine?: Type } = {}): MethodDecorator =>
  applyDecorators(RouteConfig({ streamsBody: true }), SetMetadata(FIRST_LINE, firstLine));

/** Call it before any route is added. */
export function passStreamedBodies(fastify: FastifyInstance): void {
  fastify.addHook('preParsing', nameStreamed);
  fastify.addContentTypeParser(STREAMED, (_request, payload, done) => done(null, payload));
}

const nameStreamed: PreParsing = (request, _reply, payload, done) => {
  const { headers } = request.raw;
  if (request.routeOptions.config.streamsBody) {
    request.streamedType = headers['content-type'];
    headers['content-type'] = STREAMED;
  } else if (headers['content-type']?.startsWith(STREAMED)) {
    headers['content-type'] = 'application/octet-stream';
  }
  done(null, payload);
};

/** Whether the time that a request may take is the handler's to watch. */
export function isWatched(socket: Socket): boolean {
  return watched.has(socket);
}

/** The body of a route that {@link StreamsBody}, as it comes. */
export class BodyStream {
  constructor(private readonly request: FastifyRequest) {}

  /** What the client said that it is. */
  get type(): string | undefined {
    return this.request.streamedType;
  }

  /** As the client said; undefined if it said nothing. */
  get length(): number | undefined {
    const length = Number(this.request.headers['content-length'] ?? NaN);
    return Number.isNaN(length) ? undefined : length;
  }

  /**
   * Takes it once, in any time as long as bytes come. Fails with `request_timeout`, and where the client goes away
   * before the end.
   *
   * @param idleMs how long none may come
   */
  read(idleMs: number): Readable {
    return new WatchedBody(this.request.raw, idleMs);
  }

  /** Reads no more of it. What is left is `boundRefusedBodies`'s, once the answer goes out. */
  discard(): void {
    const body: IncomingMessage = this.request.raw;
    if (body.complete || body.destroyed) return;
    body.on('error', () => undefined);
    body.pause();
  }
}

/** A body as its bytes come. Once nobody reads it any more, what is left of it is dropped. */
class WatchedBody extends Readable {
  private idle: NodeJS.Timeout | undefined;
  /** Whether more is waited for. */
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

  /** What has come and was not read yet may be gone as well, so that only its end is one. */
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
    // What is left is `boundRefusedBodies`'s.
    if (this.idle) body.pause();
    done(error);
  }
}

/** For the audit: nobody reads the answer. */
function gone(): DomainError {
  return new DomainError('invalid_parameters', { code: 'broken_off' });
}

/** The body, as a parameter of a route that {@link StreamsBody}. */
export const StreamedBody = createParamDecorator((_data: unknown, context: ExecutionContext): BodyStream => {
  return new BodyStream(context.switchToHttp().getRequest<FastifyRequest>());
});
