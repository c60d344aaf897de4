/** Docker's order of events is not quite that of their times; so much is asked for again after a reconnection. */
const OVERLAP_SECONDS = 2;

/** Remembers the last events, so that a stream that is asked to begin in the past can be told what was had already. */
export class ReplayFilter {
  private readonly secondOf = new Map<string, number>();
  private newest: number;

  /** @param start the daemon's own time in seconds: where to begin as long as there was no event */
  constructor(start: number) {
    this.newest = start;
  }

  /** From when on the next stream must begin, in seconds of the daemon's clock. */
  get since(): number {
    return this.newest - OVERLAP_SECONDS;
  }

  /** @returns whether exactly this event comes for the first time */
  isNew(line: string, second: number): boolean {
    if (this.secondOf.has(line)) return false;
    this.secondOf.set(line, second);
    if (second > this.newest) {
      this.newest = second;
      for (const [known, at] of this.secondOf) if (at < this.since) this.secondOf.delete(known);
    }
    return true;
  }
}
