/** Limits the concurrent users of each key. */
export class KeyedLimiter {
  private readonly taken = new Map<string, number>();

  constructor(private readonly most: number) {}

  /** @returns a function that gives the place back, to be called once; null if all are taken */
  take(key: string): (() => void) | null {
    const taken = this.taken.get(key) ?? 0;
    if (taken >= this.most) return null;
    this.taken.set(key, taken + 1);
    return () => this.giveBack(key);
  }

  private giveBack(key: string): void {
    const left = (this.taken.get(key) ?? 1) - 1;
    if (left > 0) this.taken.set(key, left);
    else this.taken.delete(key);
  }
}
