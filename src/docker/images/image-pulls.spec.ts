import { PassThrough } from 'node:stream';
import { eventually } from '../../../test/support/eventually';
import type { PullProgress } from '../../engine';
import { ImagePulls } from './image-pulls';

/** Docker's side of pulls: streams that a test writes. */
class Registry {
  readonly streams: PassThrough[] = [];
  readonly signals: AbortSignal[] = [];

  readonly open = (_reference: string, signal: AbortSignal): Promise<PassThrough> => {
    const stream = new PassThrough();
    this.streams.push(stream);
    this.signals.push(signal);
    return Promise.resolve(stream);
  };

  get stream(): PassThrough {
    const stream = this.streams.at(-1);
    if (!stream) throw new Error('nothing is pulled');
    return stream;
  }

  say(line: object): void {
    this.stream.write(`${JSON.stringify(line)}\n`);
  }
}

const soon = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

describe('pulling an image', () => {
  let registry: Registry;
  let pulls: ImagePulls;

  beforeEach(() => {
    registry = new Registry();
    pulls = new ImagePulls({ open: registry.open, stallMs: 60_000 });
  });

  it('must happen once for any number of callers, and report to each of them', async () => {
    const heard: PullProgress[][] = [[], [], []];
    const all = heard.map((list) => pulls.pull('a:1', { onProgress: (progress) => list.push(progress) }));
    await soon();
    expect(registry.streams).toHaveLength(1);
    registry.stream.end();
    await Promise.all(all);
    for (const list of heard) {
      expect(list[0]).toEqual({ percent: 0, message: 'looking for the image' });
      expect(list.at(-1)).toEqual({ percent: 100, message: 'the image is here' });
    }
  });

  it('must happen again for another image, and after it ended', async () => {
    const first = pulls.pull('a:1');
    const second = pulls.pull('b:1');
    await soon();
    for (const stream of registry.streams) stream.end();
    await Promise.all([first, second]);
    const third = pulls.pull('a:1');
    await soon();
    registry.stream.end();
    await third;
    expect(registry.streams).toHaveLength(3);
  });

  it('must go on for the others when one gives up', async () => {
    const abort = new AbortController();
    const leaver = pulls.pull('a:1', { signal: abort.signal });
    const stayer = pulls.pull('a:1');
    await soon();
    abort.abort();
    await expect(leaver).rejects.toMatchObject({ code: 'aborted' });
    expect(registry.signals[0]?.aborted).toBe(false);
    registry.stream.end();
    await stayer;
  });

  it('must be aborted when nobody waits any more, and begin again for the next', async () => {
    const abort = new AbortController();
    const only = pulls.pull('a:1', { signal: abort.signal });
    await soon();
    abort.abort();
    await expect(only).rejects.toMatchObject({ code: 'aborted' });
    expect(registry.signals[0]?.aborted).toBe(true);
    expect(registry.stream.destroyed).toBe(true);
    const next = pulls.pull('a:1');
    await soon();
    registry.stream.end();
    await next;
    expect(registry.streams).toHaveLength(2);
  });

  it('must not begin for a caller that has given up before', async () => {
    await expect(pulls.pull('a:1', { signal: AbortSignal.abort() })).rejects.toMatchObject({ code: 'aborted' });
    expect(registry.streams).toHaveLength(0);
  });

  it.each([
    [{ errorDetail: { message: 'manifest unknown' }, error: 'manifest unknown' }, 'image_not_found'],
    [{ error: 'toomanyrequests: too many pulls' }, 'image_unavailable'],
    [{ error: 'unauthorized: authentication required' }, 'image_access_denied'],
    [{ error: 'no space left on device' }, 'docker_error'],
  ])('must fail for all when the stream says %j', async (line, code) => {
    const all = [pulls.pull('a:1'), pulls.pull('a:1')];
    await soon();
    registry.say(line);
    const isDiskFull = code === 'docker_error';
    for (const pull of all) await expect(pull).rejects.toMatchObject({ name: 'EngineError', code, isDiskFull });
    expect(registry.streams).toHaveLength(1);
  });

  describe('from a registry that does not answer', () => {
    const fails = { error: 'dial tcp 192.0.2.1:443: connect: connection refused' };
    const retried = (retryAfterMs: readonly number[]): ImagePulls =>
      new ImagePulls({ open: registry.open, stallMs: 60_000, retryAfterMs });
    const pullNumber = (count: number): Promise<void> => eventually(() => expect(registry.streams).toHaveLength(count));

    it('must be tried again, for all who wait, until it answers', async () => {
      pulls = retried([1, 1]);
      const all = [pulls.pull('a:1'), pulls.pull('a:1')];
      await pullNumber(1);
      registry.say(fails);
      await pullNumber(2);
      registry.stream.end();
      await Promise.all(all);
      expect(registry.streams).toHaveLength(2);
    });

    it('must fail after the third time', async () => {
      const pull = retried([1, 1]).pull('a:1');
      for (const count of [1, 2, 3]) {
        await pullNumber(count);
        registry.say(fails);
      }
      await expect(pull).rejects.toMatchObject({ code: 'image_unavailable' });
      expect(registry.streams).toHaveLength(3);
    });

    it('must not be tried again for nobody', async () => {
      const abort = new AbortController();
      const failed = jest.fn();
      pulls = new ImagePulls({ open: registry.open, stallMs: 60_000, retryAfterMs: [60_000], onRetry: failed });
      const pull = pulls.pull('a:1', { signal: abort.signal });
      await pullNumber(1);
      registry.say(fails);
      await eventually(() => expect(failed).toHaveBeenCalledTimes(1));
      abort.abort();
      await expect(pull).rejects.toMatchObject({ code: 'aborted' });
      await soon();
      expect(registry.streams).toHaveLength(1);
    });
  });

  it('must fail as unavailable when the stream is cut, or is no JSON', async () => {
    const cut = pulls.pull('a:1');
    await soon();
    registry.stream.destroy();
    await expect(cut).rejects.toMatchObject({ code: 'docker_unavailable' });
    const garbled = pulls.pull('a:1');
    await soon();
    registry.stream.write('<html>\n');
    await expect(garbled).rejects.toMatchObject({ code: 'docker_unavailable' });
  });

  it('must fail when Docker says nothing for too long', async () => {
    await expect(new ImagePulls({ open: registry.open, stallMs: 10 }).pull('a:1')).rejects.toMatchObject({
      code: 'docker_unavailable',
    });
  });

  it('must not report to a caller more than four times a second', async () => {
    const heard: PullProgress[] = [];
    const began = performance.now();
    const pull = pulls.pull('a:1', { onProgress: (progress) => heard.push(progress) });
    await soon();
    for (let current = 0; current < 1000; current += 1) {
      registry.say({ id: 'l', status: 'Downloading', progressDetail: { current, total: 1000 } });
    }
    registry.stream.end();
    await pull;
    const quarters = Math.floor((performance.now() - began) / 250);
    expect(heard.length).toBeLessThanOrEqual(3 + quarters);
  });
});
