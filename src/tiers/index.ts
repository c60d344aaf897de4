export { GUEST_TIER, loadTiers } from './load-tiers';
export { RESOURCE_FIELDS, Resources, type RequestedResources } from './resources';
export type { Tier } from './tier-table';
export { TierUsage } from './tier-usage';
export { LimitsView, TierListView, viewLimits } from './tier-view';
export { TiersModule } from './tiers.module';
export { TiersService } from './tiers.service';
