import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { extract } from 'tar-stream';
import { type TarEntry, tarOf } from '../src/data/tar.ts';

const text = (words: string): Blob => new Blob([words]);

async function read(entries: readonly TarEntry[]): Promise<Record<string, string | null>> {
  const found: Record<string, string | null> = {};
  const reader = extract();
  reader.end(Buffer.from(await tarOf(entries).arrayBuffer()));
  for await (const entry of reader) {
    const pieces: Buffer[] = [];
    for await (const piece of entry) pieces.push(piece);
    found[entry.header.name] = entry.header.type === 'directory' ? null : Buffer.concat(pieces).toString();
  }
  return found;
}

describe('an archive of files as a browser has them', () => {
  it('must hold files of any size, empty ones too, and empty folders', async () => {
    const whole = 'x'.repeat(512);
    const entries = [
      { path: 'p' },
      { path: 'p/empty' },
      { path: 'p/nothing.txt', content: text('') },
      { path: 'p/whole.txt', content: text(whole) },
      { path: 'p/more.txt', content: text(`${whole}y`) },
    ];
    expect(await read(entries)).toEqual({
      'p/': null,
      'p/empty/': null,
      'p/nothing.txt': '',
      'p/whole.txt': whole,
      'p/more.txt': `${whole}y`,
    });
  });

  it.each([99, 100, 101, 111, 112, 113, 998, 999, 1000, 1001])('must keep a name of %i bytes', async (bytes) => {
    const ascii = `d/${'n'.repeat(bytes - 2)}`;
    // Three bytes each: the header's room ends within one of them.
    const other = `${'✓'.repeat(Math.floor(bytes / 3))}${'-'.repeat(bytes % 3)}`;
    expect(Buffer.byteLength(other)).toBe(bytes);
    const entries = [ascii, other].map((path) => ({ path, content: text('kept') }));
    expect(await read(entries)).toEqual({ [ascii]: 'kept', [other]: 'kept' });
    expect(await read([{ path: other }])).toEqual({ [`${other}/`]: null });
  });

  it('must be read by tar, with times and ordinary modes', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'berth-tar-'));
    const long = `${'a'.repeat(120)}/${'ü'.repeat(100)}.txt`;
    const modified = Date.UTC(2020, 1, 2, 3, 4, 5);
    const archive = tarOf([
      { path: 'empty', modified },
      { path: long, content: text('grüße'), modified },
    ]);
    writeFileSync(join(folder, 'it.tar'), Buffer.from(await archive.arrayBuffer()));
    mkdirSync(join(folder, 'out'));
    execFileSync('tar', ['-xf', join(folder, 'it.tar'), '-C', join(folder, 'out')]);
    const file = join(folder, 'out', long);
    expect(readFileSync(file, 'utf8')).toBe('grüße');
    expect(statSync(file)).toMatchObject({ mtimeMs: modified });
    expect(statSync(file).mode & 0o7111).toBe(0);
    expect(statSync(join(folder, 'out', 'empty')).isDirectory()).toBe(true);
    rmSync(folder, { recursive: true });
  });
});
