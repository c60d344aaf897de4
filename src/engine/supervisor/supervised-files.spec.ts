import { Readable } from 'node:stream';
import { buffer, text } from 'node:stream/consumers';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { FakeSupervisor } from '../../../test/support/fakes/fake-supervisor';
import { EngineError } from '../port/engine-error';
import type { FileChange, FileContent, FilesCall } from '../port/engine-files';
import { Channel } from './channel';
import { FRAME } from './frames';
import { SupervisedFiles } from './supervised-files';

const PATH = Buffer.from('/home/user/\xff', 'latin1');
const WIRE_PATH = PATH.toString('base64');
const ATTRIBUTES = { mode: 0o100644, size: 3, uid: 1, gid: 2, atime: 10, mtime: -11, mtime_ns: 5, links: 1 };
const STATE = { ...ATTRIBUTES, version: '3-11' };
const FOUND = { mode: 0o100644, size: 3, uid: 1, gid: 2, accessedAt: 10, modifiedAt: -11 };

interface Scene {
  readonly supervisor: FakeSupervisor;
  readonly channel: Channel;
  readonly files: SupervisedFiles;
  readonly call: FilesCall;
  readonly abort: (why: Error) => void;
  /** The supervisor's frames on the operation that was asked for last. */
  readonly says: (type: keyof typeof FRAME, value?: unknown) => void;
  readonly sends: (data: Buffer | string) => void;
  /** The frames of this side on it, in words. */
  readonly heard: () => unknown[];
}

async function begun(): Promise<Scene> {
  const supervisor = new FakeSupervisor();
  const lost = new EngineError('container_not_running', 'it has ended');
  const why = { whyLost: () => Promise.resolve(lost), whySilent: () => Promise.resolve(lost) };
  const channel = new Channel(supervisor.connection, why);
  supervisor.hello();
  await channel.ready;
  const files = new SupervisedFiles({
    open: (_dockerId, request, options) => Promise.resolve().then(() => channel.open(request, options)),
  });
  const ending = new AbortController();
  const last = (): number => Math.max(...supervisor.received.map(({ stream }) => stream));
  return {
    supervisor,
    channel,
    files,
    call: { engineId: 'id', signal: ending.signal },
    abort: (reason) => ending.abort(reason),
    says: (type, value = {}) => supervisor.json(last(), type, value),
    sends: (data) => supervisor.frame(last(), FRAME.data, Buffer.from(data)),
    heard: () => supervisor.said(last()),
  };
}

/** Asks, and waits until the supervisor has the request. */
async function asked<T>({ supervisor }: Scene, ask: () => Promise<T>): Promise<Promise<T>[]> {
  const before = supervisor.received.length;
  const answer = ask();
  answer.catch(() => undefined);
  await supervisor.until(() => supervisor.received.length > before);
  // In an array: a promise of a promise is the inner one.
  return [answer];
}

function content(data: string | Readable, more: Partial<FileContent> = {}): FileContent {
  return {
    path: PATH,
    nameInDirectory: null,
    content: typeof data === 'string' ? Readable.from([Buffer.from(data)]) : data,
    onBytes: () => undefined,
    length: undefined,
    decide: null,
    ...more,
  };
}

const rowsOf = (...rows: readonly object[]): string => rows.map((row) => `${JSON.stringify(row)}\n`).join('');
const rowOf = (name: string): object => ({ ...ATTRIBUTES, name: Buffer.from(name, 'latin1').toString('base64') });

type Ask = (files: SupervisedFiles, call: FilesCall) => Promise<unknown>;

