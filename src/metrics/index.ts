export { setUpHttpMetrics } from './collectors';
export { Metrics } from './metrics';
export { MetricsModule } from './metrics.module';
export { type Sample, SampledGauge } from './sampled-gauge';
