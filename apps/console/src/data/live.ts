import {
  type BerthEvent,
  type ContainerWatch,
  type IdleAction,
  isBerthError,
  type MeView,
  type WatchedContainer,
} from '@berth/client';
import { batch, computed, signal } from '@preact/signals';
import { berth, endedByServer } from './berth';

/** What the user has, as it is now: the client's watch, as signals. */

export type Container = WatchedContainer;

type Snapshot = ReturnType<ContainerWatch['getSnapshot']>;

const NOTHING: Snapshot = { state: 'connecting', error: null, seq: 0, containers: new Map(), agents: new Map() };

export const me = signal<MeView | null>(null);
const snapshot = signal<Snapshot>(NOTHING);
/** The newest first. */
export const events = signal<readonly BerthEvent[]>([]);
/** Why nothing can be shown. */
export const fault = signal<unknown>(null);

export const connection = computed(() => snapshot.value.state);
/** False until the list is here. */
export const listed = computed(() => snapshot.value.seq > 0 || snapshot.value.state === 'live');
const byId = computed(() => snapshot.value.containers);
/** The newest first. */
export const containers = computed(() => [...byId.value.values()]);
export const containerById = (id: string): Container | undefined => byId.value.get(id);
export const agents = computed(() => snapshot.value.agents);
export const usage = computed(() => {
  const limit = me.value?.limits.containers;
  return limit === undefined ? null : { containers: byId.value.size, limit };
});

/** What ends by itself, in seconds; null: never. Where the tier sets less than the container has, that counts. */
export interface Lifetime {
  /** Without use, until it is stopped or paused. */
  readonly idle: number | null;
  readonly idleAction: IdleAction;
  /** Stopped, until it is deleted. */
  readonly deletion: number | null;
}

export function lifetimeOf({ auto_stop_seconds, idle_action, auto_delete_seconds }: Container): Lifetime {
  const limits = me.value?.limits;
  return {
    idleAction: idle_action ?? limits?.idle_action ?? 'stop',
    idle: shorter(auto_stop_seconds, limits?.auto_stop_seconds),
    deletion: shorter(auto_delete_seconds, limits?.auto_delete_seconds),
  };
}

function shorter(own: number | null | undefined, tiers: number | null | undefined): number | null {
  const least = Math.min(own ?? Infinity, tiers ?? Infinity);
  return Number.isFinite(least) ? least : null;
}

const KEPT_EVENTS = 200;

let watch: ContainerWatch | null = null;

/** Starts to follow the containers of the signed-in user. @throws BerthError */
export async function follow(): Promise<void> {
  stop();
  const own = berth.watch();
  watch = own;
  // At once, so that both come together.
  const [asked] = await Promise.all([berth.account.me(), shownFrom(own)]);
  if (watch === own) me.value = asked;
}

async function shownFrom(own: ContainerWatch): Promise<void> {
  own.subscribe(() => {
    const next = own.getSnapshot();
    if (isBerthError(next.error, 'unauthorized')) endedByServer();
    else snapshot.value = next;
  });
  own.onEvent((event) => (events.value = [event, ...events.value].slice(0, KEPT_EVENTS)));
  await own.ready;
}

/** Forgets everything. */
export function stop(): void {
  watch?.close();
  watch = null;
  batch(() => {
    me.value = null;
    snapshot.value = NOTHING;
    events.value = [];
    fault.value = null;
  });
}

/** Reads again what changes without an event. */
export const refresh = (): Promise<void> => watch?.refresh() ?? Promise.resolve();

/** The current time, for durations on the page. Updated every ten seconds while the page is visible. */
export const now = signal(Date.now());
setInterval(() => {
  if (document.visibilityState === 'visible') now.value = Date.now();
}, 10_000);
