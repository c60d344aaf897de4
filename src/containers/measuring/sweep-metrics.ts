import { Injectable } from '@nestjs/common';
import { Counter, Histogram } from 'prom-client';
import { Metrics } from '../../metrics';

/** Times the comparisons of rows with Docker, and counts what they find to do. */
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

  /** @returns the way to say that the sweep is over */
  begin(): () => void {
    const end = this.duration.startTimer();
    return () => void end();
  }

  found(action: string): void {
    this.actions.inc({ action });
  }
}
