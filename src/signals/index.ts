export { LocalSignals, type SignalMap, type SignalName, Signals } from './signals';
export { RedisConnection } from './redis-connection';
export { SignalsModule } from './signals.module';
