import { performance } from 'node:perf_hooks';
import { Readable } from 'node:stream';
import { type Headers, pack } from 'tar-stream';
import { readTar, type TarHeader } from './tar-reader';

const REFUSED = { code: 'invalid_parameters' };
const CONTENT = Buffer.from('content');

describe('a tar archive', () => {
  it.each([1, 7, 512, 513, 100_000])('must be read as it was packed, in pieces of %d bytes', async (pieceBytes) => {
    const long = `${'long/'.repeat(60)}name`;
    const content = Buffer.alloc(1300, 'x');
    const archive = await packed([
      [{ name: 'dir/', type: 'directory', mode: 0o750, mtime: new Date(1_600_000_000_000) }],
      [{ name: 'dir/file', mode: 0o4755 }, content],
      [{ name: 'empty' }],
      [{ name: long }, CONTENT],
      [{ name: 'ü', type: 'symlink', linkname: 'ö' }],
      [{ name: 'hard', type: 'link', linkname: 'dir/file' }],
      [{ name: 'fifo', type: 'fifo' }],
    ]);
    const entries = await read(archive, pieceBytes);
    expect(entries).toMatchObject([
      [{ name: 'dir/', type: 'directory', mode: 0o750, mtime: 1_600_000_000, size: 0 }, ''],
      [{ name: 'dir/file', type: 'file', mode: 0o4755, size: 1300 }, content.toString()],
      [{ name: 'empty', type: 'file', size: 0 }, ''],
      [{ name: long, type: 'file', size: 7 }, 'content'],
      [{ name: latin('ü'), type: 'symlink', linkname: latin('ö') }, ''],
      [{ name: 'hard', type: 'link', linkname: 'dir/file' }, ''],
      [{ name: 'fifo', type: 'fifo' }, ''],
    ]);
  });

  it('must be read as GNU tar writes it: long names and links, numbers in base 256', async () => {
    const long = 'n'.repeat(300);
    const archive = Buffer.concat([
      header({ name: '././@LongLink', type: 'L', size: octal(301), magic: 'ustar  \0' }),
      block(`${long}\0`),
      header({ name: '././@LongLink', type: 'K', size: octal(301), magic: 'ustar  \0' }),
      block(`${long}\0`),
      header({ name: 'cut', type: '0', size: base256(7), mtime: base256(2 ** 33), magic: 'ustar  \0' }),
      block('content'),
      header({ name: 'old', type: '0', size: octal(0), mtime: Buffer.alloc(12, 0xff), magic: 'ustar  \0' }),
      header({ name: 'sparse', type: 'S', size: octal(0), magic: 'ustar  \0' }),
    ]);
    expect(await read(archive)).toMatchObject([
      [{ name: long, linkname: long, size: 7, mtime: 2 ** 33 }, 'content'],
      [{ name: 'old', linkname: '', size: 0, mtime: 0 }, ''],
      [{ name: 'sparse', type: null }, ''],
    ]);
  });

  it('must be read with what pax says of one entry, of all that follow, and takes back', async () => {
    const archive = Buffer.concat([
      pax('g', { mtime: '5.75', linkpath: 'to' }),
      pax('x', { path: 'first', size: '7', comment: 'a=b' }),
      header({ name: 'x', size: octal(0) }),
      block('content'),
      pax('x', { mtime: '' }),
      header({ name: 'second', size: octal(0) }),
      pax('g', { linkpath: '' }),
      header({ name: 'third', size: octal(0) }),
    ]);
    expect(await read(archive)).toMatchObject([
      [{ name: 'first', size: 7, mtime: 5, linkname: 'to' }, 'content'],
      [{ name: 'second', mtime: 5, linkname: 'to' }, ''],
      [{ name: 'third', mtime: 5, linkname: '' }, ''],
    ]);
  });

  it('must be skipped over where its content is not read', async () => {
    const names: string[] = [];
    const archive = await packed([[{ name: 'a' }, Buffer.alloc(5000)], [{ name: 'b' }, CONTENT], [{ name: 'c' }]]);
    for await (const {
      header: { name },
    } of readTar(pieces(archive, 700)))
      names.push(name);
    expect(names).toEqual(['a', 'b', 'c']);
  });

  it.each<[string, Buffer]>([
    ['no header', Buffer.alloc(512, 'x')],
    ['a wrong checksum', header({ name: 'a', checksum: 1 })],
    ['an unknown format', header({ name: 'a', magic: 'unknown!' })],
    ['half a header', header({ name: 'a' }).subarray(0, 300)],
    ['no content', header({ name: 'a', size: octal(7) })],
    ['half an extended header', pax('x', { path: 'a' }).subarray(0, 512)],
    ['no entry behind an extended header', pax('x', { path: 'a' })],
    ['a negative size in base 256', header({ name: 'a', size: Buffer.alloc(12, 0xff) })],
    ['a size beyond 2^53', header({ name: 'a', size: Buffer.from([0x80, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0]) })],
    ['a size that is none', header({ name: 'a', size: Buffer.from('0000000009x\0') })],
    ['a mode that is none', header({ name: 'a', mode: Buffer.from('-000644\0') })],
    ['the time NaN', Buffer.concat([pax('x', { mtime: 'NaN' }), header({ name: 'a' })])],
    ['a sparse file', Buffer.concat([pax('x', { 'GNU.sparse.major': '1' }), header({ name: 'a' })])],
  ])('must be refused with %s', async (_what, archive) => {
    await expect(read(archive)).rejects.toMatchObject(REFUSED);
  });

  it.each(['-5', 'abc', 'Infinity', '1e999', '2.5', '0x10', ' 7', '99999999999999999', '9007199254740992', '+7'])(
    'must be refused with the size %s in an extended header',
    async (size) => {
      await expect(read(sized(size))).rejects.toMatchObject(REFUSED);
    },
  );

  it.each(['7 a=b\n', '0 a=b\n', 'x a=b\n', '6 ab c\n', '9999999 a=b\n', '5 a=b', '6 a=bc'])(
    'must be refused with the extended header %j',
    async (records) => {
      await expect(read(extended(records))).rejects.toMatchObject(REFUSED);
    },
  );

  it('must be refused with headers of more than 64 KiB for an entry, whatever they say, and at once', async () => {
    const large = 28 * 2 ** 20;
    const small = Array.from({ length: 3 }, () => pax('x', { comment: 'c'.repeat(30_000) }));
    for (const archive of [
      [header({ name: 'x', type: 'x', size: octal(large) }), Buffer.alloc(large, '6 a=b\n')],
      [header({ name: 'x', type: 'L', size: octal(large) }), Buffer.alloc(large, 'n')],
      [header({ name: 'x', type: 'g', size: base256(2 ** 52) }), Buffer.alloc(large, 'n')],
      small,
    ]) {
      let taken = 0;
      const source = (async function* (): AsyncGenerator<Buffer> {
        for await (const piece of pieces(Buffer.concat(archive), 65_536)) {
          taken += piece.length;
          yield piece;
        }
      })();
      await expect(drained(source)).rejects.toMatchObject(REFUSED);
      expect(taken).toBeLessThan(3 * 65_536);
    }
    const within = [pax('x', { comment: 'c'.repeat(60_000) }), header({ name: 'a' })];
    const twice = [...within, ...within];
    expect(await read(Buffer.concat(twice))).toMatchObject([
      [{ name: 'a' }, ''],
      [{ name: 'a' }, ''],
    ]);
  });

  it('must leave others their turn, however many headers it has', async () => {
    const headers = Buffer.concat(Array.from({ length: 60_000 }, () => header({ name: 'a' })));
    let longest = 0;
    let last = performance.now();
    const watch = setInterval(() => {
      longest = Math.max(longest, performance.now() - last);
      last = performance.now();
    }, 1);
    const source = Readable.from(pieces(headers, 65_536), { objectMode: false });
    await drained(source as AsyncIterable<Buffer>);
    clearInterval(watch);
    expect(longest).toBeLessThan(5_000);
  });
});

