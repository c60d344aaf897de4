import { parseConfig } from '../config';
import { Clock } from '../scheduling';
import { Retries } from './retries';

const SECOND = 1_000;
const HOUR = 3_600 * SECOND;
const DAY = 24 * HOUR;
const start = new Date('2030-01-01T00:00:00.000Z');

/** A clock that stands still. */
class Standing extends Clock {
  constructor(private readonly time: Date) {
    super();
  }

  override now(): Date {
    return this.time;
  }
}

const retriesAt = (ms: number) => new Retries(new Standing(new Date(start.getTime() + ms)), parseConfig({}));

describe('a failed delivery', () => {
  function pauseAfter(attempts: number, random: number, notBefore: Date | null = null): number {
    const { nextTryAt } = retriesAt(0).after({ attempts, firstFailedAt: start, notBefore }, random);
    return ((nextTryAt?.getTime() ?? 0) - start.getTime()) / SECOND;
  }

  it('must be tried again after 1, 5 and 30 s, and then after longer and longer', () => {
    const pauses = Array.from({ length: 11 }, (_none, index) => pauseAfter(index + 1, 0));
    expect(pauses).toEqual([1, 5, 30, 120, 600, 1800, 3600, 7200, 14_400, 14_400, 14_400]);
  });

  it('must not be tried at the same time as others that failed with it', () => {
    expect([pauseAfter(1, 0), pauseAfter(1, 0.5), pauseAfter(1, 1)]).toEqual([1, 1.1, 1.2]);
  });

  it('must be tried for three days after the first failure, and the last time at their end', () => {
    const at = (ms: number) =>
      retriesAt(ms).after({ attempts: 20, firstFailedAt: start, notBefore: null }, 0).nextTryAt;
    expect(at(3 * DAY - 5 * HOUR)).toEqual(new Date(start.getTime() + 3 * DAY - HOUR));
    expect(at(3 * DAY - SECOND)).toEqual(new Date(start.getTime() + 3 * DAY));
    expect(at(3 * DAY)).toBeNull();
  });

  it('must keep the time of its first failure', () => {
    expect(retriesAt(0).after({ attempts: 1, firstFailedAt: null, notBefore: null }).firstFailedAt).toEqual(start);
    const before = new Date(start.getTime() - SECOND);
    const later = retriesAt(0).after({ attempts: 2, firstFailedAt: before, notBefore: null });
    expect(later.firstFailedAt).toBe(before);
  });

  it('must be tried when its receiver asks for it, but not earlier than usual, and at the latest after 4 h', () => {
    const asked = (seconds: number) => pauseAfter(2, 0, retriesAt(0).notBefore(seconds * SECOND));
    expect([asked(0), asked(60), asked(7_000_000)]).toEqual([5, 60, 14_400]);
    expect(retriesAt(0).notBefore(null)).toBeNull();
  });
});
