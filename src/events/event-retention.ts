import { Inject, Injectable, Logger, OnApplicationBootstrap, OnApplicationShutdown } from '@nestjs/common';
import { CONFIG, type Config } from '../config';
import { Poll } from '../scheduling';
import { EventLog } from './log';

/** Events go at most this much later than `EVENT_RETENTION` says. */
const LONGEST_INTERVAL_MS = 600_000;
const SHORTEST_INTERVAL_MS = 1_000;

/** Forgets events that are older than `EVENT_RETENTION`, in every process: the batches of several do not get in each other's way. */
@Injectable()
export class EventRetention implements OnApplicationBootstrap, OnApplicationShutdown {
  private readonly logger = new Logger(EventRetention.name);
  private readonly poll: Poll;

  constructor(log: EventLog, @Inject(CONFIG) { EVENT_RETENTION }: Pick<Config, 'EVENT_RETENTION'>) {
    this.poll = new Poll({
      everyMs: Math.min(Math.max(EVENT_RETENTION / 10, SHORTEST_INTERVAL_MS), LONGEST_INTERVAL_MS),
      work: async () => {
        const pruned = await log.prune(new Date(Date.now() - EVENT_RETENTION));
        if (pruned > 0) this.logger.debug({ msg: 'old events pruned', count: pruned });
      },
      onFault: (error) => this.logger.error({ msg: 'pruning old events failed', err: error }),
    });
  }

  onApplicationBootstrap(): void {
    this.poll.start();
  }

  onApplicationShutdown(): void {
    this.poll.stop();
  }
}
