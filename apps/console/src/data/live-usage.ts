import { isBerthError, type StatsView } from '@berth/client';
import { batch, type Signal, signal } from '@preact/signals';
import { useEffect } from 'preact/hooks';
import { unitWords } from '../words/units';
import { berth } from './berth';
import { bytes } from '../words/format';
import { containerById } from './live';

/** CPU and memory of the running containers in view, from one stream. The last minutes stay while the page is open. */

/** The span of a line, in seconds: a sample comes every five seconds. */
export const SPAN_S = 180;
/** The height of a line, in the same units as {@link SPAN_S} is its width. */
export const LINE_HEIGHT = 16;
/** A longer time without samples is a gap in the line. */
const GAP_MS = 15_000;
/** The most that the API takes. */
const MOST_IDS = 50;
/** How long the rows in view stay the same before the stream is reopened: scrolling brings others by every frame. */
const SETTLED_AFTER_MS = 500;
const FIRST_RETRY_MS = 2_000;
const LONGEST_RETRY_MS = 60_000;

interface Sample {
  readonly at: number;
  /** Of its limit, 0 to 1. */
  readonly cpu: number;
  readonly memoryBytes: number;
  readonly limitBytes: number | null;
}

/** A quantity as it is drawn: signals that are bound to the page directly, so that a sample renders no component. */
interface Line {
  /** Path data of a box of {@link SPAN_S} to {@link LINE_HEIGHT}. */
  readonly path: Signal<string>;
  readonly text: Signal<string>;
}

export class Usage {
  readonly cpu: Line = { path: signal(''), text: signal('') };
  readonly memory: Line = { path: signal(''), text: signal('') };
  private samples: readonly Sample[] = [];

  add({ at, cpu, memory }: StatsView): void {
    const sample = {
      at: Date.parse(at),
      cpu: (cpu.percent_of_limit ?? 0) / 100,
      memoryBytes: memory.used_bytes,
      limitBytes: memory.limit_bytes,
    };
    this.samples = [...this.samples.filter((each) => sample.at - each.at < SPAN_S * 1000), sample];
    const most = sample.limitBytes ?? Math.max(1, ...this.samples.map((each) => each.memoryBytes));
    batch(() => {
      this.cpu.text.value = unitWords.percent(String(Math.round(sample.cpu * 100)));
      this.cpu.path.value = pathOf(this.samples.map((each) => [each.at, each.cpu]));
      this.memory.text.value = bytes(sample.memoryBytes);
      this.memory.path.value = pathOf(this.samples.map((each) => [each.at, each.memoryBytes / most]));
    });
  }
}

/** @param points times in milliseconds, and values from 0 to 1; the last one is at the right edge */
export function pathOf(points: readonly (readonly [at: number, value: number])[]): string {
  const end = points.at(-1)?.[0] ?? 0;
  let former = -Infinity;
  return points
    .map(([at, value]) => {
      const x = (SPAN_S - (end - at) / 1000).toFixed(1);
      const y = (LINE_HEIGHT - 1 - Math.min(Math.max(value, 0), 1) * (LINE_HEIGHT - 2)).toFixed(1);
      // A line of no length, so that a point by itself is drawn too.
      const part = at - former > GAP_MS ? `M${x} ${y}h0` : `L${x} ${y}`;
      former = at;
      return part;
    })
    .join('');
}

const usages = new Map<string, Signal<Usage | null>>();

/** What is known of a container's usage; null until the first sample. */
export function usageOf(id: string): Signal<Usage | null> {
  const found = usages.get(id) ?? signal(null);
  usages.set(id, found);
  return found;
}

function take(id: string, stats: StatsView): void {
  const place = usageOf(id);
  const usage = place.peek() ?? new Usage();
  usage.add(stats);
  place.value = usage;
}

const ids = new Map<Element, string>();
const inView = new Set<string>();
let observer: IntersectionObserver | null = null;

/** Follows the container while the element is in view. @returns a function that ends it */
export function followInView(element: Element, id: string): () => void {
  observer ??= new IntersectionObserver((entries) => {
    for (const { target, isIntersecting } of entries) {
      const entered = ids.get(target);
      if (entered === undefined) continue;
      if (isIntersecting) inView.add(entered);
      else inView.delete(entered);
    }
    settleSoon();
  });
  ids.set(element, id);
  observer.observe(element);
  return () => {
    observer?.unobserve(element);
    ids.delete(element);
    inView.delete(id);
    settleSoon();
  };
}

let isPageOpen = false;
let timer: ReturnType<typeof setTimeout> | undefined;
let stream: { readonly key: string; readonly leaving: AbortController } | null = null;

/** Opens the stream while the list is on the page, and the page is visible. */
export function useUsageStream(): void {
  useEffect(() => {
    isPageOpen = true;
    document.addEventListener('visibilitychange', settle);
    settleSoon();
    return () => {
      isPageOpen = false;
      document.removeEventListener('visibilitychange', settle);
      settle();
    };
  }, []);
}

function settleSoon(): void {
  clearTimeout(timer);
  timer = setTimeout(settle, SETTLED_AFTER_MS);
}

/** Reopens the stream if it should be of other containers than it is. */
function settle(): void {
  clearTimeout(timer);
  const isWanted = isPageOpen && document.visibilityState === 'visible';
  const wanted = isWanted ? [...inView].slice(0, MOST_IDS).sort() : [];
  const key = wanted.join();
  if (key === (stream?.key ?? '')) return;
  stream?.leaving.abort(new Error('other containers are in view'));
  stream = null;
  for (const id of usages.keys()) if (!containerById(id)) usages.delete(id);
  if (wanted.length === 0) return;
  const leaving = new AbortController();
  stream = { key, leaving };
  void follow(wanted, leaving.signal);
}

/** Reads the stream until it is left, with longer and longer pauses after failures. Does not throw. */
async function follow(wanted: readonly string[], left: AbortSignal): Promise<void> {
  const isLeft = (): boolean => left.aborted;
  for (let failures = 0; !isLeft(); failures++) {
    let retryAfterMs = 0;
    try {
      for await (const message of berth.stats.followMany(wanted, { signal: left })) {
        failures = 0;
        take(message.db_id, message);
      }
    } catch (error) {
      // Refused for good: the next change of the rows in view asks again.
      if (isLeft() || (isBerthError(error) && error.status >= 400 && error.status < 429)) return;
      retryAfterMs = isBerthError(error) ? (error.retryAfterMs ?? 0) : 0;
    }
    const pause = Math.min(FIRST_RETRY_MS * 2 ** failures, LONGEST_RETRY_MS);
    await aborted(left, Math.max(pause, retryAfterMs));
  }
}

/** Resolves after the time, or as soon as the signal aborts. */
function aborted(left: AbortSignal, afterMs: number): Promise<void> {
  return new Promise((resolve) => {
    const timeout = setTimeout(resolve, afterMs);
    const end = (): void => {
      clearTimeout(timeout);
      resolve();
    };
    left.addEventListener('abort', end, { once: true });
  });
}
