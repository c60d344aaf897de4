import { type Retrier, retryUntilClosed } from '../scheduling';
import { BerthEvent } from './map';

/**
 * The options of one subscription. Callbacks are called synchronously; an error that one throws is logged and affects
 * no other subscription.
 */
export interface SubscribeOptions {
  readonly userId: string;
  /** The last `seq` seen: later events are replayed first. If absent, the subscription starts with the next event. */
  readonly after?: number;
  /** Called once for every event, in `seq` order. */
  readonly onEvent: (event: BerthEvent) => void;
  /**
   * Events between `after` and now cannot be replayed: read the whole state again. That state includes at least all
   * events up to `eventSeq`; later events follow.
   */
  readonly onResyncRequired: (eventSeq: number) => void;
  /** Awaited after each page of a replay, so that a slow reader is not flooded. */
  readonly ready?: () => Promise<void>;
}

/** One subscription's position in its user's events. */
export class Subscriber {
  closed = false;
  private position = 0;

  constructor(
    private readonly options: SubscribeOptions,
    private readonly onFault: (error: unknown) => void,
  ) {}

  /** The `seq` up to which everything has been delivered. */
  get seq(): number {
    return this.position;
  }

  /** Sets the position without delivering anything. */
  startAt(seq: number): void {
    this.position = seq;
  }

  /** Delivers the event unless it was delivered before. */
  deliver(event: BerthEvent): void {
    if (this.closed || event.seq <= this.position) return;
    this.position = event.seq;
    this.guarded(() => this.options.onEvent(event));
  }

  /** Skips to `seq`, and tells the subscriber to read the whole state again. */
  resync(seq: number): void {
    if (this.closed) return;
    this.position = seq;
    this.guarded(() => this.options.onResyncRequired(seq));
  }

  async ready(): Promise<void> {
    try {
      await this.options.ready?.();
    } catch (error) {
      this.onFault(error);
    }
  }

  private guarded(deliver: () => void): void {
    try {
      deliver();
    } catch (error) {
      this.onFault(error);
    }
  }
}

/** Reads one user's committed events. */
export interface UserEvents {
  /** The next page of events after `after`, in order; empty if there are none. */
  read(after: number): Promise<BerthEvent[]>;
  lastSeq(): Promise<number>;
}

/** Maximum committed events kept until their turn; further ones are read from the database. */
const MOST_EARLY = 1_000;

/**
 * One user's live events in this process: delivers every committed event after its cursor to all live subscribers, in
 * `seq` order. Its inputs are hints that may come in any order and at any time; it reads missing events from the
 * database.
 */
export class UserChannel implements Retrier {
  private closed = false;
  private readonly live = new Set<Subscriber>();
  private readonly early = new Map<number, BerthEvent>();
  /** `seq` of the last event delivered to live subscribers; null until the newest `seq` was read. */
  private cursor: number | null = null;
  /** The greatest `seq` hinted at. A hint from another process may be wrong. */
  private heard = 0;
  private draining = false;
  private reading = false;

  constructor(
    private readonly events: UserEvents,
    readonly failed: (error: unknown) => void,
  ) {}

  get position(): number | null {
    return this.cursor;
  }

  /**
   * Reads the user's newest `seq`. The first call sets the channel's cursor.
   *
   * @throws if the database does not answer
   */
  async present(): Promise<number> {
    const seq = await this.events.lastSeq();
    if (this.cursor === null) {
      this.cursor = seq;
      this.drain();
    }
    this.hint(seq);
    return seq;
  }

  /** Takes events that this process committed; delivers them at once if it is their turn. */
  offer(events: readonly BerthEvent[]): void {
    for (const event of events) {
      if (this.early.size < MOST_EARLY) this.early.set(event.seq, event);
    }
    this.drain();
    this.hint(events.at(-1)?.seq ?? 0);
  }

