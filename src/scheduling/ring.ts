/** The newest entries of a series: a further one replaces the oldest. */
export class Ring<T> {
  private readonly entries: T[] = [];
  private next = 0;

  /** @param size how many are kept */
  constructor(private readonly size: number) {}

  push(entry: T): void {
    this.entries[this.next] = entry;
    this.next = (this.next + 1) % this.size;
  }

  /** The oldest first. */
  toArray(): T[] {
    const isFull = this.entries.length === this.size;
    return isFull ? [...this.entries.slice(this.next), ...this.entries.slice(0, this.next)] : [...this.entries];
  }

  get last(): T | undefined {
    return this.entries[(this.next + this.size - 1) % this.size];
  }
}
