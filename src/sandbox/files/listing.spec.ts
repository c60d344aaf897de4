import type { FileAttributes } from '../../engine';
import { ContainerPath } from './container-path';
import { decodeNameCursor, encodeNameCursor, Listing } from './listing';

const directory = ContainerPath.parse('/d', 'path');
const FILE: FileAttributes = {
  mode: 0o100644,
  size: 5,
  uid: 0,
  gid: 0,
  accessedAt: 1_600_000_000,
  modifiedAt: 1_600_000_000,
};

function pageOf(
  entries: readonly (readonly [string, FileAttributes])[],
  page: { limit?: number; after?: string } = {},
) {
  const { limit = 10, after } = page;
  const listing = new Listing({ limit, after: after === undefined ? null : Buffer.from(after) });
  for (const [name, info] of entries) listing.take(Buffer.from(name).toString('latin1'), info);
  const { files, next } = listing.result(directory);
  return { names: files.map(({ name }) => name), next: next?.toString() ?? null, files };
}

describe('the entries of a directory', () => {
  it('must be ordered by their bytes, however they come', () => {
    const names = ['b', '\n', 'a b', 'ü', '\nx', '-rw-r--r-- 1 1 .', ' ', 'a'];
    const { names: shown } = pageOf(names.map((name) => [name, FILE]));
    expect(shown).toEqual(['\n', '\nx', ' ', '-rw-r--r-- 1 1 .', 'a', 'a b', 'b', 'ü']);
  });

  it('must come in pages, each from behind the last', () => {
    const entries = Array.from({ length: 5000 }, (_each, index) => [`f${String(9999 - index)}`, FILE] as const);
    const first = pageOf(entries, { limit: 2 });
    expect([first.names, first.next]).toEqual([['f5000', 'f5001'], 'f5001']);
    expect(pageOf(entries, { limit: 2, after: 'f9997' })).toMatchObject({ names: ['f9998', 'f9999'], next: null });
  });

  it('must be described as they are', () => {
    const { files } = pageOf([['x', { ...FILE, mode: 0o041755, size: 0, modifiedAt: -1 }]]);
    expect(files).toEqual([
      { name: 'x', path: '/d/x', size: 0, mode: 'drwxr-xr-t', mod_time: '1969-12-31T23:59:59.000Z', is_dir: true },
    ]);
    const listing = new Listing({ limit: 1, after: null });
    listing.take('\xff', FILE);
    const odd = listing.result(directory).files;
    expect(odd).toEqual([expect.objectContaining({ name: '\ufffd', path: '/d/\ufffd', path_encoded: '/d/%FF' })]);
  });

  it('must have cursors that are names, and nothing else', () => {
    const name = Buffer.from('\xff\n', 'latin1');
    expect(decodeNameCursor(encodeNameCursor(name))).toEqual(name);
    for (const cursor of ['', '!', 'a', encodeNameCursor(Buffer.alloc(256, 1))]) {
      expect(() => decodeNameCursor(cursor)).toThrow();
    }
  });
});
