import type { EngineErrorCode } from '../../src/engine';
import { EngineSandbox, TEST_IMAGE } from '../support/docker/engine-sandbox';
import { type Refusal, TinyRegistry } from './tiny-registry';

describe('an image of the machine', () => {
  const sandbox = new EngineSandbox();
  afterAll(() => sandbox.cleanUp());

  it('must not be found by its id, nor by how that begins, as Docker does', async () => {
    const { docker } = sandbox.real;
    const { Id } = await docker.getImage(TEST_IMAGE).inspect();
    const hex = Id.replace('sha256:', '');
    for (const id of [Id, hex, hex.slice(0, 12), `sha256:${hex.slice(0, 12)}`]) {
      expect((await docker.getImage(id).inspect()).Id).toBe(Id);
      await expect(sandbox.engine().images.ensure(id)).rejects.toMatchObject({ code: 'image_not_found' });
    }
    expect(await sandbox.engine().images.isAbsent(TEST_IMAGE)).toBe(false);
  });
});

describe('an image that its registry refuses', () => {
  const sandbox = new EngineSandbox();
  const registry = new TinyRegistry();

  beforeAll(() => registry.listen());
  afterAll(async () => {
    await registry.close();
    await sandbox.cleanUp();
  });

  it.each<[string, Refusal, EngineErrorCode, number]>([
    ['too many pulls', { status: 429, code: 'TOOMANYREQUESTS', message: 'slow down' }, 'image_unavailable', 1],
    ['a failure', { status: 503 }, 'image_unavailable', 3],
    ['a refusal that may be an absence', { status: 403, code: 'DENIED', message: 'denied' }, 'image_not_found', 1],
    [
      'a refusal of the credentials',
      { status: 401, code: 'UNAUTHORIZED', message: 'unauthorized' },
      'image_access_denied',
      1,
    ],
    ['a refusal without words', { status: 403 }, 'image_not_found', 1],
    ['an unknown repository', { status: 404, code: 'NAME_UNKNOWN', message: 'unknown' }, 'image_not_found', 1],
  ])('must be understood, and asked for again only where that may help: %s', async (_what, refusal, code, times) => {
    registry.refusal = refusal;
    registry.asked = 0;
    await expect(sandbox.engine().images.ensure(registry.reference)).rejects.toMatchObject({ code });
    expect(registry.asked).toBe(times);
    // Only a registry that says so has none.
    expect(await sandbox.engine().images.isAbsent(registry.reference)).toBe(refusal.status === 404);
  });
});
