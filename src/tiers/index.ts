export { GUEST_TIER, loadTiers } from './load-tiers';
export { RESOURCE_FIELDS, Resources } from './resources';
export type { RequestedResources } from './resources';
export type { Tier } from './tier-table';
export { LimitsView, TierListView, viewLimits } from './tier-view';
export { TierUsage } from './tier-usage';
export { TiersModule } from './tiers.module';
export { TiersService } from './tiers.service';
