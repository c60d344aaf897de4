import { batch, computed, effect, type Signal, signal } from '@preact/signals';
import { session } from '../session';

/**
 * Uploads and downloads of this tab: a few at a time, each with its progress, and each can be cancelled and tried
 * again. They go on while other pages of the console are open, and end with the session.
 */
export interface Transfer {
  readonly id: number;
  readonly direction: 'upload' | 'download';
  readonly name: string;
  /** The container and the folder, for people. */
  readonly place: string;
  readonly state: Signal<TransferState>;
  readonly progress: Signal<Progress>;
  /** Why it failed. */
  readonly fault: Signal<unknown>;
}

export type TransferState = 'waiting' | 'running' | 'done' | 'failed' | 'cancelled';

export interface Progress {
  readonly bytes: number;
  /** Null if unknown in advance. */
  readonly total: number | null;
  /** Bytes per second; null until it is known. */
  readonly rate: number | null;
}

/** @param total null if unknown */
export type Report = (bytes: number, total: number | null) => void;
type Work = (report: Report, signal: AbortSignal) => Promise<void>;

interface Order extends Pick<Transfer, 'direction' | 'name' | 'place'> {
  readonly total: number | null;
  /** Starts from the beginning each time it is called. */
  readonly work: Work;
  /** Called when it has succeeded. */
  readonly onDone?: () => void;
}

interface Own extends Transfer {
  readonly order: Order;
  abort: AbortController;
}

/** More at once would not be faster: a container takes 16 requests at a time, and the line is shared. */
const MOST_RUNNING = 3;

const all = signal<readonly Own[]>([]);
/** In the order in which they were begun. */
export const transfers: { readonly value: readonly Transfer[] } = all;

const isOpen = ({ state }: Transfer): boolean => state.value === 'waiting' || state.value === 'running';

/** How many are waiting or running. */
export const openTransfers = computed(() => all.value.filter(isOpen).length);

/** Whether there are any, over or not. */
export const hasTransfers = computed(() => all.value.length > 0);

let lastId = 0;

/** Begins transfers, or lets them wait until others are done. */
export function begin(orders: readonly Order[]): void {
  const added = orders.map((order): Own => {
    const { direction, name, place, total } = order;
    return {
      id: ++lastId,
      direction,
      name,
      place,
      state: signal<TransferState>('waiting'),
      progress: signal<Progress>({ bytes: 0, total, rate: null }),
      fault: signal<unknown>(null),
      order,
      abort: new AbortController(),
    };
  });
  all.value = [...all.value, ...added];
  next();
}

function next(): void {
  const running = all.value.filter(({ state }) => state.value === 'running').length;
  const waiting = all.value.filter(({ state }) => state.value === 'waiting');
  for (const transfer of waiting.slice(0, Math.max(0, MOST_RUNNING - running))) void run(transfer);
}

async function run(transfer: Own): Promise<void> {
  const { order, state, fault, progress } = transfer;
  const { signal: aborted } = (transfer.abort = new AbortController());
  batch(() => {
    state.value = 'running';
    fault.value = null;
    progress.value = { bytes: 0, total: order.total, rate: null };
  });
  const { report, flush } = reporter(progress);
  try {
    await order.work(report, aborted);
    flush();
    // A transfer that is cancelled in its last moment may be complete: it is shown as done.
    state.value = 'done';
    order.onDone?.();
  } catch (error) {
    batch(() => {
      state.value = aborted.aborted ? 'cancelled' : 'failed';
      fault.value = aborted.aborted ? null : error;
    });
  }
  next();
}

const REPORT_MS = 200;
const RATE_MS = 1000;

/** Shows progress a few times a second, and the rate as a moving average. */
function reporter(progress: Signal<Progress>): { readonly report: Report; readonly flush: () => void } {
  let shownAt = 0;
  let measured = { at: performance.now(), bytes: 0 };
  let last: Progress = progress.value;
  const flush = (): void => void (progress.value = last);
  const report: Report = (bytes, total) => {
    const at = performance.now();
    let { rate } = last;
    // A repeated request begins again.
    if (bytes < measured.bytes) measured = { at, bytes };
    const elapsed = at - measured.at;
    if (elapsed >= RATE_MS) {
      const current = ((bytes - measured.bytes) / elapsed) * 1000;
      rate = rate === null ? current : rate * 0.6 + current * 0.4;
      measured = { at, bytes };
    }
    last = { bytes, total, rate };
    if (at - shownAt < REPORT_MS) return;
    shownAt = at;
    flush();
  };
  return { report, flush };
}

/** Cancels a transfer that is not over. */
export function cancel(transfer: Transfer): void {
  const own = all.value.find(({ id }) => id === transfer.id);
  if (own?.state.value === 'waiting') own.state.value = 'cancelled';
  own?.abort.abort();
}

export function cancelAll(): void {
  // Those that wait first: they must not take the places of the others.
  const open = all.value.filter(isOpen);
  for (const transfer of open.filter(({ state }) => state.value === 'waiting')) cancel(transfer);
  for (const transfer of open) cancel(transfer);
}

/** Begins a failed or cancelled transfer again. */
export function retry(transfer: Transfer): void {
  const own = all.value.find(({ id }) => id === transfer.id);
  if (!own || isOpen(own)) return;
  own.state.value = 'waiting';
  next();
}

/** Removes a transfer that is over from the list. */
export function dismiss(transfer: Transfer): void {
  all.value = all.value.filter((each) => each.id !== transfer.id || isOpen(each));
}

/** Removes all transfers that are over, or only those that are done. */
export function clear({ isDoneOnly }: { readonly isDoneOnly: boolean }): void {
  all.value = all.value.filter((each) => isOpen(each) || (isDoneOnly && each.state.value !== 'done'));
}

effect(() => {
  if (openTransfers.value === 0) return undefined;
  const warn = (event: BeforeUnloadEvent): void => event.preventDefault();
  addEventListener('beforeunload', warn);
  return () => removeEventListener('beforeunload', warn);
});

const isSignedIn = computed(() => session.value !== null);
effect(() => {
  if (isSignedIn.value) return;
  for (const { abort } of all.peek()) abort.abort();
  all.value = [];
});
