import { z } from 'zod';
import { type Config, ConfigError, parseDuration, readJson, validate } from '../config';
import { networkPolicy } from '../network-policy';
import {
  AUTO_END_SECONDS,
  DEFAULT_POOL,
  DEFAULT_PREVIEW_CONNECTIONS,
  DEFAULT_PROCESSES,
  DEFAULT_RESOURCES,
  DEFAULT_TIERS,
  IDLE_ACTIONS,
  RESOURCE_BOUNDS,
  RESOURCE_FIELDS,
  type Resources,
  Tier,
  TierTable,
} from './tier-table';

const amount = z.number().int().min(RESOURCE_BOUNDS.minimum).max(RESOURCE_BOUNDS.maximum);
const count = z.number().int().min(0).max(100_000);
/** Enough for a shell, a package manager and the processes that it starts. */
const FEWEST_PROCESSES = 32;
const MOST_PROCESSES = 100_000;
const resources = { memory_mb: amount, cpu_shares: amount, disk_mb: amount };

const autoEnd = z.number().int().min(AUTO_END_SECONDS.min).max(AUTO_END_SECONDS.max).nullable().default(null);

const session = z
  .string()
  .transform((text) => parseDuration(text))
  .pipe(z.number({ error: 'expected a duration such as 50h, or null' }).min(1000, 'must be a second or more'));

const schema = z
  .strictObject({
    minimum: z.strictObject(resources),
    tiers: z
      .record(
        z
          .string()
          .regex(/^[a-z][a-z0-9_-]{0,31}$/, 'expected 1 to 32 of a-z, 0-9, "_" and "-", beginning with a letter'),
        z.strictObject({
          containers: count,
          ...resources,
          network: networkPolicy.default('internet'),
          processes: z.number().int().min(FEWEST_PROCESSES).max(MOST_PROCESSES).default(DEFAULT_PROCESSES),
          session: session.nullable(),
          session_once: z.boolean(),
          auto_stop_seconds: autoEnd,
          auto_delete_seconds: autoEnd,
          idle_action: z.enum(IDLE_ACTIONS).default('stop'),
          agents: count,
          snapshots: count.optional(),
          snapshot_mb: z.number().int().min(0).max(RESOURCE_BOUNDS.maximum).optional(),
          webhooks: count.optional(),
          exec: z.boolean().default(true),
          public_previews: z.boolean().optional(),
          preview_connections: z.number().int().min(0).max(100_000).default(DEFAULT_PREVIEW_CONNECTIONS),
          preview_kib_per_second: z.number().int().min(1).max(RESOURCE_BOUNDS.maximum).nullable().default(null),
          pool: z
            .string()
            .regex(/^[A-Za-z0-9][A-Za-z0-9_.-]{0,62}$/, 'expected 1 to 63 of letters, digits, "_", "." and "-"')
            .default(DEFAULT_POOL),
        }),
      )
      .refine((tiers) => Object.keys(tiers).length > 0, 'there must be a tier'),
  })
  .superRefine(({ minimum, tiers }, context) => {
    for (const [name, tier] of Object.entries(tiers)) {
      for (const field of RESOURCE_FIELDS) {
        if (tier[field] >= minimum[field]) continue;
        const message = `must be at least the minimum, ${String(minimum[field])}`;
        context.addIssue({ code: 'custom', path: ['tiers', name, field], message });
      }
      if (tier.session_once && tier.session === null) {
        context.addIssue({
          code: 'custom',
          path: ['tiers', name, 'session'],
          message: 'must be given with session_once',
        });
      }
    }
  });

/**
 * Loads the tiers of the operator's file, or the default ones if there is no file.
 *
 * @throws ConfigError that lists every fault of the file
 */
export function loadTierTable(file: string | undefined): TierTable {
  return file === undefined
    ? parseTierTable(DEFAULT_TIERS, 'the default tiers')
    : parseTierTable(readJson({ setting: 'TIERS_FILE', file }), file);
}

const tierMaximum = ({ memory_mb, cpu_shares, disk_mb }: Resources): Resources => ({ memory_mb, cpu_shares, disk_mb });

/** {@link DEFAULT_RESOURCES} if the tier allows them; otherwise the nearest bound. */
function defaultWithin(min: Resources, max: Resources): Resources {
  const amount = (field: keyof Resources): number =>
    Math.max(min[field], Math.min(max[field], DEFAULT_RESOURCES[field]));
  return { memory_mb: amount('memory_mb'), cpu_shares: amount('cpu_shares'), disk_mb: amount('disk_mb') };
}

/** @throws ConfigError that lists every fault and names the file */
export function parseTierTable(json: unknown, file: string): TierTable {
  const { minimum, tiers } = validate(schema, json, { setting: 'TIERS_FILE', file, what: 'tiers' });
  return new Map(
    Object.entries(tiers).map(([name, tier]): [string, Tier] => [
      name,
      {
        name,
        containers: tier.containers,
        min: minimum,
        max: tierMaximum(tier),
        default: defaultWithin(minimum, tierMaximum(tier)),
        processes: tier.processes,
        network: tier.network,
        sessionSeconds: tier.session === null ? null : tier.session / 1000,
        sessionOnce: tier.session_once,
        autoStopSeconds: tier.auto_stop_seconds,
        autoDeleteSeconds: tier.auto_delete_seconds,
        idleAction: tier.idle_action,
        agents: tier.agents,
        ...snapshotLimits(name, tier),
        webhooks: tier.webhooks ?? (name === GUEST_TIER ? 0 : tier.containers),
        exec: tier.exec,
        publicPreviews: tier.public_previews ?? name !== GUEST_TIER,
        previewConnections: tier.preview_connections,
        previewKibPerSecond: tier.preview_kib_per_second,
        pool: tier.pool,
      },
    ]),
  );
}

/** By default a user may keep as much in snapshots as in containers, and a guest nothing. */
function snapshotLimits(
  name: string,
  tier: { containers: number; disk_mb: number; snapshots?: number | undefined; snapshot_mb?: number | undefined },
): Pick<Tier, 'snapshots' | 'snapshotMb'> {
  const { snapshots = name === GUEST_TIER ? 0 : tier.containers } = tier;
  const { snapshot_mb: snapshotMb = Math.min(snapshots * tier.disk_mb, RESOURCE_BOUNDS.maximum) } = tier;
  return { snapshots, snapshotMb };
}

/** The tier of users without an account. */
export const GUEST_TIER = 'guest';

/**
 * Loads the tier table, and applies the settings that override parts of it.
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
  return withGuestSession(withIdleStops(table, settings.IDLE_STOP_AFTER), settings.GUEST_SESSION);
}

/** `IDLE_STOP_AFTER` overrides the `auto_stop_seconds` of the tiers that it names. */
function withIdleStops(table: TierTable, idleMsByTier: ReadonlyMap<string, number>): TierTable {
  return new Map(
    [...table].map(([name, tier]): [string, Tier] => {
      const idleMs = idleMsByTier.get(name);
      return [name, idleMs === undefined ? tier : { ...tier, autoStopSeconds: idleMs / 1000 }];
    }),
  );
}

function withGuestSession(table: TierTable, sessionMs: number | undefined): TierTable {
  const guest = table.get(GUEST_TIER);
  if (!guest || sessionMs === undefined) return table;
  return new Map([...table, [GUEST_TIER, { ...guest, sessionSeconds: sessionMs / 1000, sessionOnce: true }]]);
}
