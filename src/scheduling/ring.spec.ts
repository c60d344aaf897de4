import { Ring } from './ring';

describe('a ring of the newest entries', () => {
  const after = (entries: number): Ring<number> => {
    const ring = new Ring<number>(3);
    for (let entry = 1; entry <= entries; entry += 1) ring.push(entry);
    return ring;
  };

  it.each<[pushed: number, kept: readonly number[]]>([
    [0, []],
    [1, [1]],
    [3, [1, 2, 3]],
    [4, [2, 3, 4]],
    [7, [5, 6, 7]],
  ])('must keep the newest of %d, the oldest first', (pushed, kept) => {
    expect(after(pushed).toArray()).toEqual(kept);
    expect(after(pushed).last).toBe(kept.at(-1));
  });
});
