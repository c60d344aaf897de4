/** Lets one report through per interval, the first at once. By the monotonic clock. */
export class Throttle {
  private passedAt = -Infinity;

  constructor(private readonly everyMs: number) {}

  /** Whether a report may pass now; if so, the next interval begins. */
  passes(): boolean {
    if (performance.now() - this.passedAt < this.everyMs) return false;
    this.restart();
    return true;
  }

  /** Begins an interval, for a report that passes regardless of the time. */
  restart(): void {
    this.passedAt = performance.now();
  }
}