describe('a file operation of a supervisor', () => {
  const TARGET = Buffer.from('../t');
  const requests: readonly [name: string, ask: Ask, request: object, result: object, found: unknown][] = [
    [
      'stat',
      (files, call) => files.stat(call, PATH, { follow: false }),
      { op: 'stat', path: WIRE_PATH, follow: false },
      ATTRIBUTES,
      FOUND,
    ],
    [
      'makeDirectory',
      (files, call) => files.makeDirectory(call, PATH, { parents: true }),
      { op: 'mkdir', path: WIRE_PATH, parents: true },
      ATTRIBUTES,
      FOUND,
    ],
    [
      'move',
      (files, call) => files.move(call, { from: PATH, to: TARGET }, { parents: true, replace: false }),
      { op: 'move', from: WIRE_PATH, to: TARGET.toString('base64'), parents: true, replace: false },
      ATTRIBUTES,
      FOUND,
    ],
    [
      'remove',
      (files, call) => files.remove(call, PATH, { kind: 'file', recursive: false, decide: null }),
      { op: 'remove', path: WIRE_PATH, kind: 'file', recursive: false, conditional: false },
      {},
      undefined,
    ],
    [
      'create',
      (files, call) => files.create(call, PATH, { existing: 'empty', mode: 0o600 }),
      { op: 'create', path: WIRE_PATH, existing: 'empty', mode: 0o600 },
      {},
      undefined,
    ],
    [
      'truncate',
      (files, call) => files.truncate(call, PATH, 7),
      { op: 'truncate', path: WIRE_PATH, size: 7 },
      {},
      undefined,
    ],
    [
      'change',
      (files, call) => files.change(call, PATH, { owner: { uid: 1, gid: 2 }, times: { accessedAt: 3, modifiedAt: 4 } }),
      { op: 'change', path: WIRE_PATH, uid: 1, gid: 2, atime: 3, mtime: 4 },
      {},
      undefined,
    ],
    [
      'readLink',
      (files, call) => files.readLink(call, PATH),
      { op: 'readlink', path: WIRE_PATH },
      { target: TARGET.toString('base64') },
      TARGET,
    ],
    [
      'makeLink',
      (files, call) => files.makeLink(call, { path: PATH, target: TARGET, kind: 'symbolic' }),
      { op: 'link', path: WIRE_PATH, target: TARGET.toString('base64'), kind: 'symbolic' },
      {},
      undefined,
    ],
    [
      'resolve',
      (files, call) => files.resolve(call, PATH),
      { op: 'resolve', path: WIRE_PATH },
      { path: WIRE_PATH },
      PATH,
    ],
    [
      'space',
      (files, call) => files.space(call, PATH),
      { op: 'space', path: WIRE_PATH },
      {
        block_size: 1,
        blocks: 2,
        free_blocks: 3,
        available_blocks: 4,
        files: 5,
        free_files: 6,
        longest_name: 7,
      },
      { blockSize: 1, blocks: 2, freeBlocks: 3, availableBlocks: 4, files: 5, freeFiles: 6, longestName: 7 },
    ],
    [
      'usage',
      (files, call) => files.usage(call, PATH),
      { op: 'usage', path: WIRE_PATH, seconds: 30 },
      { bytes: 8, files: 1, directories: 1, complete: false },
      { bytes: 8, isComplete: false },
    ],
  ];

  it.each(requests)('%s sends its request, and returns what the supervisor says', async (_name, ask, ...rest) => {
    const [request, result, found] = rest;
    const scene = await begun();
    const [answer] = await asked(scene, () => ask(scene.files, scene.call));
    scene.says('done', result);
    expect(await answer).toEqual(found);
    expect(scene.heard()).toEqual([['open', request]]);
  });

  it("fails with the supervisor's code, and leaves the channel open", async () => {
    const scene = await begun();
    const codes = { path_denied: 'path_denied', failed: 'tools_failed', too_many: 'too_many', other: 'docker_error' };
    for (const [code, known] of Object.entries(codes)) {
      const [answer] = await asked(scene, () => scene.files.stat(scene.call, PATH, { follow: true }));
      scene.says('fail', { code, message: 'x' });
      await expect(answer).rejects.toMatchObject({ code: known });
    }
    expect(scene.channel.isOpen).toBe(true);
  });

  it('ends with its signal, whose reason it throws, and cancels', async () => {
    const scene = await begun();
    const [answer] = await asked(scene, () => scene.files.stat(scene.call, PATH, { follow: true }));
    const gone = new Error('the client has gone');
    scene.abort(gone);
    await expect(answer).rejects.toBe(gone);
    await expect(scene.files.resolve(scene.call, PATH)).rejects.toBe(gone);
    expect(scene.heard().slice(1)).toEqual([['cancel']]);
    scene.says('fail', { code: 'cancelled', message: '' });
    expect(scene.channel.isOpen).toBe(true);
  });

  it.each<[string, Ask]>([
    ['without an answer', (files, call) => files.stat(call, PATH, { follow: true })],
    ['that takes no bytes', (files, call) => files.writePart(call, PATH, { offset: 0, data: Buffer.alloc(20_000) })],
    ['whose bytes do not end', (files, call) => files.readPart(call, PATH, { offset: 0, length: 5 })],
  ])('%s is cancelled after a minute', async (_what, ask) => {
    const scene = await begun();
    jest.useFakeTimers({ doNotFake: ['setImmediate', 'nextTick', 'queueMicrotask', 'performance'] });
    try {
      const [answer] = await asked(scene, () => ask(scene.files, scene.call));
      await jest.advanceTimersByTimeAsync(60_000);
      await expect(answer).rejects.toMatchObject({ code: 'tools_failed' });
      expect(scene.heard().at(-1)).toEqual(['cancel']);
    } finally {
      jest.useRealTimers();
    }
  });

  it('fails with the channel', async () => {
    const scene = await begun();
    const [answer] = await asked(scene, () => scene.files.stat(scene.call, PATH, { follow: true }));
    scene.supervisor.end();
    await expect(answer).rejects.toMatchObject({ code: 'container_not_running' });
  });
});

