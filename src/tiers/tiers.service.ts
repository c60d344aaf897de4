import { Inject, Injectable } from '@nestjs/common';
import { Database } from '../database';
import { DomainError, FieldFault, invalidParameters } from '../errors';
import { canonicalPolicy, excessOf, type NetworkPolicy } from '../network-policy';
import {
  AUTO_END_SECONDS,
  type RequestedEnds,
  RequestedResources,
  RESOURCE_FIELDS,
  Resources,
  type Tier,
  type TierTable,
} from './tier-table';

/** Injection token of the {@link TierTable}. */
export const TIER_TABLE = Symbol('TIER_TABLE');

/** What each tier allows. Nothing is ever clamped: what exceeds a limit is refused with an error that says so. */
@Injectable()
export class TiersService {
  constructor(@Inject(TIER_TABLE) private readonly table: TierTable) {}

  /** Every tier, in the order of the table. */
  all(): readonly Tier[] {
    return [...this.table.values()];
  }

  has(name: string): boolean {
    return this.table.has(name);
  }

  /** @throws Error if there is no such tier: a user's tier was checked when it was given */
  limitsOf(name: string): Tier {
    const tier = this.table.get(name);
    if (!tier) throw new Error(`the tier "${name}" is not in the tier table; add it to TIERS_FILE or move its users`);
    return tier;
  }

  /** When the session of a user who comes to this tier now ends; null for tiers without a session of the user's. */
  sessionEnd(name: string, now: Date): Date | null {
    const { sessionSeconds, sessionOnce } = this.limitsOf(name);
    return sessionOnce && sessionSeconds !== null ? new Date(now.getTime() + sessionSeconds * 1000) : null;
  }

  /** What a request asks for, with the tier's default for what it leaves out. Not checked; see {@link assertWithin}. */
  resolve(name: string, requested: RequestedResources): Resources {
    const tier = this.limitsOf(name);
    return {
      memory_mb: requested.memory_mb ?? tier.default.memory_mb,
      cpu_shares: requested.cpu_shares ?? tier.default.cpu_shares,
      disk_mb: requested.disk_mb ?? tier.default.disk_mb,
    };
  }

  /**
   * @param requested the tier's own if absent
   * @returns the canonical form
   * @throws DomainError `invalid_parameters` if it reaches more than the tier allows
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

  /** Whether users of this tier may run anything in their containers; those of a tier that there is not may not. */
  allowsExec(name: string): boolean {
    return this.table.get(name)?.exec ?? false;
  }

  /** @throws DomainError `exec_not_allowed` if users of this tier may run nothing in their containers */
  assertExec(name: string): void {
    if (!this.limitsOf(name).exec) throw new DomainError('exec_not_allowed', { fields: { tier: name } });
  }

  /** @throws DomainError `invalid_parameters` with an entry for each field that is outside the tier's limits */
  assertWithin(name: string, resources: Readonly<Resources>, ends: RequestedEnds = {}): void {
    const tier = this.limitsOf(name);
    const { min, max } = tier;
    const faults = RESOURCE_FIELDS.flatMap((field): FieldFault[] => {
      const value = resources[field];
      if (Number.isInteger(value) && value >= min[field] && value <= max[field]) return [];
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
    if (faults.length > 0) throw invalidParameters(faults);
  }
}

/** How much of their tier users have taken. */
@Injectable()
export class TierUsage {
  constructor(private readonly database: Database) {}

  /**
   * The user's containers that are not deleted, whatever their state. To decide on the count, lock the user's row first
   * and call this in the same transaction.
   */
  containersOf(userId: string): Promise<number> {
    // By the table's name: containers know tiers, and not the other way round. Deleted rows are invisible to a count.
    return this.database.manager.countBy<{ userId: string }>('containers', { userId });
  }

  /** The user's agents that are not deleted, connected or not; for decisions as {@link containersOf}. */
  agentsOf(userId: string): Promise<number> {
    return this.database.manager.countBy<{ userId: string }>('agents', { userId });
  }
}
