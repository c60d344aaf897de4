import type * as api from './api-types.ts';
import { BerthError, isBerthError } from './errors.ts';
import { type CallOptions, type Http, path } from './http.ts';
import { EVENT_STREAM, readUntil, resumed, type Told } from './server-sent-events.ts';

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
   * @throws BerthError where the first connection cannot be made, and where the server refuses, as with a token that
   *   has ended
   */
  follow({ after, signal }: FollowEvents = {}): AsyncGenerator<BerthEvent | api.ResyncRequired, void, undefined> {
    let last = after;
    // A break before the first event loses none.
    const onPosition = (id: string): void => void (last ??= Number(id));
    return resumed({
      signal,
      open: () =>
        this.http.request('GET', '/api/events/stream', { query: { after: last }, headers: EVENT_STREAM, signal }),
      read: async function* (response) {
        for await (const { id, data } of readUntil(response, { signal, onPosition })) {
          const event = JSON.parse(data) as BerthEvent | api.ResyncRequired;
          last = event.type === 'resync_required' ? event.event_seq : Number(id);
          yield event;
        }
      },
    });
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

  /**
   * What it uses, every two seconds, until it no longer runs. Comes back by itself where the connection breaks or the
   * server is restarted, for as long as it takes.
   * @throws BerthError where the first connection cannot be made, and where the server refuses
   */
  async *follow(id: string, { signal }: CallOptions = {}): AsyncGenerator<StatsMessage, void, undefined> {
    const route = path`/api/containers/${id}/stats`;
    let isKnown = false;
    try {
      const stream = resumed({
        signal,
        open: () => this.http.request('GET', route, { headers: EVENT_STREAM, signal }),
        read: (response) => statsOf(response, signal),
      });
      for await (const message of stream) {
        isKnown = true;
        yield message;
      }
    } catch (error) {
      // It ended while nobody was there to be told.
      if (isKnown && isBerthError(error, 'container_not_running')) yield { type: 'end', reason: 'container_stopped' };
      else if (isKnown && isBerthError(error, 'container_not_found'))
        yield { type: 'end', reason: 'container_deleted' };
      else throw error;
    }
  }
}

/** @throws BerthError as where it breaks off, when the server ends: the container does not end with it */
async function* statsOf(response: Response, signal: AbortSignal | undefined): AsyncGenerator<StatsMessage> {
  for await (const { event, data } of readUntil(response, { signal, last: 'end' })) {
    const message = { type: event, ...(JSON.parse(data) as object) } as StatsMessage;
    if (message.type === 'end' && message.reason === 'server_stopped') {
      throw new BerthError({ status: 0, code: 'shutting_down', message: 'the server is stopping' });
    }
    yield message;
  }
}
