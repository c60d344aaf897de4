import { PassThrough } from 'node:stream';
import { CONNECT, type WatchMessage } from '../../engine';
import { type EventSource, watchEvents } from './docker-events';

const TIMING = { pingMs: 5, minBackoffMs: 1, maxBackoffMs: 2 };

const line = (action: string, second: number, nano = 0): string =>
  `${JSON.stringify({
    Type: 'container',
    Action: action,
    Actor: { ID: 'd1', Attributes: { 'berth.container_id': 'c1', name: 'Grüße', exitCode: '137' } },
    time: second,
    timeNano: second * 1e9 + nano,
  })}\n`;

/** A daemon whose streams a test writes. */
class Source implements EventSource {
  readonly streams: PassThrough[] = [];
  readonly since: number[] = [];
  readonly errors: unknown[] = [];
  refusals = 0;
  pingFails = false;

  now(): Promise<number> {
    return Promise.resolve(1000);
  }

  open(since: number): Promise<PassThrough> {
    if (this.refusals > 0) {
      this.refusals -= 1;
      return Promise.reject(new Error('connect ECONNREFUSED'));
    }
    this.since.push(since);
    const stream = new PassThrough();
    this.streams.push(stream);
    return Promise.resolve(stream);
  }

  ping(): Promise<void> {
    return this.pingFails ? Promise.reject(new Error('no answer')) : Promise.resolve();
  }

  onDisconnect(error: unknown): void {
    this.errors.push(error);
  }

  get stream(): PassThrough {
    const stream = this.streams.at(-1);
    if (!stream) throw new Error('not connected');
    return stream;
  }
}

const describeMessage = (message: WatchMessage): string =>
  message.kind === 'connected' ? 'connected' : `${message.event.action}@${String(message.event.at.getTime())}`;

describe('watching events', () => {
  let source: Source;
  let abort: AbortController;
  let messages: AsyncGenerator<WatchMessage, void>;

  beforeEach(() => {
    source = new Source();
    abort = new AbortController();
    messages = watchEvents(source, abort.signal, TIMING);
  });
  afterEach(async () => {
    abort.abort();
    while (!(await messages.next()).done);
  });

  const next = async (): Promise<string> => {
    const { value } = await messages.next();
    return value ? describeMessage(value) : 'ended';
  };

  it('must say connected first, then what happens, in Berth’s words', async () => {
    expect(await next()).toBe('connected');
    source.stream.write(line('die', 1001, 5_000_000));
    expect((await messages.next()).value).toEqual({
      kind: 'event',
      event: { engineId: 'd1', containerId: 'c1', action: 'die', exitCode: 137, at: new Date(1_001_005) },
    });
    source.stream.write(line('start', 1002));
    expect((await messages.next()).value).toMatchObject({ event: { action: 'start', exitCode: null } });
  });

  it('must begin a little before it connected, by the daemon’s clock', async () => {
    await next();
    expect(source.since).toEqual([998]);
  });

  it('must pass over what nobody asked for', async () => {
    await next();
    source.stream.write(line('exec_create: sh', 1001) + line('oom', 1001));
    expect(await next()).toBe('oom@1001000');
  });

  it('must report a program that was started, and no channel of Berth', async () => {
    await next();
    source.stream.write(line(`exec_start: ${CONNECT.join(' ')}`, 1001) + line('exec_start: sh -c true', 1002));
    expect(await next()).toBe('exec_start@1002000');
  });

  it('must begin again where it was cut off, and give nothing twice', async () => {
    await next();
    source.stream.write(line('start', 1001) + line('die', 2000));
    expect([await next(), await next()]).toEqual(['start@1001000', 'die@2000000']);
    source.stream.destroy(new Error('cut'));
    expect(await next()).toBe('connected');
    expect(source.since).toEqual([998, 1998]);
    source.stream.write(line('die', 2000) + line('start', 2000, 7_000_000));
    expect(await next()).toBe('start@2000007');
  });

  it('must come back when Docker ends the stream politely', async () => {
    await next();
    source.stream.end();
    expect(await next()).toBe('connected');
  });

  it('must come back, saying connected, when what comes is no JSON', async () => {
    await next();
    source.stream.write('{"Action":"sta\n');
    expect(await next()).toBe('connected');
  });

  it('must try again until Docker is back', async () => {
    source.refusals = 5;
    expect(await next()).toBe('connected');
    expect(source.errors).toHaveLength(5);
  });

  it('must give up a silent stream of a Docker that does not answer, and no other', async () => {
    await next();
    const dead = source.stream;
    source.pingFails = true;
    expect(await next()).toBe('connected');
    expect(dead.destroyed).toBe(true);
  });

  it('must end when it is asked to, connected or not', async () => {
    await next();
    const waiting = next();
    abort.abort();
    expect(await waiting).toBe('ended');
    expect(source.stream.destroyed).toBe(true);
  });
});
