import { Inject, Injectable, OnModuleDestroy } from '@nestjs/common';
import { ContainerEngine, containerFields, type ContainerStats, EngineError, type EngineErrorCode } from '../../engine';
import { DomainError } from '../../errors';
import { LOGGER, type Logger } from '../../logging';
import { Stopwatch } from '../../scheduling';
import { failedAs } from '../access/inside-errors';
import type { RunSource } from '../access/run-streams';
import { DiskUse } from './disk-use';
import type { StatsView } from './dto';

/** Interval between two reads, unless all readers want a longer one. Requests in between get the last result. */
const EVERY_MS = 2_000;

/** Interval between the first two reads: five periods of the CPU limit. */
const FIRST_MS = 500;

/** How long the last read is kept, for clients that ask again and again. */
const KEPT_MS = 10_000;

/** Docker's errors for a container that does not run. */
const OVER: readonly EngineErrorCode[] = ['container_not_found', 'container_not_running'];

/** A reader of one container's statistics. */
export interface StatsListener {
  /** The interval that suffices for this reader; by default {@link EVERY_MS}. It may get statistics more often. */
  readonly everyMs?: number;
  onStats(stats: StatsView): void;
  /** Called once, when the container does not run any more. */
  onOver(error: EngineError): void;
  /** A read failed. Another follows, unless this process is shutting down. */
  onFault(error: Error): void;
}

/** Statistics of containers. All readers of a container share one poll, which has one call to Docker at a time. */
@Injectable()
export class ContainerStatistics implements OnModuleDestroy {
  private readonly polls = new Map<string, StatsPoll>();

  constructor(
    private readonly engine: ContainerEngine,
    private readonly disk: DiskUse,
    @Inject(LOGGER) private readonly logger: Logger,
  ) {}

  /** For answers: a paused container stays paused. */
  get source(): RunSource<StatsView> {
    return {
      type: 'stats',
      mayBePaused: true,
      current: async ({ engineId }) => {
        try {
          return await this.current(engineId);
        } catch (error) {
          throw failedAs('stats_failed', error);
        }
      },
      // One failed read does not end the stream: the next read may succeed.
      follow: ({ engineId }, { onValue, onOver }) => {
        const unwatch = this.disk.watch(engineId);
        const leave = this.follow(engineId, { onStats: onValue, onOver, onFault: () => undefined });
        return () => {
          unwatch();
          leave();
        };
      },
    };
  }

  onModuleDestroy(): void {
    for (const poll of [...this.polls.values()]) poll.shutDown();
  }

  /**
   * Statistics that are at most two seconds old.
   *
   * @throws EngineError `container_not_found`, `container_not_running`, …
   */
  async current(engineId: string): Promise<StatsView> {
    for (;;) {
      try {
        return await this.next(engineId);
      } catch (error) {
        // The caller asked for the current run of the container, not for the one that has ended.
        if (!(error instanceof StartedAgain)) throw error;
      }
    }
  }

  /**
   * What the container has used since its start. Costs no call while a client follows its statistics.
   *
   * @throws EngineError `container_not_found`, `container_not_running`, …
   */
  async used(engineId: string): Promise<ContainerStats> {
    return this.polls.get(engineId)?.recent ?? this.engine.containers.stats(engineId);
  }

  private async next(engineId: string): Promise<StatsView> {
    let leave: () => void = () => undefined;
    try {
      return await new Promise<StatsView>((resolve, reject) => {
        leave = this.follow(engineId, { onStats: resolve, onOver: reject, onFault: reject });
      });
    } finally {
      leave();
    }
  }

  /** @returns a function that stops reading */
  follow(engineId: string, reader: StatsListener): () => void {
    const known = this.polls.get(engineId);
    const poll =
      known ??
      new StatsPoll({
        look: () => this.engine.containers.stats(engineId),
        diskUsed: () => this.disk.of(engineId),
        onFault: (error) =>
          this.logger.warn(
            { err: error, ...containerFields(this.engine.nodes, engineId) },
            'no statistics of a container',
          ),
        onUnused: () => this.polls.delete(engineId),
      });
    if (!known) this.polls.set(engineId, poll);
    return poll.join(reader);
  }
}

/** The container was started again, so the statistics of its former run are over. */
class StartedAgain extends EngineError {
  constructor() {
    super('container_not_running', 'stats: the container was started again');
  }
}

interface StatsSource {
  look(): Promise<ContainerStats>;
  /** In bytes; null if it is not known. */
  diskUsed(): number | null;
  /** Called at the first of several failures in a row. */
  onFault(error: unknown): void;
  /**
   * The poll has ended: it had no readers for {@link KEPT_MS}, the container does not run any more, or this process is
   * shutting down.
   */
  onUnused(): void;
}