describe('reading a file of a supervisor', () => {
  it('takes a small one with its description: one round trip', async () => {
    const scene = await begun();
    const [opening] = await asked(scene, () => scene.files.open(scene.call, PATH));
    scene.says('message', { state: STATE });
    scene.sends('ab');
    scene.sends('c');
    scene.says('done');
    const file = await opening;
    expect(file?.state).toEqual({ ...FOUND, version: '3-11' });
    const told = jest.fn();
    const readable = await file?.range({ offset: 1, length: 2 }, told);
    expect(readable && (await text(readable))).toBe('bc');
    expect(told.mock.calls).toEqual([[2]]);
    file?.close();
    expect(scene.heard()).toEqual([['open', { op: 'read', path: WIRE_PATH, inline: 65_536 }]]);
  });

  it('asks for the range of a large one, and for no more than the beginning of one without a size', async () => {
    const scene = await begun();
    const [opening] = await asked(scene, () => scene.files.open(scene.call, PATH));
    scene.says('message', { state: { ...STATE, size: 1e6 } });
    const file = await opening;
    const ranging = file?.range({ offset: 10, length: 5 }, () => undefined);
    scene.sends('12345');
    scene.says('done');
    const readable = await ranging;
    expect(readable && (await text(readable))).toBe('12345');
    expect(scene.heard().slice(1)).toEqual([['message', { offset: 10, length: 5 }]]);
    const [generated] = await asked(scene, () => scene.files.open(scene.call, PATH));
    scene.says('message', { state: { ...STATE, size: 0 } });
    const beginning = (await generated)?.beginning(100);
    scene.sends('proc');
    scene.says('done');
    expect((await beginning)?.toString()).toBe('proc');
    expect(scene.heard().slice(1)).toEqual([['message', { most: 100 }]]);
  });

  it('fails before its first byte, or in its middle, where the file has become shorter', async () => {
    const scene = await begun();
    for (const [sent, end] of [
      ['', 'fail'],
      ['', 'done'],
      ['1234', 'fail'],
      ['1234', 'done'],
    ] as const) {
      const [opening] = await asked(scene, () => scene.files.open(scene.call, PATH));
      scene.says('message', { state: { ...STATE, size: 1e6 } });
      const ranging = (await opening)?.range({ offset: 0, length: 5 }, () => undefined);
      if (sent !== '') scene.sends(sent);
      scene.says(end, end === 'fail' ? { code: 'failed', message: '' } : {});
      const reading = ranging?.then(text);
      await expect(reading).rejects.toMatchObject({ code: 'tools_failed' });
    }
    const [small] = await asked(scene, () => scene.files.open(scene.call, PATH));
    scene.says('message', { state: STATE });
    scene.sends('ab');
    scene.says('done');
    const ranging = (await small)?.range({ offset: 0, length: 3 }, () => undefined);
    await expect(ranging).rejects.toMatchObject({ code: 'tools_failed' });
    expect(scene.channel.isOpen).toBe(true);
  });

  it('cancels what is not read', async () => {
    const scene = await begun();
    const [opening] = await asked(scene, () => scene.files.open(scene.call, PATH));
    scene.says('message', { state: { ...STATE, size: 1e6 } });
    (await opening)?.close();
    expect(scene.heard().slice(1)).toEqual([['cancel']]);
    const [packing] = await asked(scene, () => scene.files.pack(scene.call, PATH, () => undefined));
    scene.says('message');
    const archive = await packing;
    archive?.destroy();
    await scene.supervisor.until(() => scene.heard().length > 1);
    expect(scene.heard().slice(1)).toEqual([['cancel']]);
  });

  it('closes the channel of a supervisor that sends more than was asked for', async () => {
    const more: readonly [string, (scene: Scene) => Promise<unknown>][] = [
      [
        'a range',
        async (scene) => {
          const [opening] = await asked(scene, () => scene.files.open(scene.call, PATH));
          scene.says('message', { state: { ...STATE, size: 1e6 } });
          const ranging = (await opening)?.range({ offset: 0, length: 5 }, () => undefined);
          scene.sends('123456');
          return ranging?.then(text);
        },
      ],
      [
        'a small file',
        async (scene) => {
          const [opening] = await asked(scene, () => scene.files.open(scene.call, PATH));
          scene.says('message', { state: STATE });
          scene.sends('1234');
          return (await opening)?.range({ offset: 0, length: 3 }, () => undefined);
        },
      ],
      [
        'a part',
        async (scene) => {
          const part = { offset: 0, length: 3 };
          const [reading] = await asked(scene, () => scene.files.readPart(scene.call, PATH, part));
          scene.sends('1234');
          return reading;
        },
      ],
      [
        'an operation without bytes',
        async (scene) => {
          const [answer] = await asked(scene, () => scene.files.usage(scene.call, PATH));
          for (let frame = 0; frame <= 4; frame += 1) scene.sends(Buffer.alloc(65_536));
          return answer;
        },
      ],
    ];
    for (const [, read] of more) {
      const scene = await begun();
      await expect(read(scene)).rejects.toMatchObject({ code: 'container_not_responding' });
      expect(scene.channel.isOpen).toBe(false);
    }
  });

  it('holds a part that comes byte by byte in its own size', async () => {
    const scene = await begun();
    const part = { offset: 5, length: 200_000 };
    const [reading] = await asked(scene, () => scene.files.readPart(scene.call, PATH, part));
    const data = Buffer.alloc(2_000, 'ab');
    for (const byte of data) scene.sends(Buffer.of(byte));
    scene.says('done');
    const read = await reading;
    expect(read?.equals(data)).toBe(true);
    expect(read?.buffer.byteLength).toBeLessThanOrEqual(200_000);
  });

  it('gives an archive as it comes, and breaks off where it is incomplete', async () => {
    const scene = await begun();
    const told = jest.fn();
    const [packing] = await asked(scene, () => scene.files.pack(scene.call, PATH, told));
    scene.says('message');
    scene.sends('archive');
    scene.says('done');
    const archive = await packing;
    expect(archive && (await text(archive))).toBe('archive');
    expect(told.mock.calls).toEqual([[7]]);
    for (const end of ['fail', 'end'] as const) {
      const [broken] = await asked(scene, () => scene.files.pack(scene.call, PATH, told));
      scene.says('message');
      scene.sends('part');
      // The end of the data alone is no success.
      if (end === 'end') scene.supervisor.frame(scene.supervisor.received.at(-1)?.stream ?? 0, FRAME.end);
      scene.says('fail', { code: 'path_denied', message: '' });
      const reading = broken?.then(buffer);
      await expect(reading).rejects.toMatchObject({ code: 'path_denied' });
    }
  });
});

