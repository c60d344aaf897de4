import { Injectable } from '@nestjs/common';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { DomainError } from '../errors';
import { addressKey, bearerToken, tokenKey } from './caller-keys';
import type { LimitName } from './limits';
import { type Count, RateCounters } from './rate-counters';
import { RefusedTokens } from './refused-tokens';

declare module 'fastify' {
  interface FastifyRequest {
    /** Whom the request is counted for; absent where it is not limited. */
    counted?: CountedCaller;
  }
}

/** What a request is counted by. */
interface CountedCaller {
  readonly address: string;
  /** Of the token that it brings; null if it brings none. */
  readonly token: string | null;
  /** Whether the token is somebody's, as far as this process knows. */
  readonly known: boolean;
}

/** Probes, collectors and the documentation, which cost nothing and must work when all else is too much. */
const UNLIMITED = /^\/(health\/|metrics$|api\/docs(\/|$)|api\/openapi\.json$)/;

/** Limits requests before anything is done for them, and learns from their answers whose tokens are valid. */
@Injectable()
export class RequestLimits {
  constructor(
    private readonly counters: RateCounters,
    private readonly refusedTokens: RefusedTokens,
  ) {}

  /** Before the body is read. @throws DomainError `rate_limit_exceeded` */
  async admit(request: FastifyRequest, reply: FastifyReply): Promise<void> {
    const { url: route } = request.routeOptions;
    // A preflight is the browser's, not the page's, and asks for nothing.
    if (request.method === 'OPTIONS' || (route !== undefined && UNLIMITED.test(route))) return;
    const caller = this.callerOf(request);
    request.counted = caller;
    if (request.headers.authorization !== undefined && !caller.known) {
      const exhausted = await this.refusedTokens.exhausted(caller.address);
      if (exhausted) throw exceeded(reply, exhausted);
    }
    let nearest: Count | null = null;
    for (const [name, key] of limitsOn(`${request.method} ${route ?? ''}`, caller)) {
      const count = await this.counters.hit(name, key);
      if (count?.exceeded) throw exceeded(reply, count);
      if (count && count.remaining <= (nearest?.remaining ?? Infinity)) nearest = count;
    }
    if (nearest) tell(reply, nearest);
  }

  /** Before the answer goes out. @returns undefined where there is nothing to wait for */
  learn(request: FastifyRequest, reply: FastifyReply): Promise<void> | undefined {
    const { counted: caller, principal } = request;
    if (!caller) return undefined;
    if (reply.statusCode === 401 && request.headers.authorization !== undefined) {
      return this.refusedTokens.refuse(caller.address, caller.token);
    }
    if (!principal || caller.known || caller.token === null) return undefined;
    return this.becomeKnown(caller.token, reply);
  }

  private callerOf({ ip, headers }: FastifyRequest): CountedCaller {
    const token = bearerToken(headers.authorization);
    const key = token === null ? null : tokenKey(token);
    return { address: addressKey(ip), token: key, known: key !== null && this.refusedTokens.isKnown(key) };
  }

  /** The request was counted for its address, as nobody knew whose it is; it is the token's first. */
  private async becomeKnown(token: string, reply: FastifyReply): Promise<void> {
    this.refusedTokens.accept(token);
    const count = await this.counters.hit('requests', token);
    const told = Number(reply.getHeader('ratelimit-remaining') ?? Infinity);
    if (count && count.remaining < told) tell(reply, count);
  }
}

/**
 * What counts for a request, and by what. A token stands for its holder only once it is known to be valid: until then
 * the address does, or ever new tokens would never come to a limit.
 */
function limitsOn(route: string, { address, token, known }: CountedCaller): readonly (readonly [LimitName, string])[] {
  const requests = ['requests', known && token !== null ? token : address] as const;
  if (route === 'POST /api/containers' && token !== null) return [requests, ['creates', token]];
  if (route === 'POST /api/auth/guest') return [requests, ['guests', address]];
  return [requests];
}

function tell(reply: FastifyReply, { limit, remaining, resetSeconds }: Count): void {
  reply.headers({ 'ratelimit-limit': limit, 'ratelimit-remaining': remaining, 'ratelimit-reset': resetSeconds });
}

function exceeded(reply: FastifyReply, count: Count): DomainError {
  tell(reply, { ...count, remaining: 0 });
  return new DomainError('rate_limit_exceeded', { retryAfter: count.resetSeconds });
}
