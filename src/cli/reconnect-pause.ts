const SHORTEST_MS = 1_000;
const LONGEST_MS = 30_000;

/**
 * How long to wait before the next attempt: twice as long each time, up to half a minute, and of that a random half to the
 * whole, so that the agents of a server that comes back do not all come at once.
 */
export class ReconnectPause {
  private attempts = 0;

  constructor(private readonly random: () => number = Math.random) {}

  /** The connection works: begin anew. */
  reset(): void {
    this.attempts = 0;
  }

  /** @returns milliseconds */
  next(): number {
    const longest = Math.min(SHORTEST_MS * 2 ** Math.min(this.attempts, 10), LONGEST_MS);
    this.attempts += 1;
    return Math.round(longest * (0.5 + this.random() / 2));
  }
}
