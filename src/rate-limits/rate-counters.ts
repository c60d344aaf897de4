import rateLimit from '@fastify/rate-limit';
import { Inject, Injectable } from '@nestjs/common';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { hash } from 'node:crypto';
import { type Config, CONFIG } from '../config';
import { RedisConnection } from '../signals';

/** What is limited, in the order of their settings. */
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

/** The limits that are set; 0 is none. */
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

/** How far somebody has come with a limit. */
export interface Count {
  readonly limit: number;
  readonly remaining: number;
  /** When the counter resets, in seconds from now. */
  readonly resetSeconds: number;
  /** Whether what was counted is one too many. */
  readonly exceeded: boolean;
}

/** How long a request waits for Redis, in milliseconds. */
const REDIS_ANSWER_MS = 500;

/**
 * How many keys of one limit a process remembers without Redis; some 200 bytes each. The least recent is forgotten
 * first.
 */
const MOST_KEYS = 20_000;

type Counter = ReturnType<FastifyInstance['createRateLimit']>;

/**
 * Counts in fixed windows: in Redis, for all processes, where there is one, else in this process's memory. The library
 * counts requests; here it is given whatever a limit goes by, such as a token or an address.
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

  /** Whether anything is limited at all. */
  get active(): boolean {
    return this.limits.size > 0;
  }

  /** Makes the counters with the server's plugins; before, nothing is limited. */
  attach(fastify: FastifyInstance): void {
    // Berths that share one Redis share counters too unless they have names of their own.
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
   * Counts one more. @returns null where nothing is limited, and where Redis does not answer: then nothing is counted
   */
  hit(name: LimitName, key: string): Promise<Count | null> {
    return this.count(name, key, { increment: true });
  }

  /** As {@link hit}, and counts nothing. */
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

  /** A Redis that has gone silent holds up those who asked it now, and nobody after them. */
  private giveUp(error: unknown): void {
    if (this.redis?.status === 'ready' && error instanceof Error && error.message === 'Command timed out') {
      this.redis.disconnect(true);
    }
  }
}

/** What the library takes for a request. */
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

/** What a token is counted by: never the token itself, which must not get into Redis. */
export function tokenKey(token: string): string {
  return hash('sha256', token, 'base64url');
}
