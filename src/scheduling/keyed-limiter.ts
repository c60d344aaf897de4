/** Limits the concurrent users of each key. */
export class KeyedLimiter {
  private readonly taken = new Map<string, number>();

  /** @param most of a key without a limit of its own */
  constructor(private readonly most = Infinity) {}

  /**
   * @param most the key's own limit
   * @returns a function that gives the place back, to be called once; null if all are taken
   */
  take(key: string, most = this.most): (() => void) | null {
    const taken = this.taken.get(key) ?? 0;
    if (taken >= most) return null;
    this.taken.set(key, taken + 1);
    return () => this.giveBack(key);
  }

  private giveBack(key: string): void {
    const left = (this.taken.get(key) ?? 1) - 1;
    if (left > 0) this.taken.set(key, left);
    else this.taken.delete(key);
  }
}
