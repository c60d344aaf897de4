import type { Readable } from 'node:stream';
import { setTimeout as pause } from 'node:timers/promises';
import { z } from 'zod';
import { CONNECT, type EngineEvent, type WatchMessage, type WatchSubject } from '../../engine';
import { LABELS } from '../model/labels';
import { ndjsonLines } from './ndjson';

/** The watched actions. */
const LIVES = ['start', 'kill', 'oom', 'die', 'destroy', 'pause', 'unpause'] as const;

/** The filters that the daemon applies. */
export const WATCHED: Readonly<Record<WatchSubject, { event: readonly string[]; label: readonly string[] }>> = {
  lives: { event: LIVES, label: [] },
  warm_programs: { event: ['exec_start'], label: [`${LABELS.warm}=true`] },
};

/** Docker writes the program into the action, as in `exec_start: sh -c true`. */
const PROGRAM_STARTS = 'exec_start: ';

/** SIGKILL and SIGTERM as Docker writes them: the signals that end a sandbox's main process. */
const ENDING_SIGNALS: ReadonlySet<string> = new Set(['9', '15']);

const dockerEvent = z.object({
  Action: z.string(),
  Actor: z.object({ ID: z.string(), Attributes: z.record(z.string(), z.string()).nullish() }),
  time: z.number(),
  timeNano: z.number().optional(),
});

interface EventLine {
  /** The time of the event by the daemon's clock. */
  readonly second: number;
  /** Null if the event is not watched. */
  readonly event: EngineEvent | null;
}

function isProgram(action: string): boolean {
  return action.startsWith(PROGRAM_STARTS) && action.slice(PROGRAM_STARTS.length) !== CONNECT.join(' ');
}

/** @throws Error if the line is not an event, which means that the stream is corrupted */
function parseEventLine(line: string): EventLine {
  const { Action, Actor, time, timeNano } = dockerEvent.parse(JSON.parse(line));
  const action = isProgram(Action) ? 'exec_start' : LIVES.find((watched) => watched === Action);
  const containerId = Actor.Attributes?.[LABELS.containerId];
  const isOtherSignal = action === 'kill' && !ENDING_SIGNALS.has(Actor.Attributes?.['signal'] ?? '');
  if (action === undefined || containerId === undefined || containerId === '' || isOtherSignal)
    return { second: time, event: null };
  const exitCode = Number(Actor.Attributes?.['exitCode'] ?? Number.NaN);
  return {
    second: time,
    event: {
      engineId: Actor.ID,
      containerId,
      action,
      exitCode: action === 'die' && Number.isInteger(exitCode) ? exitCode : null,
      at: new Date(timeNano === undefined ? time * 1000 : Math.floor(timeNano / 1e6)),
    },
  };
}

/** Docker's events are not strictly ordered by time, so a reconnection requests this many seconds again. */
const OVERLAP_SECONDS = 2;

/** Remembers the latest events, to skip those that a stream starting in the past repeats. */
class ReplayFilter {
  private readonly secondOf = new Map<string, number>();
  private newest: number;

  /** @param start seconds of the daemon's clock: where to start until an event has arrived */
  constructor(start: number) {
    this.newest = start;
  }

  /** Where the next stream must start, in seconds of the daemon's clock. */
  get since(): number {
    return this.newest - OVERLAP_SECONDS;
  }

  /** @returns whether exactly this event is seen for the first time */
  isNew(line: string, second: number): boolean {
    if (this.secondOf.has(line)) return false;
    this.secondOf.set(line, second);
    if (second > this.newest) {
      this.newest = second;
      for (const [known, at] of this.secondOf) if (at < this.since) this.secondOf.delete(known);
    }
    return true;
  }
}

/** A source of events: the daemon, or a test's stream. */
export interface EventSource {
  /** Seconds of the daemon's clock. */
  now(): Promise<number>;
  /** @param since seconds of the daemon's clock; Docker 26.1 replays at most the last 256 events of all kinds */
  open(since: number): Promise<Readable>;
  /** Whether the daemon still answers: a silent event stream may be idle or dead. */
  ping(): Promise<void>;
  onDisconnect(error: unknown): void;
}

interface WatchTiming {
  readonly pingMs: number;
  readonly minBackoffMs: number;
  readonly maxBackoffMs: number;
}

const TIMING: WatchTiming = { pingMs: 15_000, minBackoffMs: 100, maxBackoffMs: 5_000 };

/**
 * Yields `connected` and then events, and reconnects until the signal aborts. Events between two connections are not
 * lost as long as the daemon still has them. No event is yielded twice.
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
      // The daemon's time before the stream opens: dockerd 26.1 answers a moment before it starts to listen for
      // events.
      filter ??= new ReplayFilter(await source.now());
      const stream = await source.open(filter.since);
      connectedAt = performance.now();
      yield* readEvents(stream, { filter, source, signal, pingMs: timing.pingMs });
    } catch (error) {
      if (isAborted(signal)) return;
      source.onDisconnect(error);
    }
    // A connection that lasted resets the count of failures; one that breaks at once does not.
    failures = performance.now() - connectedAt > timing.maxBackoffMs ? 0 : failures + 1;
    await backoff(failures, timing, signal);
  }
}

/** A function, because the compiler assumes that a property does not change during an `await`. */
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
    yield { kind: 'connected', node: null };
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
  // Jitter: processes that lost the same daemon should not reconnect simultaneously.
  await pause(delay * (0.5 + Math.random() / 2), undefined, { signal }).catch(() => undefined);
}
