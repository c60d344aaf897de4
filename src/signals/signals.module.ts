import { Global, Inject, Module, OnApplicationShutdown } from '@nestjs/common';
import { CONFIG, type Config } from '../config';
import { LocalSignals, Signals } from './signals';
import { RedisConnection } from './redis-connection';
import { RedisSignals } from './redis-signals';

/**
 * Provides {@link Signals}, over Redis if `REDIS_URL` is set, and {@link RedisConnection}, which is null if it is
 * not.
 */
@Global()
@Module({
  providers: [
    {
      provide: RedisConnection,
      inject: [CONFIG],
      useFactory: ({ REDIS_URL }: Config) => (REDIS_URL === undefined ? null : new RedisConnection(REDIS_URL)),
    },
    {
      provide: Signals,
      inject: [RedisConnection],
      useFactory: (redis: RedisConnection | null) => (redis ? new RedisSignals(redis) : new LocalSignals()),
    },
  ],
  exports: [Signals, RedisConnection],
})
export class SignalsModule implements OnApplicationShutdown {
  constructor(@Inject(RedisConnection) private readonly redis: RedisConnection | null) {}

  onApplicationShutdown(): void {
    this.redis?.close();
  }
}