describe('writing a file by a supervisor', () => {
  it('sends the content, its length and its end', async () => {
    const scene = await begun();
    const told = jest.fn();
    const file = content('new', { length: 3, nameInDirectory: Buffer.from('n'), onBytes: told });
    const [writing] = await asked(scene, () => scene.files.write(scene.call, file));
    await scene.supervisor.until(() => scene.heard().length === 3);
    scene.says('done', { became: 'created', at: 'directory', state: STATE });
    expect(await writing).toEqual({ became: 'created', at: 'directory', attributes: { ...FOUND, version: '3-11' } });
    expect(scene.heard()).toEqual([
      ['open', { op: 'write', path: WIRE_PATH, name: 'bg==', conditional: false, length: 3 }],
      ['data', 'new'],
      ['end'],
    ]);
    expect(told.mock.calls).toEqual([[3]]);
  });

  it('asks its decision about what is there, and sends nothing before it', async () => {
    const scene = await begun();
    for (const state of [STATE, null]) {
      const decide = jest.fn(() => state === null);
      const [writing] = await asked(scene, () => scene.files.write(scene.call, content('new', { decide })));
      scene.says('message', { at: 'file', state });
      if (state === null) {
        await scene.supervisor.until(() => scene.heard().length === 4);
        scene.says('done', { became: 'created', at: 'file', state: STATE });
        await writing;
        expect(scene.heard().slice(1)).toEqual([['message', { go: true }], ['data', 'new'], ['end']]);
      } else {
        await expect(writing).rejects.toMatchObject({ code: 'precondition_failed' });
        expect(scene.heard().slice(1)).toEqual([['cancel']]);
      }
      expect(decide.mock.calls).toEqual([[state && { ...FOUND, version: '3-11' }, 'file']]);
    }
  });

  it('cancels where the content fails, or is too large', async () => {
    const scene = await begun();
    const failing = new Readable({ read: () => failing.destroy(new Error('cut off')) });
    const [broken] = await asked(scene, () => scene.files.write(scene.call, content(failing)));
    await expect(broken).rejects.toThrow('cut off');
    expect(scene.heard().slice(1)).toEqual([['cancel']]);
    const onBytes = (): void => {
      throw new Error('too large');
    };
    const [large] = await asked(scene, () => scene.files.unpack(scene.call, PATH, content('xyz', { onBytes })));
    await expect(large).rejects.toThrow('too large');
    expect(scene.heard().slice(1)).toEqual([['cancel']]);
  });

  it('fails at once with the supervisor, while the client sends nothing', async () => {
    const scene = await begun();
    const silent = new Readable({ read: () => undefined });
    const [writing] = await asked(scene, () => scene.files.write(scene.call, content(silent)));
    scene.says('fail', { code: 'no_space', message: '' });
    await expect(writing).rejects.toMatchObject({ code: 'no_space' });
    expect(silent.destroyed).toBe(true);
  });

  it('unpacks an archive as it is, and writes a part in place', async () => {
    const scene = await begun();
    const [unpacking] = await asked(scene, () => scene.files.unpack(scene.call, PATH, content('tar')));
    await scene.supervisor.until(() => scene.heard().length === 3);
    scene.says('done', { entries: 2, bytes: 1 });
    expect(await unpacking).toEqual({ entries: 2, bytes: 1 });
    expect(scene.heard()).toEqual([['open', { op: 'unpack', path: WIRE_PATH }], ['data', 'tar'], ['end']]);
    const part = { offset: 9, data: Buffer.from('part') };
    const [writing] = await asked(scene, () => scene.files.writePart(scene.call, PATH, part));
    await scene.supervisor.until(() => scene.heard().length === 3);
    scene.says('done', { bytes: 4 });
    await writing;
    expect(scene.heard()).toEqual([['open', { op: 'pwrite', path: WIRE_PATH, offset: 9 }], ['data', 'part'], ['end']]);
  });
});

