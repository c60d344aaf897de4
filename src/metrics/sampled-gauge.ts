import { Gauge } from 'prom-client';
import type { Logger } from '../logging';
import { within } from '../scheduling';
import type { Metrics } from './metrics';

/** One value; labels by name. */
export interface Sample {
  readonly labels?: Readonly<Record<string, string>>;
  readonly value: number;
}

interface SampledGaugeOptions {
  readonly name: string;
  readonly help: string;
  readonly labelNames?: readonly string[];
  /** Reads all values. */
  readonly sample: () => Promise<readonly Sample[]>;
  readonly logger: Logger;
}

/** How long values are kept, in milliseconds: the database is not queried more often, however often scrapes come. */
const KEPT_MS = 5_000;

/** Maximum wait for the values, in milliseconds: a scrape must not hang if the database does not answer. */
const PATIENCE_MS = 2_000;

/**
 * A gauge whose values are read when they are scraped. Values that cannot be read are left out, as old ones would
 * pass for present ones, and all other metrics are still answered.
 */
export class SampledGauge {
  private readonly gauge: Gauge;
  private asking: Promise<readonly Sample[]> | null = null;
  private refreshing: Promise<void> | null = null;
  private keptUntil = 0;

  constructor(
    { registry }: Metrics,
    private readonly options: SampledGaugeOptions,
  ) {
    const { name, help, labelNames = [] } = options;
    this.gauge = new Gauge({ name, help, labelNames, registers: [registry], collect: () => this.refresh() });
  }

  private async refresh(): Promise<void> {
    if (performance.now() < this.keptUntil) return;
    this.refreshing ??= this.sampleAgain().finally(() => {
      this.keptUntil = performance.now() + KEPT_MS;
      this.refreshing = null;
    });
    await this.refreshing;
  }

  private async sampleAgain(): Promise<void> {
    try {
      // A read that has not answered yet is not started a second time.
      this.asking ??= this.options.sample().finally(() => (this.asking = null));
      const samples = await within(this.asking, { ms: PATIENCE_MS });
      this.clear();
      for (const { labels = {}, value } of samples) this.gauge.set({ ...labels }, value);
    } catch (error) {
      this.clear();
      this.options.logger.warn({ err: error, metric: this.options.name }, 'could not be measured; it is left out');
    }
  }

  private clear(): void {
    this.gauge.reset();
    // `reset()` sets a gauge without labels to 0, which is a value too.
    if (!this.options.labelNames?.length) this.gauge.remove();
  }
}
