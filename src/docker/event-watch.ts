import type { Readable } from 'node:stream';
import { setTimeout as pause } from 'node:timers/promises';
import type { WatchMessage } from './container-engine';
import { parseEventLine } from './engine-event';
import { ndjsonLines } from './ndjson';
import { ReplayFilter } from './replay-filter';

/** Where events come from: the daemon, or a test's stream. */
export interface EventSource {
  /** Seconds of the daemon's clock. */
  now(): Promise<number>;
  /** @param since seconds of the daemon's clock; Docker 26.1 keeps the last 256 events of all kinds to begin with */
  open(since: number): Promise<Readable>;
  /** Whether the daemon still answers; a stream that is silent may be idle or dead. */
  ping(): Promise<void>;
  onDisconnect(error: unknown): void;
}

export interface WatchTiming {
  readonly pingMs: number;
  readonly minBackoffMs: number;
  readonly maxBackoffMs: number;
}

const TIMING: WatchTiming = { pingMs: 15_000, minBackoffMs: 100, maxBackoffMs: 5_000 };

/**
 * Yields `connected` and then events, reconnecting for ever, until the signal aborts. Nothing between two connections is
 * lost as long as the daemon still has it, and nothing comes twice.
 */
export async function* watchEvents(
  source: EventSource,
  signal: AbortSignal,
  timing: WatchTiming = TIMING,
): AsyncGenerator<WatchMessage, void> {
  let filter: ReplayFilter | null = null;
  let failures = 0;
  while (!signal.aborted) {
    let connectedAt = Number.NaN;
    try {
      // From the time before the stream is open: dockerd 26.1 answers a moment before it begins to listen.
      filter ??= new ReplayFilter(await source.now());
      const stream = await source.open(filter.since);
      connectedAt = performance.now();
      yield* readEvents(stream, { filter, source, signal, pingMs: timing.pingMs });
    } catch (error) {
      if (isAborted(signal)) return;
      source.onDisconnect(error);
    }
    // A connection that lasted ends the row of failures; one that breaks at once does not.
    failures = performance.now() - connectedAt > timing.maxBackoffMs ? 0 : failures + 1;
    await backoff(failures, timing, signal);
  }
}

/** A function, as the compiler takes a property to be what it was before an `await`. */
const isAborted = (signal: AbortSignal): boolean => signal.aborted;

async function* readEvents(
  stream: Readable,
  {
    filter,
    source,
    signal,
    pingMs,
  }: { filter: ReplayFilter; source: EventSource; signal: AbortSignal; pingMs: number },
): AsyncGenerator<WatchMessage, void> {
  const end = (): void => void stream.destroy();
  const pings = setInterval(() => {
    source.ping().catch((cause: unknown) => stream.destroy(new Error('Docker does not answer a ping', { cause })));
  }, pingMs);
  signal.addEventListener('abort', end, { once: true });
  try {
    yield { kind: 'connected' };
    for await (const line of ndjsonLines(stream)) {
      const { second, event } = parseEventLine(line);
      if (filter.isNew(line, second) && event !== null) yield { kind: 'event', event };
    }
    throw new Error('Docker ended the event stream');
  } finally {
    clearInterval(pings);
    signal.removeEventListener('abort', end);
    stream.destroy();
  }
}

async function backoff(
  failures: number,
  { minBackoffMs, maxBackoffMs }: WatchTiming,
  signal: AbortSignal,
): Promise<void> {
  const delay = Math.min(maxBackoffMs, minBackoffMs * 2 ** Math.max(0, failures - 1));
  // Jitter: several processes that lost one daemon do not come back as one.
  await pause(delay * (0.5 + Math.random() / 2), undefined, { signal }).catch(() => undefined);
}
