import { setTimeout as delay } from 'node:timers/promises';

/** Repeats an assertion until it holds: a test waits for a condition, never for a time. */
export async function eventually(
  assertion: () => unknown,
  { timeoutMs = 30_000, what }: { timeoutMs?: number; what?: () => string } = {},
): Promise<void> {
  const began = Date.now();
  for (;;) {
    try {
      await assertion();
      return;
    } catch (error) {
      if (Date.now() - began >= timeoutMs) {
        if (error instanceof Error && what) error.message += `\n${what()}`;
        throw error;
      }
      // What is asked is often Docker or a database, and is not done sooner for being asked about.
      await delay(Math.min(Math.max((Date.now() - began) / 10, 20), 100));
    }
  }
}
