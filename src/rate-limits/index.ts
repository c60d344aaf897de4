export { RateLimitsModule } from './rate-limits.module';
export { RefusedTokens } from './refused-tokens';
export { setUpRateLimits } from './request-limits';
export { SocketLimits } from './socket-limits';
