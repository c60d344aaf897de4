import { BeforeApplicationShutdown, Inject, Injectable, OnApplicationBootstrap, OnModuleDestroy } from '@nestjs/common';
import { Mutex } from 'async-mutex';
import type { Logger } from 'pino';
import { type Config, CONFIG } from '../../config';
import { LOGGER } from '../../logging';
import { within } from '../../scheduling';
import { LeaseStore } from '../leases/lease-store';
import { KnownEngine } from '../nodes/known-engine';
import { ReconcileStats, SweepReport, SweepMetrics } from './reconcile-stats';
import { Sweep } from './sweep';
import { ContainerWatcher } from './watcher';

/** How long a shutdown waits for a sweep, in milliseconds. Operations that it has begun are waited for longer. */
const SWEEP_ENDS_WITHIN_MS = 5_000;

/**
 * Reconciles rows with Docker: watches Docker's event stream, and compares everything at start, after each reconnection
 * of the stream, and every `SWEEP_INTERVAL_SECONDS`. If Docker does not answer, nothing changes.
 */
@Injectable()
export class Reconciler implements OnApplicationBootstrap, OnModuleDestroy, BeforeApplicationShutdown {
  private readonly stopped = new AbortController();
  private readonly sweeping = new Mutex();
  private timer: NodeJS.Timeout | undefined;
  /** Whether a sweep is waiting for the current one to end. */
  private isDue = false;
  /** Where Docker's events may have been missed since the last sweep: before the start, or without a stream. */
  private unwatched: true | Set<string | null> = true;

  constructor(
    private readonly known: KnownEngine,
    private readonly leases: LeaseStore,
    private readonly watcher: ContainerWatcher,
    private readonly comparison: Sweep,
    private readonly metrics: SweepMetrics,
    @Inject(CONFIG) private readonly config: Pick<Config, 'SWEEP_INTERVAL_SECONDS' | 'SHUTDOWN_GRACE_SECONDS'>,
    @Inject(LOGGER) private readonly logger: Logger,
  ) {}

  /** Prepares Docker, then watches it. @throws ConfigError, EngineError if sandboxes cannot run here as configured */
  async onApplicationBootstrap(): Promise<void> {
    const onConnected = (node: string | null): void => {
      this.noteUnwatched([node]);
      void this.sweepSoon();
    };
    // The sweep at its connection may have come before its rows were given back, or not have had its list.
    const instance = await this.known.prepare(onConnected);
    await this.leases.endAllOfTheDead();
    void this.watcher.watch(instance, { signal: this.stopped.signal, onConnected });
    this.timer = setInterval(() => void this.sweepSoon(), this.config.SWEEP_INTERVAL_SECONDS * 1000).unref();
  }

  onModuleDestroy(): void {
    this.stopped.abort();
    clearInterval(this.timer);
  }

  /** Waits for a running sweep, which needs the database, but not for a Docker that does not answer. */
  async beforeApplicationShutdown(): Promise<void> {
    const ms = Math.min(SWEEP_ENDS_WITHIN_MS, this.config.SHUTDOWN_GRACE_SECONDS * 1000);
    await within(this.sweeping.waitForUnlock(), { ms }).catch(() => undefined);
  }

  private noteUnwatched(nodes: Iterable<string | null>): void {
    if (this.unwatched === true) return;
    for (const node of nodes) this.unwatched.add(node);
  }

  /** Sweeps after the current sweep. Does nothing if a sweep is already waiting: that one sees every change so far. */
  private async sweepSoon(): Promise<void> {
    if (this.isDue) return;
    this.isDue = true;
    await this.sweeping.waitForUnlock();
    this.isDue = false;
    if (!this.stopped.signal.aborted) await this.sweep();
  }

  /** Compares every row with Docker once and acts on the differences. Never throws; one at a time. */
  async sweep(): Promise<void> {
    try {
      await this.sweepNow();
    } catch (error) {
      const level = this.stopped.signal.aborted ? 'debug' : 'warn';
      this.logger[level]({ err: error }, 'the sweep was cut short; nothing was changed without proof');
    }
  }

  /**
   * {@link sweep} for a caller that needs the report. Waits for a running sweep first.
   *
   * @throws EngineError if Docker does not answer; the database's error
   */
  async sweepNow(): Promise<SweepReport> {
    return this.sweeping.runExclusive(async () => {
      const ended = this.metrics.begin();
      const stats = new ReconcileStats(this.metrics);
      const { unwatched: wasUnwatched } = this;
      this.unwatched = new Set();
      try {
        const silent = await this.comparison.run({ stats, signal: this.stopped.signal, wasUnwatched });
        this.noteUnwatched(silent);
        return stats.report();
      } catch (error) {
        if (wasUnwatched === true) this.unwatched = true;
        else this.noteUnwatched(wasUnwatched);
        throw error;
      } finally {
        ended();
      }
    });
  }
}
