import { DomainError } from '../../errors';
import { ContainerPath, pathInQuery } from './container-path';

describe('a path in a container', () => {
  it.each([
    ['/', '/', ''],
    ['//a///b/', '/a/b', 'b'],
    ['/a/./b/.', '/a/b', 'b'],
    ['/a/../b', '/a/../b', 'b'],
    ['/-rf', '/-rf', '-rf'],
    ['/a\nb', '/a\nb', 'a\nb'],
  ])('must keep what leads somewhere: %j', (given, text, base) => {
    const path = ContainerPath.parse(given, 'path');
    expect([path.text, path.base.toString()]).toEqual([text, base]);
  });

  it.each(['', 'a', './a', '~', '/a\0', `/${'a'.repeat(4095)}`])(
    'must be absolute, and no longer than Linux has it',
    (given) => {
      expect(() => ContainerPath.parse(given, 'from')).toThrow(DomainError);
    },
  );

  it.each(['/', '//', '/.', '/..', '/a/..', '/a/../..'])('must name an entry where it is changed: %s', (given) => {
    expect(() => ContainerPath.parseEntry(given, 'path')).toThrow();
  });

  it('must say whether it is within another', () => {
    const at = (text: string) => ContainerPath.parse(text, 'path');
    expect(at('/a/b').isWithin(at('/a'))).toBe(true);
    expect(at('/ab').isWithin(at('/a'))).toBe(false);
    expect(at('/a').isWithin(at('/'))).toBe(true);
  });

  it.each<[string, Buffer | undefined]>([
    ['/x', undefined],
    ['/x?a=1', undefined],
    ['/x?path=/a%20b+c%2Bd', Buffer.from('/a b c+d')],
    ['/x?a=1&path=%2F%FF%0a', Buffer.from('/\xff\n', 'latin1')],
    ['/x?path=/100%', Buffer.from('/100%')],
    ['/x?path=', Buffer.from('')],
    ['/x?path=/ü', Buffer.from('/ü')],
  ])('must be read from a query byte by byte: %s', (url, bytes) => {
    expect(pathInQuery(url, 'path')).toEqual(bytes);
  });

  it('must not be given twice', () => {
    expect(() => pathInQuery('/x?path=/a&path=/b', 'path')).toThrow();
  });
});
