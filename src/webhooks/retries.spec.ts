import { parseConfig } from '../config';
import { retryAfter } from './retries';

const SECOND = 1_000;
const DAY = 24 * 3_600 * SECOND;
const config = parseConfig({});
const now = new Date('2030-01-01T00:00:00.000Z');

const pauseAfter = (attempts: number, random: number): number => {
  const { nextTryAt } = retryAfter({ attempts, firstFailedAt: now }, now, config, random);
  return ((nextTryAt?.getTime() ?? 0) - now.getTime()) / SECOND;
};

describe('a failed delivery', () => {
  it('must be tried again after 1, 5 and 30 s, and then after longer and longer', () => {
    const pauses = Array.from({ length: 11 }, (_none, index) => pauseAfter(index + 1, 0));
    expect(pauses).toEqual([1, 5, 30, 120, 600, 1800, 3600, 7200, 14_400, 14_400, 14_400]);
  });

  it('must not be tried at the same time as others that failed with it', () => {
    expect([pauseAfter(1, 0), pauseAfter(1, 0.5), pauseAfter(1, 1)]).toEqual([1, 1.1, 1.2]);
  });

  it('must be tried for three days after the first failure, and the last time at their end', () => {
    const at = (ms: number) =>
      retryAfter({ attempts: 20, firstFailedAt: now }, new Date(now.getTime() + ms), config, 0).nextTryAt;
    expect(at(3 * DAY - 5 * 3_600 * SECOND)).toEqual(new Date(now.getTime() + 3 * DAY - 3_600 * SECOND));
    expect(at(3 * DAY - SECOND)).toEqual(new Date(now.getTime() + 3 * DAY));
    expect(at(3 * DAY)).toBeNull();
  });

  it('must keep the time of its first failure', () => {
    expect(retryAfter({ attempts: 1, firstFailedAt: null }, now, config).firstFailedAt).toBe(now);
    const before = new Date(now.getTime() - SECOND);
    expect(retryAfter({ attempts: 2, firstFailedAt: before }, now, config).firstFailedAt).toBe(before);
  });
});
