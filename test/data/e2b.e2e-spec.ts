import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { SimulatedEngine } from '../../packages/simulator/src/simulated-engine';
import { testImage } from '../support/clients/api-client';
import { PreviewClient } from '../support/clients/preview-client';
import { FakeEngine } from '../support/fakes/fake-engine';
import { FakeDaemon } from '../support/fakes/fake-daemon';
import { Database } from '../../src/database';
import { E2bSandboxEntity } from '../../src/e2b/e2b-sandbox.entity';
import { TokenService, USUAL_SCOPES } from '../../src/auth';
import { PreviewServer } from '../../src/previews';
import { recordedRequests, Replay } from '../support/e2b/recorded-requests';
import { eventually } from '../support/eventually';
import { Berth, type TestUser } from '../support/servers/berth';
import { PreviewApplication } from '../support/servers/preview-application';

describe("E2B's control API", () => {
  let berth: Berth;
  let user: TestUser;
  const folder = mkdtempSync(join(tmpdir(), 'e2b-'));
  const daemon = new FakeDaemon();
  const application = new PreviewApplication();

  beforeAll(async () => {
    const image = { name: 'sandbox', reference: testImage(), description: 'Test', default: true, pull: 'never' };
    const file = join(folder, 'images.json');
    const code = { ...image, name: 'code', reference: 'berth/code:latest', default: false };
    writeFileSync(file, JSON.stringify({ images: [image, code] }));
    await application.start(daemon);
    const previews = { PREVIEW_PORT: '0', E2B_PUBLIC_PORTS: 'on' };
    const environment = { INSTANCE_ID: 'e2b', IMAGES_FILE: file, VOLUME_RETENTION: '0', ...previews };
    berth = await Berth.start({ engine: new FakeEngine(daemon), environment });
    user = await berth.user('enterprise');
  });

  afterAll(async () => {
    await berth.stop();
    application.stop();
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

  it("answers the recorded requests of E2B's Python SDK with what the SDK reads", async () => {
    // Its commands need a shell.
    const server = await Berth.start({ engine: new SimulatedEngine({ folder: null, speed: Infinity }) });
    try {
      const issued = { name: 'python', scopes: USUAL_SCOPES, expiresAt: null, format: 'e2b' } as const;
      const { id: userId } = await server.user('enterprise');
      const { text } = await server.app.get(TokenService).issue({ ...issued, userId });
      await new Replay(server.url, text).run(recordedRequests('python-requests.jsonl'));
    } finally {
      await server.stop();
    }
  });

  describe('lists', () => {
    let lister: TestUser;
    let ids: string[];
    const list = async (query: string) => {
      const { body, headers } = await lister.api.call('GET', `/e2b/v2/sandboxes?${query}`);
      const found = body as unknown as { sandboxID: string; startedAt: string }[];
      return { found, ids: found.map(({ sandboxID }) => sandboxID), next: headers.get('x-next-token') };
    };

    beforeAll(async () => {
      lister = await berth.user('enterprise');
      ids = [];
      for (const metadata of [{ mine: 'a' }, { mine: 'b' }, { mine: 'a' }, { mine: 'b' }]) {
        const { body } = await lister.api.call('POST', '/e2b/sandboxes', { templateID: 'base', metadata });
        ids.push(String(body['sandboxID']));
      }
    });

    it.each([
      ['asc', [0, 2]],
      ['desc', [2, 0]],
    ])('pages of sandboxes with the metadata, %s, whose last has no token', async (order, wanted) => {
      const query = `metadata=mine%3Da&limit=1&order=${order}`;
      const first = await list(query);
      expect(first).toMatchObject({ ids: [ids[wanted[0] ?? 0]], next: expect.any(String) });
      const second = await list(`${query}&nextToken=${String(first.next)}`);
      expect(second).toMatchObject({ ids: [ids[wanted[1] ?? 0]], next: null });
    });

    it('sandboxes that started at a time or after it', async () => {
      const [newest] = (await list('')).found;
      expect((await list(`startedAfter=${String(newest?.startedAt)}`)).ids).toContain(newest?.sandboxID);
      expect((await list('startedAfter=9999-01-01T00:00:00Z')).ids).toEqual([]);
    });
  });

  it("knows E2B's own templates by their names", async () => {
    for (const alias of ['base', 'code-interpreter-v1']) {
      const { status, body } = await user.api.call('GET', `/e2b/templates/aliases/${alias}`);
      expect({ status, body }).toMatchObject({ status: 200, body: { templateID: alias } });
    }
    expect((await user.api.call('GET', '/e2b/templates/aliases/none')).status).toBe(404);
  });

  it.each([
    ['public', {}, 200],
    ['public', { allowPublicTraffic: true }, 200],
    ['private', { allowPublicTraffic: false }, 403],
  ])('has %s ports with %j where the server makes them public, but that of code', async (_, network, status) => {
    const created = await user.api.call('POST', '/e2b/sandboxes', {
      templateID: 'base',
      network: { ...network, maskRequestHost: 'app.test:${PORT}' },
    });
    const { sandboxID, trafficAccessToken } = created.body as Record<string, string>;
    const at = (port: number): PreviewClient =>
      new PreviewClient(berth.app.get(PreviewServer).originOf({ containerId: String(sandboxID), port }) ?? '');
    expect((await at(3000).call('/')).status).toBe(status);
    expect((await at(49999).call('/')).status).toBe(403);
    application.forget();
    const headers = { 'e2b-traffic-access-token': String(trafficAccessToken) };
    expect((await at(3000).call('/', { headers })).status).toBe(200);
    expect(application.seen).toEqual([
      expect.objectContaining({ headers: expect.objectContaining({ host: 'app.test:3000' }) }),
    ]);
    await user.api.call('DELETE', `/e2b/sandboxes/${String(sandboxID)}`);
  });

  it('forgets the secret of a sandbox with its data', async () => {
    const { body } = await user.api.call('POST', '/e2b/sandboxes', { templateID: 'base' });
    const containerId = String(body['sandboxID']);
    const { manager } = berth.app.get(Database);
    expect(await manager.countBy(E2bSandboxEntity, { containerId })).toBe(1);
    await user.api.call('DELETE', `/e2b/sandboxes/${containerId}`);
    await eventually(async () => expect(await manager.countBy(E2bSandboxEntity, { containerId })).toBe(0));
  });

  it("answers bad bodies in E2B's form, naming the field", async () => {
    const bad = await user.api.call('POST', '/e2b/sandboxes', { templateID: 1 });
    expect(bad).toMatchObject({ status: 400, body: { code: 400, message: expect.stringContaining('templateID') } });
  });
});
