import { BeforeApplicationShutdown, Inject, Injectable } from '@nestjs/common';
import type { Logger } from 'pino';
import { Counter, Histogram } from 'prom-client';
import { type Config, CONFIG } from '../../config';
import { EngineError } from '../../engine';
import { DomainError, ERRORS } from '../../errors';
import { LOGGER } from '../../logging';
import { Metrics } from '../../metrics';
import { within } from '../../scheduling';
import { inSpan } from '../../tracing';
import type { Operation } from '../model/container.entity';
import { CancelledError } from './operation-lease';

/** `refused`: a rule forbids it, such as a taken name. `cancelled`: a creation whose container was deleted. */
type Result = 'done' | 'refused' | 'cancelled' | 'failed';

/** The operations that this process is running. Counts and times them, and makes a shutdown wait for them. */
@Injectable()
export class RunningWork implements BeforeApplicationShutdown {
  private readonly running = new Set<Promise<unknown>>();
  private readonly operations: Counter<'operation' | 'outcome'>;
  private readonly duration: Histogram<'operation'>;

  constructor(
    { registry }: Metrics,
    @Inject(CONFIG) private readonly config: Pick<Config, 'SHUTDOWN_GRACE_SECONDS'>,
    @Inject(LOGGER) private readonly logger: Logger,
  ) {
    this.operations = new Counter({
      name: 'berth_operations_total',
      help: 'Container operations finished by this process.',
      labelNames: ['operation', 'outcome'],
      registers: [registry],
    });
    this.duration = new Histogram({
      name: 'berth_operation_duration_seconds',
      help: 'Duration of container operations, including the wait for another operation on the same container.',
      labelNames: ['operation'],
      buckets: [0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900],
      registers: [registry],
    });
  }

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
    const before = performance.now();
    let outcome: Result = 'done';
    try {
      return await this.track(() => inSpan(`operation ${operation}`, {}, work));
    } catch (error) {
      outcome = resultOf(error);
      throw error;
    } finally {
      this.operations.inc({ operation, outcome });
      this.duration.observe({ operation }, (performance.now() - before) / 1000);
    }
  }

  /** Waits for running operations within the grace period. The next lease holder recovers those that take longer. */
  async beforeApplicationShutdown(): Promise<void> {
    if (this.running.size === 0) return;
    this.logger.info({ running: this.running.size }, 'waiting for running operations');
    await this.drain(this.config.SHUTDOWN_GRACE_SECONDS * 1000);
    const running = this.running.size;
    if (running > 0)
      this.logger.warn({ running }, 'operations were interrupted; another process or the next start recovers them');
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

function resultOf(error: unknown): Result {
  if (!(error instanceof DomainError)) return 'failed';
  const { kind, cause } = error;
  if (ERRORS[kind].status < 500) return 'refused';
  const isAborted = cause instanceof CancelledError || (cause instanceof EngineError && cause.code === 'aborted');
  return kind === 'create_failed' && isAborted ? 'cancelled' : 'failed';
}
