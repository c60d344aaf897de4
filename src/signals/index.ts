export { LocalSignals } from './local-signals';
export { RedisConnection } from './redis-connection';
export { Signals } from './signals';
export type { SignalMap, SignalName } from './signals';
export { SignalsModule } from './signals.module';