/** Polls one container's statistics while there are readers. */
class StatsPoll {
  private readonly readers = new Set<StatsListener>();
  private before: ContainerStats | null = null;
  private looked: Stopwatch | null = null;
  private latest: StatsView | null = null;
  private looking = false;
  private failing = false;
  private stopped = false;
  private timer: NodeJS.Timeout | undefined;

  constructor(private readonly source: StatsSource) {
    this.wait();
  }

  /** The result of the last read, unless it is old or another one failed since. */
  get recent(): ContainerStats | null {
    return this.before && !this.failing && this.looked && this.looked.age < KEPT_MS ? this.before : null;
  }

  join(reader: StatsListener): () => void {
    this.readers.add(reader);
    if (this.latest && !this.failing && this.looked && this.looked.age < EVERY_MS) reader.onStats(this.latest);
    this.wait();
    return () => {
      if (this.readers.delete(reader)) this.wait();
    };
  }

  shutDown(): void {
    const readers = [...this.readers];
    this.end();
    for (const reader of readers) reader.onFault(new DomainError('shutting_down'));
  }

  /** Schedules the next read, or, without readers, the end of the poll. */
  private wait(): void {
    clearTimeout(this.timer);
    if (this.looking || this.stopped) return;
    if (this.readers.size === 0) this.timer = setTimeout(() => this.end(), KEPT_MS);
    else this.timer = setTimeout(() => void this.look(), this.dueInMs());
    this.timer.unref();
  }

  private dueInMs(): number {
    if (!this.looked) return 0;
    const wanted = [...this.readers].map(({ everyMs = EVERY_MS }) => everyMs);
    const pauseMs = this.latest || this.failing ? Math.min(...wanted) : FIRST_MS;
    return Math.max(0, pauseMs - this.looked.age);
  }

  private async look(): Promise<void> {
    this.looking = true;
    this.looked = new Stopwatch();
    try {
      this.take(await this.source.look());
      this.failing = false;
    } catch (error) {
      if (error instanceof EngineError && OVER.includes(error.code)) this.over(error);
      else this.fail(error);
    } finally {
      this.looking = false;
      this.wait();
    }
  }

  /** @throws StartedAgain */
  private take(stats: ContainerStats): void {
    if (this.before && this.before.startedAt !== stats.startedAt) throw new StartedAgain();
    const view = this.before && statsBetween(this.before, stats, { diskUsed: this.source.diskUsed() });
    this.before = stats;
    this.latest = view;
    if (view) for (const reader of [...this.readers]) reader.onStats(view);
  }

  private over(error: EngineError): void {
    const readers = [...this.readers];
    this.end();
    for (const reader of readers) reader.onOver(error);
  }

  private fail(error: unknown): void {
    if (!this.failing) this.source.onFault(error);
    this.failing = true;
    const fault = error instanceof Error ? error : new Error(String(error));
    for (const reader of [...this.readers]) reader.onFault(fault);
  }

  private end(): void {
    this.stopped = true;
    clearTimeout(this.timer);
    this.readers.clear();
    this.source.onUnused();
  }
}

/**
 * Computes the statistics from two reads.
 *
 * @returns null if the container was started again in between, which resets its counters
 */
export function statsBetween(
  before: ContainerStats,
  { at, cpu, memory, pids, network }: ContainerStats,
  { diskUsed }: { readonly diskUsed: number | null },
): StatsView | null {
  const passedMs = at.getTime() - before.at.getTime();
  const usedMs = cpu.usedMs - before.cpu.usedMs;
  const periods = cpu.periods - before.cpu.periods;
  const throttled = cpu.throttledPeriods - before.cpu.throttledPeriods;
  if (passedMs <= 0 || usedMs < 0 || periods < 0 || throttled < 0) return null;
  const ofLimit = cpu.limitShares === null ? null : (usedMs / passedMs / (cpu.limitShares / 1000)) * 100;
  return {
    at: at.toISOString(),
    cpu: {
      percent_of_limit: ofLimit === null ? null : toTenths(ofLimit),
      throttled_percent: periods === 0 ? 0 : toTenths((throttled / periods) * 100),
    },
    memory: { used_bytes: memory.usedBytes, limit_bytes: memory.limitBytes },
    pids,
    network: network && { rx_bytes: network.rxBytes, tx_bytes: network.txBytes },
    disk_used_bytes: diskUsed,
  };
}

function toTenths(percent: number): number {
  return Math.round(percent * 10) / 10;
}
