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
  /** Asks for all of the values. */
  readonly sample: () => Promise<readonly Sample[]>;
  readonly logger: Logger;
}

/** However many collectors there are and however often they come, the database is asked no oftener. */
const KEPT_MS = 5_000;

/** A scrape must not wait for a database that does not answer. */
const PATIENCE_MS = 2_000;

/**
 * A gauge whose values are asked for when they are scraped. If they cannot be had they are left out, as an old value
 * would pass for the present one, and everything else is answered.
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
      // One that has not answered yet is not asked a second time.
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
    // A gauge without labels is set to 0 by that, which is a value too.
    if (!this.options.labelNames?.length) this.gauge.remove();
  }
}
