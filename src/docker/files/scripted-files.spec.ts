import { execFileSync } from 'node:child_process';
import type { FileInfo } from '../port/engine-files';
import { encodeArgument } from './script-run';
import { DirectoryEntries } from './scripted-files';

const entry = (name: string, words = '-rw-r--r-- 5 1600000000'): string => `${words} ./${name}/\n`;

/** @param step how many bytes come at once */
function read(text: string, step = 7): { entries: [string, FileInfo][]; whole: boolean } {
  const entries: [string, FileInfo][] = [];
  const reader = new DirectoryEntries((name, info) => entries.push([name, info]));
  const bytes = Buffer.from(text);
  let isListing = true;
  for (let at = 0; at < bytes.length; at += step) isListing &&= reader.take(bytes.subarray(at, at + step));
  return { entries, whole: isListing && reader.isWhole };
}

describe('what is read of a directory', () => {
  it.each([7, 4096])('must be every name of any bytes, in pieces of %d bytes', (step) => {
    const names = ['b', '\n', 'a b', 'ü', '\nx', '-rw-r--r-- 1 1 .', ' ', 'a'];
    const { entries, whole } = read(names.map((name) => entry(name)).join(''), step);
    expect(whole).toBe(true);
    expect(entries.map(([name]) => Buffer.from(name, 'latin1').toString())).toEqual(names);
  });

  it('must be described as it is, and without what is being written', () => {
    const own = '.berth-upload-00000000-0000-4000-8000-000000000000';
    const { entries } = read(entry(own) + entry('x', 'drwxr-xr-t 0 -1') + entry('.berth-upload-mine'));
    expect(entries).toEqual([
      ['x', { mode: 'drwxr-xr-t', size: 0, modifiedAt: -1 }],
      ['.berth-upload-mine', { mode: '-rw-r--r--', size: 5, modifiedAt: 1_600_000_000 }],
    ]);
  });

  it('must be refused where a program says something else, without end', () => {
    expect(read('lies\n').whole).toBe(false);
    expect(read('y\n'.repeat(5000)).whole).toBe(false);
    expect(read(entry('x').slice(0, -1)).whole).toBe(false);
  });
});

describe('a path for a script', () => {
  it('must be decoded by a shell to the bytes that were encoded', () => {
    const bytes = Buffer.from(Array.from({ length: 255 }, (_each, index) => index + 1));
    const argument = encodeArgument(bytes);
    expect(argument).toMatch(/^[\x21-\x7e]+$/);
    expect(execFileSync('sh', ['-c', `printf '%b' "$1"`, 'sh', argument]).equals(bytes)).toBe(true);
  });
});
