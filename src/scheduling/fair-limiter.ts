import { KeyedLimiter } from './keyed-limiter';

/**
 * Limits concurrent work, in total and per key. Waiting work is served round-robin: one item per key, in the order in
 * which the keys came. So a key with much work delays others by no more than its share.
 */
export class FairLimiter {
  private readonly running: KeyedLimiter;
  /** Waiting work by key, the next key in turn first. A key without waiting work has no entry. */
  private readonly waiting = new Map<string, ((leave: () => void) => void)[]>();
  private total = 0;

  constructor(private readonly limits: { readonly atOnce: number; readonly perKey: number }) {
    this.running = new KeyedLimiter(limits.perKey);
  }

  /** Runs the work once there is room for it. @throws what the work throws */
  async run<T>(key: string, work: () => Promise<T>): Promise<T> {
    const leave = await this.enter(key);
    try {
      return await work();
    } finally {
      leave();
      this.total -= 1;
      this.admit();
    }
  }

  /** @returns a function that gives the key's place back */
  private enter(key: string): Promise<() => void> {
    return new Promise<() => void>((resolve) => {
      const queue = this.waiting.get(key);
      if (queue) queue.push(resolve);
      else this.waiting.set(key, [resolve]);
      this.admit();
    });
  }

  private admit(): void {
    while (this.total < this.limits.atOnce && this.admitNext());
  }

  /** @returns false if every key with waiting work is at its limit */
  private admitNext(): boolean {
    for (const [key, queue] of this.waiting) {
      const leave = this.running.take(key);
      if (!leave) continue;
      const begin = queue.shift();
      // Moves the key behind the others, whose turn comes first.
      this.waiting.delete(key);
      if (queue.length > 0) this.waiting.set(key, queue);
      this.total += 1;
      begin?.(leave);
      return true;
    }
    return false;
  }
}
