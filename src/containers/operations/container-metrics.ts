import { Inject, Injectable } from '@nestjs/common';
import { Counter, Histogram } from 'prom-client';
import { Database } from '../../database';
import { EngineError } from '../../docker';
import { DomainError, ERRORS } from '../../errors';
import { type Logger, LOGGER } from '../../logging';
import { Metrics, SampledGauge } from '../../metrics';
import { inSpan } from '../../tracing/spans';
import { CONTAINER_STATUSES, ContainerEntity, type Operation } from '../model/container.entity';
import { CancelledError } from './operation-lease';

/** `refused`: a rule forbids it, such as a taken name. `cancelled`: a creation whose container was deleted. */
type Outcome = 'done' | 'refused' | 'cancelled' | 'failed';

/** Counts and times operations on containers. */
@Injectable()
export class OperationMetrics {
  private readonly operations: Counter<'operation' | 'outcome'>;
  private readonly duration: Histogram<'operation'>;

  constructor({ registry }: Metrics) {
    this.operations = new Counter({
      name: 'berth_operations_total',
      help: 'Operations on containers that this process has ended.',
      labelNames: ['operation', 'outcome'],
      registers: [registry],
    });
    this.duration = new Histogram({
      name: 'berth_operation_duration_seconds',
      help: 'How long they took, the wait for another operation on the same container included.',
      labelNames: ['operation'],
      buckets: [0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900],
      registers: [registry],
    });
  }

  /** @throws what `work` throws */
  async measure<T>(operation: Operation, work: () => Promise<T>): Promise<T> {
    const before = performance.now();
    let outcome: Outcome = 'done';
    try {
      return await inSpan(`operation ${operation}`, {}, work);
    } catch (error) {
      outcome = outcomeOf(error);
      throw error;
    } finally {
      this.operations.inc({ operation, outcome });
      this.duration.observe({ operation }, (performance.now() - before) / 1000);
    }
  }
}

function outcomeOf(error: unknown): Outcome {
  if (!(error instanceof DomainError)) return 'failed';
  const { kind, cause } = error;
  if (ERRORS[kind].status < 500) return 'refused';
  const isAborted = cause instanceof CancelledError || (cause instanceof EngineError && cause.code === 'aborted');
  return kind === 'create_failed' && isAborted ? 'cancelled' : 'failed';
}

/** The number of containers, counted in the database, so every process reports the same. */
@Injectable()
export class ContainerGauge {
  constructor(
    metrics: Metrics,
    private readonly database: Database,
    @Inject(LOGGER) logger: Logger,
  ) {
    new SampledGauge(metrics, {
      name: 'berth_containers',
      help: 'Containers that are not deleted, of all processes together.',
      labelNames: ['status'],
      sample: async () => {
        const counted = await this.counts();
        return CONTAINER_STATUSES.map((status) => ({ labels: { status }, value: counted.get(status) ?? 0 }));
      },
      logger,
    });
  }

  private async counts(): Promise<ReadonlyMap<string, number>> {
    const rows = await this.database.manager
      .createQueryBuilder(ContainerEntity, 'c')
      .select('c.status', 'status')
      .addSelect('COUNT(*)', 'count')
      .groupBy('c.status')
      .getRawMany<{ status: string; count: number | string }>();
    // PostgreSQL's counts are 64-bit, so its driver returns text.
    return new Map(rows.map(({ status, count }) => [status, Number(count)]));
  }
}

/** Counts the unused images that this process removed. */
@Injectable()
export class ImageMetrics {
  private readonly removals: Counter<'reason'>;

  constructor({ registry }: Metrics) {
    this.removals = new Counter({
      name: 'berth_images_removed_total',
      help: 'Unused images that this process has removed: for their age, or as the disk was too full.',
      labelNames: ['reason'],
      registers: [registry],
    });
  }

  removed(reason: string): void {
    this.removals.inc({ reason });
  }
}

/** Measures the duration of sweeps, and counts the actions that they find. */
@Injectable()
export class SweepMetrics {
  private readonly duration: Histogram;
  private readonly actions: Counter<'action'>;

  constructor({ registry }: Metrics) {
    this.duration = new Histogram({
      name: 'berth_sweep_duration_seconds',
      help: 'Comparisons of all containers with Docker.',
      buckets: [0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60],
      registers: [registry],
    });
    this.actions = new Counter({
      name: 'berth_sweep_actions_total',
      help: 'What those comparisons found to do.',
      labelNames: ['action'],
      registers: [registry],
    });
  }

  /** @returns a function to call at the end of the sweep */
  begin(): () => void {
    const end = this.duration.startTimer();
    return () => void end();
  }

  found(action: string): void {
    this.actions.inc({ action });
  }
}
