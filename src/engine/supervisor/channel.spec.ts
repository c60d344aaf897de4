import { setImmediate as turn } from 'node:timers/promises';
import { z } from 'zod';
import { FakeSupervisor } from '../../../test/support/fakes/fake-supervisor';
import { EngineError } from '../port/engine-error';
import { Channel } from './channel';
import type { ArrivedData } from './channel-stream';
import { FRAME, frameHead } from './frames';

const LOST = new EngineError('container_not_running', 'it has ended');
const SILENT = new EngineError('container_not_responding', 'it is silent');
const ANY = z.looseObject({});

function begun({ isPaused = false } = {}): { supervisor: FakeSupervisor; channel: Channel } {
  const supervisor = new FakeSupervisor();
  const channel = new Channel(supervisor.connection, {
    whyLost: () => Promise.resolve(LOST),
    whySilent: () => Promise.resolve(isPaused ? null : SILENT),
  });
  return { supervisor, channel };
}

async function opened(): Promise<{ supervisor: FakeSupervisor; channel: Channel }> {
  const both = begun();
  both.supervisor.hello();
  await both.channel.ready;
  return both;
}

function whyClosed(channel: Channel): Promise<EngineError> {
  return new Promise((resolve) => channel.onClosed(resolve));
}

/** Some turns of the event loop: enough for what was pushed to be read. */
async function soon(): Promise<void> {
  for (let turns = 0; turns < 10; turns += 1) await turn();
}

async function textOf(chunks: AsyncIterable<ArrivedData>): Promise<string> {
  let text = '';
  for await (const { data } of chunks) text += data.toString();
  return text;
}