describe('a list of a supervisor', () => {
  async function listed(send: (scene: Scene) => void): Promise<{ names: string[]; scene: Scene }> {
    const scene = await begun();
    const names: string[] = [];
    const [listing] = await asked(scene, () => scene.files.list(scene.call, PATH, (name) => names.push(name)));
    send(scene);
    await listing;
    return { names, scene };
  }

  it('has the names by their bytes, and the attributes', async () => {
    const scene = await begun();
    const take = jest.fn();
    const [listing] = await asked(scene, () => scene.files.list(scene.call, PATH, take));
    scene.sends(rowsOf(rowOf('a'), rowOf('\xff\n ')));
    scene.sends(rowsOf(rowOf('..a')));
    scene.says('done');
    await listing;
    expect(take.mock.calls).toEqual([
      ['a', FOUND],
      ['\xff\n ', FOUND],
      ['..a', FOUND],
    ]);
  });

  it('takes sizes and times that JavaScript cannot have', async () => {
    const scene = await begun();
    const take = jest.fn();
    const [listing] = await asked(scene, () => scene.files.list(scene.call, PATH, take));
    const odd = { ...ATTRIBUTES, name: 'YQ==', size: '2^63', mtime: '-2^63' };
    scene.sends(rowsOf(odd).replace('"2^63"', '9223372036854775807').replace('"-2^63"', '-9223372036854775808'));
    scene.says('done');
    await listing;
    expect(take.mock.calls).toEqual([
      ['a', { ...FOUND, size: Number.MAX_SAFE_INTEGER, modifiedAt: -8_640_000_000_000 }],
    ]);
    expect(new Date(-8_640_000_000_000 * 1000).getTime()).not.toBeNaN();
  });

  it.each([
    ['empty', ''],
    ['of the directory itself', '.'],
    ['of its parent', '..'],
    ['with a slash', 'a/b'],
    ['with NUL', 'a\0'],
    ['of 256 bytes', 'x'.repeat(256)],
  ])('closes the channel at a name %s', async (_what, name) => {
    await expect(listed((scene) => scene.sends(rowsOf(rowOf('a'), rowOf(name))))).rejects.toMatchObject({
      code: 'container_not_responding',
    });
  });

  it.each([
    ['no JSON', 'x\n'],
    ['no object', '[]\n'],
    ['no whole row', '{"name":'],
    ['a negative size', rowsOf({ ...rowOf('a'), size: -1 })],
    ['a size that is no number', rowsOf({ ...rowOf('a'), size: '3' })],
    ['a size without end', rowsOf(rowOf('a')).replace('"size":3', '"size":1e999')],
    ['a mode of more than 32 bits', rowsOf({ ...rowOf('a'), mode: 2 ** 32 })],
    ['a name that is not base64', rowsOf({ ...rowOf('a'), name: '!' })],
    ['no name', rowsOf(ATTRIBUTES)],
  ])('closes the channel at %s', async (_what, rows) => {
    await expect(listed((scene) => scene.sends(rows))).rejects.toMatchObject({ code: 'container_not_responding' });
  });

  it("is over with the supervisor's word, not with its data", async () => {
    const failing = listed((scene) => {
      scene.sends(rowsOf(rowOf('a')));
      scene.supervisor.frame(1, FRAME.end);
      scene.says('fail', { code: 'path_denied', message: '' });
    });
    await expect(failing).rejects.toMatchObject({ code: 'path_denied' });
  });

  it('cancels when its caller takes no more', async () => {
    const scene = await begun();
    const [listing] = await asked(scene, () =>
      scene.files.list(scene.call, PATH, () => {
        throw new Error('enough');
      }),
    );
    scene.sends(rowsOf(rowOf('a')));
    await expect(listing).rejects.toThrow('enough');
    expect(scene.heard().slice(1)).toEqual([['cancel']]);
    expect(scene.channel.isOpen).toBe(true);
  });
});

