import type { BerthError } from './errors.ts';

/** Refused before anything was done: whatever was asked for can be asked for again. */
const NOTHING_DONE: ReadonlySet<string> = new Set([
  'rate_limit_exceeded',
  'too_many_connections',
  'database_busy',
  'operation_in_progress',
]);

/** It may or may not have been done, so only what does no harm when it is done twice is asked for again. */
const PERHAPS_DONE: ReadonlySet<string> = new Set([
  'connection_failed',
  'database_unavailable',
  'docker_unavailable',
  'shutting_down',
]);

/** Of a proxy before the server. */
const GATEWAY_STATUSES: ReadonlySet<number> = new Set([502, 503, 504]);

const FIRST_DELAY_MS = 250;
const LONGEST_DELAY_MS = 8_000;
/** Whoever is to wait for longer had better know. */
const LONGEST_RETRY_AFTER_MS = 60_000;

export interface FailedTry {
  readonly error: BerthError;
  /** 1 for the first. */
  readonly tries: number;
  readonly maxRetries: number;
  /** Whether the request does no harm when it is carried out twice. */
  readonly isRepeatable: boolean;
}

/** @returns after how many milliseconds to try once more; null: not at all */
export function retryDelay({ error, tries, maxRetries, isRepeatable }: FailedTry): number | null {
  if (tries > maxRetries) return null;
  const isGateway = error.code === 'unexpected_answer' && GATEWAY_STATUSES.has(error.status);
  const isWorthIt = NOTHING_DONE.has(error.code) || (isRepeatable && (PERHAPS_DONE.has(error.code) || isGateway));
  if (!isWorthIt) return null;
  if (error.retryAfterMs === null) return backoff(tries);
  return error.retryAfterMs > LONGEST_RETRY_AFTER_MS ? null : error.retryAfterMs + Math.random() * FIRST_DELAY_MS;
}

/** @param tries how many there were. @returns milliseconds: twice as many each time, and never the same for all */
export function backoff(tries: number, longest = LONGEST_DELAY_MS): number {
  const delay = Math.min(FIRST_DELAY_MS * 2 ** (tries - 1), longest);
  return delay * (0.5 + Math.random() / 2);
}

/** @throws the signal's reason, as soon as it is aborted */
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
