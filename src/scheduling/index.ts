export { Clock, Stopwatch } from './clock';
export { untilAborted, within } from './deadline';
export { FairLimiter } from './fair-limiter';
export { LocalQueue } from './local-queue';
export { KeyedLimiter } from './keyed-limiter';
export { Poll } from './poll';
export { LruMap } from './lru-map';
export { type Retrier, retryUntilClosed } from './retry';
export { Throttle } from './throttle';
