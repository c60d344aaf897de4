import { SeededRandom } from '../support/seeded-random';
import { FAULTS, scheduleFaults } from './fault-schedule';

describe('the schedule of faults', () => {
  it('must be the same for the same seed, and another for another', () => {
    const schedule = scheduleFaults(new SeededRandom(1), 2_000);
    expect(scheduleFaults(new SeededRandom(1), 2_000)).toEqual(schedule);
    expect(scheduleFaults(new SeededRandom(2), 2_000)).not.toEqual(schedule);
  });

  it.each([1, 50, 2_000, 10_000])('must have every kind of fault in %d operations, in order', (operations) => {
    const schedule = scheduleFaults(new SeededRandom(3), operations);
    expect(new Set(schedule.map(({ fault }) => fault))).toEqual(new Set(FAULTS));
    const times = schedule.map(({ before }) => before);
    expect(times).toEqual([...times].sort((a, b) => a - b));
    expect(Math.min(...times)).toBeGreaterThanOrEqual(1);
    expect(Math.max(...times)).toBeLessThanOrEqual(operations);
  });
});
