import rateLimit from '@fastify/rate-limit';
import { Inject, Injectable } from '@nestjs/common';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { hash } from 'node:crypto';
import { type Config, CONFIG } from '../config';
import { RedisConnection } from '../signals';

/** The names of the limits, in the order of their settings. */
const LIMIT_NAMES = ['requests', 'public', 'creates', 'guests', 'refusals'] as const;
export type LimitName = (typeof LIMIT_NAMES)[number];

interface Limit {
  readonly max: number;
  readonly windowMs: number;
}

const MINUTE = 60_000;

type RateLimitSettings = Pick<
  Config,
  | 'RATE_LIMIT_PER_MINUTE'
  | 'RATE_LIMIT_PUBLIC_PER_MINUTE'
  | 'RATE_LIMIT_CREATES_PER_MINUTE'
  | 'RATE_LIMIT_GUESTS_PER_HOUR'
  | 'RATE_LIMIT_REFUSALS_PER_MINUTE'
>;

/** The enabled limits; 0 disables one. */
function limitsOf(settings: RateLimitSettings): ReadonlyMap<LimitName, Limit> {
  const all: Readonly<Record<LimitName, Limit>> = {
    requests: { max: settings.RATE_LIMIT_PER_MINUTE, windowMs: MINUTE },
    public: { max: settings.RATE_LIMIT_PUBLIC_PER_MINUTE, windowMs: MINUTE },
    creates: { max: settings.RATE_LIMIT_CREATES_PER_MINUTE, windowMs: MINUTE },
    guests: { max: settings.RATE_LIMIT_GUESTS_PER_HOUR, windowMs: 60 * MINUTE },
    refusals: { max: settings.RATE_LIMIT_REFUSALS_PER_MINUTE, windowMs: MINUTE },
  };
  return new Map(LIMIT_NAMES.filter((name) => all[name].max > 0).map((name) => [name, all[name]]));
}

export interface Count {
  readonly limit: number;
  readonly remaining: number;
  /** When the counter resets, in seconds from now. */
  readonly resetSeconds: number;
  readonly exceeded: boolean;
}

/** Maximum time that a request waits for Redis, in milliseconds. */
const REDIS_ANSWER_MS = 500;

/**
 * Maximum keys of one limit that a process remembers without Redis, at about 200 bytes each. The least recently used
 * is evicted first.
 */
const MOST_KEYS = 20_000;

type Counter = ReturnType<FastifyInstance['createRateLimit']>;

/**
 * Counts in fixed windows: in Redis, shared by all processes, if configured, else in this process's memory. The
 * library counts requests; this class passes it arbitrary keys, such as a token or an address.
 */
@Injectable()
export class RateCounters {
  private readonly limits: ReadonlyMap<LimitName, Limit>;
  private readonly counters = new Map<LimitName, Counter>();
  private readonly redis: ReturnType<RedisConnection['open']> | null;

  constructor(
    @Inject(CONFIG) private readonly config: Config,
    @Inject(RedisConnection) redis: RedisConnection | null,
  ) {
    this.limits = limitsOf(config);
    this.redis = this.limits.size > 0 && redis ? redis.open({ answerMs: REDIS_ANSWER_MS }) : null;
  }

  get active(): boolean {
    return this.limits.size > 0;
  }

  /** Creates the counters with the server's plugins. Before that, nothing is limited. */
  attach(fastify: FastifyInstance): void {
    // Installations that share a Redis share counters too, unless each has its own `INSTANCE_ID`.
    const nameSpace = `berth:${this.config.INSTANCE_ID ?? 'default'}:limit:`;
    fastify.register(rateLimit, { global: false, ...(this.redis && { redis: this.redis, nameSpace }) });
    fastify.after(() => {
      for (const [name, { max, windowMs }] of this.limits) {
        const options = { max, timeWindow: windowMs, cache: MOST_KEYS, keyGenerator: keyOf };
        this.counters.set(name, fastify.createRateLimit(options));
      }
    });
  }

  /**
   * Counts one request.
   *
   * @returns null if the limit is disabled, or if Redis does not answer: then nothing is counted
   */
  hit(name: LimitName, key: string): Promise<Count | null> {
    return this.count(name, key, { increment: true });
  }

  /** Like {@link hit}, without counting. */
  look(name: LimitName, key: string): Promise<Count | null> {
    return this.count(name, key, { increment: false });
  }

  private async count(name: LimitName, key: string, options: { increment: boolean }): Promise<Count | null> {
    const counter = this.counters.get(name);
    if (!counter) return null;
    try {
      const counted = await counter(counting(`${name}:${key}`), options);
      if (counted.isAllowed) return null;
      const { max, remaining, ttlInSeconds, isExceeded } = counted;
      return { limit: max, remaining, resetSeconds: ttlInSeconds, exceeded: isExceeded };
    } catch (error) {
      this.giveUp(error);
      return null;
    }
  }

  /** Disconnects from an unresponsive Redis, so that it delays only the requests that are waiting now. */
  private giveUp(error: unknown): void {
    if (this.redis?.status === 'ready' && error instanceof Error && error.message === 'Command timed out') {
      this.redis.disconnect(true);
    }
  }
}

/** The part of a request that the library reads. */
interface Counting extends Pick<FastifyRequest, 'routeOptions'> {
  readonly rateLimitKey: string;
}

const NO_ROUTE = {} as FastifyRequest['routeOptions'];

function counting(rateLimitKey: string): FastifyRequest {
  return { rateLimitKey, routeOptions: NO_ROUTE } satisfies Counting as unknown as FastifyRequest;
}

function keyOf(request: FastifyRequest): string {
  return (request as unknown as Counting).rateLimitKey;
}

/** The key under which a token is counted: a hash, since the token itself must not get into Redis. */
export function tokenKey(token: string): string {
  return hash('sha256', token, 'base64url');
}
