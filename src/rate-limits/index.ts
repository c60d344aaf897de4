export { RateLimitsModule } from './rate-limits.module';
export { RefusedTokens } from './refused-tokens';
export { RequestLimits, setUpRateLimits } from './request-limits';
export { SocketLimits } from './socket-limits';
