import { Module } from '@nestjs/common';
import { type Config, CONFIG } from '../config';
import { loadTiers } from './load-tiers';
import { TIER_TABLE, TiersService, TierUsage } from './tiers.service';

/** Tiers as data: the limits, the checks against them, and what is used of them. */
@Module({
  providers: [
    { provide: TIER_TABLE, inject: [CONFIG], useFactory: (config: Config) => loadTiers(config) },
    TiersService,
    TierUsage,
  ],
  exports: [TiersService, TierUsage],
})
export class TiersModule {}
