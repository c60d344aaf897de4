import { leastCores } from './sandbox-proof';

describe('the share of a core between samples', () => {
  const cpu = { limitShares: null, periods: 0, throttledPeriods: 0 };
  it.each<[string, readonly (readonly [atMs: number, usedMs: number])[], number | null]>([
    [
      'the lower of two',
      [
        [0, 100],
        [1000, 400],
        [2000, 430],
      ],
      0.03,
    ],
    [
      'by the time that has passed',
      [
        [0, 0],
        [2000, 100],
      ],
      0.05,
    ],
    [
      'none where nothing ran',
      [
        [0, 100],
        [1000, 100],
      ],
      0,
    ],
    [
      'unknown where the clock stood still',
      [
        [0, 100],
        [0, 200],
      ],
      null,
    ],
    ['unknown of one sample', [[0, 100]], null],
  ])('is %s', (_what, samples, share) => {
    const read = samples.map(([at, usedMs]) => ({ at: new Date(at), cpu: { ...cpu, usedMs } }));
    expect(leastCores(read)).toBe(share);
  });
});
