import { Inject, Injectable, OnApplicationBootstrap, OnModuleDestroy } from '@nestjs/common';
import { Poll } from '../../events';
import { LOGGER } from '../../logging';
import type { Logger } from '../../logging';
import { IdempotencyKeys } from './idempotency-keys';

const INTERVAL_MS = 600_000;

/** Forgets keys whose time is over, in every process: the batches of several do not get in each other's way. */
@Injectable()
export class IdempotencyRetention implements OnApplicationBootstrap, OnModuleDestroy {
  private readonly poll: Poll;

  constructor(keys: IdempotencyKeys, @Inject(LOGGER) logger: Logger) {
    this.poll = new Poll({
      everyMs: INTERVAL_MS,
      work: async () => {
        const pruned = await keys.prune();
        if (pruned > 0) logger.debug({ count: pruned }, 'old idempotency keys pruned');
      },
      onFault: (error) => logger.error({ err: error }, 'pruning old idempotency keys failed'),
    });
  }

  onApplicationBootstrap(): void {
    this.poll.start();
  }

  onModuleDestroy(): void {
    this.poll.stop();
  }
}
