import { BeforeApplicationShutdown, Inject, Injectable } from '@nestjs/common';
import type { Logger } from 'pino';
import { type Config, CONFIG } from '../../config';
import { LOGGER } from '../../logging';
import { within } from '../../scheduling';
import { OperationMetrics } from './container-metrics';
import type { Operation } from '../model/container.entity';

/** The operations that this process is running. Counts and times them, and makes a shutdown wait for them. */
@Injectable()
export class RunningWork implements BeforeApplicationShutdown {
  private readonly running = new Set<Promise<unknown>>();

  constructor(
    private readonly metrics: OperationMetrics,
    @Inject(CONFIG) private readonly config: Pick<Config, 'SHUTDOWN_GRACE_SECONDS'>,
    @Inject(LOGGER) private readonly logger: Logger,
  ) {}

  /** Runs `work`; a shutdown waits for it, at most for `SHUTDOWN_GRACE_SECONDS`. */
  async track<T>(work: () => Promise<T>): Promise<T> {
    const promise = work();
    this.running.add(promise);
    try {
      return await promise;
    } finally {
      this.running.delete(promise);
    }
  }

  /** {@link track}, and counts and times `work` as this operation. */
  async measured<T>(operation: Operation, work: () => Promise<T>): Promise<T> {
    return this.track(() => this.metrics.measure(operation, work));
  }

  /** Waits for running operations within the grace period. The next lease holder recovers those that take longer. */
  async beforeApplicationShutdown(): Promise<void> {
    if (this.running.size === 0) return;
    this.logger.info({ running: this.running.size }, 'waiting for running operations');
    await this.drain(this.config.SHUTDOWN_GRACE_SECONDS * 1000);
    const running = this.running.size;
    if (running > 0) this.logger.warn({ running }, 'operations were interrupted; the next start recovers them');
  }

  /** Waits at most `ms` for running operations, including those that begin meanwhile. */
  private async drain(ms: number): Promise<void> {
    const deadline = performance.now() + ms;
    while (this.running.size > 0 && performance.now() < deadline) {
      const left = deadline - performance.now();
      await within(Promise.allSettled(this.running), { ms: left }).catch(() => undefined);
    }
  }
}
