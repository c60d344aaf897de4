import { Inject, Injectable, Logger, OnApplicationBootstrap, OnApplicationShutdown } from '@nestjs/common';
import { type Config, CONFIG } from '../config';
import { Clock, Poll } from '../scheduling';
import { AuditLog } from './audit-log';

/** Entries go at most this much later than `AUDIT_RETENTION` says. */
const LONGEST_INTERVAL_MS = 600_000;
const SHORTEST_INTERVAL_MS = 1_000;

/** Forgets entries that are older than `AUDIT_RETENTION`, in every process: several do not get in each other's way. */
@Injectable()
export class AuditRetention implements OnApplicationBootstrap, OnApplicationShutdown {
  private readonly logger = new Logger(AuditRetention.name);
  private readonly poll: Poll;

  constructor(log: AuditLog, clock: Clock, @Inject(CONFIG) { AUDIT_RETENTION }: Pick<Config, 'AUDIT_RETENTION'>) {
    this.poll = new Poll({
      everyMs: Math.min(Math.max(AUDIT_RETENTION / 10, SHORTEST_INTERVAL_MS), LONGEST_INTERVAL_MS),
      work: async () => {
        const pruned = await log.prune(new Date(clock.now().getTime() - AUDIT_RETENTION));
        if (pruned > 0) this.logger.debug({ msg: 'old audit entries pruned', count: pruned });
      },
      onFault: (error) => this.logger.error({ msg: 'pruning old audit entries failed', err: error }),
    });
  }

  onApplicationBootstrap(): void {
    this.poll.start();
  }

  onApplicationShutdown(): void {
    this.poll.stop();
  }
}
