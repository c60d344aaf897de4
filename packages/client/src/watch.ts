import { ContainerMap, type WatchedAgent, type WatchedContainer, type WholeList } from './container-map.ts';
import type { Containers } from './containers.ts';
import { BerthError, isBerthError } from './errors.ts';
import type { BerthEvent } from './events.ts';
import type { Http } from './http.ts';
import { LiveSocket } from './live-socket.ts';
import { backoff, sleep } from './retries.ts';

export interface WatchSnapshot {
  /**
   * `connecting` until the first list was read and the connection is made, `live` while events arrive, `reconnecting`
   * while the map may be outdated, `closed` after `close()`, or if the server refuses permanently.
   */
  readonly state: 'connecting' | 'live' | 'reconnecting' | 'closed';
  /** The permanent refusal; before that, the failure of the last attempt to read the list, which is retried. */
  readonly error: BerthError | null;
  /** The last event that the snapshot includes. */
  readonly seq: number;
  /** By `db_id`, newest first. */
  readonly containers: ReadonlyMap<string, WatchedContainer>;
  /** Online agents, by id. */
  readonly agents: ReadonlyMap<string, WatchedAgent>;
}

/** Maximum events kept while a list is read; if more come, the list is read again. */
const MOST_WAITING = 10_000;
/** Events come in bursts; the details of changed containers are read once, after this time. */
const DETAILS_AFTER_MS = 50;
/** At most two requests for details per second, so that watching leaves most of the rate limit to the user. */
const PAUSE_A_REQUEST_MS = 500;
/** More containers are read with a list. */
const MOST_SINGLE_READS = 3;

type Listener = () => void;
type EventListener = (event: BerthEvent) => void;

/**
 * All of a user's containers, kept up to date: lists them, follows the events from there, resumes after a break, and
 * lists again if events are missing.
 *
 * `subscribe` and `getSnapshot` fit React's `useSyncExternalStore`.
 */
export class ContainerWatch implements Disposable {
  private readonly map = new ContainerMap();
  private readonly listeners = new Set<Listener>();
  private readonly eventListeners = new Set<EventListener>();
  private readonly closing = new AbortController();
  private readonly becameReady = promised();
  private socket: LiveSocket | null = null;
  private state: WatchSnapshot['state'] = 'connecting';
  private error: BerthError | null = null;
  private snapshot: WatchSnapshot | null = null;
  private isTelling = false;
  /** The last received event; a list may be ahead of it. */
  private received = 0;
  /** Events that arrived while a list was read; null if none is being read. */
  private waiting: BerthEvent[] | null = null;
  /** How often events were lost. */
  private resyncs = 0;
  /** True while the map lacks lost events. */
  private isMissing = false;
  private readonly details: DetailReader;

  constructor(
    private readonly http: Http,
    private readonly containers: Containers,
  ) {
    this.details = new DetailReader(this.map, {
      containers,
      signal: this.closing.signal,
      list: () => this.list(),
      onRead: () => this.changed(),
    });
    void this.start();
  }

  /** Resolves once the first list was read. @throws BerthError if the server refuses, or the watch was closed before */
  get ready(): Promise<void> {
    return this.becameReady.promise;
  }

  /** The object stays the same until something changes. */
  readonly getSnapshot = (): WatchSnapshot => {
    this.snapshot ??= {
      state: this.state,
      error: this.error,
      seq: this.map.seq,
      containers: this.map.containers,
      agents: this.map.agents,
    };
    return this.snapshot;
  };

  /** @param listener called after changes, once for several at the same time. @returns a function that unsubscribes */
  readonly subscribe = (listener: Listener): (() => void) => {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  };

  /**
   * @param listener called for each event, once and in order, after the map includes it; not for events that were
   *   no longer kept after a break.
   * @returns a function that unsubscribes
   */
  readonly onEvent = (listener: EventListener): (() => void) => {
    this.eventListeners.add(listener);
    return () => this.eventListeners.delete(listener);
  };

  /** Reads everything again, also fields that change without an event. */
  async refresh(): Promise<void> {
    await this.list();
  }

  close(): void {
    this.end(null);
  }

  [Symbol.dispose](): void {
    this.close();
  }

  private async start(): Promise<void> {
    await this.list();
    if (this.closing.signal.aborted) return;
    this.received = this.map.seq;
    this.socket = new LiveSocket(this.http, {
      namespace: '/',
      auth: () => ({ after: this.received }),
      onRefused: (error) => this.end(error),
      onInterrupted: () => this.become('reconnecting'),
    });
    this.socket.io.on('connect', () => this.live());
    this.socket.io.onAny((_type: string, message: BerthEvent | { readonly event_seq: number }) => {
      if ('event_seq' in message) this.resync(message.event_seq);
      else if (typeof message.seq === 'number') this.receive(message);
    });
    this.becameReady.resolve();
  }

  private receive(event: BerthEvent): void {
    if (event.seq <= this.received) return;
    const isGap = event.seq !== this.received + 1;
    this.received = event.seq;
    if (isGap) this.resync(event.seq);
    else if (!this.waiting) this.apply(event);
    else if (this.waiting.length < MOST_WAITING) this.waiting.push(event);
    else this.resync(event.seq);
  }

  /** Events up to `seq` are lost; the server may also have restarted numbering, after its database was restored. */
  private resync(seq: number): void {
    this.received = seq;
    this.resyncs += 1;
    this.isMissing = true;
    this.become('reconnecting');
    if (this.waiting) this.waiting = [];
    else void this.list();
  }

