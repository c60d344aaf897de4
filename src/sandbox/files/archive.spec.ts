import type { Headers } from 'tar-stream';
import { DomainError } from '../../errors';
import { cleanHeader } from './archive';

type Given = Headers & { pax?: Record<string, string> };
const clean = (given: Partial<Given>, links: string[] = []) =>
  cleanHeader({ name: 'x', type: 'file', ...given }, new Set(links));
const latin = (text: string): string => Buffer.from(text).toString('latin1');

describe('an entry of an archive', () => {
  it.each<[Partial<Given>, Partial<Headers>]>([
    [{ name: './a//b' }, { name: 'a/b' }],
    [{ name: latin('ü') }, { name: 'ü' }],
    [{ name: 'ü', pax: { path: 'ü' } }, { name: 'ü' }],
    [
      { name: 'd/', type: 'directory', mode: 0o40755 },
      { name: 'd', mode: 0o755 },
    ],
    [{ name: 'a/b/l', type: 'symlink', linkname: '../../c' }, { linkname: '../../c' }],
    [{ name: 'l', type: 'symlink', linkname: 'c/d' }, { linkname: 'c/d' }],
    [{ type: 'link', linkname: './a' }, { linkname: 'a' }],
    [
      { uid: 5, gid: 5, uname: 'x', size: 3 },
      { size: 3, mode: 0o644 },
    ],
  ])('must go on as what it is: %j', (given, expected) => {
    const header = clean(given);
    expect(header).toMatchObject(expected);
    expect(header).not.toHaveProperty('uid');
  });

  it('must be left out where it is the directory itself', () => {
    expect(clean({ name: './', type: 'directory' })).toBeNull();
  });

  it.each<[Partial<Given>, string[]]>([
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
