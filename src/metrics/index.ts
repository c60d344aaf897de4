export { setUpHttpMetrics } from './collectors';
export { Metrics } from './metrics';
export { MetricsModule } from './metrics.module';
export { SampledGauge } from './sampled-gauge';
