/** A set that forgets: of more than `most` keys the least recently used one goes. */
export class RecentKeys {
  private readonly keys = new Set<string>();

  constructor(private readonly most: number) {}

  has(key: string): boolean {
    // Set keeps the order of insertion.
    return this.keys.delete(key) && this.keys.add(key).has(key);
  }

  add(key: string): void {
    this.keys.delete(key);
    this.keys.add(key);
    const [oldest] = this.keys;
    if (this.keys.size > this.most && oldest !== undefined) this.keys.delete(oldest);
  }

  delete(key: string): void {
    this.keys.delete(key);
  }
}
