/** How long after it is back a process may still find a connection of before. */
const AFTERMATH_MS = 10_000;

/** When the database was away. */
export class DatabaseOutages {
  private readonly outages: { from: number; to: number }[] = [];

  async during(work: () => Promise<void>): Promise<void> {
    const outage = { from: Date.now(), to: Number.POSITIVE_INFINITY };
    this.outages.push(outage);
    try {
      await work();
    } finally {
      outage.to = Date.now() + AFTERMATH_MS;
    }
  }

  /** @returns whether it was away at some time since then */
  since(time: number): boolean {
    return this.outages.some(({ from, to }) => from <= Date.now() && to >= time);
  }
}