  /** Hints that there are events up to `seq`. */
  hint(seq: number): void {
    this.heard = Math.max(this.heard, seq);
    if (this.cursor !== null && this.heard > this.cursor && !this.reading) void this.catchUp();
  }

  /**
   * Makes a subscriber live unless its position is behind the channel's; events that it has seen are not delivered
   * again. Synchronous, so that no event can come between the check and the addition.
   */
  join(subscriber: Subscriber): boolean {
    if (this.cursor === null || subscriber.seq < this.cursor) return false;
    this.live.add(subscriber);
    return true;
  }

  leave(subscriber: Subscriber): void {
    this.live.delete(subscriber);
  }

  /** Replays the events after the subscriber's position page by page, until it is live or closed. */
  async replay(subscriber: Subscriber): Promise<void> {
    const asker: Retrier = {
      isClosed: () => subscriber.closed || this.closed,
      failed: this.failed,
    };
    while (!asker.isClosed() && !this.join(subscriber)) {
      const after = subscriber.seq;
      const page = await retryUntilClosed(asker, () => this.events.read(after));
      // The subscriber is behind the channel, so there were events after its position; missing ones were pruned.
      if (page && !isContiguous(page, after)) subscriber.resync(this.cursor ?? after);
      else page?.forEach((event) => subscriber.deliver(event));
      await subscriber.ready();
    }
  }

  isClosed(): boolean {
    return this.closed;
  }

  close(): void {
    this.closed = true;
    this.live.clear();
    this.early.clear();
  }

  /** Delivers the early events whose turn has come. Events that a callback offers are delivered after it returns. */
  private drain(): void {
    if (this.draining || this.cursor === null) return;
    this.draining = true;
    for (let event = this.early.get(this.cursor + 1); event; event = this.early.get(this.cursor + 1)) {
      this.cursor = event.seq;
      for (const subscriber of this.live) subscriber.deliver(event);
    }
    for (const seq of this.early.keys()) if (seq <= this.cursor) this.early.delete(seq);
    this.draining = false;
  }

  private async catchUp(): Promise<void> {
    this.reading = true;
    while (!this.isClosed() && this.cursor !== null && this.heard > this.cursor) {
      const after = this.cursor;
      const page = await retryUntilClosed(this, () => this.events.read(after));
      if (page) await this.take(page, after);
    }
    this.reading = false;
  }

  /** Takes a page read from after `after`; local commits may have moved the cursor in the meantime. */
  private async take(page: readonly BerthEvent[], after: number): Promise<void> {
    const last = page.at(-1);
    if (last && isContiguous(page, after)) {
      page.forEach((event) => this.early.set(event.seq, event));
      this.drain();
    } else if (last) {
      this.skipTo(last.seq);
    } else {
      await this.checkHint(after);
    }
  }

  /** A hint named events that were not found: either it was wrong, or they are pruned already. */
  private async checkHint(after: number): Promise<void> {
    // Hints that arrive during the query count again.
    this.heard = after;
    const committed = await retryUntilClosed(this, () => this.events.lastSeq());
    if (committed === null || committed <= after) return;
    this.heard = Math.max(this.heard, committed);
    // The events may have been committed between the two reads; if they are still missing, they were pruned.
    const page = await retryUntilClosed(this, () => this.events.read(after));
    if (page?.length === 0) this.skipTo(committed);
  }

  /** Skips pruned events: live subscribers that missed them must read the whole state again. */
  private skipTo(seq: number): void {
    if (this.cursor === null || seq <= this.cursor) return;
    this.cursor = seq;
    // Prevents deliveries during the loop, even if a callback offers events.
    this.draining = true;
    for (const subscriber of this.live) if (subscriber.seq < seq) subscriber.resync(seq);
    this.draining = false;
    this.drain();
  }
}

/** True if a page read from after `after` starts right behind it and has no gap, so that no event was pruned. */
export function isContiguous(page: readonly BerthEvent[], after: number): boolean {
  return page.length > 0 && page.every((event, index) => event.seq === after + 1 + index);
}
