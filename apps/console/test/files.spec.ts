import type { FileView } from '@berth/client';
import {
  downloadUrl,
  extend,
  hasLocalFiles,
  listed,
  NONE_SELECTED,
  OWN_FILE,
  resolvePath,
  shownAs,
  sorted,
  sortedBy,
  type Sorting,
  toggle,
} from '../src/data/file-list.ts';
import { decode, indentOf, lineBreakOf } from '../src/data/text-file.ts';
import { conflictsOf, foldersOf, planUpload, sizeFault, withoutExisting } from '../src/data/upload-plan.ts';
import { languageOf } from '../src/pages/code-languages.ts';

const entry = (name: string, size = 0, minute = 0): FileView => ({
  name,
  path: `/home/user/${name}`,
  size,
  mode: name.endsWith('/') ? 'drwxr-xr-x' : '-rw-r--r--',
  mod_time: new Date(Date.UTC(2026, 0, 1, 0, minute)).toISOString(),
  is_dir: name.endsWith('/'),
});

describe('a list of files', () => {
  const entries = [
    entry('file10', 5, 1),
    entry('file9', 7, 3),
    entry('B', 5, 2),
    entry('a', 1, 2),
    entry('dir2/', 900, 9),
    entry('dir10/', 1, 0),
  ];

  it.each<[Sorting, string]>([
    [{ by: 'name', isDescending: false }, 'dir2/ dir10/ a B file9 file10'],
    [{ by: 'name', isDescending: true }, 'dir10/ dir2/ file10 file9 B a'],
    [{ by: 'size', isDescending: true }, 'dir2/ dir10/ file9 B file10 a'],
    [{ by: 'size', isDescending: false }, 'dir2/ dir10/ a B file10 file9'],
    [{ by: 'time', isDescending: true }, 'dir2/ dir10/ file9 a B file10'],
  ])('must have folders first, numbers by their value, and equal entries by name: %j', (sorting, names) => {
    expect(
      sorted(entries, sorting)
        .map(({ name }) => name)
        .join(' '),
    ).toBe(names);
  });

  it('must be turned by a second click, and begin with what is looked for', () => {
    const byName = { by: 'name', isDescending: false } as const;
    expect(sortedBy('name', byName)).toEqual({ by: 'name', isDescending: true });
    expect(sortedBy('size', byName)).toEqual({ by: 'size', isDescending: true });
    expect(sortedBy('name', { by: 'time', isDescending: true })).toEqual(byName);
  });

  it.each([
    ['a.txt', 'a.txt'],
    ['12:30 – C:\\x.txt', '12_30 – C_\\x.txt'],
    ['two\r\nlines\u2028.txt', 'two__lines_.txt'],
    ['\u0000\u007f\u0085ü', '___ü'],
  ])('must be dragged out by names that do not end early: %j', (name, dragged) => {
    expect(downloadUrl(name, 'https://a.example/x?y=v1:z')).toBe(
      `application/octet-stream:${dragged}:https://a.example/x?y=v1:z`,
    );
  });

  it('must take files of the user’s machine, and not what is dragged from it', () => {
    expect(hasLocalFiles({ types: ['Files'] })).toBe(true);
    for (const types of [['Files', OWN_FILE], [OWN_FILE], ['text/plain'], []])
      expect(hasLocalFiles({ types })).toBe(false);
  });

  it('must be selected in ranges, which take the state of where they begin', () => {
    const order = ['a', 'b', 'c', 'd', 'e'];
    const first = extend(toggle(NONE_SELECTED, 'd'), 'b', order);
    expect([...first.paths].sort()).toEqual(['b', 'c', 'd']);
    const second = extend(toggle(first, 'c'), 'd', order);
    expect([...second.paths]).toEqual(['b']);
    // What the range began with is not shown any more.
    expect([...extend({ paths: new Set(), anchor: 'gone' }, 'e', order).paths]).toEqual(['e']);
  });

  it('must be named in sentences, and not all of very many', () => {
    expect(listed(['a'])).toBe('“a”');
    expect(listed(['a', 'b', 'c'])).toBe('“a”, “b” and “c”');
    expect(listed(['a', 'b', 'c', 'd', 'e'], 4)).toBe('“a”, “b”, “c” and 2 more');
  });

  it.each([
    ['/home/user', 'sub', '/home/user/sub'],
    ['/home/user', '../x/./y/', '/home/x/y'],
    ['/home/user', '/etc', '/etc'],
    ['/', '../..', '/'],
  ])('must be moved from %s to %s: %s', (folder, path, result) => {
    expect(resolvePath(folder, path)).toBe(result);
  });

  it('must be shown only in forms that a browser shows', () => {
    expect(shownAs('A.JPG')?.type).toBe('image/jpeg');
    expect(shownAs('a.pdf')?.type).toBe('application/pdf');
    for (const name of ['a.html', 'png', 'a.png.txt', 'constructor', 'a.constructor']) expect(shownAs(name)).toBeNull();
  });
});

