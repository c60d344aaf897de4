import { setTimeout as delay } from 'node:timers/promises';

const SHORTEST_BACKOFF_MS = 50;
const LONGEST_BACKOFF_MS = 5_000;

/** The caller of a retry loop. It decides how to report failures. */
export interface Retrier {
  /** True once the result is no longer wanted. */
  isClosed(): boolean;
  /** Called only for the first of several consecutive failures. */
  failed(error: unknown): void;
}

/** Repeats `work` with exponential backoff until it succeeds. @returns null once the caller is closed */
export async function retryUntilClosed<T>(retrier: Retrier, work: () => Promise<T>): Promise<T | null> {
  for (let attempt = 0; !retrier.isClosed(); attempt += 1) {
    try {
      return await work();
    } catch (error) {
      if (attempt === 0 && !retrier.isClosed()) retrier.failed(error);
      const backoff = Math.min(SHORTEST_BACKOFF_MS * 2 ** Math.min(attempt, 10), LONGEST_BACKOFF_MS);
      await delay(backoff, undefined, { ref: false });
    }
  }
  return null;
}
