import { type EngineFiles, EngineError } from '../../engine';
import { DomainError } from '../../errors';
import { STATUS } from './sftp-protocol';
import { type SftpChannel, SftpServer, type UseFiles } from './sftp-server';

const ATTRIBUTES = { mode: 0o100644, size: 0, uid: 0, gid: 0, accessedAt: 1, modifiedAt: 2 };

/** One file in memory, and what was asked of it. */
class FakeFiles {
  content: Buffer | null = Buffer.alloc(0);
  entries = 0;
  readonly writes: [offset: number, bytes: number][] = [];
  readonly reads: [offset: number, bytes: number][] = [];
  readonly paths: string[] = [];
  readonly changes: unknown[] = [];
  isFull = false;

  stat(_call: unknown, path: Buffer): Promise<typeof ATTRIBUTES> {
    this.paths.push(path.toString());
    if (!this.content) return Promise.reject(new EngineError('path_not_found', 'gone'));
    return Promise.resolve({ ...ATTRIBUTES, size: this.content.length });
  }

  list(_call: unknown, _path: Buffer, take: (name: string, attributes: typeof ATTRIBUTES) => void): Promise<void> {
    return Promise.resolve().then(() => {
      for (let entry = 0; entry < this.entries; entry += 1) take(`f${String(entry)}`, ATTRIBUTES);
    });
  }

  truncate(_call: unknown, _path: Buffer, size: number): Promise<void> {
    return Promise.resolve(void this.changes.push({ size }));
  }

  change(_call: unknown, _path: Buffer, change: unknown): Promise<void> {
    return Promise.resolve(void this.changes.push(change));
  }

  create(): Promise<void> {
    this.content ??= Buffer.alloc(0);
    return Promise.resolve();
  }

  readPart(_call: unknown, _path: Buffer, { offset, length }: { offset: number; length: number }): Promise<Buffer> {
    this.reads.push([offset, length]);
    return Promise.resolve(this.content?.subarray(offset, offset + length) ?? Buffer.alloc(0));
  }

  writePart(_call: unknown, _path: Buffer, { offset, data }: { offset: number; data: Buffer }): Promise<void> {
    if (this.isFull) return Promise.reject(new EngineError('no_space', 'full'));
    this.writes.push([offset, data.length]);
    const before = this.content ?? Buffer.alloc(0);
    const whole = Buffer.alloc(Math.max(before.length, offset + data.length));
    before.copy(whole);
    data.copy(whole, offset);
    this.content = whole;
    return Promise.resolve();
  }
}

/** Translates errors, as the service does. */
const useOf =
  (files: FakeFiles): UseFiles =>
  async (work) => {
    try {
      const { signal } = new AbortController();
      return await work(files as unknown as EngineFiles, { engineId: 'id', signal });
    } catch (error) {
      throw error instanceof EngineError ? new DomainError(error.code as 'no_space') : error;
    }
  };

const integer = (value: number): Buffer => {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
};
const string = (text: string | Buffer): Buffer => Buffer.concat([integer(Buffer.byteLength(text)), Buffer.from(text)]);
const packet = (type: number, ...fields: readonly Buffer[]): Buffer => {
  const body = Buffer.concat([Buffer.of(type), ...fields]);
  return Buffer.concat([integer(body.length), body]);
};
const long = (value: number): Buffer => Buffer.concat([integer(Math.floor(value / 2 ** 32)), integer(value % 2 ** 32)]);

const INIT = packet(1, integer(3));
const open = (id: number, flags: number, path = '/file'): Buffer =>
  packet(3, integer(id), string(path), integer(flags), integer(0));
const write = (id: number, offset: number, data: Buffer | string, handle = '1'): Buffer =>
  packet(6, integer(id), string(handle), long(offset), string(data));
const read = (id: number, offset: number, length: number, handle = '1'): Buffer =>
  packet(5, integer(id), string(handle), long(offset), integer(length));
const close = (id: number): Buffer => packet(4, integer(id), string('1'));

const FLAGS = { read: 1, write: 2, append: 4, create: 8 } as const;
const BOTH = FLAGS.read | FLAGS.write;

interface Answer {
  readonly type: number;
  readonly id: number;
  readonly body: Buffer;
}

