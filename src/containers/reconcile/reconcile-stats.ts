import { Injectable } from '@nestjs/common';
import { ApiProperty } from '@nestjs/swagger';
import { Counter, Histogram } from 'prom-client';
import { Metrics } from '../../metrics';
import type { Purged } from '../operations/purge';
import type { ReconcileAction } from './reconcile-plan';

const count = (description: string): PropertyDecorator =>
  ApiProperty({ type: 'integer', minimum: 0, example: 0, description });

/** What one sweep found and did. */
export class SweepReport {
  @count('Containers inspected because they differed from the database.')
  readonly looked: number;
  @count('Interrupted operations that were finished or rolled back.')
  readonly finished: number;
  @count('Interrupted operations still being finished, for example while an image is pulled.')
  readonly under_way: number;
  @count('Containers for which leftover Docker objects were removed.')
  readonly reconciled: number;
  @count('Containers reconnected to the sandbox network.')
  readonly reconnected: number;
  @count('Stopped containers whose data was moved to a volume with a size limit.')
  readonly moved: number;
  @count('Containers in Docker without a database record, which were removed.')
  readonly removed_orphans: number;
  @count('Deleted containers whose data was removed after its retention.')
  readonly purged: number;
  @count('Failures, which are retried.')
  readonly failed: number;
}

const COUNTED_AS = {
  look: 'looked',
  finish: 'finished',
  reconcile: 'reconciled',
  reconnect: 'reconnected',
  move_data: 'moved',
  remove_orphan: 'removed_orphans',
} as const satisfies Record<ReconcileAction['do'], keyof SweepReport>;

/** Measures the duration of sweeps, and counts the actions that they find. */
@Injectable()
export class SweepMetrics {
  private readonly duration: Histogram;
  private readonly actions: Counter<'action'>;

  constructor({ registry }: Metrics) {
    this.duration = new Histogram({
      name: 'berth_sweep_duration_seconds',
      help: 'Reconciliations of all containers with Docker.',
      buckets: [0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60],
      registers: [registry],
    });
    this.actions = new Counter({
      name: 'berth_sweep_actions_total',
      help: 'Findings of reconciliations.',
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

/** Counts a sweep's actions while it runs. */
export class ReconcileStats {
  private readonly counts = {
    looked: 0,
    finished: 0,
    reconciled: 0,
    reconnected: 0,
    moved: 0,
    removed_orphans: 0,
    purged: 0,
    failed: 0,
  };
  private begun = 0;
  private ended = 0;

  constructor(private readonly metrics: SweepMetrics) {}

  /** To be called when an action begins. */
  found(action: ReconcileAction['do']): void {
    this.metrics.found(action);
    if (action === 'finish') this.begun += 1;
  }

  /** To be called when an action ends. @param outcome `passed`: another process does it, or nothing was left to do */
  done(action: ReconcileAction['do'], outcome: 'ok' | 'failed' | 'passed'): void {
    if (action === 'finish') this.ended += 1;
    if (outcome === 'passed') return;
    this.counts[outcome === 'ok' ? COUNTED_AS[action] : 'failed'] += 1;
  }

  purged({ purged, failed }: Purged): void {
    this.counts.purged += purged;
    this.counts.failed += failed;
  }

  /** The counts so far. */
  report(): SweepReport {
    return { ...this.counts, under_way: this.begun - this.ended };
  }
}
