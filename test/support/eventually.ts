import { setTimeout as delay } from 'node:timers/promises';

/** Repeats an assertion until it holds: a test waits for a condition, never for a time. */
export async function eventually(
  assertion: () => unknown,
  { timeoutMs = 30_000, what }: { timeoutMs?: number; what?: () => string } = {},
): Promise<void> {
  const deadline = Date.now() + timeoutMs;
  for (;;) {
    try {
      await assertion();
      return;
    } catch (error) {
      if (Date.now() >= deadline) {
        if (error instanceof Error && what) error.message += `\n${what()}`;
        throw error;
      }
      await delay(20);
    }
  }
}
