import { Logger } from '@nestjs/common';
import { EventRetention } from './event-retention';
import type { EventLog } from './log';

const DAY = 24 * 3_600_000;

describe('event retention', () => {
  const prune = jest.fn<Promise<number>, [Date]>();
  let retention: EventRetention;

  beforeEach(() => {
    jest.useFakeTimers({ now: Date.parse('2030-01-08T00:00:00.000Z') });
    prune.mockReset().mockResolvedValue(0);
    retention = new EventRetention({ prune } as unknown as EventLog, { EVENT_RETENTION: 7 * DAY });
    retention.onApplicationBootstrap();
  });

  afterEach(() => {
    retention.onApplicationShutdown();
    jest.useRealTimers();
    jest.restoreAllMocks();
  });

  it('must forget what is older than EVENT_RETENTION, again and again', async () => {
    await jest.advanceTimersByTimeAsync(600_000);
    expect(prune).toHaveBeenCalledWith(new Date('2030-01-01T00:10:00.000Z'));
    await jest.advanceTimersByTimeAsync(3_000_000);
    expect(prune).toHaveBeenCalledTimes(6);
  });

  it('must go on after a failure, and tell of the first in a row alone', async () => {
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
    expect(jest.getTimerCount()).toBe(0);
  });
});