async function drained(source: AsyncIterable<Buffer>): Promise<void> {
  for await (const { content } of readTar(source)) for await (const _data of content);
}

async function read(archive: Buffer, pieceBytes = 1000): Promise<[TarHeader, string][]> {
  const entries: [TarHeader, string][] = [];
  for await (const { header: each, content } of readTar(pieces(archive, pieceBytes))) {
    const parts: Buffer[] = [];
    for await (const part of content) parts.push(Buffer.from(part));
    entries.push([each, Buffer.concat(parts).toString()]);
  }
  return entries;
}

async function* pieces(data: Buffer, bytes: number): AsyncGenerator<Buffer> {
  for (let at = 0; at < data.length; at += bytes) yield Promise.resolve(data.subarray(at, at + bytes));
}

async function packed(entries: readonly [header: Headers, content?: Buffer][]): Promise<Buffer> {
  const archive = pack();
  for (const [each, content = Buffer.alloc(0)] of entries) archive.entry(each, content);
  archive.finalize();
  const parts: Buffer[] = [];
  for await (const part of archive) parts.push(part);
  return Buffer.concat(parts);
}

function latin(text: string): string {
  return Buffer.from(text).toString('latin1');
}

function octal(value: number): Buffer {
  return Buffer.from(`${value.toString(8).padStart(11, '0')}\0`);
}

function base256(value: number): Buffer {
  const field = Buffer.alloc(12);
  field.writeBigUInt64BE(BigInt(value), 4);
  field[0] = 0x80;
  return field;
}

function block(text: string): Buffer {
  const length = Buffer.byteLength(text);
  return Buffer.concat([Buffer.from(text), Buffer.alloc((512 - (length % 512)) % 512)]);
}

interface Fields {
  readonly name: string;
  readonly type?: string;
  readonly size?: Buffer;
  readonly mode?: Buffer;
  readonly mtime?: Buffer;
  readonly magic?: string;
  readonly checksum?: number;
}

function header({ name, type = '0', magic = 'ustar\x0000', ...fields }: Fields): Buffer {
  const { size = octal(0), mode = Buffer.from('0000644\0'), mtime = octal(0) } = fields;
  const made = Buffer.alloc(512);
  made.write(name, 0, 'latin1');
  for (const [field, at] of [
    [mode, 100],
    [size, 124],
    [mtime, 136],
  ] as const) {
    field.copy(made, at);
  }
  made.fill(' ', 148, 156);
  made.write(type, 156, 'latin1');
  made.write(magic, 257, 'latin1');
  const checksum = fields.checksum ?? made.reduce((sum, byte) => sum + byte, 0);
  made.write(`${checksum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1');
  return made;
}

function pax(type: 'x' | 'g', values: Readonly<Record<string, string>>): Buffer {
  const records = Object.entries(values).map(([key, value]) => {
    const rest = ` ${key}=${value}\n`;
    let length = rest.length + 1;
    while (String(length).length + rest.length !== length) length += 1;
    return `${String(length)}${rest}`;
  });
  return Buffer.concat([header({ name: 'pax', type, size: octal(records.join('').length) }), block(records.join(''))]);
}

/** An entry behind an extended header with these records. */
function extended(records: string): Buffer {
  const head = header({ name: 'pax', type: 'x', size: octal(records.length) });
  return Buffer.concat([head, block(records), header({ name: 'a' })]);
}

function sized(size: string): Buffer {
  return Buffer.concat([pax('x', { size }), header({ name: 'a', size: octal(0) }), block('content')]);
}