describe('a channel', () => {
  it('greets, and is open once the supervisor has greeted', async () => {
    const { supervisor } = await opened();
    expect(supervisor.said(0)).toEqual([['hello', { protocol: 1, client: 'berth' }]]);
  });

  it('passes a request, a message, data and the result, however the bytes are cut', async () => {
    for (const pieceBytes of [1, 2, 3, 7, 8, 9, 10, 100, 32_768]) {
      const { supervisor, channel } = begun();
      supervisor.pieceBytes = pieceBytes;
      supervisor.hello();
      const stream = channel.open({ op: 'read', path: 'Lw==' });
      supervisor.json(1, 'message', { state: { size: 3 } });
      expect(await stream.message(ANY)).toEqual({ state: { size: 3 } });
      stream.send({ offset: 0, length: 3 });
      supervisor.frame(1, FRAME.data, Buffer.from('abc'));
      supervisor.json(1, 'done', { ok: 1 });
      expect(await textOf(stream.chunks())).toBe('abc');
      expect(await stream.done(ANY)).toEqual({ ok: 1 });
      expect(supervisor.said(1)).toEqual([
        ['open', { op: 'read', path: 'Lw==' }],
        ['message', { offset: 0, length: 3 }],
      ]);
      expect(channel.openStreams).toBe(0);
      channel.close();
    }
  });

  it('gives credit back as bytes are taken, and none while they are not', async () => {
    const { supervisor, channel } = await opened();
    const stream = channel.open({ op: 'read' });
    const taken: number[] = [];
    const flow = stream.flowTo({ take: ({ data }) => taken.push(data.length), over: () => undefined });
    flow.pause();
    for (let frame = 0; frame < 4; frame += 1) supervisor.frame(1, FRAME.data, Buffer.alloc(65_536));
    await soon();
    expect(taken).toEqual([]);
    expect(supervisor.said(1)).toHaveLength(1);
    flow.resume();
    await supervisor.until(() => supervisor.said(1).length === 5);
    expect(taken.reduce((sum, length) => sum + length, 0)).toBe(262_144);
    expect(supervisor.said(1).slice(1)).toEqual(Array.from({ length: 4 }, () => ['credit', 65_536]));
    expect(channel.isOpen).toBe(true);
  });

  it('sends no more than its credit, and the rest when there is more', async () => {
    const { supervisor, channel } = await opened();
    const stream = channel.open({ op: 'write' }, { input: true });
    const written = jest.fn();
    stream.write(Buffer.alloc(20_000, 'x'), written);
    stream.end();
    await soon();
    expect(supervisor.received.at(-1)).toMatchObject({ type: FRAME.data, payload: { length: 16_384 } });
    expect(written).not.toHaveBeenCalled();
    const more = Buffer.alloc(4);
    more.writeUInt32BE(10_000);
    supervisor.frame(1, FRAME.credit, more);
    await supervisor.until(() => supervisor.received.at(-1)?.type === FRAME.end);
    expect(supervisor.received.at(-2)?.payload).toHaveLength(20_000 - 16_384);
    await soon();
    expect(written).toHaveBeenCalledTimes(1);
  });

  it('fails one operation without the others', async () => {
    const { supervisor, channel } = await opened();
    const [failing, other] = [channel.open({ op: 'stat' }), channel.open({ op: 'stat' })];
    supervisor.json(1, 'fail', { code: 'path_not_found', message: 'no such file' });
    await expect(failing.done(ANY)).rejects.toMatchObject({ code: 'path_not_found' });
    supervisor.json(2, 'done', {});
    expect(await other.done(ANY)).toEqual({});
    for (const [code, known] of Object.entries({ failed: 'tools_failed', new: 'docker_error', cancelled: 'aborted' })) {
      const stream = channel.open({ op: 'stat' });
      supervisor.json(channel.openStreams > 0 ? (supervisor.received.at(-1)?.stream ?? 0) : 0, 'fail', {
        code,
        message: '',
      });
      await expect(stream.done(ANY)).rejects.toMatchObject({ code: known });
    }
  });

  it('drops what comes after a CANCEL, until the supervisor has closed the stream', async () => {
    const { supervisor, channel } = await opened();
    const stream = channel.open({ op: 'start' });
    const done = stream.done(ANY);
    const chunks = textOf(stream.chunks());
    stream.cancel();
    await expect(done).rejects.toMatchObject({ code: 'aborted' });
    expect(await chunks).toBe('');
    supervisor.output(1, 'stdout', { data: 'late' });
    supervisor.json(1, 'message', {});
    await soon();
    expect(channel.openStreams).toBe(1);
    supervisor.json(1, 'fail', { code: 'cancelled', message: '' });
    await soon();
    expect(channel).toMatchObject({ openStreams: 0, isOpen: true });
  });

  it('fails everything on it with the reason when the connection ends', async () => {
    const { supervisor, channel } = await opened();
    const stream = channel.open({ op: 'start' }, { input: true });
    const written = jest.fn();
    stream.write(Buffer.alloc(100_000), written);
    supervisor.output(1, 'stdout', { data: 'last words' });
    supervisor.end();
    expect(await textOf(stream.chunks())).toBe('last words');
    await expect(stream.done(ANY)).rejects.toBe(LOST);
    await expect(stream.message(ANY)).rejects.toBe(LOST);
    expect(written).toHaveBeenCalledWith(LOST);
    expect(() => channel.open({ op: 'stat' })).toThrow(LOST);
  });

  it('takes no request once the connection has ended, while the reason is not known', async () => {
    const { supervisor, channel } = await opened();
    supervisor.end();
    await new Promise((resolve) => supervisor.socket.once('end', resolve));
    expect(channel.isOpen).toBe(false);
    expect(() => channel.open({ op: 'stat' })).toThrow(EngineError);
    expect(await whyClosed(channel)).toBe(LOST);
  });

  it('takes the result that came just before the end', async () => {
    const { supervisor, channel } = await opened();
    const stream = channel.open({ op: 'stat' });
    supervisor.json(1, 'done', { ok: 1 });
    supervisor.end();
    expect(await stream.done(ANY)).toEqual({ ok: 1 });
    expect(await whyClosed(channel)).toBe(LOST);
  });

  it('merges held output of a slow reader, and keeps offsets, times and kinds', async () => {
    const { supervisor, channel } = await opened();
    const stream = channel.open({ op: 'attach' });
    supervisor.output(1, 'stdout', { offset: 0, time: 5, data: 'a' });
    supervisor.output(1, 'stdout', { offset: 1, time: 5, data: 'b' });
    supervisor.output(1, 'stderr', { offset: 2, time: 5, data: 'c' });
    supervisor.output(1, 'stderr', { offset: 9, time: 6, data: 'd' });
    supervisor.json(1, 'done', {});
    await stream.done(ANY);
    const came: unknown[] = [];
    for await (const { kind, data, offset, time } of stream.chunks()) came.push([kind, data.toString(), offset, time]);
    expect(came).toEqual([
      ['stdout', 'ab', 0, 5],
      ['stderr', 'c', 2, 5],
      ['stderr', 'd', 9, 6],
    ]);
  });

  it('reads rows', async () => {
    const { supervisor, channel } = await opened();
    const stream = channel.open({ op: 'list' });
    supervisor.frame(1, FRAME.data, Buffer.from('{"a":1}\n{"a":2}\n'));
    supervisor.frame(1, FRAME.data, Buffer.from('{"a":3}\n'));
    supervisor.json(1, 'done', {});
    const rows: unknown[] = [];
    for await (const some of stream.rows(z.object({ a: z.int() }), 3)) rows.push(...some);
    expect(rows).toEqual([{ a: 1 }, { a: 2 }, { a: 3 }]);
  });

  it('asks a silent supervisor with a request, and waits for one that is paused', async () => {
    for (const isPaused of [true, false]) {
      const { supervisor, channel } = begun({ isPaused });
      supervisor.hello();
      await channel.ready;
      const now = performance.now();
      channel.check(now + 31_000);
      expect(supervisor.said(0)).toHaveLength(1);
      const stream = channel.open({ op: 'stat' });
      supervisor.json(1, 'message', {});
      await soon();
      channel.check(now + 61_000);
      expect(supervisor.said(0).at(-1)).toEqual(['ping']);
      channel.check(now + 92_000);
      await soon();
      expect(channel.isOpen).toBe(isPaused);
      if (!isPaused) await expect(stream.done(ANY)).rejects.toBe(SILENT);
      else {
        supervisor.frame(0, FRAME.pong, Buffer.from('berth'));
        await soon();
        channel.check(now + 92_000);
        expect(channel.isOpen).toBe(true);
      }
    }
  });

  it('fails what a paused container has not answered, and keeps what has begun', async () => {
    const { supervisor, channel } = begun({ isPaused: true });
    supervisor.hello();
    await channel.ready;
    const [program, request] = [channel.open({ op: 'start' }), channel.open({ op: 'stat' })];
    supervisor.json(1, 'message', { pid: 1 });
    await soon();
    channel.check(performance.now() + 4_000);
    await expect(request.done(ANY)).rejects.toMatchObject({ code: 'container_paused' });
    expect(supervisor.said(2).at(-1)).toEqual(['cancel']);
    supervisor.json(1, 'done', {});
    expect(await program.done(ANY)).toEqual({});
  });

  it('answers a PING', async () => {
    const { supervisor } = await opened();
    supervisor.frame(0, FRAME.ping, Buffer.from('x'));
    await supervisor.until(() => supervisor.received.at(-1)?.type === FRAME.pong);
    expect(supervisor.received.at(-1)?.payload.toString()).toBe('x');
  });
});

