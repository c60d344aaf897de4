import pino from 'pino';
import { type ContainerEngine, type ContainerStats, EngineError } from '../../engine';
import { DiskUse } from './disk-use';
import { ContainerStatistics, statsBetween, type StatsListener } from './stats';

const sampleAt = (ms: number, usedMs: number, change: Partial<ContainerStats['cpu']> = {}): ContainerStats => ({
  at: new Date(ms),
  startedAt: 'once',
  cpu: { usedMs, limitShares: 500, periods: ms / 100, throttledPeriods: ms / 400, ...change },
  memory: { usedBytes: 1, limitBytes: 2 },
  pids: 3,
  network: { rxBytes: 4, txBytes: 5 },
});

const NO_DISK = { diskUsed: null };

describe('statistics after two looks', () => {
  it('must say what share of its CPU the container had in between, and how often it was held back', () => {
    expect(statsBetween(sampleAt(10_000, 500), sampleAt(12_000, 1_250), { diskUsed: 6 })).toEqual({
      at: '1970-01-01T00:00:12.000Z',
      cpu: { percent_of_limit: 75, throttled_percent: 25 },
      memory: { used_bytes: 1, limit_bytes: 2 },
      pids: 3,
      network: { rx_bytes: 4, tx_bytes: 5 },
      disk_used_bytes: 6,
    });
  });

  it('must be 0 % throttled in no period, and have no share of no limit', () => {
    const stats = statsBetween(
      sampleAt(10_000, 500),
      sampleAt(12_000, 600, { periods: 100, limitShares: null }),
      NO_DISK,
    );
    expect(stats?.cpu).toEqual({ percent_of_limit: null, throttled_percent: 0 });
  });

  it.each<[string, ContainerStats]>([
    ['it has started anew', sampleAt(12_000, 10)],
    ['its periods began again', sampleAt(12_000, 600, { periods: 0 })],
    ['no time has passed', sampleAt(10_000, 500)],
  ])('must not be told where %s', (_what, after) => {
    expect(statsBetween(sampleAt(10_000, 500), after, NO_DISK)).toBeNull();
  });
});

describe('looks at a container', () => {
  const look = jest.fn<Promise<ContainerStats>, [string]>();
  let statistics: ContainerStatistics;

  beforeEach(() => {
    jest.useFakeTimers({ now: 0 });
    look.mockReset();
    look.mockImplementation(() => Promise.resolve(sampleAt(Date.now(), Date.now() / 4)));
    const engine = { containers: { stats: look } } as unknown as ContainerEngine;
    const logger = pino({ level: 'silent' });
    statistics = new ContainerStatistics(engine, new DiskUse(engine, logger), logger);
  });

  const reader = () => ({ onStats: jest.fn(), onOver: jest.fn(), onFault: jest.fn() }) satisfies StatsListener;
  const pass = (ms: number): Promise<void> => jest.advanceTimersByTimeAsync(ms);

  afterEach(async () => {
    statistics.onModuleDestroy();
    look.mockClear();
    await pass(60_000);
    expect(look).not.toHaveBeenCalled();
    jest.useRealTimers();
  });

  it('must be one every two seconds for any number of readers, and none for nobody', async () => {
    const readers = Array.from({ length: 20 }, reader);
    const leave = readers.map((each) => statistics.follow('a', each));
    await pass(10_400);
    // At 0, 500, 2500, 4500, 6500, 8500.
    expect(look).toHaveBeenCalledTimes(6);
    for (const { onStats } of readers) expect(onStats).toHaveBeenCalledTimes(5);
    expect(readers[0]?.onStats).toHaveBeenLastCalledWith(expect.objectContaining({ at: '1970-01-01T00:00:08.500Z' }));
    for (const each of leave) each();
    await pass(60_000);
    expect(look).toHaveBeenCalledTimes(6);
  });

  it('must be shared by all who ask at once, and by those who ask again and again', async () => {
    const asking = Promise.all(Array.from({ length: 20 }, () => statistics.current('a')));
    await pass(500);
    expect(new Set((await asking).map(({ at }) => at)).size).toBe(1);
    for (let each = 0; each < 100; each += 1) {
      const again = statistics.current('a');
      await pass(100);
      await again;
    }
    expect(look.mock.calls.length).toBeLessThanOrEqual(2 + 6);
  });

  it('must be measured since the last one by a client that asks now and then', async () => {
    const first = statistics.current('a');
    await pass(500);
    await first;
    await pass(5_000);
    const second = statistics.current('a');
    await pass(0);
    expect((await second).at).toBe('1970-01-01T00:00:05.500Z');
    expect(look).toHaveBeenCalledTimes(3);
  });

  it('must end with the container, once for each reader', async () => {
    const readers = [reader(), reader()];
    for (const each of readers) statistics.follow('a', each);
    await pass(500);
    look.mockRejectedValue(new EngineError('container_not_running', 'gone'));
    await pass(60_000);
    for (const { onOver } of readers) expect(onOver).toHaveBeenCalledTimes(1);
    const late = expect(statistics.current('a')).rejects.toMatchObject({ code: 'container_not_running' });
    await pass(0);
    await late;
  });

  it('must end with a run of the container, also where it runs again by the next look, for those who follow alone', async () => {
    const follower = reader();
    statistics.follow('a', follower);
    await pass(500);
    look.mockRejectedValueOnce(new EngineError('docker_unavailable', 'restarted'));
    await pass(2_000);
    look.mockImplementation(() => Promise.resolve({ ...sampleAt(Date.now(), Date.now()), startedAt: 'again' }));
    const asked = expect(pass(1_000).then(() => statistics.current('a'))).resolves.toMatchObject({});
    await pass(4_000);
    await asked;
    expect(follower.onOver).toHaveBeenCalledTimes(1);
    expect(follower.onStats).toHaveBeenCalledTimes(1);
  });

  it('must go on after one that failed, which is what those are told who ask for it', async () => {
    const follower = reader();
    const leave = statistics.follow('a', follower);
    await pass(500);
    look.mockRejectedValueOnce(new EngineError('docker_unavailable', 'no answer'));
    const asked = expect(pass(1_900).then(() => statistics.current('a'))).resolves.toMatchObject({});
    await pass(2_000);
    await asked;
    expect(follower.onFault).toHaveBeenCalledTimes(1);
    const told = follower.onStats.mock.calls.length;
    const late = expect(statistics.current('a')).resolves.toMatchObject({});
    await pass(2_000);
    await late;
    expect(follower.onStats.mock.calls.length).toBeGreaterThan(told);
    leave();
  });

  it('must tell those who wait when the server ends', async () => {
    const waiting = expect(statistics.current('a')).rejects.toMatchObject({ kind: 'shutting_down' });
    statistics.onModuleDestroy();
    await waiting;
  });
});
