import { BerthEvent } from './map';
import { Retrier, retryUntilClosed } from './persistently';

/**
 * What one subscription asks for. Callbacks are called synchronously; what they throw is logged and affects no other
 * subscription.
 */
export interface SubscribeOptions {
  readonly userId: string;
  /** The last `seq` seen: what came after it is replayed first. From now on if absent. */
  readonly after?: number;
  /** Called once for every event, in `seq` order. */
  readonly onEvent: (event: BerthEvent) => void;
  /**
   * Events between `after` and now cannot be replayed: read the whole state again. It holds what happened up to
   * `eventSeq` at least; events after that follow.
   */
  readonly onResyncRequired: (eventSeq: number) => void;
  /** Awaited between two pages of a replay, so that a slow reader is not buried under all of it at once. */
  readonly ready?: () => Promise<void>;
}

/** One subscription's place in its user's events. */
export class Subscriber {
  closed = false;
  private position = 0;

  constructor(
    private readonly options: SubscribeOptions,
    private readonly onFault: (error: unknown) => void,
  ) {}

  /** `seq` up to which everything is delivered. */
  get seq(): number {
    return this.position;
  }

  /** Takes its place without delivering anything. */
  startAt(seq: number): void {
    this.position = seq;
  }

  /** Delivers the event unless it was delivered before. */
  deliver(event: BerthEvent): void {
    if (this.closed || event.seq <= this.position) return;
    this.position = event.seq;
    this.guarded(() => this.options.onEvent(event));
  }

  /** Gives up what lies between its place and `seq`. */
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

/** Where one user's committed events can be read. */
export interface UserEvents {
  /** The next page of events after that `seq`, in order; empty if there are none. */
  read(after: number): Promise<BerthEvent[]>;
  lastSeq(): Promise<number>;
}

/** Committed events that came before their turn; when more wait, the database has them as well. */
const MOST_EARLY = 1_000;

/**
 * One user's live events in this process: delivers every committed event after its cursor to all live subscribers, in
 * `seq` order. Its inputs are hints, in any order and at any time; it reads what is missing.
 */
export class UserChannel implements Retrier {
  private closed = false;
  private readonly live = new Set<Subscriber>();
  private readonly early = new Map<number, BerthEvent>();
  /** `seq` of the last event delivered to live subscribers; null until the present is known. */
  private cursor: number | null = null;
  /** The greatest `seq` heard of, perhaps from a peer that is mistaken. */
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

  /** Reads the present `event_seq`. The channel's life begins there. @throws when the database does not answer */
  async present(): Promise<number> {
    const seq = await this.events.lastSeq();
    if (this.cursor === null) {
      this.cursor = seq;
      this.drain();
    }
    this.hint(seq);
    return seq;
  }

  /** Events that this process committed: delivered at once if it is their turn. */
  offer(events: readonly BerthEvent[]): void {
    for (const event of events) {
      if (this.early.size < MOST_EARLY) this.early.set(event.seq, event);
    }
    this.drain();
    this.hint(events.at(-1)?.seq ?? 0);
  }

  /** There are events up to `seq`, it is said. */
  hint(seq: number): void {
    this.heard = Math.max(this.heard, seq);
    if (this.cursor !== null && this.heard > this.cursor && !this.reading) void this.catchUp();
  }

  /**
   * Makes a subscriber live, if its place is not behind the channel's; what it has seen is not delivered again.
   * Synchronous, so that no event can come between the question and the answer.
   */
  join(subscriber: Subscriber): boolean {
    if (this.cursor === null || subscriber.seq < this.cursor) return false;
    this.live.add(subscriber);
    return true;
  }

  leave(subscriber: Subscriber): void {
    this.live.delete(subscriber);
  }

  /** Replays what comes after the subscriber's place, page by page, until it is live or closed. */
  async replay(subscriber: Subscriber): Promise<void> {
    const asker: Retrier = {
      isClosed: () => subscriber.closed || this.closed,
      failed: this.failed,
    };
    while (!asker.isClosed() && !this.join(subscriber)) {
      const after = subscriber.seq;
      const page = await retryUntilClosed(asker, () => this.events.read(after));
      // Behind the channel, so there was an event; where it is no more, it was pruned.
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

  /** Delivers what is here already and has its turn. A callback that offers again is served after it returns. */
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

  /** Takes a page that was read after `after`; meanwhile the cursor may have moved on by local commits. */
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

  /** Heard of events that were not there: either the hint was wrong, or they are pruned already. */
  private async checkHint(after: number): Promise<void> {
    // What is heard while asking counts again.
    this.heard = after;
    const committed = await retryUntilClosed(this, () => this.events.lastSeq());
    if (committed === null || committed <= after) return;
    this.heard = Math.max(this.heard, committed);
    // They may have come between the two reads; only what is still not there is gone.
    const page = await retryUntilClosed(this, () => this.events.read(after));
    if (page?.length === 0) this.skipTo(committed);
  }

  /** Events that nobody delivered are gone: whoever is live must read the whole state again. */
  private skipTo(seq: number): void {
    if (this.cursor === null || seq <= this.cursor) return;
    this.cursor = seq;
    // Nothing is delivered meanwhile, whatever a callback does.
    this.draining = true;
    for (const subscriber of this.live) if (subscriber.seq < seq) subscriber.resync(seq);
    this.draining = false;
    this.drain();
  }
}

/** Whether a page that was read after `after` begins right there, and nothing of it was pruned. */
export function isContiguous(page: readonly BerthEvent[], after: number): boolean {
  return page.length > 0 && page.every((event, index) => event.seq === after + 1 + index);
}
