import type { Headers } from 'tar-stream';
import { DomainError } from '../../errors';
import { cleanHeader } from './archive';
import type { TarHeader } from './tar-reader';

const clean = (given: Partial<TarHeader>, links: string[] = []) =>
  cleanHeader({ name: 'x', linkname: '', type: 'file', mode: 0o644, mtime: 0, size: 0, ...given }, new Set(links));
const latin = (text: string): string => Buffer.from(text).toString('latin1');

describe('an entry of an archive', () => {
  it.each<[Partial<TarHeader>, Partial<Headers>]>([
    [{ name: './a//b' }, { name: 'a/b' }],
    [{ name: latin('ü') }, { name: 'ü' }],
    [
      { name: 'd/', type: 'directory', mode: 0o40755 },
      { name: 'd', mode: 0o755 },
    ],
    [{ name: 'a/b/l', type: 'symlink', linkname: '../../c' }, { linkname: '../../c' }],
    [{ name: 'l', type: 'symlink', linkname: 'c/d' }, { linkname: 'c/d' }],
    [{ type: 'link', linkname: './a' }, { linkname: 'a' }],
    [{ size: 3 }, { size: 3, mode: 0o644, mtime: new Date(0) }],
    [{ mtime: 2 ** 40 }, { mtime: new Date((2 ** 31 - 1) * 1000) }],
  ])('must go on as what it is: %j', (given, expected) => {
    const header = clean(given);
    expect(header).toMatchObject(expected);
    expect(header).not.toHaveProperty('uid');
  });

  it('must be left out where it is the directory itself', () => {
    expect(clean({ name: './', type: 'directory' })).toBeNull();
  });

  it.each<[Partial<TarHeader>, string[]]>([
    [{ name: '/a' }, []],
    [{ name: '..' }, []],
    [{ name: 'a/../../b' }, []],
    [{ name: '' }, []],
    [{ name: '\xff' }, []],
    [{ name: 'l/x' }, ['l']],
    [{ name: 'l/a/x' }, ['l']],
    [{ type: 'symlink', linkname: '/etc' }, []],
    [{ type: 'symlink', linkname: '..' }, []],
    [{ type: 'symlink', linkname: '' }, []],
    [{ name: 'a/l', type: 'symlink', linkname: '../..' }, []],
    [{ name: 'a/l', type: 'symlink', linkname: 'b/../c' }, []],
    [{ type: 'link', linkname: '/etc/passwd' }, []],
    [{ type: 'link', linkname: '../x' }, []],
    [{ type: 'link', linkname: 'l' }, ['l']],
    [{ type: 'character-device' }, []],
    [{ type: 'block-device' }, []],
    [{ type: 'fifo' }, []],
    [{ type: null }, []],
  ])('must be refused where it leaves the directory, or is none that it may be: %j', (given, links) => {
    expect(() => clean(given, links)).toThrow(DomainError);
  });
});
