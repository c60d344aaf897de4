export { LocalSignals, type SignalMap, type SignalType, Signals } from './signals';
export { RedisConnection } from './redis-connection';
export { SignalsModule } from './signals.module';
