import { jsonFragment, parseSelector } from './labels';

describe('a selector of labels', () => {
  it.each<[string, string, string | null]>([
    ['team', 'team', null],
    ['team:core', 'team', 'core'],
    ['team:', 'team', ''],
    ['url:http://a:1', 'url', 'http://a:1'],
  ])('%p must be the key %p with the value %p', (text, key, value) => {
    expect(parseSelector(text)).toEqual({ key, value });
  });

  const labels: Record<string, string>[] = [
    {},
    { a: '1' },
    { a: '1', b: '2' },
    { b: '2', a: '1' },
    { a: '12' },
    { aa: '1' },
    { a: '' },
    { a: '1"' },
    { a: '"1' },
    { a: '\\' },
    { a: '\\"' },
    { b: '"a":"1"' },
    { b: ',"a":"1",' },
    { b: '"a":' },
    { b: '\\"a":"1' },
    { a: 'é\u2028😀\n' },
  ];
  it.each(labels.flatMap((one) => labels.map((other) => [JSON.stringify(one), JSON.stringify(other)])))(
    'made of %s must be found in %s exactly where it is there',
    (one = '', other = '') => {
      const held = JSON.parse(other) as Record<string, string>;
      for (const [key, value] of Object.entries(JSON.parse(one) as Record<string, string>)) {
        expect(other.includes(jsonFragment({ key, value }))).toBe(held[key] === value);
        expect(other.includes(jsonFragment({ key, value: null }))).toBe(key in held);
      }
    },
  );
});
