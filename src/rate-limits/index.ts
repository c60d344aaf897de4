export { RateLimitsModule } from './rate-limits.module';
export { RefusedTokens } from './refused-tokens';
export { setUpRateLimits } from './set-up-rate-limits';
