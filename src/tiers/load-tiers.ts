import { type Config, ConfigError } from '../config';
import { loadTierTable } from './load-tier-table';
import type { TierTable } from './tier-table';

/** The tier of those who come without an account. */
export const GUEST_TIER = 'guest';

/**
 * The tier table with what the settings change in it.
 *
 * @throws ConfigError that lists every fault of the file, or every tier of `IDLE_STOP_AFTER` that is not in the table
 */
export function loadTiers(settings: Pick<Config, 'TIERS_FILE' | 'GUEST_SESSION' | 'IDLE_STOP_AFTER'>): TierTable {
  const table = loadTierTable(settings.TIERS_FILE);
  const unknown = [...settings.IDLE_STOP_AFTER.keys()].filter((name) => !table.has(name));
  if (unknown.length > 0) {
    const faults = unknown.map((name) => `  "${name}" is not a tier; there are ${[...table.keys()].join(', ')}`);
    throw new ConfigError(`IDLE_STOP_AFTER names what does not exist:\n${faults.join('\n')}`);
  }
  return settings.GUEST_SESSION === undefined ? table : withGuestSession(table, settings.GUEST_SESSION);
}

function withGuestSession(table: TierTable, sessionMs: number): TierTable {
  const guest = table.get(GUEST_TIER);
  if (!guest) return table;
  return new Map([...table, [GUEST_TIER, { ...guest, sessionSeconds: sessionMs / 1000, sessionOnce: true }]]);
}
