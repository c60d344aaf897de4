import type { BerthError } from './errors.ts';

/** Refused before any effect, so every request can be retried. */
const NOTHING_DONE: ReadonlySet<string> = new Set([
  'rate_limit_exceeded',
  'too_many_connections',
  'database_busy',
  'operation_in_progress',
]);

/** The request may have been executed, so only repeatable ones are retried. */
const PERHAPS_DONE: ReadonlySet<string> = new Set([
  'connection_failed',
  'database_unavailable',
  'docker_unavailable',
  'shutting_down',
]);

/** Statuses of a proxy in front of the server. */
const GATEWAY_STATUSES: ReadonlySet<number> = new Set([502, 503, 504]);

const FIRST_DELAY_MS = 250;
const LONGEST_DELAY_MS = 8_000;
/** Errors with a longer `Retry-After` are not retried but thrown, so that the caller learns of the wait. */
const LONGEST_RETRY_AFTER_MS = 60_000;

export interface FailedTry {
  readonly error: BerthError;
  /** Number of attempts so far, starting with 1. */
  readonly tries: number;
  readonly maxRetries: number;
  /** Whether executing the request twice is harmless. */
  readonly isRepeatable: boolean;
}

/** @returns the milliseconds until the next attempt; null for none */
export function retryDelay({ error, tries, maxRetries, isRepeatable }: FailedTry): number | null {
  if (tries > maxRetries) return null;
  const isGateway = error.code === 'unexpected_answer' && GATEWAY_STATUSES.has(error.status);
  const isWorthIt = NOTHING_DONE.has(error.code) || (isRepeatable && (PERHAPS_DONE.has(error.code) || isGateway));
  if (!isWorthIt) return null;
  if (error.retryAfterMs === null) return backoff(tries);
  return error.retryAfterMs > LONGEST_RETRY_AFTER_MS ? null : error.retryAfterMs + Math.random() * FIRST_DELAY_MS;
}

/** @param tries number of attempts so far. @returns milliseconds: doubled for each attempt, with random jitter */
export function backoff(tries: number): number {
  const delay = Math.min(FIRST_DELAY_MS * 2 ** (tries - 1), LONGEST_DELAY_MS);
  return delay * (0.5 + Math.random() / 2);
}

/** @throws the signal's reason as soon as it aborts */
export function sleep(ms: number, signal?: AbortSignal | null): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) {
      reject(signal.reason as Error);
      return;
    }
    const timer = setTimeout(() => {
      signal?.removeEventListener('abort', onAbort);
      resolve();
    }, ms);
    const onAbort = (): void => {
      clearTimeout(timer);
      reject(signal?.reason as Error);
    };
    signal?.addEventListener('abort', onAbort, { once: true });
  });
}
