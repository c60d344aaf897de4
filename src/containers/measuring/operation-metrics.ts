import { Injectable } from '@nestjs/common';
import { Counter, Histogram } from 'prom-client';
import { EngineError } from '../../docker';
import { DomainError, ERRORS } from '../../errors';
import { Metrics } from '../../metrics';
import type { Operation } from '../container-state';
import { CancelledError } from '../lifecycle/claim';

/** `refused`: by a rule, as a name that is taken; `cancelled`: a creation whose container was deleted. */
type Outcome = 'done' | 'refused' | 'cancelled' | 'failed';

/** Counts and times what is done with containers. */
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
      return await work();
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
  if (error instanceof DomainError) return ERRORS[error.kind].status < 500 ? 'refused' : 'failed';
  const wasCancelled = error instanceof CancelledError || (error instanceof EngineError && error.code === 'aborted');
  return wasCancelled ? 'cancelled' : 'failed';
}
