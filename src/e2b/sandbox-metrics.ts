import { Injectable } from '@nestjs/common';
import { type Caller, ContainersService } from '../containers';
import { DomainError } from '../errors';
import { ContainerStatistics, StatsHistory } from '../sandbox';

/** What a sandbox used at one moment; sizes in bytes. */
interface Metric {
  readonly at: Date;
  readonly cpuCount: number;
  readonly cpuUsedPct: number;
  readonly memUsed: number;
  readonly memTotal: number;
  readonly diskUsed: number;
  readonly diskTotal: number;
}

/** An interval in Unix seconds, both ends included. */
interface Interval {
  readonly start?: number | undefined;
  readonly end?: number | undefined;
}

const MEGABYTE = 1024 * 1024;

/** Clients ask until now, and get a measurement that is made for them: it may be newer than their end. */
const NEWER_SECONDS = 5;

/** The statistics of containers, as E2B's clients read them. */
@Injectable()
export class SandboxMetrics {
  constructor(
    private readonly containers: ContainersService,
    private readonly statistics: ContainerStatistics,
    private readonly history: StatsHistory,
  ) {}

  /** @throws DomainError as {@link ContainersService.inside} */
  async current(caller: Caller, id: string): Promise<Metric> {
    const { diskMb, memoryMb, cpuShares } = await this.containers.find(caller, id);
    const { source } = this.statistics;
    const stats = await this.containers.inside(caller, id, (container) => source.current(container), {
      mayBePaused: true,
    });
    return {
      at: new Date(stats.at),
      cpuCount: cpuCountOf(cpuShares),
      cpuUsedPct: stats.cpu.percent_of_limit ?? 0,
      memUsed: stats.memory.used_bytes,
      memTotal: stats.memory.limit_bytes ?? memoryMb * MEGABYTE,
      diskUsed: stats.disk_used_bytes ?? 0,
      diskTotal: diskMb * MEGABYTE,
    };
  }

  /**
   * The samples of the last hour, and one of now if the interval includes it and the sandbox runs.
   *
   * @throws DomainError as {@link ContainersService.findToUse}
   */
  async between(caller: Caller, id: string, { start = 0, end = Infinity }: Interval): Promise<object[]> {
    const { diskMb, memoryMb, cpuShares } = await this.containers.findToUse(caller, id);
    const metrics = this.history.of(id).samples.map((sample) => ({
      at: new Date(sample.at),
      cpuCount: cpuCountOf(cpuShares),
      cpuUsedPct: sample.cpu_percent_of_limit ?? 0,
      memUsed: sample.memory_used_bytes,
      memTotal: sample.memory_limit_bytes ?? memoryMb * MEGABYTE,
      diskUsed: sample.disk_used_bytes ?? 0,
      diskTotal: diskMb * MEGABYTE,
    }));
    const past = metrics.filter(({ at }) => secondsOf(at) >= start && secondsOf(at) <= end);
    const now = secondsOf(new Date());
    const isUntilNow = start <= now && end >= now - NEWER_SECONDS;
    const current = isUntilNow ? await this.current(caller, id).catch(unlessNotRunning) : null;
    return [...past, ...(current ? [current] : [])].map(({ at, ...metric }) => ({
      timestamp: at.toISOString(),
      timestampUnix: secondsOf(at),
      memCache: 0,
      ...metric,
    }));
  }
}

export function cpuCountOf(cpuShares: number): number {
  return Math.max(1, Math.round(cpuShares / 1000));
}

export function secondsOf(at: Date): number {
  return Math.floor(at.getTime() / 1000);
}

function unlessNotRunning(error: unknown): null {
  if (error instanceof DomainError && error.kind === 'container_not_running') return null;
  throw error;
}
