import { RecentKeys } from './recent-keys';

describe('recent keys', () => {
  it('must forget the least recently used one, and hold no more than they may', () => {
    const keys = new RecentKeys(2);
    keys.add('a');
    keys.add('b');
    expect(keys.has('a')).toBe(true);
    keys.add('c');
    expect(['a', 'b', 'c'].map((key) => keys.has(key))).toEqual([true, false, true]);
    keys.add('c');
    keys.delete('a');
    expect(['a', 'c'].map((key) => keys.has(key))).toEqual([false, true]);
  });
});
