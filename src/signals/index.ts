export { LocalSignals } from './local-signals';
export { RedisConnection } from './redis-connection';
export { Signals, type SignalMap, type SignalName } from './signals';
export { SignalsModule } from './signals.module';