  private apply(event: BerthEvent): void {
    // A list may be ahead of the events; listeners get them nevertheless.
    if (event.seq > this.map.seq) {
      const stale = this.map.apply(event);
      if (stale !== null) this.details.add(stale);
      this.changed();
    }
    for (const listener of this.eventListeners) guarded(() => listener(event));
  }

  /** Reads lists until one is complete and current; does not throw. Only one call runs at a time. */
  private async list(): Promise<void> {
    if (this.waiting) return;
    this.waiting = [];
    let list: WholeList | null;
    let resyncs: number;
    do {
      resyncs = this.resyncs;
      list = await this.readList();
      if (!list) return;
      // Events were lost in the meantime, perhaps after the list was read.
    } while (resyncs !== this.resyncs);
    // Synchronous: no event can come between the list and the waiting events.
    this.map.replace(list);
    const { waiting } = this;
    this.waiting = null;
    this.isMissing = false;
    this.error = null;
    for (const event of waiting) this.apply(event);
    this.live();
    this.changed();
  }

  /** @returns null if further attempts are useless */
  private async readList(): Promise<WholeList | null> {
    const { signal } = this.closing;
    for (let tries = 1; !signal.aborted; tries++) {
      try {
        const entries = [];
        let seq: number | undefined;
        for await (const page of this.containers.list({ signal }).pages()) {
          entries.push(...page.items);
          // The first page's: later changes arrive as events.
          seq ??= page.answer.event_seq;
          this.details.requested();
        }
        return { entries, seq: seq ?? 0 };
      } catch (error) {
        if (isFinal(error)) this.end(error);
        else {
          if (isBerthError(error)) this.fail(await this.http.explain(error));
          await sleep(backoff(tries), signal).catch(() => undefined);
        }
      }
    }
    return null;
  }

  private fail(error: BerthError): void {
    if (this.closing.signal.aborted) return;
    this.error = error;
    this.changed();
  }

  private live(): void {
    if (this.socket?.io.connected && !this.isMissing) this.become('live');
  }

  private become(state: WatchSnapshot['state']): void {
    if (this.state === state || this.state === 'closed') return;
    this.state = state;
    this.changed();
  }

  private end(error: BerthError | null): void {
    if (this.closing.signal.aborted) return;
    this.error = error;
    this.become('closed');
    this.closing.abort();
    this.socket?.close();
    const closed = { status: 0, code: 'connection_failed', message: 'the watch was closed' } as const;
    this.becameReady.reject(error ?? new BerthError(closed));
  }

  private changed(): void {
    this.snapshot = null;
    if (this.isTelling) return;
    this.isTelling = true;
    queueMicrotask(() => {
      this.isTelling = false;
      for (const listener of this.listeners) guarded(listener);
    });
  }
}

/** Reads the details that events lack: a few containers one by one, more with a list. */
class DetailReader {
  private readonly stale = new Set<string>();
  private requests = 0;
  private timer: ReturnType<typeof setTimeout> | undefined;
  private isReading = false;

  constructor(
    private readonly map: ContainerMap,
    private readonly work: {
      readonly containers: Containers;
      readonly signal: AbortSignal;
      readonly list: () => Promise<void>;
      readonly onRead: () => void;
    },
  ) {
    work.signal.addEventListener('abort', () => clearTimeout(this.timer));
  }

  add(id: string): void {
    this.stale.add(id);
    this.schedule(DETAILS_AFTER_MS);
  }

  /** Counts a request, which delays the next ones. */
  requested(): void {
    this.requests += 1;
  }

  private schedule(afterMs: number): void {
    if (this.timer !== undefined || this.isReading || this.work.signal.aborted) return;
    this.timer = setTimeout(() => void this.read(), afterMs);
  }

  private async read(): Promise<void> {
    this.timer = undefined;
    this.isReading = true;
    this.requests = 0;
    const ids = [...this.stale];
    this.stale.clear();
    try {
      if (ids.length > MOST_SINGLE_READS) await this.work.list();
      else for (const id of ids) await this.readOne(id);
    } finally {
      this.isReading = false;
      if (!this.work.signal.aborted) {
        // Also if no container is stale, to keep the pause.
        this.timer = setTimeout(() => {
          this.timer = undefined;
          if (this.stale.size > 0) this.schedule(0);
        }, this.requests * PAUSE_A_REQUEST_MS);
      }
    }
  }

  private async readOne(id: string): Promise<void> {
    const { containers, signal, onRead } = this.work;
    const before = this.map.lastChange(id);
    this.requested();
    try {
      if (this.map.readDetails(await containers.get(id, { signal }), before)) onRead();
      else this.stale.add(id);
    } catch (error) {
      // The container was deleted, which an event reports. Other failures are retried.
      if (!isBerthError(error, 'container_not_found') && !isFinal(error)) this.stale.add(id);
    }
  }
}

/** A permanent refusal, such as that of an expired token. */
function isFinal(error: unknown): error is BerthError {
  return isBerthError(error) && (error.status === 401 || error.status === 403 || error.status === 400);
}

/** An error of one listener must not keep the others from being called. */
function guarded(work: () => void): void {
  try {
    work();
  } catch (error) {
    queueMicrotask(() => {
      throw error;
    });
  }
}

interface Promised {
  readonly promise: Promise<void>;
  readonly resolve: () => void;
  readonly reject: (error: BerthError) => void;
}

function promised(): Promised {
  let resolve!: () => void;
  let reject!: (error: BerthError) => void;
  const promise = new Promise<void>((...settle) => ([resolve, reject] = settle));
  // Keeps a promise that the caller does not await from being unhandled.
  promise.catch(() => undefined);
  return { promise, resolve, reject };
}
