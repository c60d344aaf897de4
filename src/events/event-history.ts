import { Injectable } from '@nestjs/common';
import { EventLog } from './event-log';
import type { EventListView } from './dto/event-list-view';
import { isContiguous } from './user-channel';

/** A user's events in pages, for clients that ask now and then. */
@Injectable()
export class EventHistory {
  constructor(private readonly log: EventLog) {}

  /**
   * The next page after that `seq`; or, where what comes after it is no longer kept or never was (a database that was put
   * back to an older state), from where to go on once the whole state is read again.
   */
  async page({ userId, after, limit }: { userId: string; after: number; limit: number }): Promise<EventListView> {
    // Read first: what is said to be the present is not ahead of the page.
    const present = await this.log.lastSeq(userId);
    if (after > present) return missed(present);
    const events = await this.log.read({ userId, after, limit });
    const last = events.at(-1);
    if (!last) return after < present ? missed(present) : { events, next: after };
    return isContiguous(events, after) ? { events, next: last.seq } : missed(Math.max(present, last.seq));
  }
}

function missed(present: number): EventListView {
  return { events: [], next: present, resync_required: true };
}