/** Serves what a client sends in turns: it sends the next one when it has the answers to the one before. */
async function served(
  files: FakeFiles,
  turns: readonly (readonly Buffer[])[],
  { sizeLimit = 1e9, onTooLarge = () => undefined }: { sizeLimit?: number; onTooLarge?: (limit: number) => void } = {},
): Promise<Answer[]> {
  const left = turns.map((packets) => Buffer.concat(packets));
  const said: Buffer[] = [];
  const channel: SftpChannel = {
    readNow: () => null,
    arrives: () => Promise.resolve(false),
    write: (data) => Promise.resolve(void said.push(data)),
  };
  let ready: Buffer | null = null;
  channel.readNow = () => {
    const now = ready;
    ready = null;
    return now;
  };
  channel.arrives = () => {
    ready = left.shift() ?? null;
    return Promise.resolve(ready !== null);
  };
  await new SftpServer(channel, useOf(files), { sizeLimit, onBytes: () => undefined, onTooLarge }).run();
  const all = Buffer.concat(said);
  const answers: Answer[] = [];
  for (let at = 0; at < all.length; at += 4 + all.readUInt32BE(at)) {
    const length = all.readUInt32BE(at);
    answers.push({ type: all[at + 4] ?? 0, id: all.readUInt32BE(at + 5), body: all.subarray(at + 9, at + 4 + length) });
  }
  return answers.slice(1);
}

const codeOf = ({ body }: Answer): number => body.readUInt32BE(0);

