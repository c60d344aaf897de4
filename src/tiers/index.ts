export { loadTierTable } from './load-tier-table';
export { RESOURCE_FIELDS, Resources } from './resources';
export type { RequestedResources } from './resources';
export type { Tier } from './tier-table';
export { TierUsage } from './tier-usage';
export { TiersModule } from './tiers.module';
export { TiersService } from './tiers.service';
