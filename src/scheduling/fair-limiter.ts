/**
 * Limits concurrent work, in total and per key. Waiting work is served round-robin: one item per key, in the order in
 * which the keys came. So a key with much work delays others by no more than its share.
 */
export class FairLimiter {
  private readonly running = new Map<string, number>();
  /** Waiting work by key, the next key in turn first. A key without waiting work has no entry. */
  private readonly waiting = new Map<string, (() => void)[]>();
  private total = 0;

  constructor(private readonly limits: { readonly atOnce: number; readonly perKey: number }) {}

  /** Runs the work once there is room for it. @throws what the work throws */
  async run<T>(key: string, work: () => Promise<T>): Promise<T> {
    await this.enter(key);
    try {
      return await work();
    } finally {
      this.leave(key);
    }
  }

  private async enter(key: string): Promise<void> {
    await new Promise<void>((resolve) => {
      const queue = this.waiting.get(key);
      if (queue) queue.push(resolve);
      else this.waiting.set(key, [resolve]);
      this.admit();
    });
  }

  private leave(key: string): void {
    const left = (this.running.get(key) ?? 1) - 1;
    if (left > 0) this.running.set(key, left);
    else this.running.delete(key);
    this.total -= 1;
    this.admit();
  }

  private admit(): void {
    const { atOnce, perKey } = this.limits;
    while (this.total < atOnce) {
      const key = this.nextKey(perKey);
      const queue = key === null ? [] : (this.waiting.get(key) ?? []);
      const begin = queue.shift();
      if (key === null || !begin) return;
      // Moves the key behind the others, whose turn comes first.
      this.waiting.delete(key);
      if (queue.length > 0) this.waiting.set(key, queue);
      this.running.set(key, (this.running.get(key) ?? 0) + 1);
      this.total += 1;
      begin();
    }
  }

  /** @returns null if every key with waiting work is at its limit */
  private nextKey(perKey: number): string | null {
    for (const key of this.waiting.keys()) if ((this.running.get(key) ?? 0) < perKey) return key;
    return null;
  }
}
