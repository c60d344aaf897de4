import { Injectable } from '@nestjs/common';
import type { NestFastifyApplication } from '@nestjs/platform-fastify';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { bearerToken } from '../auth';
import { DomainError } from '../errors';
import { addressKey } from '../http';
import { type Count, type LimitName, RateCounters, tokenKey } from './rate-counters';
import { RefusedTokens } from './refused-tokens';

declare module 'fastify' {
  interface FastifyRequest {
    /** The caller for whom the request is counted; absent if it is not limited. */
    counted?: CountedCaller;
  }

  interface FastifyContextConfig {
    /** Marks a route that serves the same file from memory to every client; counted by address, apart from the API. */
    isPublicFile?: boolean;
  }
}

/** The keys under which a request is counted. */
interface CountedCaller {
  readonly address: string;
  /** Key of the request's token; null if it has none. */
  readonly token: string | null;
  /** The token's user, if known to this process. */
  readonly userId: string | undefined;
}

/**
 * Paths of collectors and of readers of the documentation. Counted apart, so that they work when API requests are
 * limited.
 */
const PUBLIC = /^\/(metrics$|api\/docs(\/|$)|api\/(openapi|asyncapi)\.json$)/;

/**
 * Probes are not counted. A load balancer or supervisor whose probe is refused takes the server out of service, and
 * any client at its address could cause that. Probes are cheap: one is constant, the other shares its checks.
 */
const PROBES = '/health/';

/**
 * Limits requests before any work is done for them, by user if this process knows the token, else by address. With an
 * unknown token, or another proof, the request is also counted for its user once a guard has authenticated it.
 */
@Injectable()
export class RequestLimits {
  constructor(
    private readonly counters: RateCounters,
    private readonly refusedTokens: RefusedTokens,
  ) {}

  /** Counts the request before its body is read. @throws DomainError `rate_limit_exceeded` */
  async admit(request: FastifyRequest, reply: FastifyReply): Promise<void> {
    const route = request.route?.url;
    if (route?.startsWith(PROBES)) return;
    if (isPublic(request)) {
      const count = await this.counters.hit('public', addressKey(request.ip));
      if (count?.exceeded) throw exceeded(reply, count);
      return;
    }
    const caller = this.callerOf(request);
    request.counted = caller;
    const { address, token, userId } = caller;
    const asked = `${request.method} ${route ?? ''}`;
    if (userId !== undefined) {
      await this.count(reply, limitsOnUser(asked, userId));
    } else {
      if (request.headers.authorization !== undefined) {
        const exhausted = await this.refusedTokens.exhausted(address);
        if (exhausted) throw exceeded(reply, exhausted);
      }
      await this.count(reply, [['requests', address]]);
      request.onAuthenticated = async (principal, by) => {
        if (token !== null && by === 'token') this.refusedTokens.accept(token, principal.userId);
        await this.count(reply, limitsOnUser(asked, principal.userId));
      };
    }
    if (asked === 'POST /api/auth/guest') await this.count(reply, [['guests', address]]);
  }

  /** Counts a creation that is not a route's request. @throws DomainError `rate_limit_exceeded` */
  async admitCreation(userId: string): Promise<void> {
    const count = await this.counters.hit('creates', userId);
    if (count?.exceeded) throw limitExceeded(count);
  }

  /** Records refused tokens before the answer is sent. @returns undefined if there is nothing to wait for */
  learn({ counted: caller, headers }: FastifyRequest, reply: FastifyReply): Promise<void> | undefined {
    if (!caller || reply.statusCode !== 401 || headers.authorization === undefined) return undefined;
    return this.refusedTokens.refuse(caller.address, caller.token);
  }

  private callerOf({ ip, headers }: FastifyRequest): CountedCaller {
    const token = bearerToken(headers.authorization);
    const key = token === null ? null : tokenKey(token);
    return {
      address: addressKey(ip),
      token: key,
      userId: key === null ? undefined : this.refusedTokens.ownerOf(key),
    };
  }

  /**
   * Counts one request for each limit, and sets the headers of the limit that is closest to exhaustion.
   *
   * @throws DomainError `rate_limit_exceeded`
   */
  private async count(reply: FastifyReply, limits: readonly (readonly [LimitName, string])[]): Promise<void> {
    for (const [name, key] of limits) {
      const count = await this.counters.hit(name, key);
      if (count?.exceeded) throw exceeded(reply, count);
      if (count && count.remaining <= Number(reply.getHeader('ratelimit-remaining') ?? Infinity))
        setHeaders(reply, count);
    }
  }
}

/** A preflight is sent by the browser rather than the page, and requests nothing. */
function isPublic({ method, route }: FastifyRequest): boolean {
  return method === 'OPTIONS' || route?.isPublicFile === true || (route?.url !== undefined && PUBLIC.test(route.url));
}

function limitsOnUser(asked: string, userId: string): readonly (readonly [LimitName, string])[] {
  const requests = ['requests', userId] as const;
  return CREATIONS.includes(asked) ? [requests, ['creates', userId]] : [requests];
}

/** Routes that make something of Docker's. */
const CREATIONS: readonly string[] = [
  'POST /api/containers',
  'POST /api/containers/:id/fork',
  'POST /api/containers/:id/snapshots',
];

function setHeaders(reply: FastifyReply, { limit, remaining, resetSeconds }: Count): void {
  reply.headers({ 'ratelimit-limit': limit, 'ratelimit-remaining': remaining, 'ratelimit-reset': resetSeconds });
}

function exceeded(reply: FastifyReply, count: Count): DomainError {
  setHeaders(reply, { ...count, remaining: 0 });
  return limitExceeded(count);
}

function limitExceeded({ resetSeconds }: Count): DomainError {
  return new DomainError('rate_limit_exceeded', { retryAfter: resetSeconds });
}

/**
 * Adds the limits before every route. Call it after `setUpHttp()`, whose hooks must come first: they answer while the
 * server drains, and answer preflights. Call it before `init()` or `listen()`.
 */
export function setUpRateLimits(app: NestFastifyApplication): void {
  const counters = app.get(RateCounters);
  if (!counters.active) return;
  const fastify = app.getHttpAdapter().getInstance();
  const limits = app.get(RequestLimits);
  counters.attach(fastify);
  fastify.addHook('onRequest', (request, reply) => limits.admit(request, reply));
  fastify.addHook('onSend', (request, reply, _payload, done) => {
    const learning = limits.learn(request, reply);
    if (learning) learning.then(() => done(), done);
    else done();
  });
}
