import {
  createParamDecorator,
  ExecutionContext,
  type INestApplication,
  Injectable,
  OnModuleDestroy,
} from '@nestjs/common';
import { FastifyAdapter, NestFastifyApplication } from '@nestjs/platform-fastify';
import { type FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import type { IncomingMessage, RequestListener, Server } from 'node:http';
import { Config, CONFIG } from '../config';
import { DomainError, errorAnswer } from '../errors';
import { type Logger, LOGGER, requestContext, type RequestContext } from '../logging';
import { AllowedHosts } from './allowed-hosts';
import { ClientAddress } from './client-address';
import { compressAnswers } from './compressed';
import { KnownQuery } from './known-query';
import { HEAD_MS, HttpListener, Listeners } from './listeners';
import { type AsyncChannel, setUpDocuments } from './openapi';
import { answerClientError, answerFrameworkError, requestIdOf, securityHeaders } from './protocol-errors';
import { boundRefusedBodies, continueOnceRead } from './refused-body';
import { jsonBodyParser, mergePatchParser, refuseUntakenBodies } from './request-body';
import { MERGE_PATCH } from './merge-patch';
import { type OnRequest, passExpectations, pathOf, refuseUnroutable } from './request-head';
import { RouteRegistry } from './route-registry';
import { passStreamedBodies } from './streamed-body';
import { refuseUnservedHandshake, Upgrades } from './upgrades';
import { validateInput } from './validation';

/** Paths that probes and collectors request every few seconds; logged at debug level. */
const FREQUENT = /^\/(health\/|metrics$)/;

/** Maximum characters of a path in the log. */
const LONGEST_PATH = 200;

/**
 * Logs one line for each answered request. It names the route's pattern instead of the URL, whose query may hold
 * private data.
 */
export function accessLog(logger: Logger): (request: FastifyRequest, reply: FastifyReply, done: () => void) => void {
  return (request, reply, done) => {
    const route = request.route?.url;
    const level = reply.statusCode >= 500 ? 'warn' : FREQUENT.test(route ?? '') ? 'debug' : 'info';
    // Builds the line only if it is written.
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

/** Lets pages of these origins call the API: `*` allows all origins, an empty list none. */
function enableCors(app: NestFastifyApplication, origins: readonly string[]): void {
  if (origins.length === 0) return;
  app.enableCors({
    origin: origins.includes('*') ? '*' : [...origins],
    methods: ['GET', 'HEAD', 'POST', 'PATCH', 'PUT', 'DELETE'],
    allowedHeaders: [
      'authorization',
      'content-type',
      'idempotency-key',
      'if-match',
      'if-none-match',
      'if-range',
      'last-event-id',
      'mcp-method',
      'mcp-name',
      'mcp-protocol-version',
      'range',
      'x-request-id',
    ],
    exposedHeaders: [
      'accept-patch',
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
    // The strict answer to an incomplete preflight would be plain text.
    strictPreflight: false,
  });
}

/**
 * How long requests may still take once operations have ended and the HTTP server closes, in milliseconds. Longer
 * than a database query may take, so that waiting clients get an error.
 */
const LAST_ANSWERS_MS = 7_000;

/** The state of the shutdown: a draining process finishes running work and accepts no new work. */
@Injectable()
export class Draining implements OnModuleDestroy {
  private draining = false;

  get begun(): boolean {
    return this.draining;
  }

  begin(): void {
    this.draining = true;
  }

  /** Nest calls this first when the application is closed. */
  onModuleDestroy(): void {
    this.begin();
  }
}

/** Ends the HTTP server's connections at shutdown. Node.js itself closes only idle ones. */
function endConnections(fastify: FastifyInstance, draining: Draining, listeners: Listeners): void {
  // A kept-alive connection would keep the server open until its idle timeout, 72 s.
  fastify.addHook('onSend', (_request, reply, _payload, done) => {
    if (draining.begun) reply.header('connection', 'close');
    done();
  });
  // So would a client that sends half a request, or none, or does not read its answer.
  fastify.addHook('preClose', (done) => {
    const { server } = fastify;
    const timer = setTimeout(() => listeners.destroyAll(server), LAST_ANSWERS_MS).unref();
    server.once('close', () => clearTimeout(timer));
    done();
  });
}

/** Maximum size of a body, in bytes. */
const BODY_LIMIT = 65_536;

/** How long a connection may wait for its next request: longer than the idle time of usual proxies. */
const KEEP_ALIVE_MS = 72_000;

/** How long a client may read nothing although data waits for it. */
const STALLED_MS = 30_000;

type Proxies = Pick<Config, 'TRUSTED_PROXIES'>;

/** Creates the Fastify adapter that the server and the tests share. */
export function createHttpAdapter({ TRUSTED_PROXIES: proxies }: Proxies = { TRUSTED_PROXIES: [] }): FastifyAdapter {
  const clients = new ClientAddress(proxies);
  return new FastifyAdapter({
    bodyLimit: BODY_LIMIT,
    serverFactory: (answer: RequestListener): Server => {
      const server = new HttpListener({ requestMs: HEAD_MS, keepAliveMs: KEEP_ALIVE_MS, idleMs: 0 });
      return server.on('request', answer);
    },
    // Determines `request.ip`. Without trusted proxies, no header can influence it.
    trustProxy: proxies.length > 0 && clients.trusts,
    genReqId: (request: IncomingMessage) => requestIdOf(request.headers),
    frameworkErrors: answerFrameworkError,
    clientErrorHandler: answerClientError,
    // Fastify's own 503 has another shape; the `onRequest` hook answers in ours.
    return503OnClosing: false,
    // Hooks are faster than middleware, so none is used.
    skipMiddie: true,
    // A longer id is a 404 like any unknown id; Fastify would answer that the URI is too long.
    routerOptions: { maxParamLength: 16_384 },
  });
}

declare module 'fastify' {
  interface FastifyRequest {
    /**
     * The matched route: its `url` is undefined if none matched. Fastify (5.11) creates an object of twelve fields at
     * each access to `routeOptions`.
     */
    route?: FastifyContextConfig & { readonly url?: string };
    /** Fields that each of the request's log lines carries. */
    logContext?: RequestContext;
  }
}

/**
 * Runs first for each request: sets its id and the security headers, and refuses it while the server is draining or
 * if it is meant for another host.
 */
function onRequest(draining: Draining, hosts: AllowedHosts, routes: RouteRegistry): OnRequest {
  return (request, reply, done) => {
    const { config } = request.routeOptions;
    request.route = config;
    reply.headers({ 'x-request-id': request.id, ...securityHeaders(config.url) });
    request.logContext = { requestId: request.id };
    // Also for preflights, which CORS answers before any other hook (RFC 5789, 3.1).
    if (request.method === 'OPTIONS') reply.headers(routes.describe(pathOf(request.raw)) ?? {});
    // A draining process is alive; its readiness probe reports that it is not ready.
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

/** Routes outside `/api`: for probes and collectors, and those whose paths others give. */
const OUTSIDE_API = [
  'health/live',
  'health/ready',
  'metrics',
  'mcp',
  'e2b/*path',
  '.well-known/oauth-protected-resource',
  '.well-known/oauth-protected-resource/mcp',
];

/** Puts all routes below `/api`, except {@link OUTSIDE_API}. */
export function prefixRoutes(app: INestApplication): void {
  app.setGlobalPrefix('api', { exclude: OUTSIDE_API });
}

/**
 * Gives the application its hooks, body parser, validation, prefix and documentation. Call it before `init()` or
 * `listen()`.
 *
 * @param channels event channels for the AsyncAPI document
 * @param countRequests adds the hooks that count requests, including those without a route
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
  // The adapter's own hooks run before CORS, so that answers to preflights have the headers too.
  adapter.setOnRequestHook(onRequest(app.get(Draining), app.get(AllowedHosts), app.get(RouteRegistry)));
  adapter.setOnResponseHook(accessLog(app.get<Logger>(LOGGER)));
  const listeners = app.get(Listeners);
  listeners.watch('api', fastify.server as HttpListener, STALLED_MS);
  app.get(Upgrades).watch(fastify.server);
  passExpectations(fastify.server);
  continueOnceRead(fastify.server);
  endConnections(fastify, app.get(Draining), listeners);
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
  adapter.useBodyParser(MERGE_PATCH, false, { bodyLimit: BODY_LIMIT }, mergePatchParser);
  prefixRoutes(app);
  app.useGlobalGuards(new KnownQuery());
  validateInput(app);
  setUpDocuments(app, channels);
}

/** A signal that aborts if the connection ends before the answer was sent. For slow handlers. */
export const ConnectionEnd = createParamDecorator((_data: unknown, context: ExecutionContext): AbortSignal => {
  const { raw } = context.switchToHttp().getResponse<FastifyReply>();
  const controller = new AbortController();
  if (raw.destroyed || raw.socket?.destroyed) controller.abort();
  else raw.once('close', () => (raw.writableFinished ? undefined : controller.abort()));
  return controller.signal;
});
