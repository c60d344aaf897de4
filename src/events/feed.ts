import { Inject, Injectable, Logger, OnApplicationBootstrap, OnApplicationShutdown } from '@nestjs/common';
import type { Principal } from '../auth';
import { CONFIG, type Config } from '../config';
import { Database } from '../database';
import { Poll } from '../scheduling';
import { Signals } from '../signals';
import { isContiguous, SubscribeOptions, Subscriber, UserChannel } from './channel';
import type { EventListView } from './dto/responses';
import { EventLog } from './log';
import { VisibleEvents } from './visible-events';

export interface Subscription {
  /** The `seq` after which delivery starts: `after`, or the user's newest event when the subscription began. */
  readonly startedAfter: number;
  /** Ends the subscription. No callback is called after this returns. */
  close(): void;
}

/** Maximum events in one page of a replay or a catch-up. */
const PAGE = 200;

/** Without Redis, only polling finds other processes' commits. */
const POLL_WITHOUT_REDIS_MS = 500;
/** Other processes signal their commits; polling finds those whose signal was lost. */
const POLL_WITH_REDIS_MS = 2_000;

/**
 * "List, then watch, without a gap" for all code in this process that follows a user's events: each subscription gets
 * every committed event once and in `seq` order, whichever process committed it.
 */
@Injectable()
export class EventFeed implements OnApplicationBootstrap, OnApplicationShutdown {
  private readonly logger = new Logger(EventFeed.name);
  private readonly channels = new Map<string, { channel: UserChannel; subscribers: number }>();
  private readonly poll: Poll | null;
  private closed = false;
  private readonly stopListening: () => void;

  constructor(
    private readonly log: EventLog,
    database: Database,
    signals: Signals,
    @Inject(CONFIG) config: Pick<Config, 'REDIS_URL'>,
  ) {
    log.onCommitted((userId, events) => this.channels.get(userId)?.channel.offer(events));
    this.stopListening = signals.on('user_events', ({ userId, seq }) => this.channels.get(userId)?.channel.hint(seq));
    // With SQLite, no other process commits.
    this.poll = database.isSqlite
      ? null
      : new Poll({
          everyMs: config.REDIS_URL === undefined ? POLL_WITHOUT_REDIS_MS : POLL_WITH_REDIS_MS,
          work: () => this.askForNews(),
          onFault: (error) => this.fault(error),
        });
  }

  onApplicationBootstrap(): void {
    this.poll?.start();
  }

  /**
   * Subscribes to a user's events. When it resolves, the starting point is fixed: every later event will be
   * delivered, missed ones in pages. Do not call it inside a transaction.
   *
   * @throws if the database does not answer; after the start, database failures are retried
   */
  async subscribe(options: SubscribeOptions): Promise<Subscription> {
    const { userId, after } = options;
    const subscriber = new Subscriber(options, (error) => this.fault(error));
    const channel = this.enter(userId);
    let present: number;
    try {
      present = await channel.present();
    } catch (error) {
      this.leave(userId, subscriber);
      throw error;
    }
    const now = Math.max(present, channel.position ?? 0);
    subscriber.startAt(after ?? now);
    // `after` is ahead of the newest event: the client saw it in a database that was since restored to an older
    // state. Its numbers will be reused by other events.
    if (subscriber.seq > now) subscriber.resync(now);
    if (!channel.join(subscriber)) void channel.replay(subscriber);
    return {
      startedAfter: after ?? now,
      close: () => {
        if (!subscriber.closed) this.leave(userId, subscriber);
      },
    };
  }

  onApplicationShutdown(): void {
    this.closed = true;
    this.poll?.stop();
    this.stopListening();
    for (const { channel } of this.channels.values()) channel.close();
    this.channels.clear();
  }

  private enter(userId: string): UserChannel {
    let entry = this.channels.get(userId);
    if (!entry) {
      // Added before the newest `seq` is read, so that events committed from here on are offered to it.
      const events = {
        read: (after: number) => this.log.read({ userId, after, limit: PAGE }),
        lastSeq: () => this.log.lastSeq(userId),
      };
      entry = { channel: new UserChannel(events, (error) => this.fault(error)), subscribers: 0 };
      this.channels.set(userId, entry);
    }
    entry.subscribers += 1;
    return entry.channel;
  }

  private leave(userId: string, subscriber: Subscriber): void {
    subscriber.closed = true;
    const entry = this.channels.get(userId);
    if (!entry) return;
    entry.channel.leave(subscriber);
    entry.subscribers -= 1;
    if (entry.subscribers > 0) return;
    entry.channel.close();
    this.channels.delete(userId);
  }

  private async askForNews(): Promise<void> {
    const known = new Map<string, number>();
    for (const [userId, { channel }] of this.channels) {
      if (channel.position !== null) known.set(userId, channel.position);
    }
    if (known.size === 0) return;
    for (const { userId, seq } of await this.log.seqsAhead(known)) this.channels.get(userId)?.channel.hint(seq);
  }

  private fault(error: unknown): void {
    if (!this.closed) this.logger.error({ msg: 'delivering events failed', err: error });
  }
}

/** A user's events in pages, for clients that poll. */
@Injectable()
export class EventHistory {
  constructor(
    private readonly log: EventLog,
    private readonly visible: VisibleEvents,
  ) {}

  /**
   * Returns the next page after `after`. If the following events are no longer kept, or `after` never existed (the
   * database was restored to an older state), returns the position from which to continue once the whole state was
   * read again.
   */
  async page(
    { userId, boundTo }: Pick<Principal, 'userId' | 'boundTo'>,
    { after, limit }: { after: number; limit: number },
  ): Promise<EventListView> {
    // Read before the page, so that `present` is not ahead of it.
    const present = await this.log.lastSeq(userId);
    if (after > present) return missed(present);
    const events = await this.log.read({ userId, after, limit });
    const isVisible = await this.visible.of({ boundTo });
    const last = events.at(-1);
    if (!last) return after < present ? missed(present) : { events, next: after };
    return isContiguous(events, after)
      ? { events: events.filter(isVisible), next: last.seq }
      : missed(Math.max(present, last.seq));
  }
}

function missed(present: number): EventListView {
  return { events: [], next: present, resync_required: true };
}
