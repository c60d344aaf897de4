export { RateLimitsModule } from './rate-limits.module';
export { setUpRateLimits } from './set-up-rate-limits';
export { SocketLimits } from './socket-limits';
