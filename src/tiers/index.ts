export { GUEST_TIER, loadTiers } from './load-tiers';
export {
  AUTO_END_SECONDS,
  DEFAULT_POOL,
  DEFAULT_PROCESSES,
  IDLE_ACTIONS,
  type IdleAction,
  keepsMore,
  RESOURCE_BOUNDS,
  type RequestedEnds,
  Resources,
  type Tier,
} from './tier-table';
export { TiersService, TierUsage } from './tiers.service';
export { LimitsView, TierListView, viewLimits } from './tier-view';
export { TiersModule } from './tiers.module';
