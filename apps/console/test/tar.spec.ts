import { execFileSync } from 'node:child_process';
import {
  linkSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { extract } from 'tar-stream';
import { closed, entriesBelow, entriesOf, permissionsOf, type TarEntry, tarOf } from '../src/data/tar.ts';

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

  it.each(['gnu', 'posix', 'ustar'])(
    'must hold another archive below a folder, as %s tar writes it',
    async (format) => {
      const folder = mkdtempSync(join(tmpdir(), 'berth-tar-'));
      const long = `${'deep/'.repeat(10)}${'n'.repeat(format === 'ustar' ? 60 : 180)}.txt`;
      mkdirSync(join(folder, 'in', 'deep/'.repeat(10)), { recursive: true });
      writeFileSync(join(folder, 'in', long), 'long');
      writeFileSync(join(folder, 'in', 'run.sh'), 'x'.repeat(513), { mode: 0o755 });
      // A name that is not UTF-8.
      writeFileSync(Buffer.concat([Buffer.from(join(folder, 'in')), Buffer.from([0x2f, 0x66, 0xe9])]), 'latin');
      linkSync(join(folder, 'in', 'run.sh'), join(folder, 'in', 'same.sh'));
      symlinkSync('run.sh', join(folder, 'in', 'link'));
      const packed = execFileSync('tar', [`--format=${format}`, '-C', join(folder, 'in'), '-cf', '-', '.']);
      const name = `grüße ${'f'.repeat(70)}`;
      const inner = await entriesBelow(name, new Blob([packed]));
      const archive = closed([...entriesOf([{ path: 'beside.txt', content: text('beside') }]), ...inner]);
      mkdirSync(join(folder, 'out'));
      execFileSync('tar', ['-xf', '-', '-C', join(folder, 'out')], { input: Buffer.from(await archive.arrayBuffer()) });
      execFileSync('diff', ['-r', join(folder, 'in'), join(folder, 'out', name)]);
      expect(readFileSync(join(folder, 'out', 'beside.txt'), 'utf8')).toBe('beside');
      const [run, same] = ['run.sh', 'same.sh'].map((each) => statSync(join(folder, 'out', name, each)));
      expect(run?.mode).toBe(0o100755);
      expect(same?.ino).toBe(run?.ino);
      expect(readlinkSync(join(folder, 'out', name, 'link'))).toBe('run.sh');
      rmSync(folder, { recursive: true });
    },
  );

  it('must not be taken from an archive that is not complete', async () => {
    const archive = tarOf([{ path: 'a', content: text('x'.repeat(600)) }]);
    await expect(entriesBelow('f', archive.slice(0, 700))).rejects.toThrow('The archive is incomplete.');
  });

  it('must keep permissions as ls shows them', () => {
    expect(permissionsOf('-rwxr-xr-x')).toBe(0o755);
    expect(permissionsOf('-rw-r--r--')).toBe(0o644);
    expect(permissionsOf('-rwsr-S--T')).toBe(0o740);
  });
});
