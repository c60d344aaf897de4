import { Logger } from '@nestjs/common';
import os from 'node:os';
import type { DataSource } from 'typeorm';
import { Clock } from '../scheduling';
import { DatabaseClock } from './database-clock';

const HOUR_MS = 3_600_000;

describe('the clock of a database', () => {
  let warn: jest.SpyInstance;
  let clock: Clock;
  let established: DatabaseClock;

  beforeEach(() => {
    jest.useFakeTimers({ now: Date.UTC(2026, 0, 1) });
    warn = jest.spyOn(Logger.prototype, 'warn').mockImplementation();
    clock = new Clock();
  });

  afterEach(() => {
    established.onApplicationShutdown();
    jest.useRealTimers();
    jest.restoreAllMocks();
  });

  /** @param answerMs how long PostgreSQL takes; its time is that of the question */
  async function onPostgres({ answerMs, aheadMs }: { answerMs: number; aheadMs: number }): Promise<void> {
    const query = (): Promise<unknown> => {
      const now = Date.now() - aheadMs;
      jest.advanceTimersByTime(answerMs);
      return Promise.resolve([{ now }]);
    };
    established = await DatabaseClock.establish(
      { options: { type: 'postgres' }, query } as unknown as DataSource,
      clock,
    );
  }

  it("does not take PostgreSQL's slow answer for a clock that is ahead", async () => {
    await onPostgres({ answerMs: 6_000, aheadMs: 0 });
    expect(warn).not.toHaveBeenCalled();
  });

  it('warns of a clock that is wrong by more than the answer took', async () => {
    await onPostgres({ answerMs: 6_000, aheadMs: 10_000 });
    expect(warn).toHaveBeenCalledWith(expect.stringMatching(/10 s ahead of the database's/));
  });

  describe('on SQLite', () => {
    let suspendedMs: number;
    let startedAt: number;

    beforeEach(async () => {
      suspendedMs = 0;
      startedAt = Date.now();
      const steadyFrom = performance.now();
      jest.spyOn(os, 'uptime').mockImplementation(() => 100 + (performance.now() - steadyFrom + suspendedMs) / 1000);
      established = await DatabaseClock.establish({ options: { type: 'better-sqlite3' } } as DataSource, clock);
    });

    it.each([HOUR_MS, -HOUR_MS])("does not follow a machine's clock that is set by %i ms, and says so", async (by) => {
      jest.setSystemTime(Date.now() + by);
      await jest.advanceTimersByTimeAsync(11_000);
      expect(clock.now().getTime()).toBe(startedAt + 11_000);
      expect(warn).toHaveBeenCalledTimes(1);
      expect(warn).toHaveBeenCalledWith(expect.stringMatching(/3600 s .* that of the start.*restart Berth/));
    });

    it('counts the time in which the machine was suspended', async () => {
      suspendedMs = HOUR_MS;
      jest.setSystemTime(Date.now() + HOUR_MS);
      await jest.advanceTimersByTimeAsync(11_000);
      expect(clock.now().getTime()).toBe(startedAt + HOUR_MS + 11_000);
      expect(warn).not.toHaveBeenCalled();
    });
  });
});