describe('an upload', () => {
  const file = (size = 1): File => ({ size }) as File;

  it('must send each file and each folder by itself, and very many files together', () => {
    const entries = [
      { path: 'a.txt', file: file(3) },
      { path: 'p', file: null },
      { path: 'p/x', file: file(4) },
      { path: 'q/y', file: file(5) },
    ];
    const parts = planUpload(entries);
    expect(parts.map(({ name, kind, bytes }) => [name, kind, bytes])).toEqual([
      ['a.txt', 'file', 3],
      ['p', 'archive', 4],
      ['q', 'archive', 5],
    ]);
    const many = Array.from({ length: 150 }, (_, at) => ({ path: `f${String(at)}`, file: file() }));
    expect(planUpload(many).map(({ name, kind, bytes }) => [name, kind, bytes])).toEqual([
      ['150 files', 'archive', 150],
    ]);
  });

  it('is refused before anything is sent if it is larger than the server takes, with the limit', () => {
    const limits = { file: 10 * 2 ** 30, archive: 2 ** 30, disk: 20 * 2 ** 30 };
    expect(sizeFault({ kind: 'file' }, limits.file, limits)).toBeNull();
    expect(sizeFault({ kind: 'file' }, limits.file + 1, limits)).toBe('Files can be at most 10 GB here.');
    expect(sizeFault({ kind: 'archive' }, limits.archive, limits)).toBeNull();
    expect(sizeFault({ kind: 'archive' }, limits.file, limits)).toContain('At most 1 GB');
    const small = { ...limits, disk: 2 ** 29 };
    expect(sizeFault({ kind: 'file' }, small.disk + 1, small)).toContain('512 MB');
    expect(sizeFault({ kind: 'archive' }, small.disk + 1, small)).toContain('512 MB');
  });

  it('must know which files it would replace, and what cannot be replaced', () => {
    const entries = [
      { path: 'same.txt', file: file() },
      { path: 'new.txt', file: file() },
      { path: 'folder-there', file: file() },
      { path: 'p', file: null },
      { path: 'p/same', file: file() },
      { path: 'file-there/in/it', file: file() },
    ];
    const existing = new Map([
      ['same.txt', false],
      ['folder-there', true],
      ['p', true],
      ['p/same', false],
      ['file-there', false],
    ]);
    expect(conflictsOf(entries, existing)).toEqual({
      replaced: ['same.txt', 'p/same'],
      impossible: ['folder-there', 'file-there'],
    });
    const left = withoutExisting(entries, existing).map(({ path }) => path);
    expect(left).toEqual(['new.txt', 'p', 'file-there/in/it']);
    expect(foldersOf(entries)).toEqual(['p', 'file-there', 'file-there/in']);
  });
});

describe('a text file', () => {
  it.each([
    ['a\nb', null],
    ['a\r\nb\r\n', '\r\n'],
    ['\r\n', '\r\n'],
    ['a\r\nb\nc', '\n'],
    ['\na\r\n', '\n'],
    ['a\rb', '\n'],
    ['a\r\r\n', '\n'],
  ])('must keep its line breaks: %j', (text, lineBreak) => {
    expect(lineBreakOf(text)).toBe(lineBreak);
    // As the editor takes it apart and puts it together again.
    const separator = lineBreak ?? '\n';
    expect(text.split(separator).join(separator)).toBe(text);
  });

  it.each([
    ['a:\n    b\n        c', '    '],
    ['a\n\tb\n  c', '\t'],
    ['/*\n * x\n */\nf {\n   x\n}', '   '],
    ['no indentation', '  '],
  ])('must be indented as it is: %j', (text, indent) => {
    expect(indentOf(text)).toBe(indent);
  });

  it('must be told from other files', () => {
    expect(decode(new TextEncoder().encode('\ufeffgrüße'))).toBe('\ufeffgrüße');
    expect(decode(Uint8Array.of(0xff, 0xfe))).toBeNull();
    expect(decode(Uint8Array.of(65, 0))).toBeNull();
  });

  it.each([
    ['main.py', '', 'Python'],
    ['A.TSX', '', 'TSX'],
    ['Dockerfile.dev', '', 'Dockerfile'],
    ['.env.local', '', 'Settings'],
    ['Cargo.lock', '', 'TOML'],
    ['run', '#!/usr/bin/env python3', 'Python'],
    ['run', '#!/bin/sh -e', 'Shell'],
    ['run', 'sh', null],
    ['notes.txt', '', null],
  ])('must be highlighted by its name, or its first line: %s %s', async (name, first, language) => {
    const found = languageOf(name, first);
    expect(found?.name ?? null).toBe(language);
    if (found) expect((await found.load()).parser).toBeDefined();
  });
});
