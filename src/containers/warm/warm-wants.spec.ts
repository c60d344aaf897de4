import { type WarmSettings, type WarmWant, wantsByDemand, withinMemory } from './warm-wants';

const USUAL: WarmSettings = {
  image: 'berth/sandbox:latest',
  memoryMb: 1024,
  cpuShares: 1000,
  diskMb: 10_240,
  keptLayerMb: 0,
  network: 'internet',
  processes: 1024,
  pool: 'default',
};
const LARGE: WarmSettings = { ...USUAL, memoryMb: 4096 };
const now = new Date('2026-11-29T12:00:00Z');
const ago = (minutes: number): Date => new Date(now.getTime() - minutes * 60_000);
const times = (count: number, settings: WarmSettings, minutes: number) =>
  Array.from({ length: count }, () => ({ settings, at: ago(minutes) }));

describe('the demand for warm slots', () => {
  it.each<[string, ReturnType<typeof times>, readonly (readonly [number, number])[]]>([
    ['nothing was created', [], [[1024, 1]]],
    [
      'one of another kind just now',
      times(1, LARGE, 0),
      [
        [4096, 1],
        [1024, 1],
      ],
    ],
    ['one of another kind, long ago', times(1, LARGE, 30), [[1024, 1]]],
    ['many of the usual kind', times(30, USUAL, 0), [[1024, 8]]],
    ['very many', times(500, USUAL, 1), [[1024, 10]]],
    [
      'as many, an hour ago',
      times(500, LARGE, 59),
      [
        [4096, 3],
        [1024, 1],
      ],
    ],
  ])('must follow the creations of the last hour, the latest most: %s', (_what, creations, counts) => {
    const wants = wantsByDemand(creations, { usual: USUAL, now });
    expect(wants.map(({ settings, count }) => [settings.memoryMb, count])).toEqual(counts);
  });
});

describe('the memory of the pool', () => {
  const want = (settings: WarmSettings, count: number, isDefault = false): WarmWant => ({
    settings,
    count,
    isDefault,
    nodes: null,
  });
  const counts = (wants: readonly WarmWant[], memoryMb: number | null): (readonly [number, number])[] =>
    withinMemory(wants, memoryMb).map(({ settings, count }) => [settings.memoryMb, count]);

  it('must be kept to, but for one of the usual kind', () => {
    expect(counts([want(USUAL, 3, true)], 100)).toEqual([[1024, 1]]);
    expect(counts([want(USUAL, 3, true)], 2048)).toEqual([[1024, 2]]);
    expect(counts([want(USUAL, 3)], 1000)).toEqual([]);
    expect(counts([want(LARGE, 2), want(USUAL, 2, true)], 5120)).toEqual([
      [4096, 1],
      [1024, 1],
    ]);
  });

  it('must give each kind its first slot before any its second', () => {
    expect(counts([want(USUAL, 5, true), want(LARGE, 1)], 6144)).toEqual([
      [1024, 2],
      [4096, 1],
    ]);
    expect(counts([want(USUAL, 5, true)], null)).toEqual([[1024, 5]]);
  });
});
