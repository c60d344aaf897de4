import { Module } from '@nestjs/common';
import { AuthModule } from '../auth';
import { RateCounters } from './rate-counters';
import { RefusedTokens } from './refused-tokens';
import { RequestLimits } from './request-limits';
import { SocketLimits } from './socket-limits';

/** Rate limits by user and by address. */
@Module({
  imports: [AuthModule],
  providers: [RateCounters, RefusedTokens, RequestLimits, SocketLimits],
  exports: [RefusedTokens, RequestLimits, SocketLimits],
})
export class RateLimitsModule {}