describe('a search of a supervisor', () => {
  async function searched(...rows: readonly object[]): Promise<unknown> {
    const scene = await begun();
    const asking = { name: '*.ts', limit: 2 };
    const [searching] = await asked(scene, () => scene.files.search(scene.call, PATH, asking));
    expect(scene.heard()).toEqual([
      ['open', { op: 'search', path: WIRE_PATH, pattern: '*.ts', limit: 2, seconds: 20 }],
    ]);
    scene.sends(rowsOf(...rows));
    scene.says('done', { complete: false });
    return searching;
  }
  const at = (path: string, more = {}): object => ({
    ...ATTRIBUTES,
    path: Buffer.from(path).toString('base64'),
    ...more,
  });

  it('has what was found, with the lines', async () => {
    const line = { number: 3, text: Buffer.from('x') };
    expect(await searched(at('a/b'), at('c', { line: 3, text: 'eA==' }))).toEqual({
      found: [
        { path: Buffer.from('a/b'), mode: 0o100644, size: 3, line: null },
        { path: Buffer.from('c'), mode: 0o100644, size: 3, line },
      ],
      isComplete: false,
    });
  });

  it.each([
    ['a path that leaves the directory', [at('a/../../b')]],
    ['an absolute path', [at('/etc')]],
    ['a path with NUL', [at('a\0')]],
    ['a line 0', [at('a', { line: 0 })]],
    ['a line that is too long', [at('a', { line: 1, text: Buffer.alloc(257).toString('base64') })]],
    ['more than its limit', [at('a'), at('b'), at('c')]],
  ])('closes the channel at %s', async (_what, rows) => {
    await expect(searched(...rows)).rejects.toMatchObject({ code: 'container_not_responding' });
  });
});

