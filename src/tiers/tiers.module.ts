import { Module } from '@nestjs/common';
import { type Config, CONFIG } from '../config';
import { loadTiers } from './load-tiers';
import { TIER_TABLE, TiersService, TierUsage } from './tiers.service';

/** Tiers: the table of limits, the checks against them, and the counts of what users have. */
@Module({
  providers: [
    { provide: TIER_TABLE, inject: [CONFIG], useFactory: (config: Config) => loadTiers(config) },
    TiersService,
    TierUsage,
  ],
  exports: [TiersService, TierUsage],
})
export class TiersModule {}
