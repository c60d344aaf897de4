import type { PullProgress } from '../../src/docker';
import { EngineSandbox } from '../support/engine-sandbox';
import { eventually } from '../support/eventually';
import { TinyRegistry } from '../support/tiny-registry';

jest.setTimeout(60_000);

describe('pulling from a registry', () => {
  const sandbox = new EngineSandbox();
  const engine = sandbox.engine();
  let registry: TinyRegistry;

  beforeEach(async () => {
    registry = new TinyRegistry();
    await registry.listen();
  });
  afterEach(async () => {
    await sandbox.real.docker
      .getImage(registry.reference('1'))
      .remove()
      .catch(() => undefined);
    await registry.close();
  });
  afterAll(() => sandbox.cleanUp());

  const downloads = (): number => registry.requests.filter((path) => path.includes('/blobs/')).length;

  it('must happen once for many callers, with progress that never falls, and not again', async () => {
    const reference = registry.reference('1');
    expect(await engine.presentImages([reference])).toEqual(new Set());
    const heard: PullProgress[][] = [[], [], []];
    await Promise.all(
      heard.map((list) => engine.ensureImage(reference, { onProgress: (progress) => list.push(progress) })),
    );
    expect(downloads()).toBe(2);
    for (const list of heard) {
      const percents = list.map(({ percent }) => percent);
      expect(percents).toEqual([...percents].sort((a, b) => a - b));
      expect(percents.at(-1)).toBe(100);
      expect(percents.some((percent) => percent > 0 && percent < 100)).toBe(true);
    }
    await engine.ensureImage(reference);
    expect(downloads()).toBe(2);
    expect(await engine.presentImages([reference])).toEqual(new Set([reference]));
  });

  it('must say that an image is not there', async () => {
    await expect(engine.ensureImage(registry.reference('nope'))).rejects.toMatchObject({ code: 'image_not_found' });
  });

  it('must say that an image cannot be had while its registry does not answer', async () => {
    await registry.close();
    await expect(engine.ensureImage('127.0.0.1:1/berth/pulled:1')).rejects.toMatchObject({ code: 'image_unavailable' });
    registry = new TinyRegistry();
    await registry.listen();
  });

  it('must be broken off when nobody waits any more', async () => {
    registry.gate = new Promise(() => undefined);
    const reference = registry.reference('1');
    const abort = new AbortController();
    const pull = engine.ensureImage(reference, { signal: abort.signal });
    await Promise.all([
      expect(pull).rejects.toMatchObject({ code: 'aborted' }),
      eventually(() => expect(downloads()).toBeGreaterThan(0)).then(() => abort.abort()),
    ]);
    expect(await engine.presentImages([reference])).toEqual(new Set());
  });
});
