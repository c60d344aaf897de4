import { createParamDecorator, type ExecutionContext } from '@nestjs/common';
import { RouteConfig } from '@nestjs/platform-fastify';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import type { IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import { DomainError } from '../errors';
import { within } from '../scheduling';
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

/** How long a client may go on to send what nobody reads, so that it comes to read the answer. */
const DISCARD_MS = 5_000;

/** Connections whose request may take longer than any other's, because its body is watched as it comes. */
const watched = new WeakSet<Socket>();

/** Lets a route's handler read the body itself, whatever its type and size: see {@link StreamedBody}. */
export const StreamsBody = (): MethodDecorator => RouteConfig({ streamsBody: true });

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
   * Takes it once, in any time as long as bytes come.
   *
   * @param idleMs how long none may come
   * @throws DomainError `request_timeout`; an error if the client goes away before the end
   */
  async *read(idleMs: number): AsyncGenerator<Buffer> {
    const body = this.request.raw;
    const chunks = body.iterator({ destroyOnReturn: false });
    watched.add(body.socket);
    try {
      for (;;) {
        const late = () => new DomainError('request_timeout');
        const next = await within(chunks.next() as Promise<IteratorResult<Buffer>>, { ms: idleMs, late });
        if (next.done === true) break;
        yield next.value;
      }
      if (!body.complete) throw gone();
    } catch (error) {
      throw error instanceof DomainError ? error : gone();
    } finally {
      watched.delete(body.socket);
      // Whoever listens no more leaves the rest to others.
      void chunks.return?.();
    }
  }

  /**
   * Discards what is left of it for a while, so that the client reads the answer: one that ends while the client still
   * sends may be lost. Then the connection ends.
   */
  discard(): void {
    const body: IncomingMessage = this.request.raw;
    if (body.complete || body.destroyed) return;
    body.on('error', () => undefined);
    // Its last reader lets go of it a moment later.
    setImmediate(() => body.resume());
    const timer = setTimeout(() => body.socket.destroy(), DISCARD_MS).unref();
    body.once('end', () => clearTimeout(timer)).once('close', () => clearTimeout(timer));
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
