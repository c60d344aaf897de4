import { ContainerPath } from './container-path';
import { decodeNameCursor, encodeNameCursor, Listing } from './listing';

const directory = ContainerPath.parse('/d', 'path');
const entry = (name: string, words = '-rw-r--r-- 5 1600000000'): string => `${words} ./${name}/\n`;

function listed(text: Buffer | string, page: { limit?: number; after?: string } = {}, step = 7) {
  const listing = new Listing({
    limit: page.limit ?? 10,
    after: page.after === undefined ? null : Buffer.from(page.after),
  });
  const bytes = Buffer.from(text);
  let isListing = true;
  for (let at = 0; at < bytes.length; at += step) isListing &&= listing.take(bytes.subarray(at, at + step));
  const { files, next } = listing.result(directory);
  return {
    names: files.map(({ name }) => name),
    next: next?.toString() ?? null,
    files,
    whole: isListing && listing.isWhole,
  };
}

describe('the entries of a directory', () => {
  it('must be ordered by their bytes, however they come', () => {
    const names = ['b', '\n', 'a b', 'ü', '\nx', '-rw-r--r-- 1 1 .', ' ', 'a'];
    const { names: shown, whole } = listed(names.map((name) => entry(name)).join(''));
    expect([shown, whole]).toEqual([['\n', '\nx', ' ', '-rw-r--r-- 1 1 .', 'a', 'a b', 'b', 'ü'], true]);
  });

  it('must come in pages, each from behind the last', () => {
    const text = Array.from({ length: 5000 }, (_each, index) => entry(`f${String(9999 - index)}`)).join('');
    const first = listed(text, { limit: 2 }, 4096);
    expect([first.names, first.next]).toEqual([['f5000', 'f5001'], 'f5001']);
    expect(listed(text, { limit: 2, after: 'f9997' }, 4096)).toMatchObject({ names: ['f9998', 'f9999'], next: null });
  });

  it('must be described as they are, and without what is being written', () => {
    const own = '.berth-upload-00000000-0000-4000-8000-000000000000';
    const { files } = listed(entry(own) + entry('x', 'drwxr-xr-t 0 -1') + entry('.berth-upload-mine'));
    expect(files).toEqual([
      expect.objectContaining({ name: '.berth-upload-mine' }),
      { name: 'x', path: '/d/x', size: 0, mode: 'drwxr-xr-t', mod_time: '1969-12-31T23:59:59.000Z', is_dir: true },
    ]);
    const odd = listed(Buffer.from(entry('\xff'), 'latin1')).files;
    expect(odd).toEqual([expect.objectContaining({ name: '\ufffd', path: '/d/\ufffd', path_encoded: '/d/%FF' })]);
  });

  it('must be refused where a program says something else, without end', () => {
    expect(listed('lies\n').whole).toBe(false);
    expect(listed('y\n'.repeat(5000)).whole).toBe(false);
    expect(listed(entry('x').slice(0, -1)).whole).toBe(false);
  });

  it('must have cursors that are names, and nothing else', () => {
    const name = Buffer.from('\xff\n', 'latin1');
    expect(decodeNameCursor(encodeNameCursor(name))).toEqual(name);
    for (const cursor of ['', '!', 'a', encodeNameCursor(Buffer.alloc(256, 1))]) {
      expect(() => decodeNameCursor(cursor)).toThrow();
    }
  });
});
