import { batch, computed, effect, signal, untracked } from '@preact/signals';
import { useEffect } from 'preact/hooks';
import { address } from '../router';
import { statusWords } from '../words/statuses';
import { type Container, containers, lifetimeOf } from './live';

/** What the list of containers shows, in which order, and how far it was scrolled: in the address and for a return. */

export type StatusFilter = 'all' | Container['status'];

export const STATUS_FILTERS: readonly (readonly [StatusFilter, string])[] = [
  ['all', statusWords.all],
  ['running', statusWords.names.running],
  ['paused', statusWords.names.paused],
  ['stopped', statusWords.names.stopped],
  ['creating', statusWords.names.creating],
  ['error', statusWords.names.error],
];

export type SortKey = 'name' | 'status' | 'created' | 'used';

export interface Sort {
  readonly by: SortKey;
  readonly isDescending: boolean;
}

/** The direction that the first click on a column's head gives. */
export const FIRST_SORTS: Readonly<Record<SortKey, Sort>> = {
  name: { by: 'name', isDescending: false },
  status: { by: 'status', isDescending: false },
  created: { by: 'created', isDescending: true },
  used: { by: 'used', isDescending: true },
};

interface View {
  readonly search: string;
  readonly status: StatusFilter;
  readonly sort: Sort;
}

const FIRST_VIEW: View = { search: '', status: 'all', sort: FIRST_SORTS.created };

/** Rows drawn at first, and with each scroll to the end: a thousand at once would take a second. */
const ROWS = 60;

const view = signal<View>(FIRST_VIEW);
export const search = computed(() => view.value.search);
export const statusFilter = computed(() => view.value.status);
export const sort = computed(() => view.value.sort);
/** How many rows are drawn. */
export const rowsDrawn = signal(ROWS);

/** Where to scroll to as soon as the rows are there, and the container whose page was left for the list. */
export const restoring = signal<{ readonly y: number; readonly id: string | null } | null>(null);

export function changeView(change: Partial<View>): void {
  batch(() => {
    view.value = { ...view.value, ...change };
    rowsDrawn.value = ROWS;
    restoring.value = null;
  });
}

export const clearFilter = (): void => changeView({ search: '', status: 'all' });

/** Sorts by a column, and in the other direction if the list is sorted by it already. */
export function sortBy(by: SortKey): void {
  const { by: before, isDescending } = sort.peek();
  changeView({ sort: by === before ? { by, isDescending: !isDescending } : FIRST_SORTS[by] });
}

export const drawMore = (): void => void (rowsDrawn.value += ROWS);

const networkOf = ({ network }: Container): string => `network:${typeof network === 'string' ? network : 'allow'}`;

/** The words by which a filter finds containers that end by themselves. */
function endsOf(container: Container): string[] {
  const { idle, deletion } = lifetimeOf(container);
  const ends = { 'auto-stop': idle, 'auto-delete': deletion, expires: container.expires_at };
  return Object.entries(ends).flatMap(([name, end]) => (end == null ? [] : [name]));
}

/**
 * The containers that match the text of the filter. `team:core` and `team` mean a label, `network:none` a network,
 * `auto-stop`, `auto-delete` and `expires` an automatic end; other words the name, the id, the image or a label's text.
 */
const searched = computed(() => {
  const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
  if (words.length === 0) return containers.value;
  return containers.value.filter((container) => {
    const labels = Object.entries(container.labels).map(([key, value]) => `${key}:${value}`);
    const { name, db_id, image, role } = container;
    const text = [name, db_id, image, role ?? '', ...labels, networkOf(container), ...endsOf(container)]
      .join(' ')
      .toLowerCase();
    return words.every((word) => text.includes(word));
  });
});

/** How many of them have each status. */
export const statusCounts = computed(() => {
  const found = new Map<StatusFilter, number>([['all', searched.value.length]]);
  for (const { status } of searched.value) found.set(status, (found.get(status) ?? 0) + 1);
  return found;
});

/** The containers of the list, in its order. */
export const shown = computed(() => {
  const { value: status } = statusFilter;
  return sorted(
    status === 'all' ? searched.value : searched.value.filter((each) => each.status === status),
    sort.value,
  );
});

const names = new Intl.Collator(undefined, { numeric: true, sensitivity: 'base' });
const STATUS_RANKS = new Map(STATUS_FILTERS.map(([status], rank) => [status, rank]));

const COMPARE: Readonly<Record<Exclude<SortKey, 'created'>, (one: Container, other: Container) => number>> = {
  name: (one, other) => names.compare(one.name, other.name),
  status: (one, other) => (STATUS_RANKS.get(one.status) ?? 0) - (STATUS_RANKS.get(other.status) ?? 0),
  used: (one, other) => compareTexts(usedAt(one), usedAt(other)),
};

/** Times of the API are ISO 8601 in UTC, so their texts sort like the times. */
const compareTexts = (one: string, other: string): number => (one < other ? -1 : one > other ? 1 : 0);

/** A container that was only just created has no time of use yet. */
const usedAt = ({ last_used_at, created_at }: Container): string => last_used_at ?? created_at ?? '';

/** @param newestFirst containers of the same rank stay in this order */
function sorted(newestFirst: readonly Container[], { by, isDescending }: Sort): readonly Container[] {
  if (by === 'created') return isDescending ? newestFirst : [...newestFirst].reverse();
  const compare = COMPARE[by];
  const sign = isDescending ? -1 : 1;
  return [...newestFirst].sort((one, other) => sign * compare(one, other));
}

