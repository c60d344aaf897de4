import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { PreviewClient } from '../support/clients/preview-client';
import { FakeDaemon } from '../support/fakes/fake-daemon';
import { FakeEngine } from '../support/fakes/fake-engine';
import { Berth } from '../support/servers/berth';
import { PreviewApplication } from '../support/servers/preview-application';

jest.setTimeout(180_000);

const CROWD = 10_000;
const VISIT_MS = 2_000;

describe('a crowd at the listener of previews', () => {
  const daemon = new FakeDaemon();
  const application = new PreviewApplication();
  let crowd: ChildProcess | null = null;
  let berth: Berth;

  beforeAll(async () => {
    await application.start(daemon);
    berth = await Berth.start({ engine: new FakeEngine(daemon), environment: { PREVIEW_PORT: '0' } });
  });
  afterAll(async () => {
    crowd?.kill();
    await berth.stop();
    application.stop();
  });

  it('that sends half a request, or nothing, must keep nobody from a preview, and be gone in time', async () => {
    const user = await berth.user();
    const { db_id: id } = await user.api.running();
    const { body } = await user.api.call('GET', `/api/containers/${id}/ports`);
    const url = (body['ports'] as [{ url: string }])[0].url;
    const client = new PreviewClient(url);
    const visit = async (): Promise<number> => {
      const began = performance.now();
      expect((await client.call('/', { headers: { 'berth-token': user.token } })).status).toBe(200);
      return performance.now() - began;
    };
    await visit();
    const { host, port } = new URL(url);
    const plan = JSON.stringify({ host, port: Number(port), count: CROWD });
    crowd = fork(require.resolve('./preview-crowd.js'), { env: { ...process.env, CROWD: plan } });
    expect((await once(crowd, 'message'))[0]).toEqual({ open: CROWD });
    expect(await visit()).toBeLessThan(VISIT_MS);
    // The header of a request has to come within 30 seconds.
    expect((await once(crowd, 'message'))[0]).toEqual({ open: 0 });
    expect(await visit()).toBeLessThan(VISIT_MS);
  });
});
