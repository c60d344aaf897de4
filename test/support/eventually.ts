import { setTimeout as delay } from 'node:timers/promises';

/** Repeats an assertion until it holds: a test waits for a condition, never for a time. @returns its result */
export async function eventually<T>(
  assertion: () => T | Promise<T>,
  { timeoutMs = 30_000, what }: { timeoutMs?: number; what?: () => string } = {},
): Promise<T> {
  const began = Date.now();
  for (;;) {
    try {
      return await assertion();
    } catch (error) {
      if (Date.now() - began >= timeoutMs) {
        if (error instanceof Error && what) error.message += `\n${what()}`;
        throw error;
      }
      // Most assertions query Docker or a database, or run a program in a sandbox, which takes 80 ms of a processor.
      // Asking more often does not make them ready sooner.
      await delay(Math.min(Math.max((Date.now() - began) / 10, 20), 250));
    }
  }
}
