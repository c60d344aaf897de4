import { Injectable } from '@nestjs/common';
import { collectDefaultMetrics, Registry } from 'prom-client';

/** Of the process itself, however many applications run in it: their collectors cannot be taken back. */
let ofProcess: Registry | undefined;

function processRegistry(): Registry {
  if (!ofProcess) {
    ofProcess = new Registry();
    collectDefaultMetrics({ register: ofProcess });
  }
  return ofProcess;
}

/** What this application measures. Whoever measures something makes its instrument in {@link registry}. */
@Injectable()
export class Metrics {
  readonly registry = new Registry();
  private readonly process = processRegistry();

  get contentType(): string {
    return this.registry.contentType;
  }

  /** Everything in the text format of Prometheus, the process's own metrics with it. */
  async text(): Promise<string> {
    return (await Promise.all([this.process.metrics(), this.registry.metrics()])).join('');
  }
}
