export { RateLimitsModule } from './rate-limits.module';
export { setUpRateLimits } from './request-limits';
export { SocketLimits } from './socket-limits';
