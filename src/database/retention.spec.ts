import { Logger } from '@nestjs/common';
import { Clock } from '../scheduling';
import type { Database } from './database';
import { Retention } from './retention';

const DAY = 24 * 3_600_000;

describe('retention', () => {
  let prune: jest.SpyInstance<Promise<number>, [Date]>;
  let retention: Retention;

  beforeEach(() => {
    jest.useFakeTimers({ now: Date.parse('2030-01-08T00:00:00.000Z') });
    const kept = { name: 'events', entity: 'events', since: 'created_at', keptMs: 7 * DAY };
    retention = new Retention({} as Database, new Clock(), kept);
    prune = jest.spyOn(retention, 'prune').mockResolvedValue(0);
    retention.onApplicationBootstrap();
  });

  afterEach(() => {
    retention.onApplicationShutdown();
    jest.useRealTimers();
    jest.restoreAllMocks();
  });

  it('must delete what is older than its period, again and again', async () => {
    await jest.advanceTimersByTimeAsync(600_000);
    expect(prune).toHaveBeenCalledWith(new Date('2030-01-01T00:10:00.000Z'));
    await jest.advanceTimersByTimeAsync(3_000_000);
    expect(prune).toHaveBeenCalledTimes(6);
  });

  it('must go on after a failure, and report the first in a row alone', async () => {
    const logged = jest.spyOn(Logger.prototype, 'error').mockImplementation();
    prune.mockRejectedValueOnce(new Error('no database')).mockRejectedValueOnce(new Error('no database'));
    await jest.advanceTimersByTimeAsync(1_800_000);
    expect(prune).toHaveBeenCalledTimes(3);
    expect(logged).toHaveBeenCalledTimes(1);
  });

  it('must end with the server', async () => {
    retention.onApplicationShutdown();
    await jest.advanceTimersByTimeAsync(DAY);
    expect(prune).not.toHaveBeenCalled();
  });
});
