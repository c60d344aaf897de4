import { computed, effect, signal } from '@preact/signals';
import { call } from './api';
import { me } from './live';

/** What `GET /health/ready` answers, as far as it is shown. */
export interface Health {
  readonly status: 'ok' | 'degraded' | 'error';
  readonly checks: Readonly<Record<string, 'up' | 'down'>>;
  readonly runtime: string | null;
  readonly disk_quota: string | null;
  readonly host_firewall: string | null;
  readonly allow_lists: string | null;
  readonly docker_identity: string | null;
  readonly disk: { readonly total_mb: number; readonly free_mb: number } | null;
  readonly sandbox_proof: string | null;
  readonly notices: readonly string[];
}

export const health = signal<Health | null>(null);

/** What concerns whoever is looking: all of it an administrator; others, that nothing here is real. */
export const notices = computed(() =>
  (health.value?.notices ?? []).filter(
    (notice) => (me.value?.scopes.includes('admin') ?? false) || /simulat/i.test(notice),
  ),
);

const EVERY_MS = 60_000;

export async function readHealth(): Promise<void> {
  health.value = await call<Health>('GET', '/health/ready').catch(() => health.value);
}

effect(() => {
  if (!me.value) return undefined;
  void readHealth();
  const timer = setInterval(() => document.visibilityState === 'visible' && void readHealth(), EVERY_MS);
  return () => clearInterval(timer);
});
