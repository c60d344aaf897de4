import { EngineError } from '../../engine';
import { factsOf, statsOf } from './stats';

const GVISOR = { startedAt: '2026-11-26T14:30:00Z', runtime: 'runsc', cpuShares: 500 };

/** As Docker 26.1 tells of a gVisor container under cgroup v1. */
const ANSWER = {
  read: '2026-11-26T14:30:59.1198474Z',
  pids_stats: { current: 43, limit: 4096 },
  cpu_stats: {
    cpu_usage: { total_usage: 2_409_585_416, usage_in_kernelmode: 210_000_000, usage_in_usermode: 2_190_000_000 },
    throttling_data: { periods: 49, throttled_periods: 45, throttled_time: 4_493_647_863 },
  },
  memory_stats: {
    usage: 125_145_088,
    limit: 268_435_456,
    stats: { cache: 107_687_936, total_inactive_file: 60_821_504 },
  },
  networks: {
    eth0: { rx_bytes: 1042, tx_bytes: 7 },
    eth1: { rx_bytes: 1, tx_bytes: 1 },
  },
};

describe('what a container has used, from an answer of Docker', () => {
  it('must have its CPU and the limit of that, its memory without free cache, and its networks together', () => {
    expect(statsOf(ANSWER, GVISOR)).toEqual({
      at: new Date('2026-11-26T14:30:59.119Z'),
      startedAt: '2026-11-26T14:30:00Z',
      cpu: { usedMs: 2_409.585416, limitShares: 500, periods: 49, throttledPeriods: 45 },
      memory: { usedBytes: 64_323_584, limitBytes: 268_435_456 },
      pids: null,
      network: { rxBytes: 1043, txBytes: 8 },
    });
  });

  it.each<[string, object, object]>([
    ['cgroup v2', { memory_stats: { usage: 100, limit: 200, stats: { inactive_file: 30 } } }, { usedBytes: 70 }],
    ['more free cache than use', { memory_stats: { usage: 10, stats: { inactive_file: 30 } } }, { usedBytes: 0 }],
    ['no memory limit', { memory_stats: { usage: 10 } }, { usedBytes: 10, limitBytes: null }],
  ])('must be right under %s', (_what, change, memory) => {
    expect(statsOf({ ...ANSWER, ...change }, GVISOR).memory).toMatchObject(memory);
  });

  it('must count processes where they are those of the container, not the threads of gVisor', () => {
    expect(statsOf(ANSWER, { ...GVISOR, runtime: 'runc' }).pids).toBe(43);
  });

  it('must have no network where the container has none', () => {
    expect(statsOf({ ...ANSWER, networks: undefined }, GVISOR).network).toBeNull();
  });

  it('must be that of no container that has stopped, of which Docker tells zeros', () => {
    const stopped = { read: '0001-01-01T00:00:00Z', cpu_stats: { cpu_usage: { total_usage: 0 } }, memory_stats: {} };
    const thrown = (): unknown => {
      try {
        return statsOf(stopped, GVISOR);
      } catch (error) {
        return error;
      }
    };
    expect(thrown()).toMatchObject({ code: 'container_not_running' });
  });

  it.each([[null], ['html'], [{ ...ANSWER, cpu_stats: {} }]])('must not be made of %j', (answer) => {
    expect(() => statsOf(answer, GVISOR)).toThrow(EngineError);
  });
});

describe('the limit of a container', () => {
  it.each<[object, number | null]>([
    [{ Runtime: 'runsc', CpuPeriod: 100_000, CpuQuota: 50_000 }, 500],
    [{ Runtime: 'runsc', CpuPeriod: 100_000, CpuQuota: 800_000 }, 8000],
    [{ Runtime: 'runsc', CpuPeriod: 0, CpuQuota: 0 }, null],
  ])('must be that of %j', (HostConfig, cpuShares) => {
    const State = { StartedAt: '2026-11-26T14:30:00Z' };
    expect(factsOf({ HostConfig, State })).toEqual({ startedAt: State.StartedAt, runtime: 'runsc', cpuShares });
  });
});
