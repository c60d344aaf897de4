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
    /** Whom the request is counted for; absent where it is not limited. */
    counted?: CountedCaller;
  }

  interface FastifyContextConfig {
    /** Of a route that answers anyone alike, from memory: counted by address, apart from the API. */
    isPublicFile?: boolean;
  }
}

/** What a request is counted by. */
interface CountedCaller {
  readonly address: string;
  /** Of the token that it brings; null if it brings none. */
  readonly token: string | null;
  /** Whose token it is, as far as this process knows. */
  readonly userId: string | undefined;
}

/** What collectors and readers of the documentation ask for; counted apart: it must work when the API is too much. */
const PUBLIC = /^\/(metrics$|api\/docs(\/|$)|api\/(openapi|asyncapi)\.json$)/;

/**
 * Probes are not counted: a balancer or supervisor whose probe is refused takes the server away from everybody, so
 * anyone at its address could bring that about. They cost little: the one is constant, the other asks once for all.
 */
const PROBES = '/health/';

/**
 * Limits requests: those of users who are known by their tokens, and of addresses, before anything is done for them;
 * those of tokens that this process has not seen yet once more when the guard has found out whose they are.
 */
@Injectable()
export class RequestLimits {
  constructor(
    private readonly counters: RateCounters,
    private readonly refusedTokens: RefusedTokens,
  ) {}

  /** Before the body is read. @throws DomainError `rate_limit_exceeded` */
  async admit(request: FastifyRequest, reply: FastifyReply): Promise<void> {
    const { url: route } = request.routeOptions;
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
      if (token !== null) {
        request.onAuthenticated = async (principal) => {
          this.refusedTokens.accept(token, principal.userId);
          await this.count(reply, limitsOnUser(asked, principal.userId));
        };
      }
    }
    if (asked === 'POST /api/auth/guest') await this.count(reply, [['guests', address]]);
  }

  /** Before the answer goes out. @returns undefined where there is nothing to wait for */
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
   * Counts one more for each, and sets the headers of the limit that is closest to exhaustion.
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

/** A preflight is the browser's, not the page's, and asks for nothing. */
function isPublic({ method, routeOptions: { url, config } }: FastifyRequest): boolean {
  return method === 'OPTIONS' || config.isPublicFile === true || (url !== undefined && PUBLIC.test(url));
}

function limitsOnUser(asked: string, userId: string): readonly (readonly [LimitName, string])[] {
  const requests = ['requests', userId] as const;
  return asked === 'POST /api/containers' ? [requests, ['creates', userId]] : [requests];
}

function setHeaders(reply: FastifyReply, { limit, remaining, resetSeconds }: Count): void {
  reply.headers({ 'ratelimit-limit': limit, 'ratelimit-remaining': remaining, 'ratelimit-reset': resetSeconds });
}

function exceeded(reply: FastifyReply, count: Count): DomainError {
  setHeaders(reply, { ...count, remaining: 0 });
  return new DomainError('rate_limit_exceeded', { retryAfter: count.resetSeconds });
}

/**
 * Puts the limits before every route. Call it after `setUpHttp()`, whose hooks come first: a server that drains says
 * so, and preflights are answered. And before `init()` or `listen()`.
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
