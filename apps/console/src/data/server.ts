import type { ReadyView } from '@berth/client';
import { computed, effect, signal, untracked } from '@preact/signals';
import { askServer, berth } from './berth';
import { me } from './live';

/** How the server is, as `GET /health/ready` has it; where something is down it answers in the same form. */
export const health = signal<ReadyView | null>(null);

/** Whether the server simulates containers. Every page says so, also before the sign-in. */
export const isSimulated = computed(() => health.value?.runtime === 'simulated');

/**
 * Whether Docker holds containers to their disk size, on every node; null while that is not known. Said on the page of
 * the machine, and at the fields of disk sizes.
 */
export const isDiskEnforced = computed(() => {
  const found = health.value?.disk_quota ?? null;
  return found === null ? null : found === 'enforced';
});

export const isAdmin = computed(() => me.value?.scopes.includes('admin') ?? false);

/** What an administrator has to see to; the simulation has a banner of its own. */
export const notices = computed(() =>
  isAdmin.value ? (health.value?.notices ?? []).filter((notice) => !notice.includes('ENGINE=simulated')) : [],
);

/** Whether sandboxes are on several machines. */
export const hasNodes = signal(false);

const names = signal<ReadonlyMap<string, string>>(new Map());

/** Reads who is who, for administrators; of very many users the newest. Does not throw: ids are shown then. */
export async function readUserNames(): Promise<void> {
  const page = await berth.admin
    .users({ limit: 100 })
    .page()
    .catch(() => null);
  if (page) names.value = new Map(page.items.map(({ id, username }) => [id, username]));
}

/** A user's name, or the beginning of their id. */
export const nameOf = (user: string): string => names.value.get(user) ?? user.slice(0, 8);

/** A user's name as far as it was read; undefined otherwise. */
export const knownName = (user: string): string | undefined => names.value.get(user);

const EVERY_MS = 60_000;

export async function readHealth(): Promise<void> {
  health.value = await askServer<ReadyView>('/health/ready').catch(() => health.value);
}

void readHealth();
setInterval(() => document.visibilityState === 'visible' && me.value && void readHealth(), EVERY_MS);

effect(() => {
  if (!isAdmin.value) {
    hasNodes.value = false;
    return;
  }
  untracked(() => {
    berth.admin.nodes().then(
      (nodes) => (hasNodes.value = nodes.length > 0),
      () => undefined,
    );
  });
});