describe('an SFTP session', () => {
  it('must write together what follows each other, and answer each', async () => {
    const files = new FakeFiles();
    const pieces = Array.from({ length: 10 }, (_each, at) => write(10 + at, at * 1000, Buffer.alloc(1000, at)));
    const answers = await served(files, [[INIT], [open(1, BOTH)], pieces, [close(2)]]);
    expect(files.writes).toEqual([[0, 10_000]]);
    expect(answers.slice(1).map((answer) => [answer.id, codeOf(answer)])).toEqual(
      [...pieces.map((_piece, at) => 10 + at), 2].map((id) => [id, STATUS.ok]),
    );
  });

  it('must write in parts of a bounded size, and anywhere', async () => {
    const files = new FakeFiles();
    const large = Array.from({ length: 25 }, (_each, at) => write(at + 2, at * 200_000, Buffer.alloc(200_000)));
    await served(files, [[INIT], [open(1, BOTH)], large, [write(90, 7, 'seven'), write(91, 3, 'three')]]);
    expect(files.writes.map(([, bytes]) => bytes).slice(0, 2)).toEqual([4_200_000, 800_000]);
    expect(files.writes.slice(2)).toEqual([
      [7, 5],
      [3, 5],
    ]);
    expect(files.content?.subarray(3, 12).toString()).toBe('threeeven');
  });

  it('must read what was written before, in the same turn too', async () => {
    const files = new FakeFiles();
    const answers = await served(files, [
      [INIT],
      [open(1, BOTH), write(2, 0, 'first'), read(3, 0, 100), write(4, 0, 'F'), read(5, 0, 100), read(6, 5, 100)],
    ]);
    const data = answers.filter(({ type }) => type === 103).map(({ body }) => body.subarray(4).toString());
    expect(data).toEqual(['first', 'First']);
    expect(answers.map(({ id }) => id)).toEqual([1, 2, 3, 4, 5, 6]);
    expect(answers.slice(-1).map(codeOf)).toEqual([STATUS.eof]);
  });

  it('must read ahead of a client that reads in order, and not of one that does not', async () => {
    const files = new FakeFiles();
    files.content = Buffer.alloc(3_000_000, 1);
    const inOrder = Array.from({ length: 92 }, (_each, at) => read(at + 2, at * 32_768, 32_768));
    const answers = await served(files, [[INIT], [open(1, FLAGS.read), ...inOrder]]);
    const bytes = answers.filter(({ type }) => type === 103).reduce((sum, { body }) => sum + body.length - 4, 0);
    expect(bytes).toBe(3_000_000);
    expect(files.reads.length).toBeLessThan(6);
    files.reads.length = 0;
    await served(files, [[INIT], [open(1, FLAGS.read), read(2, 2_000_000, 100), read(3, 500_000, 100)]]);
    expect(files.reads).toEqual([
      [2_000_000, 65_536],
      [500_000, 65_536],
    ]);
  });

  it('must append where the file ends, whatever offset the client gives', async () => {
    const files = new FakeFiles();
    files.content = Buffer.from('begun');
    const flags = FLAGS.write | FLAGS.append | FLAGS.create;
    await served(files, [[INIT], [open(1, flags), write(2, 0, ' and'), write(3, 0, ' ended')]]);
    expect(files.content.toString()).toBe('begun and ended');
  });

  it('must say of each write that it failed, and keep to the limit of files', async () => {
    const files = new FakeFiles();
    files.isFull = true;
    const full = await served(files, [[INIT], [open(1, BOTH), write(2, 0, 'a'), write(3, 1, 'b'), close(4)]]);
    expect(full.slice(1).map(codeOf)).toEqual([STATUS.failure, STATUS.failure, STATUS.ok]);
    files.isFull = false;
    const told = jest.fn();
    const large = await served(
      files,
      [[INIT], [open(1, BOTH), write(2, 95, 'abcdef'), write(3, 94, 'abcdef'), write(4, 96, 'abcdef')]],
      {
        sizeLimit: 100,
        onTooLarge: told,
      },
    );
    // Once for the file, by a sentence that OpenSSH's clients show.
    expect(told.mock.calls).toEqual([[100]]);
    expect(large.slice(1).map((answer) => [answer.id, codeOf(answer)])).toEqual([
      [2, STATUS.failure],
      [4, STATUS.failure],
      [3, STATUS.ok],
    ]);
  });

  it('must refuse what is not open, not there or not known, and go on', async () => {
    const files = new FakeFiles();
    files.content = null;
    const requests = [
      open(1, FLAGS.read),
      read(2, 0, 1),
      write(3, 0, 'x'),
      close(4),
      packet(99, integer(5)),
      packet(17, integer(6), string('/file')),
      packet(17, integer(7), string(Buffer.alloc(5000, 0x61))),
    ];
    const answers = await served(files, [[INIT], requests]);
    const { noSuchFile, failure, unsupported, badMessage } = STATUS;
    expect(answers.map(codeOf)).toEqual([noSuchFile, failure, failure, failure, unsupported, noSuchFile, badMessage]);
    files.content = Buffer.from('there');
    const wrongWay = await served(files, [
      [INIT],
      [open(1, FLAGS.read), write(2, 0, 'x'), open(3, FLAGS.write), read(4, 0, 1, '2')],
    ]);
    expect([wrongWay[1], wrongWay[3]].map((answer) => answer && codeOf(answer))).toEqual([
      STATUS.permissionDenied,
      STATUS.permissionDenied,
    ]);
  });

  it('must hold a bounded number of files', async () => {
    const many = Array.from({ length: 300 }, (_each, at) => open(at, FLAGS.read));
    const answers = await served(new FakeFiles(), [[INIT], many]);
    expect(answers.filter(({ type }) => type === 102)).toHaveLength(256);
  });

  it('must take relative paths below the home directory', async () => {
    const files = new FakeFiles();
    await served(files, [[INIT], [packet(17, integer(1), string('a/b')), packet(17, integer(2), string('/a'))]]);
    expect(files.paths).toEqual(['/home/user/a/b', '/a']);
  });

  it('must set what is given, the size first', async () => {
    const files = new FakeFiles();
    const given = [integer(0x0d), long(7), integer(0o100644), integer(11), integer(12)];
    await served(files, [[INIT], [packet(9, integer(1), string('/file'), ...given)]]);
    const times = { accessedAt: 11, modifiedAt: 12 };
    expect(files.changes).toEqual([{ size: 7 }, { mode: 0o644, owner: undefined, times }]);
  });

  it('must hold a bounded number of entries of a directory', async () => {
    const files = new FakeFiles();
    const opened = packet(11, integer(1), string('/'));
    files.entries = 100_000;
    expect((await served(files, [[INIT], [opened]]))[0]?.type).toBe(102);
    files.entries += 1;
    expect((await served(files, [[INIT], [opened]])).map(codeOf)).toEqual([STATUS.failure]);
  });

  it('must end with a client that does not begin it', async () => {
    await expect(served(new FakeFiles(), [[open(1, FLAGS.read)]])).rejects.toThrow(/first packet/);
  });
});
