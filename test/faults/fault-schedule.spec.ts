import { SeededRandom } from '../support/seeded-random';
import { CLUSTER_FAULTS, NODES_FAULTS, scheduleFaults, SQLITE_FAULTS } from './fault-schedule';

describe('the schedule of faults', () => {
  it('must be the same for the same seed, and another for another', () => {
    const schedule = scheduleFaults(CLUSTER_FAULTS, new SeededRandom(1), 2_000);
    expect(scheduleFaults(CLUSTER_FAULTS, new SeededRandom(1), 2_000)).toEqual(schedule);
    expect(scheduleFaults(CLUSTER_FAULTS, new SeededRandom(2), 2_000)).not.toEqual(schedule);
  });

  it.each([
    ['several processes', CLUSTER_FAULTS, 1],
    ['several processes', CLUSTER_FAULTS, 50],
    ['several processes', CLUSTER_FAULTS, 2_000],
    ['several processes', CLUSTER_FAULTS, 10_000],
    ['SQLite', SQLITE_FAULTS, 1],
    ['SQLite', SQLITE_FAULTS, 200],
    ['several nodes', NODES_FAULTS, 80],
  ])('of the run on %s must have every kind of fault, %#, in order', (_run, times, operations) => {
    const schedule = scheduleFaults<string>(times, new SeededRandom(3), operations);
    expect(new Set(schedule.map(({ fault }) => fault))).toEqual(new Set(Object.keys(times)));
    const moments = schedule.map(({ before }) => before);
    expect(moments).toEqual([...moments].sort((a, b) => a - b));
    expect(Math.min(...moments)).toBeGreaterThanOrEqual(1);
    expect(Math.max(...moments)).toBeLessThanOrEqual(operations);
  });

  it('must make faults as often as they are due, in proportion to the operations', () => {
    const count = (operations: number): number =>
      scheduleFaults(CLUSTER_FAULTS, new SeededRandom(4), operations).filter(({ fault }) => fault === 'process_kill')
        .length;
    expect([count(2_000), count(1_000), count(50)]).toEqual([20, 10, 1]);
  });
});
