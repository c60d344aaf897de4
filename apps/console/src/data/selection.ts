import { isBerthError } from '@berth/client';
import { batch, computed, effect, signal, untracked } from '@preact/signals';
import { eachAtOnce } from './at-once';
import { containerById, containers, type Container } from './live';
import { shown } from './list-view';
import { inWords } from '../words/errors';
import { verbWords } from '../words/verbs';

/** The containers that are selected in the list, and what is done with all of them. */

const NONE: ReadonlySet<string> = new Set();

const selected = signal<ReadonlySet<string>>(NONE);
/** The row from which a selection with the Shift key reaches. */
let anchor: string | null = null;

/** In the order of the account's containers; those that the filter hides are among them. */
export const selection = computed(() =>
  selected.value.size === 0 ? [] : containers.value.filter(({ db_id }) => selected.value.has(db_id)),
);

export const isSelected = (id: string): boolean => selected.value.has(id);

/** How many of the list's containers are selected. */
export const selectedShown = computed(() =>
  selected.value.size === 0 ? 0 : shown.value.filter(({ db_id }) => selected.value.has(db_id)).length,
);

// A container that is deleted, and restored later, is not selected any more.
effect(() => {
  void containers.value;
  const gone = [...selected.peek()].filter((id) => !containerById(id));
  if (gone.length > 0) untracked(() => set(gone, false));
});

function set(ids: readonly string[], isOn: boolean): void {
  const next = new Set(selected.peek());
  for (const id of ids) {
    if (isOn) next.add(id);
    else next.delete(id);
  }
  selected.value = next;
}

/** @param hasRange whether the rows between this one and the one selected before become like this one */
export function select(id: string, { isOn, hasRange }: { readonly isOn: boolean; readonly hasRange: boolean }): void {
  const order = shown.peek().map(({ db_id }) => db_id);
  const [from, to] = [order.indexOf(anchor ?? ''), order.indexOf(id)].sort((one, other) => one - other);
  const isRange = hasRange && from !== undefined && to !== undefined && from >= 0;
  set(isRange ? order.slice(from, to + 1) : [id], isOn);
  anchor = id;
}

/** Selects all containers of the list, also those whose rows are not drawn yet. */
export function selectShown(isOn: boolean): void {
  set(
    shown.peek().map(({ db_id }) => db_id),
    isOn,
  );
}

export function selectOnly(ids: readonly string[]): void {
  selected.value = new Set(ids.filter((id) => containerById(id)));
}

export const clearSelection = (): void => void (selected.value = NONE);

/** What is done with several containers, in words. */
export interface Action {
  /** `Stopping` */
  readonly ongoing: string;
  /** `stopped` */
  readonly done: string;
  readonly run: (container: Container) => Promise<unknown>;
}

interface Progress {
  readonly ongoing: string;
  readonly done: number;
  readonly total: number;
  readonly cancel: () => void;
}

export interface Outcome {
  /** Those for which it succeeded. */
  readonly done: readonly Container[];
  /** `3 of 4 containers stopped.` */
  readonly summary: string;
}

/** Containers for which an action failed, by the reason. */
export interface Failures {
  readonly summary: string;
  readonly reasons: readonly { readonly reason: string; readonly containers: readonly Container[] }[];
}

/** What is under way; null if nothing is. */
export const progress = signal<Progress | null>(null);
/** What failed in the last action; null if nothing did. */
export const failures = signal<Failures | null>(null);

/** Requests at the same time: the server has other work too, and each may take seconds. */
const AT_ONCE = 5;
/** If the server gives no time. */
const RATE_LIMIT_PAUSE_MS = 5_000;
const MOST_PAUSES = 20;

/**
 * Does it with each of the containers, shows the progress, and what failed. Does not throw.
 *
 * @returns null, and does nothing, while another action is under way
 */
export async function forEach(targets: readonly Container[], action: Action): Promise<Outcome | null> {
  if (progress.peek() !== null) return null;
  let isCancelled = false;
  const done: Container[] = [];
  const failed: { readonly container: Container; readonly error: unknown }[] = [];
  const cancel = (): void => void (isCancelled = true);
  const show = (): void => {
    progress.value = { ongoing: action.ongoing, done: done.length + failed.length, total: targets.length, cancel };
  };
  const work = async (container: Container): Promise<void> => {
    if (isCancelled) return;
    try {
      await patiently(() => action.run(container));
      done.push(container);
    } catch (error) {
      failed.push({ container, error });
    }
    show();
  };
  failures.value = null;
  show();
  await eachAtOnce(targets, AT_ONCE, work);
  const summary = verbWords.summary({ count: done.length, total: targets.length, done: action.done });
  batch(() => {
    progress.value = null;
    if (failed.length > 0) failures.value = { summary, reasons: byReason(failed) };
  });
  return { done, summary };
}

/** Waits for as long as the server says while there are too many requests, and tries again. */
async function patiently(run: () => Promise<unknown>): Promise<void> {
  for (let pauses = 0; ; pauses++) {
    try {
      await run();
      return;
    } catch (error) {
      if (!isBerthError(error, 'rate_limit_exceeded') || pauses >= MOST_PAUSES) throw error;
      const pause = error.retryAfterMs ?? RATE_LIMIT_PAUSE_MS;
      await new Promise((resolve) => setTimeout(resolve, pause));
    }
  }
}

function byReason(failed: readonly { readonly container: Container; readonly error: unknown }[]): Failures['reasons'] {
  const found = new Map<string, Container[]>();
  for (const { container, error } of failed) {
    const reason = inWords(error);
    found.set(reason, [...(found.get(reason) ?? []), container]);
  }
  return [...found].map(([reason, of]) => ({ reason, containers: of }));
}
