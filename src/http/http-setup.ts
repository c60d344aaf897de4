import {
  createParamDecorator,
  ExecutionContext,
  type INestApplication,
  Injectable,
  OnModuleDestroy,
} from '@nestjs/common';
import { FastifyAdapter, NestFastifyApplication } from '@nestjs/platform-fastify';
import { type FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import type { IncomingMessage } from 'node:http';
import { Config, CONFIG } from '../config';
import { DomainError, errorAnswer } from '../errors';
import { type Logger, LOGGER, requestContext, type RequestContext } from '../logging';
import { AllowedHosts } from './allowed-hosts';
import { ClientAddress } from './client-address';
import { compressAnswers } from './compressed';
import { Connections } from './connections';
import { KnownQuery } from './known-query';
import { type AsyncChannel, setUpDocuments } from './openapi';
import { beginInTurn } from './pipeline';
import { answerClientError, answerFrameworkError, requestIdOf, securityHeaders } from './protocol-errors';
import { boundRefusedBodies, continueOnceRead } from './refused-body';
import { jsonBodyParser, refuseUntakenBodies } from './request-body';
import { type OnRequest, passExpectations, pathOf, refuseUnroutable } from './request-head';
import { RouteRegistry } from './route-registry';
import { passStreamedBodies } from './streamed-body';
import { refuseUnservedHandshake, Upgrades } from './upgrades';
import { createValidationPipe } from './validation';

/** What probes and collectors ask for every few seconds. */
const FREQUENT = /^\/(health\/|metrics$)/;

/** Maximum characters of a path in the log. */
const LONGEST_PATH = 200;

/**
 * One line for each answered request: the route's pattern, not the URL, whose query may hold what is nobody's business.
 */
export function accessLog(logger: Logger): (request: FastifyRequest, reply: FastifyReply, done: () => void) => void {
  return (request, reply, done) => {
    const { url: route } = request.routeOptions;
    const level = reply.statusCode >= 500 ? 'warn' : FREQUENT.test(route ?? '') ? 'debug' : 'info';
    // The line is made only where it is written.
    if (!logger.isLevelEnabled(level)) {
      done();
      return;
    }
    logger[level](
      {
        method: request.method,
        ...(route === undefined || request.is404 ? { path: pathOf(request.raw).slice(0, LONGEST_PATH) } : { route }),
        status: reply.statusCode,
        ms: Math.round(reply.elapsedTime * 10) / 10,
        request_id: request.id,
        user_id: request.logContext?.userId,
        container_id: request.logContext?.containerId,
      },
      'request',
    );
    done();
  };
}

/** Lets the pages of these origins call the API; of none by default. `*`: of all. */
function enableCors(app: NestFastifyApplication, origins: readonly string[]): void {
  if (origins.length === 0) return;
  app.enableCors({
    origin: origins.includes('*') ? '*' : [...origins],
    methods: ['GET', 'HEAD', 'POST', 'PATCH', 'PUT', 'DELETE'],
    allowedHeaders: [
      'authorization',
      'content-type',
      'idempotency-key',
      'if-none-match',
      'if-range',
      'last-event-id',
      'range',
      'x-request-id',
    ],
    exposedHeaders: [
      'x-request-id',
      'content-disposition',
      'content-range',
      'etag',
      'link',
      'location',
      'idempotency-replayed',
      'retry-after',
      'www-authenticate',
      'ratelimit-limit',
      'ratelimit-remaining',
      'ratelimit-reset',
    ],
    maxAge: 600,
    // The strict answer to an incomplete preflight is plain text.
    strictPreflight: false,
  });
}

/**
 * How long requests may still take when operations are done and the HTTP server closes, in milliseconds: longer than
 * the database may take to answer, so that waiting clients get an error.
 */
const LAST_ANSWERS_MS = 7_000;

/** Whether this process is about to end: it finishes what it has begun and takes nothing new. */
@Injectable()
export class Draining implements OnModuleDestroy {
  private draining = false;

  get begun(): boolean {
    return this.draining;
  }

  begin(): void {
    this.draining = true;
  }

  /** The first thing that happens when the application is closed. */
  onModuleDestroy(): void {
    this.begin();
  }
}

/**
 * Lets go of the HTTP server's connections when the process ends; Node.js closes only those without a request by
 * itself.
 */
function endConnections(fastify: FastifyInstance, draining: Draining, connections: Connections): void {
  // A connection that a client keeps for its next request would keep the server open until its idle timeout, 72 s.
  fastify.addHook('onSend', (_request, reply, _payload, done) => {
    if (draining.begun) reply.header('connection', 'close');
    done();
  });
  // And so would a client that sends half a request, or none, or does not read its answer.
  fastify.addHook('preClose', (done) => {
    const { server } = fastify;
    const timer = setTimeout(() => connections.destroyAll(), LAST_ANSWERS_MS).unref();
    server.once('close', () => clearTimeout(timer));
    done();
  });
}

/** The largest body, in bytes. */
const BODY_LIMIT = 65_536;

/** Within this time a request's head and body must be here, whatever the speed at which they trickle in. */
const REQUEST_MS = 30_000;

type Proxies = Pick<Config, 'TRUSTED_PROXIES'>;

/** Fastify as Berth uses it; shared by the server and the tests. */
export function createHttpAdapter({ TRUSTED_PROXIES: proxies }: Proxies = { TRUSTED_PROXIES: [] }): FastifyAdapter {
  const clients = new ClientAddress(proxies);
  return new FastifyAdapter({
    bodyLimit: BODY_LIMIT,
    // Answered by a hook: Node.js would send an empty body.
    http: {
      requireHostHeader: false,
      // Node.js holds requests to the longer of this, 60 s by default, and the next.
      headersTimeout: REQUEST_MS,
      requestTimeout: REQUEST_MS,
      connectionsCheckingInterval: 2_000,
    },
    // Decides what `request.ip` is. Without proxies, no header can say anything about it.
    trustProxy: proxies.length > 0 && clients.trusts,
    requestTimeout: REQUEST_MS,
    genReqId: (request: IncomingMessage) => requestIdOf(request.headers),
    frameworkErrors: answerFrameworkError,
    clientErrorHandler: answerClientError,
    // Fastify's own answer while closing has another shape; the first hook of each request says it in ours.
    return503OnClosing: false,
    // No middleware anywhere: hooks do it faster.
    skipMiddie: true,
    // An id that is too long is not found, as any other; Fastify would say that the URI is.
    routerOptions: { maxParamLength: 16_384 },
  });
}

declare module 'fastify' {
  interface FastifyRequest {
    /** What the request's log lines carry. */
    logContext?: RequestContext;
  }
}

/**
 * The first hook of each request: names it, guards its answer, and turns it away while the server is draining or if it
 * is for another one.
 */
function onRequest(draining: Draining, hosts: AllowedHosts): OnRequest {
  return (request, reply, done) => {
    reply.headers({ 'x-request-id': request.id, ...securityHeaders(request.routeOptions.url) });
    request.logContext = { requestId: request.id };
    // A process that drains is still alive, and says itself that it is not ready.
    if (draining.begun && !request.url.startsWith('/health/')) {
      const { status, headers, body } = errorAnswer(new DomainError('shutting_down'), request.id);
      void reply.status(status).headers(headers).header('connection', 'close').send(body);
      return;
    }
    const fault = hosts.fault(request.raw);
    if (fault) done(fault);
    else requestContext.run(request.logContext, done);
  };
}

/** Routes that probes and collectors know by their bare path. */
const OUTSIDE_API = ['health/live', 'health/ready', 'metrics'];

/** Puts all routes below `/api` but those of probes and collectors. */
export function prefixRoutes(app: INestApplication): void {
  app.setGlobalPrefix('api', { exclude: OUTSIDE_API });
}

/**
 * Gives the application its hooks, body parser, validation, prefix and documentation. Call it before `init()` or
 * `listen()`.
 *
 * @param channels documented beside the routes
 * @param countRequests adds the hooks that count requests, also those that lead nowhere
 */
export function setUpHttp(
  app: NestFastifyApplication,
  channels: readonly AsyncChannel[] = [],
  countRequests: () => void = () => undefined,
): void {
  const adapter = app.getHttpAdapter() as unknown as FastifyAdapter;
  const fastify = adapter.getInstance();
  app.get(RouteRegistry).watch(fastify);
  compressAnswers(fastify);
  // The adapter's own places for hooks come before CORS, so that answers to preflights have the headers too.
  adapter.setOnRequestHook(onRequest(app.get(Draining), app.get(AllowedHosts)));
  adapter.setOnResponseHook(accessLog(app.get<Logger>(LOGGER)));
  const connections = app.get(Connections);
  connections.watch(fastify.server);
  beginInTurn(fastify.server);
  app.get(Upgrades).watch(fastify.server);
  passExpectations(fastify.server);
  continueOnceRead(fastify.server);
  endConnections(fastify, app.get(Draining), connections);
  enableCors(app, app.get<Config>(CONFIG).CORS_ORIGINS);
  countRequests();
  fastify.addHook('onRequest', refuseUnservedHandshake);
  fastify.addHook('onRequest', refuseUnroutable(app.get(RouteRegistry)));
  boundRefusedBodies(fastify);
  passStreamedBodies(fastify);
  refuseUntakenBodies(app, fastify);
  fastify.removeContentTypeParser('text/plain');
  fastify.removeContentTypeParser('application/json');
  adapter.useBodyParser('application/json', false, { bodyLimit: BODY_LIMIT }, jsonBodyParser);
  prefixRoutes(app);
  app.useGlobalGuards(new KnownQuery());
  app.useGlobalPipes(createValidationPipe());
  setUpDocuments(app, channels);
}

/**
 * Aborted when the connection has ended before the answer was sent, so that it will not be read. For handlers that take
 * their time.
 */
export const ConnectionEnd = createParamDecorator((_data: unknown, context: ExecutionContext): AbortSignal => {
  const { raw } = context.switchToHttp().getResponse<FastifyReply>();
  const controller = new AbortController();
  if (raw.destroyed || raw.socket?.destroyed) controller.abort();
  else raw.once('close', () => (raw.writableFinished ? undefined : controller.abort()));
  return controller.signal;
});
