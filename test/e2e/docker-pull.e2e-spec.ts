import type { EngineErrorCode } from '../../src/docker';
import { EngineSandbox } from '../support/engine-sandbox';
import { type Refusal, TinyRegistry } from '../support/tiny-registry';

jest.setTimeout(60_000);

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
    await expect(sandbox.engine().ensureImage(registry.reference)).rejects.toMatchObject({ code });
    expect(registry.asked).toBe(times);
  });
});