const isSortKey = (text: string): text is SortKey => Object.hasOwn(FIRST_SORTS, text);

/** The view as a query: `q=team%3Acore&status=running&sort=-name`. What is as at first is left out. */
const query = computed(() => {
  const { search: q, status, sort: by } = view.value;
  const parts = new URLSearchParams();
  if (q !== '') parts.set('q', q);
  if (status !== FIRST_VIEW.status) parts.set('status', status);
  if (by.by !== FIRST_VIEW.sort.by || by.isDescending !== FIRST_VIEW.sort.isDescending) {
    parts.set('sort', `${by.isDescending ? '-' : ''}${by.by}`);
  }
  return parts.toString();
});

function readQuery(parts: URLSearchParams): View {
  const status = STATUS_FILTERS.find(([each]) => each === parts.get('status'))?.[0] ?? FIRST_VIEW.status;
  const text = parts.get('sort') ?? '';
  const by = text.replace(/^-/, '');
  const order = isSortKey(by) ? { by, isDescending: text.startsWith('-') } : FIRST_VIEW.sort;
  return { search: parts.get('q') ?? '', status, sort: order };
}

const hasView = (parts: URLSearchParams): boolean => ['q', 'status', 'sort'].some((name) => parts.has(name));

/** The list as it was left. */
interface Place {
  readonly key: string;
  query: string;
  rows: number;
  /** How far the page was scrolled, in pixels. */
  y: number;
}

const LIST_PATH = '/';
const STORE_KEY = 'berth.list';
const KEPT_PLACES = 20;
/** After the last keystroke in the filter: browsers limit how often a page may change its address. */
const ADDRESS_AFTER_MS = 250;

/** By the key of the history entry that the list was seen in. */
const places = new Map(storedPlaces().map((place) => [place.key, place]));
/** The place in the present history entry; null on other pages. */
let current: Place | null = null;
let last: Place | null = null;
/** The path of the page before; null if this one was the first. */
let before: string | null = null;
let isOpen = false;
let addressTimer: ReturnType<typeof setTimeout> | undefined;

function storedPlaces(): Place[] {
  try {
    return JSON.parse(sessionStorage.getItem(STORE_KEY) ?? '[]') as Place[];
  } catch {
    return [];
  }
}

addEventListener('pagehide', () => {
  sessionStorage.setItem(STORE_KEY, JSON.stringify([...places.values()].slice(-KEPT_PLACES)));
});

// Synchronous with the router, so that the page is drawn from the right view at once.
effect(() => {
  const { path, query: asked } = address.value;
  untracked(() => {
    if (path === LIST_PATH) arrive(asked);
    else leave(path);
  });
});

function arrive(asked: URLSearchParams): void {
  const key = entryKey();
  const known = key === null ? undefined : places.get(key);
  const container = /^\/containers\/([^/]+)$/.exec(before ?? '')?.[1] ?? null;
  batch(() => {
    if (known) view.value = readQuery(new URLSearchParams(known.query));
    // The link to the list, pressed on the list, clears the filter; on other pages it keeps it.
    else if (hasView(asked) || current !== null) view.value = readQuery(asked);
    const place = known ?? (container !== null && last?.query === query.value ? last : null);
    rowsDrawn.value = place?.rows ?? ROWS;
    restoring.value = place && { y: place.y, id: container };
    current = known ?? {
      key: `${Date.now().toString(36)}.${String(places.size)}`,
      query: query.value,
      rows: rowsDrawn.value,
      y: place?.y ?? 0,
    };
  });
  if (current) places.set(current.key, current);
  before = LIST_PATH;
  if (isOpen) writeAddress();
}

function leave(to: string): void {
  if (current) last = current;
  current = null;
  restoring.value = null;
  before = to;
}

function entryKey(): string | null {
  const state: unknown = history.state;
  if (typeof state !== 'object' || state === null || !('list' in state)) return null;
  return typeof state.list === 'string' ? state.list : null;
}

function writeAddress(): void {
  clearTimeout(addressTimer);
  if (!current || location.pathname !== LIST_PATH) return;
  const wanted = current.query === '' ? '' : `?${current.query}`;
  if (entryKey() === current.key && location.search === wanted) return;
  const state = typeof history.state === 'object' ? (history.state as object | null) : null;
  history.replaceState({ ...state, list: current.key }, '', `${LIST_PATH}${wanted}${location.hash}`);
}

/** Keeps the address, and the place to return to, as the list is; for the list's page while it is open. */
export function usePlaceKept(): void {
  useEffect(() => {
    isOpen = true;
    writeAddress();
    const onScroll = (): void => {
      if (current) current.y = scrollY;
    };
    addEventListener('scroll', onScroll, { passive: true });
    const dispose = effect(() => {
      const [wanted, rows] = [query.value, rowsDrawn.value];
      if (!current) return;
      current.query = wanted;
      current.rows = rows;
      clearTimeout(addressTimer);
      addressTimer = setTimeout(writeAddress, ADDRESS_AFTER_MS);
    });
    return () => {
      isOpen = false;
      dispose();
      removeEventListener('scroll', onScroll);
    };
  }, []);
}