describe('a hostile or broken supervisor', () => {
  const violations: [string, (supervisor: FakeSupervisor) => unknown][] = [
    ['text in place of frames', (s) => s.raw(Buffer.from('something else than a frame'))],
    ['an unknown type', (s) => s.frame(0, 0x7f)],
    ['a type that only clients send', (s) => s.frame(1, FRAME.open)],
    ['a length over the bound, without the bytes', (s) => s.raw(frameHead(1, FRAME.data, 0xffff_ffff))],
    ['a MESSAGE over the bound', (s) => s.frame(1, FRAME.message, Buffer.alloc(65_537))],
    ['a CREDIT of another length', (s) => s.frame(1, FRAME.credit, Buffer.alloc(3))],
    ['credit for an operation that takes no bytes', (s) => s.frame(1, FRAME.credit, Buffer.from([0, 0, 0, 1]))],
    ['endless credit', (s) => s.frame(2, FRAME.credit, Buffer.from([255, 255, 255, 255]))],
    ['no credit', (s) => s.frame(2, FRAME.credit, Buffer.alloc(4))],
    ['a stream that was never opened', (s) => s.json(3, 'done', {})],
    ['a stream of the connection', (s) => s.json(0, 'done', {})],
    ['a HELLO on a stream', (s) => s.json(1, 'hello', {})],
    ['a second HELLO', (s) => s.hello()],
    ['a second DONE', (s) => s.json(1, 'done', {}).json(1, 'done', {})],
    ['JSON that is none', (s) => s.frame(1, FRAME.message, Buffer.from('{'))],
    ['JSON that is a number', (s) => s.frame(1, FRAME.done, Buffer.from('1'))],
    ['JSON that is a list', (s) => s.frame(1, FRAME.message, Buffer.from('[]'))],
    ['no JSON', (s) => s.frame(1, FRAME.done)],
    ['a FAIL without a code', (s) => s.json(1, 'fail', { message: '' })],
    ['a FAIL with a code of another type', (s) => s.json(1, 'fail', { code: { toString: 1 } })],
    ['output in an operation that has none', (s) => s.output(1, 'stdout', { data: 'x' })],
    ['data in a program', (s) => s.frame(2, FRAME.data, Buffer.from('x'))],
    ['output without a head', (s) => s.frame(2, FRAME.stdout, Buffer.alloc(15))],
    ['offsets that go back', (s) => s.output(2, 'stdout', { offset: 5, data: 'x' }).output(2, 'stdout', { offset: 5 })],
    ['an offset above all numbers', (s) => s.frame(2, FRAME.stdout, Buffer.alloc(17, 255))],
    ['a time before 1970', (s) => s.output(2, 'stdout', { time: -1, data: 'x' })],
    ['bytes after END', (s) => s.frame(1, FRAME.end).frame(1, FRAME.data, Buffer.from('x'))],
    ['a second END', (s) => s.frame(1, FRAME.end).frame(1, FRAME.end)],
    ['a PONG without a PING', (s) => s.frame(0, FRAME.pong, Buffer.from('berth'))],
    ['a BYE without a reason', (s) => s.json(0, 'bye', {})],
    ['a row that does not end', (s) => s.frame(1, FRAME.data, Buffer.from('{"a":1}'))],
    ['a row that is no JSON', (s) => s.frame(1, FRAME.data, Buffer.from('x\n'))],
    ['a row of another shape', (s) => s.frame(1, FRAME.data, Buffer.from('{"a":-1}\n'))],
    ['more rows than there can be', (s) => s.frame(1, FRAME.data, Buffer.from('{"a":1}\n'.repeat(4)))],
    ['messages without end', (s) => Array.from({ length: 9 }, () => s.json(1, 'message', {}))],
    ['empty frames without end', (s) => Array.from({ length: 100 }, () => s.frame(1, FRAME.data))],
    ['more data than its credit', (s) => Array.from({ length: 5 }, () => s.frame(3, FRAME.data, Buffer.alloc(65_536)))],
  ];

  it.each(violations)('%s closes the channel, and fails everything on it', async (_name, send) => {
    const { supervisor, channel } = await opened();
    const listing = channel.open({ op: 'list' });
    const program = channel.open({ op: 'start' }, { input: true });
    const rows = (async () => {
      for await (const some of listing.rows(z.object({ a: z.int().min(0) }), 3)) void some;
    })();
    const results = Promise.allSettled([rows, listing.done(ANY), program.done(ANY)]);
    if (_name.startsWith('more data')) channel.open({ op: 'read' });
    send(supervisor);
    expect(await whyClosed(channel)).toMatchObject({ code: 'container_not_responding' });
    const [, , last] = await results;
    expect(last).toMatchObject({ status: 'rejected', reason: { code: 'container_not_responding' } });
    expect(supervisor.socket.destroyed).toBe(true);
  });

  it.each<[string, object, string]>([
    ['another protocol', { protocol: 2 }, 'restart_required'],
    ['no boot', { boot: '' }, 'container_not_responding'],
    ['a home that is no base64', { home: '???' }, 'container_not_responding'],
    ['a version that is endless', { version: 'x'.repeat(1000) }, 'container_not_responding'],
  ])('is refused at the handshake: %s', async (_name, more, code) => {
    const { supervisor, channel } = begun();
    supervisor.hello(more);
    await expect(channel.ready).rejects.toMatchObject({ code });
  });

  it.each([
    ['unsupported_protocol', 'restart_required'],
    ['too_many_connections', 'too_many'],
    ['shutting_down', 'container_not_running'],
    ['malformed_frame', 'container_not_responding'],
  ])('that says BYE %s ends the channel with %s', async (code, known) => {
    const { supervisor, channel } = begun();
    supervisor.json(0, 'bye', { code, message: '' });
    await expect(channel.ready).rejects.toMatchObject({ code: known });
  });

  it('that could not be connected to leaves its words, and the reason to its owner', async () => {
    const { supervisor, channel } = begun();
    supervisor.raw(Buffer.from('OCI runtime exec failed: '));
    supervisor.raw(Buffer.from('exec failed\r\n'));
    supervisor.end();
    await expect(channel.ready).rejects.toBe(LOST);
    expect(channel.words).toBe('OCI runtime exec failed: exec failed\r\n');
  });

  it('that sends something before HELLO is refused', async () => {
    const { supervisor, channel } = begun();
    supervisor.json(1, 'done', {});
    await expect(channel.ready).rejects.toMatchObject({ code: 'container_not_responding' });
  });

  it('that is silent from the beginning is given up', async () => {
    const { channel } = begun();
    channel.check(performance.now() + 41_000);
    await expect(channel.ready).rejects.toBe(SILENT);
  });

  it('that does not close a cancelled stream is given up', async () => {
    const { channel } = await opened();
    channel.open({ op: 'stat' }).cancel();
    channel.check(performance.now() + 121_000);
    expect(await whyClosed(channel)).toBe(SILENT);
  });

  it('keeps the words on stderr for the log, and no more than 4 KiB', async () => {
    const { supervisor, channel } = begun();
    supervisor.raw(Buffer.alloc(100_000, 'w'), 2);
    supervisor.end();
    await whyClosed(channel);
    expect(channel.words).toHaveLength(4096);
  });

  it('that floods with tiny frames leaves turns for other work', async () => {
    const { supervisor, channel } = await opened();
    channel.open({ op: 'start' });
    const frames = 20_000;
    supervisor.pieceBytes = 1024 * 1024;
    const ping = Buffer.concat([frameHead(0, FRAME.ping, 1), Buffer.from('x')]);
    supervisor.raw(Buffer.concat(Array.from({ length: frames }, () => ping)));
    let turns = 0;
    const answered = (): number => supervisor.received.filter(({ type }) => type === FRAME.pong).length;
    while (answered() < frames) {
      turns += 1;
      await turn();
    }
    expect(turns).toBeGreaterThan(30);
    expect(channel.isOpen).toBe(true);
  });

  it('cannot make this process hold more than a window for each stream', async () => {
    const { supervisor, channel } = await opened();
    const stream = channel.open({ op: 'attach' });
    // Frames of one byte, which are parts of large chunks.
    for (let offset = 0; offset < 15_000; offset += 1) {
      supervisor.output(1, 'stdout', { offset, time: offset, data: 'x' });
    }
    supervisor.json(1, 'done', {});
    await stream.done(ANY);
    const held = (stream as unknown as { held: ArrivedData[] }).held;
    expect(held.length).toBeLessThan(1100);
    const bytes = new Map(held.map(({ data }) => [data.buffer, data.buffer.byteLength]));
    expect([...bytes.values()].reduce((sum, size) => sum + size, 0)).toBeLessThan(1024 * 1024);
    expect(channel.isOpen).toBe(true);
  });
});
