import { setTimeout as delay } from 'node:timers/promises';

const SHORTEST_BACKOFF_MS = 50;
const LONGEST_BACKOFF_MS = 5_000;

/** Who asks; what becomes of their faults is theirs. */
export interface Retrier {
  /** True once nobody wants the answer any more. */
  isClosed(): boolean;
  /** Called for the first failure in a row only. */
  failed(error: unknown): void;
}

/** Repeats `work` until it succeeds, with a growing pause between. @returns null once the asker is closed */
export async function retryUntilClosed<T>(asker: Retrier, work: () => Promise<T>): Promise<T | null> {
  for (let attempt = 0; !asker.isClosed(); attempt += 1) {
    try {
      return await work();
    } catch (error) {
      if (attempt === 0 && !asker.isClosed()) asker.failed(error);
      const backoff = Math.min(SHORTEST_BACKOFF_MS * 2 ** Math.min(attempt, 10), LONGEST_BACKOFF_MS);
      await delay(backoff, undefined, { ref: false });
    }
  }
  return null;
}
