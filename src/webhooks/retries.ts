import { Inject, Injectable } from '@nestjs/common';
import { type Config, CONFIG } from '../config';
import { Clock } from '../scheduling';

/** The longest jitter, as a part of the pause: receivers that failed together are not tried again together. */
const JITTER = 0.2;

/** The longest pause that a receiver may ask for. */
const MOST_ASKED_MS = 4 * 3_600_000;

/** What happens after a failed attempt: another one at `nextTryAt`, or with null none. */
export interface Retry {
  readonly firstFailedAt: Date;
  readonly nextTryAt: Date | null;
}

/** Decides when deliveries are tried again. */
@Injectable()
export class Retries {
  constructor(
    private readonly clock: Clock,
    @Inject(CONFIG) private readonly config: Pick<Config, 'WEBHOOK_RETRIES' | 'WEBHOOK_RETRY_FOR'>,
  ) {}

  /**
   * The pauses grow with the attempts; `WEBHOOK_RETRY_FOR` after the first failure there is a last attempt.
   *
   * @param delivery with the attempts so far, the last one included, and what {@link notBefore} returned for it
   * @param random from 0 to 1
   */
  after(
    delivery: { readonly attempts: number; readonly firstFailedAt: Date | null; readonly notBefore: Date | null },
    random = Math.random(),
  ): Retry {
    const { WEBHOOK_RETRIES: pauses, WEBHOOK_RETRY_FOR: retryForMs } = this.config;
    const now = this.clock.now().getTime();
    const firstFailedAt = delivery.firstFailedAt ?? new Date(now);
    const end = firstFailedAt.getTime() + retryForMs;
    if (now >= end) return { firstFailedAt, nextTryAt: null };
    const pause = pauses[Math.min(delivery.attempts, pauses.length) - 1] ?? 0;
    const next = Math.max(now + pause * (1 + JITTER * random), delivery.notBefore?.getTime() ?? 0);
    return { firstFailedAt, nextTryAt: new Date(Math.min(next, end)) };
  }

  /**
   * The end of the time for which a receiver wants no message, at most 4 h.
   *
   * @returns null if the receiver did not say
   */
  notBefore(retryAfterMs: number | null): Date | null {
    if (retryAfterMs === null) return null;
    return new Date(this.clock.now().getTime() + Math.min(retryAfterMs, MOST_ASKED_MS));
  }

  /** Milliseconds until a time; 0 or less if it has come, or is null. */
  msUntil(time: Date | null): number {
    return time === null ? 0 : time.getTime() - this.clock.now().getTime();
  }
}
