import { Global, Module } from '@nestjs/common';
import { EventsModule } from '../events';
import { DockerMetrics, EventMetrics, HttpMetrics } from './collectors';
import { Metrics } from './metrics';
import { MetricsController } from './metrics.controller';

/** Metrics in Prometheus' format. Other modules inject {@link Metrics} to add their own. */
@Global()
@Module({
  imports: [EventsModule],
  controllers: [MetricsController],
  providers: [Metrics, HttpMetrics, DockerMetrics, EventMetrics],
  exports: [Metrics],
})
export class MetricsModule {}
