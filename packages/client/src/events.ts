import type * as api from './api-types.ts';
import { EVENT_STREAM, type Told, untilTold } from './commands.ts';
import { isBerthError } from './errors.ts';
import { type CallOptions, type Http, path } from './http.ts';
import { backoff, sleep } from './retries.ts';
import { readEvents } from './server-sent-events.ts';

export type BerthEvent = api.Event;

export interface FollowEvents extends CallOptions {
  /** The last `seq` that is known; from now on if absent. */
  readonly after?: number;
}

/** The user's events: as pages, and as they come. For the containers themselves rather `Berth.watch()`. */
export class Events {
  constructor(private readonly http: Http) {}

  /** The page after that `seq`, oldest first; `next` of it is the `after` of the next page. */
  page(after: number, { limit, signal }: CallOptions & { readonly limit?: number } = {}): Promise<api.EventListView> {
    return this.http.json('GET', '/api/events', { query: { after, limit }, signal });
  }

  /**
   * Events as they come, each once and in order. Comes back by itself where the connection breaks, for as long as it
   * takes. Where events are no longer kept, `resync_required` comes in their place: read again what they would tell.
   * @throws BerthError where the server refuses, as with a token that has ended
   */
  async *follow({ after, signal }: FollowEvents = {}): AsyncGenerator<
    BerthEvent | api.ResyncRequired,
    void,
    undefined
  > {
    let last = after;
    for (let tries = 1; ; tries++) {
      try {
        const asked = { query: { after: last }, headers: EVENT_STREAM, signal };
        const response = await this.http.request('GET', '/api/events/stream', asked);
        for await (const { id, data } of readEvents(response, signal)) {
          tries = 0;
          const event = JSON.parse(data) as BerthEvent | api.ResyncRequired;
          last = event.type === 'resync_required' ? event.event_seq : Number(id);
          yield event;
        }
      } catch (error) {
        if (!isBerthError(error) || (error.status >= 400 && error.status < 500 && error.status !== 429)) throw error;
      }
      await sleep(backoff(Math.max(tries, 1)), signal);
    }
  }
}

/** What is told of a container that is followed, every two seconds, and last why there is no more. */
export type StatsMessage = Told<'stats', api.StatsView> | Told<'end', api.StatsEndView>;

/** What containers use. */
export class Stats {
  constructor(private readonly http: Http) {}

  get(id: string, { signal }: CallOptions = {}): Promise<api.StatsView> {
    return this.http.json('GET', path`/api/containers/${id}/stats`, { signal });
  }

  /** @throws BerthError `connection_failed` where it breaks off */
  async *follow(id: string, { signal }: CallOptions = {}): AsyncGenerator<StatsMessage, void, undefined> {
    const response = await this.http.request('GET', path`/api/containers/${id}/stats`, {
      headers: EVENT_STREAM,
      signal,
    });
    for await (const { event, data } of untilTold(response, signal, 'end')) {
      yield { type: event, ...(JSON.parse(data) as object) } as StatsMessage;
    }
  }
}
