import type * as api from './api-types.ts';
import { BerthError, isBerthError } from './errors.ts';
import { type CallOptions, type Http, path } from './http.ts';
import { EVENT_STREAM, readUntil, resumed, type Told } from './server-sent-events.ts';

export type BerthEvent = api.Event;

export interface FollowEvents extends CallOptions {
  /** The last known `seq`. If absent, events start from now. */
  readonly after?: number;
}

/** The user's events, in pages or as a stream. To follow containers, prefer `Berth.watch()`. */
export class Events {
  constructor(private readonly http: Http) {}

  /** Reads the page after `after`, oldest first; its `next` is the `after` of the following page. */
  page(after: number, { limit, signal }: CallOptions & { readonly limit?: number } = {}): Promise<api.EventListView> {
    return this.http.json('GET', '/api/events', { query: { after, limit }, signal });
  }

  /**
   * Yields events as they come, each once and in order. Reconnects after a broken connection, without a limit of
   * attempts. If events are no longer kept, it yields `resync_required` in their place: read the state again.
   *
   * @throws BerthError if the first connection fails, and if the server refuses, as with an expired token
   */
  follow({ after, signal }: FollowEvents = {}): AsyncGenerator<BerthEvent | api.ResyncRequired, void, undefined> {
    let last = after;
    // Keeps a break before the first event from losing any.
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

/** A message of followed statistics, every two seconds, and finally the reason for the end. */
export type StatsMessage = Told<'stats', api.StatsView> | RunEnd;

/** A message of followed statistics of several containers. */
export type ManyStatsMessage = Told<'stats', api.ContainerStatsView>;

/** The containers' resource usage. */
export class Stats {
  constructor(private readonly http: Http) {}

  get(id: string, { signal }: CallOptions = {}): Promise<api.StatsView> {
    return this.http.json('GET', path`/api/containers/${id}/stats`, { signal });
  }

  /**
   * Yields a container's usage every two seconds until it stops. Reconnects after a broken connection or a restart of
   * the server, without a limit of attempts.
   *
   * @throws BerthError if the first connection fails, and if the server refuses
   */
  follow(id: string, { signal }: CallOptions = {}): AsyncGenerator<StatsMessage, void, undefined> {
    return followRun(this.http, { route: path`/api/containers/${id}/stats`, signal });
  }

  /** Reads a container's usage during the last hour, oldest first, as far as the server has measured it. */
  history(id: string, { signal }: CallOptions = {}): Promise<api.StatsHistoryView> {
    return this.http.json('GET', path`/api/containers/${id}/stats/history`, { signal });
  }

  /**
   * Yields the usage of several containers every few seconds, of each while it runs; others are left out until they
   * do. Reconnects after a broken connection or a restart of the server, without a limit of attempts.
   *
   * @param ids database ids, 1 to 50
   * @throws BerthError if the first connection fails, and if the server refuses, as when the token has ended
   */
  followMany(ids: readonly string[], { signal }: CallOptions = {}): AsyncGenerator<ManyStatsMessage, void, undefined> {
    return resumed({
      signal,
      open: () =>
        this.http.request('GET', '/api/stats/stream', {
          query: { ids: ids.join(',') },
          headers: EVENT_STREAM,
          signal,
        }),
      read: async function* (response) {
        for await (const { event, data } of readUntil(response, { signal })) {
          if (event === 'stats') yield { type: event, ...(JSON.parse(data) as api.ContainerStatsView) };
        }
      },
    });
  }
}

/**
 * Follows what changes while a container runs, until it stops.
 *
 * @throws BerthError as {@link Stats.follow} does
 */
export async function* followRun<Message extends Told<string, object>>(
  http: Http,
  { route, signal }: { readonly route: string; readonly signal: AbortSignal | undefined },
): AsyncGenerator<Message | RunEnd, void, undefined> {
  let isKnown = false;
  try {
    const stream = resumed({
      signal,
      open: () => http.request('GET', route, { headers: EVENT_STREAM, signal }),
      read: (response) => messagesOf<Message>(response, signal),
    });
    for await (const message of stream) {
      isKnown = true;
      yield message;
    }
  } catch (error) {
    // The container ended while the connection was broken.
    if (isKnown && isBerthError(error, 'container_not_running')) yield { type: 'end', reason: 'container_stopped' };
    else if (isKnown && isBerthError(error, 'container_not_found')) yield { type: 'end', reason: 'container_deleted' };
    else throw error;
  }
}

type RunEnd = Told<'end', api.StatsEndView>;

/** @throws BerthError like a broken connection if the server stops: the container goes on running */
async function* messagesOf<Message extends Told<string, object>>(
  response: Response,
  signal: AbortSignal | undefined,
): AsyncGenerator<Message | RunEnd> {
  for await (const { event, data } of readUntil(response, { signal, last: 'end' })) {
    const message = { type: event, ...(JSON.parse(data) as object) } as Message | RunEnd;
    if (message.type === 'end' && 'reason' in message && message.reason === 'server_stopped') {
      throw new BerthError({ status: 0, code: 'shutting_down', message: 'the server is stopping' });
    }
    yield message;
  }
}
