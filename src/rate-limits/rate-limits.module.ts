import { Module } from '@nestjs/common';
import { AuthModule } from '../auth';
import { RateCounters } from './rate-counters';
import { RefusedTokens } from './refused-tokens';
import { RequestLimits } from './request-limits';

/** How often one may ask, by token and by address. */
@Module({
  imports: [AuthModule],
  providers: [RateCounters, RefusedTokens, RequestLimits],
  exports: [RefusedTokens],
})
export class RateLimitsModule {}
