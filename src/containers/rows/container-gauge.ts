import { Inject, Injectable } from '@nestjs/common';
import { Database } from '../../database';
import { type Logger, LOGGER } from '../../logging';
import { Metrics, SampledGauge } from '../../metrics';
import { CONTAINER_STATUSES, ContainerEntity } from '../model/container.entity';

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
      help: 'Containers that are not deleted, over all processes.',
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
