import { Injectable } from '@nestjs/common';
import { collectDefaultMetrics, Registry } from 'prom-client';

/**
 * The metrics of the process itself, registered once for all applications in it: prom-client cannot remove their
 * collectors.
 */
let ofProcess: Registry | undefined;

function processRegistry(): Registry {
  if (!ofProcess) {
    ofProcess = new Registry();
    collectDefaultMetrics({ register: ofProcess });
  }
  return ofProcess;
}

/** The metrics of this application. Other modules register their instruments in {@link registry}. */
@Injectable()
export class Metrics {
  readonly registry = new Registry();
  private readonly process = processRegistry();

  get contentType(): string {
    return this.registry.contentType;
  }

  /** All metrics in Prometheus' text format, including those of the process itself. */
  async text(): Promise<string> {
    return (await Promise.all([this.process.metrics(), this.registry.metrics()])).join('');
  }
}
