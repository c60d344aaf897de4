import { ContainerMap, type WatchedAgent, type WatchedContainer, type WholeList } from './container-map.ts';
import type { Containers } from './containers.ts';
import { BerthError, isBerthError } from './errors.ts';
import type { BerthEvent } from './events.ts';
import type { Http } from './http.ts';
import { LiveSocket } from './live-socket.ts';
import { backoff, sleep } from './retries.ts';

export interface WatchSnapshot {
  /**
   * `connecting` until the first list is there and events come, `live` while they do, `reconnecting` while the map may
   * be old, `closed` after `close()`, and for good where the server refuses.
   */
  readonly state: 'connecting' | 'live' | 'reconnecting' | 'closed';
  /** Why it was refused; before that, why the list could not be read at the last try, which is repeated. */
  readonly error: BerthError | null;
  /** The last event that is contained. */
  readonly seq: number;
  /** By `db_id`, newest first. */
  readonly containers: ReadonlyMap<string, WatchedContainer>;
  /** Those that are online, by id. */
  readonly agents: ReadonlyMap<string, WatchedAgent>;
}

/** Further events are read anew rather than kept, while a list is on its way. */
const MOST_WAITING = 10_000;
/** Events come in bursts: what they changed is read once, this much later. */
const DETAILS_AFTER_MS = 50;
/** At most two requests a second for details, so that watching leaves a user most of the server's limit. */
const PAUSE_A_REQUEST_MS = 500;
/** More are read by a list. */
const MOST_SINGLE_READS = 3;

type Listener = () => void;
type EventListener = (event: BerthEvent) => void;

/**
 * All of a user's containers, always as the server has them: lists, follows the events from there, comes back after any
 * break from the event at which it was, and lists again where events are missing.
 *
 * `subscribe` and `getSnapshot` are what React's `useSyncExternalStore` wants.
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
  /** The last event that came, which a list may be ahead of. */
  private received = 0;
  /** Events that came while a list was on its way; null while none is. */
  private waiting: BerthEvent[] | null = null;
  /** How often events were found to be lost. */
  private resyncs = 0;
  /** Events were lost that the map does not contain. */
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

  /** Resolves once the map is there. @throws BerthError where the server refuses, or it was closed before */
  get ready(): Promise<void> {
    return this.becameReady.promise;
  }

  /** The same object for as long as nothing changes. */
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

  /** @param listener called after changes, once for those that came together. @returns what ends it */
  readonly subscribe = (listener: Listener): (() => void) => {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  };

  /**
   * @param listener called for each event, once and in order, when the map contains it; not for those that are no
   *   longer kept where the watch comes back after a break. @returns what ends it
   */
  readonly onEvent = (listener: EventListener): (() => void) => {
    this.eventListeners.add(listener);
    return () => this.eventListeners.delete(listener);
  };

  /** Reads everything again, also what changes without an event. */
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

  /** What came up to that event is lost; the server may have begun to count again from an older state. */
  private resync(seq: number): void {
    this.received = seq;
    this.resyncs += 1;
    this.isMissing = true;
    this.become('reconnecting');
    if (this.waiting) this.waiting = [];
    else void this.list();
  }

  private apply(event: BerthEvent): void {
    // A list may be ahead of the events: then they are told all the same.
    if (event.seq > this.map.seq) {
      const stale = this.map.apply(event);
      if (stale !== null) this.details.add(stale);
      this.changed();
    }
    for (const listener of this.eventListeners) guarded(() => listener(event));
  }

  /** Lists until it has a whole list that is not too old; does not throw. One at a time. */
  private async list(): Promise<void> {
    if (this.waiting) return;
    this.waiting = [];
    let list: WholeList | null;
    let resyncs: number;
    do {
      resyncs = this.resyncs;
      list = await this.readList();
      if (!list) return;
      // Events were lost after it was read, perhaps.
    } while (resyncs !== this.resyncs);
    // In the same turn: no event can come between the list and those that waited.
    this.map.replace(list);
    const { waiting } = this;
    this.waiting = null;
    this.isMissing = false;
    this.error = null;
    for (const event of waiting) this.apply(event);
    this.live();
    this.changed();
  }

  /** @returns null where there is no use in trying on */
  private async readList(): Promise<WholeList | null> {
    const { signal } = this.closing;
    for (let tries = 1; !signal.aborted; tries++) {
      try {
        const entries = [];
        let seq: number | undefined;
        for await (const page of this.containers.list({ signal }).pages()) {
          entries.push(...page.items);
          // The first page's: what happens while the others are read is told by events.
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

/** Reads what events do not tell of the containers that they are about: few of them one by one, more by a list. */
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

  /** Notes a request, which puts the next ones off. */
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
        // Also where nothing is stale by now: so the pause is kept.
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
      // Deleted meanwhile, of which an event tells; or to be tried again.
      if (!isBerthError(error, 'container_not_found') && !isFinal(error)) this.stale.add(id);
    }
  }
}

/** Refused whenever it is asked, as with a token that has ended. */
function isFinal(error: unknown): error is BerthError {
  return isBerthError(error) && (error.status === 401 || error.status === 403 || error.status === 400);
}

/** What one listener throws must not keep others from being told. */
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
  // Not everybody waits for it.
  promise.catch(() => undefined);
  return { promise, resolve, reject };
}
