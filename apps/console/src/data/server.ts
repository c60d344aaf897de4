import type { ReadyView } from '@berth/client';
import { computed, effect, signal } from '@preact/signals';
import { askServer } from './berth';
import { me } from './live';

/** How the server is, as `GET /health/ready` has it; where something is down it answers in the same form. */
export const health = signal<ReadyView | null>(null);

/** What concerns whoever is looking: all of it an administrator; others, that nothing here is real. */
export const notices = computed(() =>
  (health.value?.notices ?? []).filter(
    (notice) => (me.value?.scopes.includes('admin') ?? false) || /simulat/i.test(notice),
  ),
);

const EVERY_MS = 60_000;

export async function readHealth(): Promise<void> {
  health.value = await askServer<ReadyView>('/health/ready').catch(() => health.value);
}

effect(() => {
  if (!me.value) return undefined;
  void readHealth();
  const timer = setInterval(() => document.visibilityState === 'visible' && void readHealth(), EVERY_MS);
  return () => clearInterval(timer);
});