describe('a watch of a supervisor', () => {
  const at = (path: string, change: string): object => ({
    path: Buffer.from(path, 'latin1').toString('base64'),
    change,
  });
  async function watched(): Promise<{ scene: Scene; changes: AsyncIterableIterator<readonly FileChange[]> }> {
    const scene = await begun();
    const [watching] = await asked(scene, () => scene.files.watch(scene.call, PATH, { recursive: true }));
    scene.says('message');
    const changes = await watching;
    expect(scene.heard()).toEqual([['open', { op: 'watch', path: WIRE_PATH, recursive: true }]]);
    if (!changes) throw new Error('no watch');
    return { scene, changes };
  }

  it('has the changes, also in the words of an older supervisor, until the directory is gone', async () => {
    const { scene, changes } = await watched();
    const words = ['created', 'written', 'changed', 'removed', 'renamed', 'attributes'];
    scene.sends(rowsOf(...words.map((word) => at('a/\xff', word)), at('', 'overflow')));
    scene.says('done');
    const all: FileChange[] = [];
    for await (const some of changes) all.push(...some);
    const types = ['create', 'write', 'write', 'remove', 'rename', 'chmod'];
    expect(all).toEqual([
      ...types.map((type) => ({ type, path: Buffer.from('a/\xff', 'latin1') })),
      { type: 'overflow', path: Buffer.alloc(0) },
    ]);
  });

  it.each([
    ['a path that leaves the directory', at('a/../../b', 'created')],
    ['an absolute path', at('/etc', 'created')],
    ['no path', at('', 'created')],
    ['a path that is too long', at(Array(20).fill('n'.repeat(250)).join('/'), 'created')],
    ['another change', at('a', 'exploded')],
  ])('closes the channel at %s', async (_what, row) => {
    const { scene, changes } = await watched();
    scene.sends(rowsOf(row));
    await expect(changes.next()).rejects.toMatchObject({ code: 'container_not_responding' });
    expect(scene.channel.isOpen).toBe(false);
  });

  it('holds no more than the credit for a slow reader, and closes the channel at more', async () => {
    const { scene, changes } = await watched();
    const flood = rowsOf(...Array.from({ length: 1000 }, () => at('n'.repeat(10), 'written')));
    for (let bytes = 0; bytes + flood.length <= 262_144; bytes += flood.length) scene.sends(flood);
    await nextTurn();
    expect(scene.channel.isOpen).toBe(true);
    scene.sends(flood);
    await expect(async () => {
      while ((await changes.next()).done !== true);
    }).rejects.toMatchObject({ code: 'container_not_responding' });
  });

  it('is cancelled by its end, read or not, and by its signal, whose reason it throws', async () => {
    for (const isRead of [false, true]) {
      const { scene, changes } = await watched();
      const next = isRead ? changes.next().catch((error: unknown) => error) : null;
      await changes.return?.();
      expect(await next).toEqual(isRead ? expect.objectContaining({ code: 'aborted' }) : null);
      expect(scene.heard().slice(1)).toEqual([['cancel']]);
      expect(await changes.next()).toEqual({ value: undefined, done: true });
    }
    const { scene, changes } = await watched();
    const gone = new Error('the client has gone');
    scene.abort(gone);
    await expect(changes.next()).rejects.toBe(gone);
    expect(scene.heard().slice(1)).toEqual([['cancel']]);
  });

  it('fails with the code of the supervisor', async () => {
    const { scene, changes } = await watched();
    scene.says('fail', { code: 'too_many', message: 'too many watched directories' });
    await expect(changes.next()).rejects.toMatchObject({ code: 'too_many' });
    expect(scene.channel.isOpen).toBe(true);
  });
});

