import { Inject, Injectable } from '@nestjs/common';
import { type Config, CONFIG } from '../config';
import { Clock } from '../scheduling';

/** The longest jitter, as a part of the pause: receivers that failed together are not tried again together. */
const JITTER = 0.2;

/** What happens after a failed attempt: another one at `nextTryAt`, or with null none. */
export interface Retry {
  readonly firstFailedAt: Date;
  readonly nextTryAt: Date | null;
}

/**
 * Decides when a delivery is tried again. The pauses grow with the attempts; `WEBHOOK_RETRY_FOR` after the first
 * failure there is a last attempt.
 *
 * @param delivery with the attempts so far, the last one included
 * @param random from 0 to 1
 */
export function retryAfter(
  delivery: { readonly attempts: number; readonly firstFailedAt: Date | null },
  now: Date,
  { WEBHOOK_RETRIES: pauses, WEBHOOK_RETRY_FOR: retryForMs }: Pick<Config, 'WEBHOOK_RETRIES' | 'WEBHOOK_RETRY_FOR'>,
  random = Math.random(),
): Retry {
  const { attempts, firstFailedAt } = delivery;
  const since = firstFailedAt ?? now;
  const end = since.getTime() + retryForMs;
  if (now.getTime() >= end) return { firstFailedAt: since, nextTryAt: null };
  const pause = pauses[Math.min(attempts, pauses.length) - 1] ?? 0;
  const next = Math.min(now.getTime() + pause * (1 + JITTER * random), end);
  return { firstFailedAt: since, nextTryAt: new Date(next) };
}

/** {@link retryAfter} by the settings and the clock. */
@Injectable()
export class Retries {
  constructor(
    private readonly clock: Clock,
    @Inject(CONFIG) private readonly config: Pick<Config, 'WEBHOOK_RETRIES' | 'WEBHOOK_RETRY_FOR'>,
  ) {}

  /** See {@link retryAfter}. */
  after(delivery: Parameters<typeof retryAfter>[0]): Retry {
    return retryAfter(delivery, this.clock.now(), this.config);
  }

  /** Milliseconds until a delivery is due; 0 or less if it is. */
  msUntil({ nextTryAt }: { readonly nextTryAt: Date | null }): number {
    return nextTryAt === null ? 0 : nextTryAt.getTime() - this.clock.now().getTime();
  }
}
