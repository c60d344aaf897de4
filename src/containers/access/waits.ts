import { DomainError } from '../../errors';

/**
 * Maximum concurrent waits of one user in one process, as for sockets and streams: each holds a connection and a
 * subscription, and reads the row at every event of its container.
 */
const MOST_WAITS_PER_USER = 50;

/** A wake-up call that is not lost if it comes before the sleep. */
export class Wake {
  private called = false;
  private resolve: (() => void) | undefined;

  now(): void {
    this.called = true;
    this.resolve?.();
  }

  async within(ms: number): Promise<void> {
    let timer: NodeJS.Timeout | undefined;
    if (!this.called) {
      await new Promise<void>((resolve) => {
        this.resolve = resolve;
        timer = setTimeout(resolve, ms);
      });
    }
    clearTimeout(timer);
    this.called = false;
  }
}

/** The current waits, and their deadlines. */
export class WaitsByUser {
  private readonly deadlines = new Map<string, Set<{ readonly at: number }>>();

  /**
   * Counts one more wait, synchronously: of many simultaneous requests, only the permitted number enters.
   *
   * @returns a function that ends the wait
   * @throws DomainError `too_many_connections`, to be retried when the user's first wait is over
   */
  enter(userId: string, at: number): () => void {
    const deadlines = this.deadlines.get(userId) ?? new Set();
    if (deadlines.size >= MOST_WAITS_PER_USER) {
      const first = Math.min(...Array.from(deadlines, (each) => each.at));
      throw new DomainError('too_many_connections', { retryAfter: (first - Date.now()) / 1000 });
    }
    const own = { at };
    this.deadlines.set(userId, deadlines.add(own));
    return () => {
      deadlines.delete(own);
      if (deadlines.size === 0) this.deadlines.delete(userId);
    };
  }
}
