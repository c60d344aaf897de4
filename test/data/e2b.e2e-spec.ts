import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { testImage } from '../support/clients/api-client';
import { FakeEngine } from '../support/fakes/fake-engine';
import { FakeDaemon } from '../support/fakes/fake-daemon';
import { Berth, type TestUser } from '../support/servers/berth';

describe("E2B's control API", () => {
  let berth: Berth;
  let user: TestUser;
  const folder = mkdtempSync(join(tmpdir(), 'e2b-'));

  beforeAll(async () => {
    const image = { name: 'sandbox', reference: testImage(), description: 'Test', default: true, pull: 'never' };
    const file = join(folder, 'images.json');
    writeFileSync(file, JSON.stringify({ images: [image] }));
    const environment = { INSTANCE_ID: 'e2b', IMAGES_FILE: file };
    berth = await Berth.start({ engine: new FakeEngine(new FakeDaemon()), environment });
    user = await berth.user('enterprise');
  });

  afterAll(async () => {
    await berth.stop();
    rmSync(folder, { recursive: true });
  });

  it('creates, shows, pauses, connects to and kills a sandbox, which is a container', async () => {
    const { status, body } = await user.api.call('POST', '/e2b/v2/sandboxes', { templateID: 'base', timeout: 60 });
    expect([status, body]).toEqual([201, expect.objectContaining({ templateID: 'base' })]);
    const path = `/e2b/sandboxes/${String(body['sandboxID'])}`;
    expect(await user.api.call('GET', path)).toMatchObject({ status: 200, body: { state: 'running' } });
    expect(await user.api.call('POST', `${path}/timeout`, { timeout: 90 })).toMatchObject({ status: 204 });
    expect(await user.api.call('POST', `${path}/pause`, {})).toMatchObject({ status: 204 });
    expect(await user.api.call('POST', `${path}/pause`, {})).toMatchObject({ status: 409, body: { code: 409 } });
    expect(await user.api.call('POST', `${path}/connect`, { timeout: 60 })).toMatchObject({ status: 201 });
    const other = await berth.user('enterprise');
    expect(await other.api.call('GET', path)).toMatchObject({ status: 404, body: { code: 404 } });
    expect(await user.api.call('DELETE', path)).toMatchObject({ status: 204 });
    expect(await user.api.call('GET', path)).toMatchObject({ status: 404, body: { code: 404 } });
  });

  it("answers bad bodies in E2B's form, naming the field", async () => {
    const bad = await user.api.call('POST', '/e2b/sandboxes', { templateID: 1 });
    expect(bad).toMatchObject({ status: 400, body: { code: 400, message: expect.stringContaining('templateID') } });
  });
});
