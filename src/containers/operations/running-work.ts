import { BeforeApplicationShutdown, Inject, Injectable } from '@nestjs/common';
import type { Logger } from 'pino';
import { type Config, CONFIG } from '../../config';
import { LOGGER } from '../../logging';
import { within } from '../../scheduling';
import { OperationMetrics } from '../container-metrics';
import type { Operation } from '../container.entity';

/** Operations that are under way: counted and timed, and a shutdown waits for them. */
@Injectable()
export class RunningWork implements BeforeApplicationShutdown {
  private readonly running = new Set<Promise<unknown>>();

  constructor(
    private readonly metrics: OperationMetrics,
    @Inject(CONFIG) private readonly config: Pick<Config, 'SHUTDOWN_GRACE_SECONDS'>,
    @Inject(LOGGER) private readonly logger: Logger,
  ) {}

  /** Does `work` to its end before the process ends, within the grace period. */
  async track<T>(work: () => Promise<T>): Promise<T> {
    const promise = work();
    this.running.add(promise);
    try {
      return await promise;
    } finally {
      this.running.delete(promise);
    }
  }

  /** The same, counted and timed as this operation. */
  async measured<T>(operation: Operation, work: () => Promise<T>): Promise<T> {
    return this.track(() => this.metrics.measure(operation, work));
  }

  /** Lets running operations finish; the next lease holder finishes what takes too long. */
  async beforeApplicationShutdown(): Promise<void> {
    if (this.running.size === 0) return;
    this.logger.info({ running: this.running.size }, 'waiting for running operations');
    await this.drain(this.config.SHUTDOWN_GRACE_SECONDS * 1000);
    const running = this.running.size;
    if (running > 0) this.logger.warn({ running }, 'operations were interrupted; the next start recovers them');
  }

  /** Waits at most `ms` for running operations, including those that they start. */
  private async drain(ms: number): Promise<void> {
    const deadline = performance.now() + ms;
    while (this.running.size > 0 && performance.now() < deadline) {
      const left = deadline - performance.now();
      await within(Promise.allSettled(this.running), { ms: left }).catch(() => undefined);
    }
  }
}
