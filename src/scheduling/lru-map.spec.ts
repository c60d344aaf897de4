import { LruMap } from './lru-map';

describe('recent keys', () => {
  it('must forget the least recently used one, and hold no more than they may', () => {
    const keys = new LruMap<string>(2);
    keys.set('a', '1');
    keys.set('b', '2');
    expect(keys.get('a')).toBe('1');
    keys.set('c', '3');
    expect(['a', 'b', 'c'].map((key) => keys.get(key))).toEqual(['1', undefined, '3']);
    keys.set('c', '4');
    keys.delete('a');
    expect(['a', 'c'].map((key) => keys.get(key))).toEqual([undefined, '4']);
  });
});