describe('a supervisor that answers something else', () => {
  const wrong: readonly [name: string, ask: Ask, answer: (scene: Scene) => void][] = [
    [
      'a result without attributes',
      (files, call) => files.stat(call, PATH, { follow: true }),
      ({ says }) => says('done'),
    ],
    [
      'a version that is too long',
      (files, call) => files.open(call, PATH),
      ({ says }) => says('message', { state: { ...STATE, version: 'x'.repeat(81) } }),
    ],
    ['a result in place of a message', (files, call) => files.open(call, PATH), ({ says }) => says('done')],
    [
      'a path that is not absolute',
      (files, call) => files.resolve(call, PATH),
      ({ says }) => says('done', { path: Buffer.from('a').toString('base64') }),
    ],
    [
      'a path with NUL',
      (files, call) => files.resolve(call, PATH),
      ({ says }) => says('done', { path: Buffer.from('/a\0').toString('base64') }),
    ],
    [
      'a link that is too long',
      (files, call) => files.readLink(call, PATH),
      ({ says }) => says('done', { target: Buffer.alloc(4097).toString('base64') }),
    ],
    [
      'a negative usage',
      (files, call) => files.usage(call, PATH),
      ({ says }) => says('done', { bytes: -1, complete: true }),
    ],
    [
      'an unknown outcome of a write',
      (files, call) => files.write(call, content('')),
      ({ says }) => says('done', { became: 'eaten', at: 'file', state: STATE }),
    ],
    [
      'no state where a conditional removal begins',
      (files, call) => files.remove(call, PATH, { kind: 'any', recursive: true, decide: () => true }),
      ({ says }) => says('message', {}),
    ],
    ['output of a program', (files, call) => files.usage(call, PATH), ({ says }) => says('stdout')],
    [
      'credit for what takes no data',
      (files, call) => files.usage(call, PATH),
      ({ supervisor }) => supervisor.frame(1, FRAME.credit, Buffer.from([0, 0, 0, 1])),
    ],
  ];

  it.each(wrong)('has its channel closed: %s', async (_name, ask, answer) => {
    const scene = await begun();
    const [failing] = await asked(scene, () => ask(scene.files, scene.call));
    answer(scene);
    await expect(failing).rejects.toMatchObject({ code: 'container_not_responding' });
    expect(scene.channel.isOpen).toBe(false);
  });
});
