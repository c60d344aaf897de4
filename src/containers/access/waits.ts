import type { OnModuleDestroy } from '@nestjs/common';
import { DomainError } from '../../errors';
import type { BerthEvent, EventFeed } from '../../events';

/**
 * Maximum concurrent waits of one user in one process, as for sockets and streams: each holds a connection and a
 * subscription, and reads the row at every event of its subject.
 */
const MOST_WAITS_PER_USER = 50;

/** What a wait is for, once it is found. */
interface Awaited<T> {
  /** Whether an event may have changed it. */
  isAbout(event: BerthEvent): boolean;
  /** Calls `wake` for changes that have no event. @returns a function that ends that */
  listen?(wake: () => void): () => void;
  /** @returns the result, or the status so far. @throws DomainError if the wait is in vain */
  look(): Promise<{ readonly reached: T } | { readonly status: string }>;
}

/** How long to wait. */
export interface WaitLimits {
  /** The maximum wait. */
  readonly timeoutMs: number;
  /** Aborted when the client disconnects. */
  readonly signal?: AbortSignal;
}

/** Waits of users for something of theirs. Its events, from any process, wake them. */
export abstract class EventWait implements OnModuleDestroy {
  private readonly waits = new WaitsByUser();
  private readonly sleeping = new Set<Wake>();
  private closing = false;

  protected constructor(private readonly feed: EventFeed) {}

  /** Ends all waits at the start of the shutdown, because a wait may outlast the grace period of the process. */
  onModuleDestroy(): void {
    this.closing = true;
    for (const wake of this.sleeping) wake.now();
  }

  /**
   * @param find finds the subject; its errors end the wait
   * @throws DomainError `status_not_reached` when the time is over or the wait is aborted; `too_many_connections`;
   *   `shutting_down`; as `find` and its {@link Awaited.look} do
   */
  protected async wait<T>(userId: string, limits: WaitLimits, find: () => Promise<Awaited<T>>): Promise<T> {
    const leave = this.waits.enter(userId, Date.now() + limits.timeoutMs);
    try {
      const deadline = performance.now() + limits.timeoutMs;
      return await this.untilReached(userId, { ...limits, deadline }, await find());
    } finally {
      leave();
    }
  }

  private async untilReached<T>(
    userId: string,
    { signal, deadline }: Pick<WaitLimits, 'signal'> & { deadline: number },
    subject: Awaited<T>,
  ): Promise<T> {
    const wake = new Wake();
    const now = (): void => wake.now();
    this.sleeping.add(wake);
    signal?.addEventListener('abort', now, { once: true });
    const stopListening = subject.listen?.(now);
    const onEvent = (event: BerthEvent): void => {
      if (subject.isAbout(event)) now();
    };
    const feed = this.feed.subscribe({ userId, onEvent, onResyncRequired: now });
    try {
      await feed;
      for (;;) {
        const seen = await subject.look();
        if ('reached' in seen) return seen.reached;
        if (performance.now() >= deadline || signal?.aborted) {
          throw new DomainError('status_not_reached', { fields: { status: seen.status } });
        }
        if (this.closing) throw new DomainError('shutting_down');
        await wake.within(deadline - performance.now());
      }
    } finally {
      this.sleeping.delete(wake);
      signal?.removeEventListener('abort', now);
      stopListening?.();
      await feed.then((subscription) => subscription.close()).catch(() => undefined);
    }
  }
}

/** The status can only be reached by another request, or not at all. */
export function unreachable(status: string): DomainError {
  return new DomainError('status_unreachable', { fields: { status } });
}

/** A wake-up call that is not lost if it comes before the sleep. */
class Wake {
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
class WaitsByUser {
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
