import pino from 'pino';
import type { RunningContainers, UpContainer } from '../../containers';
import { type ContainerEngine, type ContainerStats, EngineError } from '../../engine';
import { DiskUse } from './disk-use';
import { ContainerStatistics } from './stats';
import { StatsHistory } from './stats-history';

const MINUTE = 60_000;
const logger = pino({ level: 'silent' });

function usedNow(startedAt = 'once'): ContainerStats {
  const now = Date.now();
  return {
    at: new Date(now),
    startedAt,
    cpu: { usedMs: now / 10, limitShares: 500, periods: 0, throttledPeriods: 0 },
    memory: { usedBytes: now, limitBytes: 2 ** 30 },
    pids: null,
    network: { rxBytes: now, txBytes: now / 2 },
  };
}

describe('the statistics of the last hour', () => {
  const look = jest.fn<Promise<ContainerStats>, [string]>();
  let up: UpContainer[];
  let deleted: Set<string>;
  let history: StatsHistory;

  const container = (id: string, nodeId: string | null = null): UpContainer => ({
    id,
    engineId: `docker-${id}`,
    nodeId,
  });
  const start = (STATS_HISTORY: 'on' | 'off' = 'on'): void => {
    const engine = { containers: { stats: look } } as unknown as ContainerEngine;
    const disk = new DiskUse(engine, logger);
    const running: Pick<RunningContainers, 'mostRecentlyUsed' | 'notDeleted'> = {
      mostRecentlyUsed: (limit) => Promise.resolve(up.slice(0, limit)),
      notDeleted: (ids) => Promise.resolve(new Set(ids.filter((id) => !deleted.has(id)))),
    };
    const statistics = new ContainerStatistics(engine, disk, logger);
    history = new StatsHistory({ STATS_HISTORY }, running as RunningContainers, statistics, disk, logger);
    history.onApplicationBootstrap();
  };
  const pass = (ms: number): Promise<void> => jest.advanceTimersByTimeAsync(ms);
  const samples = (id: string) => history.of(id).samples;

  beforeEach(() => {
    jest.useFakeTimers({ now: 0 });
    look.mockReset();
    look.mockImplementation(() => Promise.resolve(usedNow()));
    [up, deleted] = [[container('a')], new Set()];
  });

  afterEach(() => {
    history.onModuleDestroy();
    jest.useRealTimers();
  });

  it('must be an average for every 30 seconds, of one hour and no more', async () => {
    start();
    await pass(2 * MINUTE);
    expect(history.of('a')).toMatchObject({ interval_seconds: 30, samples: [{}, {}, {}] });
    expect(samples('a')[0]).toEqual({
      at: '1970-01-01T00:01:00.000Z',
      cpu_percent_of_limit: 20,
      memory_used_bytes: 60_000,
      memory_limit_bytes: 2 ** 30,
      disk_used_bytes: null,
      rx_bytes_per_second: 1000,
      tx_bytes_per_second: 500,
    });
    await pass(120 * MINUTE);
    expect(samples('a')).toHaveLength(120);
    expect(samples('a').at(-1)?.at).toBe('1970-01-01T02:02:00.000Z');
  });

  it('must keep those of a container that was stopped, without a sample across its new start', async () => {
    start();
    await pass(2 * MINUTE);
    up = [];
    await pass(10 * MINUTE);
    expect(samples('a')).toHaveLength(3);
    look.mockImplementation(() => Promise.resolve(usedNow('again')));
    up = [container('a')];
    await pass(MINUTE);
    expect(samples('a').map(({ at }) => Date.parse(at) / MINUTE)).toEqual([1, 1.5, 2, 13]);
    await pass(55 * MINUTE);
    expect(Date.parse(samples('a')[0]?.at ?? '') / MINUTE).toBeGreaterThanOrEqual(8);
  });

  it('must be forgotten with a deleted container', async () => {
    start();
    await pass(2 * MINUTE);
    [up, deleted] = [[], new Set(['a'])];
    await pass(MINUTE);
    expect(samples('a')).toEqual([]);
  });

  it('must be of 500 containers, measured four at a time, with a pause as long as the round', async () => {
    up = Array.from({ length: 600 }, (_each, at) => container(String(at)));
    let atOnce = 0;
    let most = 0;
    look.mockImplementation(async () => {
      most = Math.max(most, (atOnce += 1));
      await new Promise((resolve) => setTimeout(resolve, 400));
      atOnce -= 1;
      return usedNow();
    });
    start();
    // A round takes 125 times 400 ms.
    await pass(30_000 + 50_000);
    expect([look.mock.calls.length, most]).toEqual([500, 4]);
    await pass(49_900);
    expect(look).toHaveBeenCalledTimes(500);
    await pass(200);
    expect(look.mock.calls.length).toBeGreaterThan(500);
  });

  it('must not wait for a machine that does not answer, nor leave out others for it', async () => {
    up = [...Array.from({ length: 40 }, (_each, at) => container(`b${String(at)}`, 'silent')), container('c', 'well')];
    look.mockImplementation((id) =>
      id.startsWith('docker-b')
        ? Promise.reject(new EngineError('docker_unavailable', 'no answer'))
        : Promise.resolve(usedNow()),
    );
    start();
    await pass(MINUTE);
    expect(look.mock.calls.length).toBeLessThan(2 * 10);
    expect(samples('c')).toHaveLength(1);
  });

  it('must not be measured where the setting is off', async () => {
    start('off');
    await pass(5 * MINUTE);
    expect(look).not.toHaveBeenCalled();
    expect(samples('a')).toEqual([]);
  });
});
