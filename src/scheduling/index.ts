export { Clock, Moment } from './clock';
export { untilAborted, within } from './deadline';
export { FairLimiter } from './fair-limiter';
export { LocalQueue } from './local-queue';
export { Places } from './places';
export { Poll } from './poll';
export { RecentKeys } from './recent-keys';
export { Throttle } from './throttle';
