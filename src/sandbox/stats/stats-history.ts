import { Inject, Injectable, OnApplicationBootstrap, OnModuleDestroy } from '@nestjs/common';
import { CONFIG, type Config } from '../../config';
import { RunningContainers, type UpContainer } from '../../containers';
import { type ContainerStats, saysNotRunning } from '../../engine';
import { LOGGER, type Logger } from '../../logging';
import { Ring, Stopwatch, within } from '../../scheduling';
import { DiskUse } from './disk-use';
import type { StatsHistoryView, StatsSampleView } from './dto';
import { ContainerStatistics, statsBetween } from './stats';

const INTERVAL_SECONDS = 30;
const KEPT_SECONDS = 3_600;
const MOST_SAMPLES = KEPT_SECONDS / INTERVAL_SECONDS;

/** Maximum containers that this process remembers: some 10 MB. Of more running ones, the most recently used. */
const MOST_CONTAINERS = 500;

/** Concurrent reads: two cheap calls to Docker each, so that users' requests are not delayed. */
const AT_ONCE = 4;

/** A container that takes longer is left out of the round. */
const READ_WITHIN_MS = 5_000;

/** After as many failures, a round leaves out the rest of the machine. */
const MOST_FAILURES = 3;

/** What is remembered of one container. */
interface Remembered {
  /** The last read, from which the next sample is computed. */
  last: ContainerStats;
  readonly samples: Ring<StatsSampleView>;
  /** Age of the newest read. */
  read: Stopwatch;
}

/**
 * The resource use of containers during the last hour. Each process measures all running containers on its own, and
 * keeps the samples in its memory: a restart begins anew.
 */
@Injectable()
export class StatsHistory implements OnApplicationBootstrap, OnModuleDestroy {
  private readonly remembered = new Map<string, Remembered>();
  private timer: NodeJS.Timeout | undefined;
  private isStopped = false;
  private isFailing = false;

  constructor(
    @Inject(CONFIG) private readonly config: Pick<Config, 'STATS_HISTORY'>,
    private readonly running: RunningContainers,
    private readonly statistics: ContainerStatistics,
    private readonly disk: DiskUse,
    @Inject(LOGGER) private readonly logger: Logger,
  ) {}

  onApplicationBootstrap(): void {
    if (this.config.STATS_HISTORY === 'on') this.beginIn(INTERVAL_SECONDS * 1000);
  }

  onModuleDestroy(): void {
    this.isStopped = true;
    clearTimeout(this.timer);
  }

  /** The samples of the last hour; none if this process has not measured the container. */
  of(containerId: string): StatsHistoryView {
    const since = Date.now() - KEPT_SECONDS * 1000;
    const samples = this.remembered.get(containerId)?.samples.toArray() ?? [];
    return { interval_seconds: INTERVAL_SECONDS, samples: samples.filter(({ at }) => Date.parse(at) >= since) };
  }

  /** Measures each running container once, and forgets deleted ones. Never throws. */
  async measure(): Promise<void> {
    try {
      const up = await this.running.mostRecentlyUsed(MOST_CONTAINERS);
      await this.measureAll(up);
      await this.forget(new Set(up.map(({ id }) => id)));
      this.isFailing = false;
    } catch (error) {
      if (!this.isFailing && !this.isStopped) {
        this.logger.warn({ err: error }, 'running containers could not be measured');
      }
      this.isFailing = true;
    }
  }

  private beginIn(ms: number): void {
    if (this.isStopped) return;
    this.timer = setTimeout(() => void this.round(), ms).unref();
  }

  /** A round is followed by a pause at least as long, so that a slow Docker is not kept busy. */
  private async round(): Promise<void> {
    const taken = new Stopwatch();
    await this.measure();
    this.beginIn(Math.max(INTERVAL_SECONDS * 1000 - taken.age, taken.age));
  }

  private async measureAll(up: readonly UpContainer[]): Promise<void> {
    const waiting = [...up];
    const failures = new Map<string | null, number>();
    const work = async (): Promise<void> => {
      for (let next = waiting.shift(); next && !this.isStopped; next = waiting.shift()) {
        const failed = (): number => failures.get(next.nodeId) ?? 0;
        if (failed() < MOST_FAILURES && !(await this.take(next))) failures.set(next.nodeId, failed() + 1);
      }
    };
    await Promise.all(Array.from({ length: AT_ONCE }, work));
  }

  /** @returns false if the container could not be read, although it may run */
  private async take({ id, engineId }: UpContainer): Promise<boolean> {
    let now: ContainerStats;
    try {
      now = await within(this.statistics.used(engineId), { ms: READ_WITHIN_MS });
    } catch (error) {
      // The cause is logged where it concerns users: by readers of statistics, and by the check of the machine.
      return saysNotRunning(error);
    }
    const known = this.remembered.get(id);
    if (!known) {
      this.remembered.set(id, { last: now, samples: new Ring(MOST_SAMPLES), read: new Stopwatch() });
      return true;
    }
    const sample =
      known.last.startedAt === now.startedAt ? sampleBetween(known.last, now, this.disk.of(engineId)) : null;
    if (sample) known.samples.push(sample);
    known.last = now;
    known.read = new Stopwatch();
    return true;
  }

  /** Forgets deleted containers, those without a sample of the last hour, and the stalest beyond the limit. */
  private async forget(up: ReadonlySet<string>): Promise<void> {
    const others = [...this.remembered].filter(([id]) => !up.has(id));
    others.sort(([, one], [, other]) => one.read.age - other.read.age);
    const most = Math.max(0, MOST_CONTAINERS - (this.remembered.size - others.length));
    const kept = others.slice(0, most).flatMap(([id, { read }]) => (read.age < KEPT_SECONDS * 1000 ? id : []));
    const live = await this.running.notDeleted(kept);
    for (const [id] of others) if (!live.has(id)) this.remembered.delete(id);
  }
}

/** @returns null if no time has passed, or the counters began again */
function sampleBetween(before: ContainerStats, now: ContainerStats, diskUsed: number | null): StatsSampleView | null {
  const stats = statsBetween(before, now, { diskUsed });
  if (!stats) return null;
  const seconds = (now.at.getTime() - before.at.getTime()) / 1000;
  const rate = (key: 'rxBytes' | 'txBytes'): number | null => {
    if (!before.network || !now.network) return null;
    return Math.round((Math.max(0, now.network[key] - before.network[key]) / seconds) * 10) / 10;
  };
  return {
    at: stats.at,
    cpu_percent_of_limit: stats.cpu.percent_of_limit,
    memory_used_bytes: stats.memory.used_bytes,
    memory_limit_bytes: stats.memory.limit_bytes,
    disk_used_bytes: stats.disk_used_bytes,
    rx_bytes_per_second: rate('rxBytes'),
    tx_bytes_per_second: rate('txBytes'),
  };
}
