import { Inject, Injectable } from '@nestjs/common';
import { Database } from '../database';
import { DomainError, FieldFault, invalidParameters } from '../errors';
import { canonicalPolicy, excessOf, type NetworkPolicy } from '../network-policy';
import {
  AUTO_END_SECONDS,
  IDLE_ACTIONS,
  keepsMore,
  type RequestedEnds,
  RequestedResources,
  RESOURCE_FIELDS,
  Resources,
  type Tier,
  type TierTable,
} from './tier-table';

/** Injection token of the {@link TierTable}. */
export const TIER_TABLE = Symbol('TIER_TABLE');

/**
 * The limits of each tier, and checks against them. Values are never clamped: a value that exceeds a limit is refused
 * with an error that says so.
 */
@Injectable()
export class TiersService {
  constructor(@Inject(TIER_TABLE) private readonly table: TierTable) {}

  /** All tiers, in the order of the table. */
  all(): readonly Tier[] {
    return [...this.table.values()];
  }

  has(name: string): boolean {
    return this.table.has(name);
  }

  /** @throws Error if the tier does not exist: a user's tier was checked when it was assigned */
  limitsOf(name: string): Tier {
    const tier = this.table.get(name);
    if (!tier) throw new Error(`the tier "${name}" is not in the tier table; add it to TIERS_FILE or move its users`);
    return tier;
  }

  /** When the session of a user who joins this tier now ends; null if the tier has no session per user. */
  sessionEnd(name: string, now: Date): Date | null {
    const { sessionSeconds, sessionOnce } = this.limitsOf(name);
    return sessionOnce && sessionSeconds !== null ? new Date(now.getTime() + sessionSeconds * 1000) : null;
  }

  /** The requested resources, with the tier's defaults for omitted ones. Not checked; see {@link assertWithin}. */
  resolve(name: string, requested: RequestedResources): Resources {
    const tier = this.limitsOf(name);
    return {
      memory_mb: requested.memory_mb ?? tier.default.memory_mb,
      cpu_shares: requested.cpu_shares ?? tier.default.cpu_shares,
      disk_mb: requested.disk_mb ?? tier.default.disk_mb,
    };
  }

  /**
   * @param requested the tier's policy if absent
   * @returns the canonical form
   * @throws DomainError `invalid_parameters` if the policy reaches more than the tier allows
   */
  networkOf(name: string, requested: NetworkPolicy | undefined): NetworkPolicy {
    const { network } = this.limitsOf(name);
    if (!requested) return network;
    const excess = excessOf(requested, network);
    if (excess !== null) {
      throw invalidParameters([{ field: 'network', message: `${excess} on the tier "${name}"`, tier: name }]);
    }
    return canonicalPolicy(requested);
  }

  /** Whether users of this tier may run anything in their containers; false if the tier does not exist. */
  allowsExec(name: string): boolean {
    return this.table.get(name)?.exec ?? false;
  }

  /** @throws DomainError `exec_not_allowed` if users of this tier may run nothing in their containers */
  assertExec(name: string): void {
    if (!this.limitsOf(name).exec) throw new DomainError('exec_not_allowed', { fields: { tier: name } });
  }

  /**
   * @param resources absent ones are not checked
   * @throws DomainError `invalid_parameters` with an entry for each field that is outside the tier's limits
   */
  assertWithin(name: string, resources: RequestedResources, ends: RequestedEnds = {}): void {
    const tier = this.limitsOf(name);
    const { min, max } = tier;
    const faults = RESOURCE_FIELDS.flatMap((field): FieldFault[] => {
      const value = resources[field];
      if (value === undefined || (Number.isInteger(value) && value >= min[field] && value <= max[field])) return [];
      const message = `must be a whole number from ${String(min[field])} to ${String(max[field])} on the tier "${name}"`;
      return [{ field, message, min: min[field], max: max[field], tier: name }];
    });
    for (const field of ['auto_stop_seconds', 'auto_delete_seconds'] as const) {
      const value = ends[field] ?? null;
      const most = field === 'auto_stop_seconds' ? tier.autoStopSeconds : tier.autoDeleteSeconds;
      const bounds = { min: AUTO_END_SECONDS.min, max: most ?? AUTO_END_SECONDS.max };
      if (value === null || (Number.isInteger(value) && value >= bounds.min && value <= bounds.max)) continue;
      const range = `from ${String(bounds.min)} to ${String(bounds.max)}`;
      faults.push({ field, message: `must be a whole number ${range} on the tier "${name}"`, ...bounds, tier: name });
    }
    const { idle_action: action = null } = ends;
    if (action !== null && tier.autoStopSeconds !== null && keepsMore(action, tier.idleAction)) {
      const allowed = IDLE_ACTIONS.filter((each) => !keepsMore(each, tier.idleAction)).join(' or ');
      faults.push({ field: 'idle_action', message: `must be ${allowed} on the tier "${name}"`, tier: name });
    }
    if (faults.length > 0) throw invalidParameters(faults);
  }
}

/** Counts what users have of the things that tiers limit. */
@Injectable()
export class TierUsage {
  constructor(private readonly database: Database) {}

  /**
   * The number of the user's containers that are not deleted, whatever their status. To decide on the count, lock the
   * user's row first and call this in the same transaction.
   */
  containersOf(userId: string): Promise<number> {
    // By the table's name, because containers depend on tiers and not the other way round. Counts exclude deleted
    // rows.
    return this.database.manager.countBy<{ userId: string }>('containers', { userId });
  }

  /**
   * The number of the user's agents that are not deleted, connected or not. For decisions, lock the user's row as for
   * {@link containersOf}.
   */
  agentsOf(userId: string): Promise<number> {
    return this.database.manager.countBy<{ userId: string }>('agents', { userId });
  }
}
