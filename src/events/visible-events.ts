import { Injectable } from '@nestjs/common';
import { type Principal, TokenReach } from '../auth';
import { type BerthEvent, subjectOf } from './map';

/** True for the events that a caller sees. */
type EventFilter = (event: BerthEvent) => boolean;

const isAny: EventFilter = () => true;

/** Which of a user's events a token shows: those of a token for one container are about it, with gaps in `seq`. */
@Injectable()
export class VisibleEvents {
  constructor(private readonly reach: TokenReach) {}

  /**
   * The filter must be given all later events in their order: it learns of forks that are made meanwhile. Call it when
   * the position to start from is known.
   */
  async of(caller: Pick<Principal, 'boundTo'>): Promise<EventFilter> {
    const ids = await this.reach.idsOf(caller);
    if (ids === null) return isAny;
    const seen = new Set(ids);
    return (event) => {
      const isFork = event.type === 'container_created' && seen.has(event.data.forked_from ?? '');
      if (isFork && caller.boundTo?.withForks === true) seen.add(event.data.db_id);
      return seen.has(subjectOf(event));
    };
  }
}
