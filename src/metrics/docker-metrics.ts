import { Injectable } from '@nestjs/common';
import { Gauge, Histogram } from 'prom-client';
import { EngineCalls, EngineIdentity } from '../docker';
import { Metrics } from './metrics';

/** Times the calls to Docker, and tells whether it is still the same. */
@Injectable()
export class DockerMetrics {
  constructor({ registry }: Metrics, calls: EngineCalls, identity: EngineIdentity) {
    const duration = new Histogram({
      name: 'berth_docker_call_duration_seconds',
      help: 'Calls to Docker, by what was asked for and what came of it: ok, or why not.',
      labelNames: ['call', 'outcome'] as const,
      buckets: [0.005, 0.025, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60],
      registers: [registry],
    });
    new Gauge({
      name: 'berth_docker_changed',
      help: '1 while Docker is not the one that the containers and volumes are in; purges are held then.',
      registers: [registry],
      collect() {
        this.set(identity.state === 'changed' ? 1 : 0);
      },
    });
    calls.onEnded(({ call, outcome, seconds }) => {
      duration.observe({ call: call.replaceAll(' ', '_'), outcome }, seconds);
    });
  }
}
