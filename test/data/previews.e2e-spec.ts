import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { IncomingMessage } from 'node:http';
import { Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { Database } from '../../src/database';
import { EngineError, type ListeningPort } from '../../src/engine';
import { PreviewLinkEntity, PublicPortEntity } from '../../src/previews/preview.entities';
import { PreviewTraffic } from '../../src/previews/preview-traffic';
import { DEFAULT_TIERS } from '../../src/tiers/tier-table';
import { UsageLedger } from '../../src/usage';
import { openTestDatabase } from '../support/databases/test-database';
import { PreviewClient } from '../support/clients/preview-client';
import { EventStreamClient } from '../support/clients/event-stream-client';
import { ApiClient, type NewContainer } from '../support/clients/api-client';
import { eventually } from '../support/eventually';
import { FakeDaemon } from '../support/fakes/fake-daemon';
import { FakeEngine } from '../support/fakes/fake-engine';
import { TestClock } from '../support/fakes/test-clock';
import { Berth, type BerthOptions, type NewUser } from '../support/servers/berth';
import { PreviewApplication } from '../support/servers/preview-application';

const PAGE = { accept: 'text/html' };
const HOUR = 3_600_000;

/** A server of one test, with a user's running container and the preview of its port. */
interface Apart {
  readonly server: Berth;
  readonly user: NewUser;
  readonly api: NewUser['api'];
  readonly id: string;
  readonly to: PreviewClient;
  /** The owner's. */
  readonly headers: Record<string, string>;
  /** What listens in the container. */
  readonly ports: ListeningPort[];
}

describe('previews', () => {
  const daemon = new FakeDaemon();
  const application = new PreviewApplication();
  const { seen } = application;
  let berth: Berth;
  let user: NewUser;
  let container: NewContainer;
  let client: PreviewClient;
  let base: string;

  beforeAll(async () => {
    await application.start(daemon);
    berth = await Berth.start({ engine: new FakeEngine(daemon), environment: { PREVIEW_PORT: '0' } });
    user = await berth.user();
    container = await user.api.running();
    const { body } = await user.api.call('GET', ports());
    base = (body['ports'] as [{ url: string }])[0].url;
    client = new PreviewClient(base);
  });
  beforeEach(() => application.forget());
  afterAll(async () => {
    await berth.stop();
    application.stop();
  });

  const ports = (path = ''): string => `/api/containers/${container.db_id}/ports${path}`;
  /** The URL of a port; the container need not run. */
  function urlOf(port: number, of = container): string {
    return base.replace(`3000-${container.db_id}`, `${String(port)}-${of.db_id}`);
  }
  async function link(body: object = {}, port = 3000): Promise<{ id: string; token: string; url: string }> {
    const answer = await user.api.call('POST', ports(`/${String(port)}/links`), body);
    expect(answer.status).toBe(201);
    return answer.body as unknown as { id: string; token: string; url: string };
  }
  /** @returns the cookie of a visitor who opened the link */
  async function redeemed(token: string, to = client): Promise<string | null> {
    const headers = { 'content-type': 'application/json' };
    const answer = await to.call('/.berth/session', { method: 'POST', headers, body: JSON.stringify({ token }) });
    return answer.status === 204 ? (answer.headers['set-cookie']?.[0]?.split(';', 1)[0] ?? null) : null;
  }
  const owns = (): Record<string, string> => ({ 'berth-token': user.token });
  /** Runs `work` with a server of its own, and a user's running container. */
  async function apart<T>(options: Partial<BerthOptions>, work: (at: Apart) => Promise<T>): Promise<T> {
    const its = { daemon: new FakeDaemon(), application: new PreviewApplication() };
    await its.application.start(its.daemon);
    const ports = [{ port: 3000, addresses: ['127.0.0.1'] }];
    its.daemon.onListening = () => Promise.resolve([...ports]);
    const environment = { PREVIEW_PORT: '0', ...options.environment };
    const server = await Berth.start({ engine: new FakeEngine(its.daemon), ...options, environment });
    try {
      const owner = await server.user();
      const { db_id: id } = await owner.api.running();
      const { body } = await owner.api.call('GET', `/api/containers/${id}/ports`);
      const to = new PreviewClient((body['ports'] as [{ url: string }])[0].url);
      const headers = { 'berth-token': owner.token };
      return await work({ server, user: owner, api: owner.api, id, to, headers, ports });
    } finally {
      await server.stop();
      its.application.stop();
    }
  }

  it('must list what listens, with its address and who may see it', async () => {
    const url = `http://3000-${container.db_id}.preview.localhost`;
    const { status, body } = await user.api.call('GET', ports());
    expect(status).toBe(200);
    expect(body).toEqual({
      ports: [{ port: 3000, addresses: ['127.0.0.1'], access: 'private', url: expect.stringContaining(url) as string }],
    });
  });

  it('must tell a client that watches of each port that begins or ends, and not count that as use', async () => {
    const clock = new TestClock();
    await apart({ clock }, async ({ user: owner, api, id, ports: now }) => {
      const { url, token } = owner.api;
      const stream = await EventStreamClient.open({ url, token, path: `/api/containers/${id}/ports` });
      const told = (): unknown[] =>
        stream.told.map(({ name, data }) => [name, (data as { ports?: { port: number }[] }).ports?.map((p) => p.port)]);
      await eventually(() => expect(told()).toEqual([['ports', [3000]]]));
      const usedAt = async (): Promise<unknown> => (await api.get(id)).body['last_used_at'];
      const before = await usedAt();
      clock.forward(HOUR);
      now.push({ port: 8080, addresses: ['0.0.0.0'] });
      await eventually(() => expect(told().at(-1)).toEqual(['ports', [3000, 8080]]));
      now.shift();
      await eventually(() => expect(told().at(-1)).toEqual(['ports', [8080]]));
      expect(await usedAt()).toBe(before);
      await api.call('PUT', `/api/containers/${id}/ports/8080`, { access: 'public' });
      await eventually(() => expect(stream.told.at(-1)?.data).toMatchObject({ ports: [{ access: 'public' }] }));
      expect(told()).toHaveLength(4);
      expect(await usedAt()).not.toBe(before);
      await api.stop(id);
      await eventually(() => expect(stream.told.at(-1)).toMatchObject({ name: 'end' }));
      expect(stream.told.at(-1)?.data).toEqual({ reason: 'container_stopped' });
    });
  });

  it("must be the application's own answer, for the owner's token, without what is Berth's", async () => {
    const cookie = '__Host-berth-preview=x; own=1';
    const headers = { ...owns(), cookie, authorization: 'Basic own', 'x-forwarded-for': '1.2.3.4' };
    const answer = await client.call('/path?q=1', { headers });
    expect(answer).toMatchObject({ status: 200, text: 'GET /path?q=1', headers: { 'set-cookie': ['own=1'] } });
    expect(seen[0]?.headers).toMatchObject({
      host: 'localhost:3000',
      cookie: 'own=1',
      authorization: 'Basic own',
      connection: 'close',
      'x-forwarded-for': '127.0.0.1',
    });
    expect(seen[0]?.headers).not.toHaveProperty('berth-token');
  });

  it('must stream both ways, and pass a large body whole', async () => {
    const stream = await client.open('/stream', { headers: owns() });
    const [begun] = (await once(stream, 'data')) as [Buffer];
    expect(begun.toString()).toBe('begun');
    stream.destroy();
    const body = 'x'.repeat(5_000_000);
    const echoed = await client.call('/echo', { method: 'POST', headers: owns(), body });
    expect(echoed.text === body).toBe(true);
  });

  it('must pass each Server-Sent Event on as it comes, and ranges of a file', async () => {
    const stream = await client.open('/events', { headers: { ...owns(), accept: 'text/event-stream' } });
    expect(stream.headers['content-type']).toBe('text/event-stream');
    expect(String((await once(stream, 'data'))[0])).toBe('data: 1\n\n');
    application.sendEvent('2');
    expect(String((await once(stream, 'data'))[0])).toBe('data: 2\n\n');
    stream.destroy();
    const range = await client.call('/file', { headers: { ...owns(), range: 'bytes=3-5' } });
    expect(range).toMatchObject({ status: 206, headers: { 'content-range': 'bytes 3-5/10' }, text: '345' });
  });

  it('must carry WebSockets, with the host of the container, and the refusal of one', async () => {
    const socket = await client.upgrade('/', owns());
    if (!(socket instanceof Socket)) throw new Error('refused');
    expect(seen[0]?.headers).toMatchObject({ host: 'localhost:3000', upgrade: 'websocket' });
    socket.write('hello');
    expect(String((await once(socket, 'data'))[0])).toBe('hello');
    socket.destroy();
    const refusal = await client.upgrade('/refused', owns());
    if (!(refusal instanceof IncomingMessage)) throw new Error('not refused');
    expect([refusal.statusCode, await text(refusal)]).toEqual([403, 'no']);
    const stranger = await client.upgrade('/');
    expect(stranger).toMatchObject({ statusCode: 401 });
  });

  it.each<[string, () => Promise<Record<string, string>> | Record<string, string>, number, string]>([
    ['no token', () => ({}), 401, 'unauthorized'],
    ['an unknown token', () => ({ 'berth-token': `berth_${'0'.repeat(64)}` }), 401, 'unauthorized'],
    ["another user's token", async () => ({ 'berth-token': (await berth.user()).token }), 403, 'not_authorized'],
    [
      'a token without the scope exec',
      async () => {
        const body = { name: 'reader', scopes: ['read', 'write'] };
        const { body: made } = await user.api.call('POST', '/api/tokens', body);
        return { 'berth-token': String(made['token']) };
      },
      403,
      'insufficient_permissions',
    ],
    ['a link of another port', async () => ({ 'berth-token': (await link({}, 3001)).token }), 401, 'unauthorized'],
    ['a link of one use', async () => ({ 'berth-token': (await link({ once: true })).token }), 401, 'unauthorized'],
  ])('must be refused with %s, and ask the application nothing', async (_what, headers, status, code) => {
    const answer = await client.call('/', { headers: await headers() });
    expect(answer.status).toBe(status);
    expect(JSON.parse(answer.text)).toMatchObject({ code });
    expect(seen).toEqual([]);
  });

  it('must be opened by a link, in browsers by a cookie and in programs by its token, until it is revoked', async () => {
    const { id, token, url } = await link({ name: 'for a review' });
    expect(url).toBe(`${urlOf(3000)}/.berth/open#${token}`);
    const cookie = await redeemed(token);
    const status = async (): Promise<number[]> => [
      (await client.call('/', { headers: { 'berth-token': token } })).status,
      (await client.call('/', { headers: { cookie: String(cookie) } })).status,
    ];
    expect(await status()).toEqual([200, 200]);
    const { body } = await user.api.call('GET', ports('/3000/links'));
    expect(body['links']).toContainEqual(expect.objectContaining({ id, name: 'for a review', once: false }));
    expect(JSON.stringify(body)).not.toContain(token);
    expect((await user.api.call('DELETE', ports(`/3000/links/${id}`))).status).toBe(200);
    expect(await status()).toEqual([401, 401]);
    expect((await user.api.call('DELETE', ports(`/3000/links/${id}`))).body).toMatchObject({ code: 'link_not_found' });
  });

  it('must be opened by a link of one use in one browser alone', async () => {
    const { token } = await link({ once: true });
    const cookies = await Promise.all([redeemed(token), redeemed(token), redeemed(token)]);
    const given = cookies.filter((cookie) => cookie !== null);
    expect(given).toHaveLength(1);
    expect((await client.call('/', { headers: { cookie: String(given[0]) } })).status).toBe(200);
    expect(await redeemed(token)).toBeNull();
  });

  it('must have the opening of a link in the audit of its owner, but not each one', async () => {
    const [{ id, token }, single] = [await link(), await link({ once: true })];
    for (const each of [token, token, single.token]) expect(await redeemed(each)).not.toBeNull();
    const { body } = await user.api.call('GET', '/api/audit?action=container.preview_open&limit=2');
    // A visitor's address is for administrators alone.
    const entry = { container_id: container.db_id, outcome: 'ok', address: null };
    expect(body['entries']).toMatchObject([
      { ...entry, target_id: single.id },
      { ...entry, target_id: id },
    ]);
  });

  it('must give its cookie to secure pages of this host alone, and take it from requests of its own pages', async () => {
    const { token } = await link();
    const headers = { 'content-type': 'application/json' };
    const body = JSON.stringify({ token });
    const given = await client.call('/.berth/session', { method: 'POST', headers, body });
    expect(given.headers['set-cookie']?.[0]).toMatch(
      /^__Host-berth-preview=preview_[\w-]{43}; Path=\/; Secure; HttpOnly; SameSite=None; Partitioned; Max-Age=\d+$/,
    );
    const cookie = String(given.headers['set-cookie']?.[0]).split(';', 1)[0] ?? '';
    const status = async (more: Record<string, string>): Promise<number> =>
      (await client.call('/', { headers: { cookie, ...more } })).status;
    expect(await status({ 'sec-fetch-site': 'same-origin', origin: urlOf(3000) })).toBe(200);
    expect(await status({ 'sec-fetch-site': 'cross-site', 'sec-fetch-mode': 'navigate' })).toBe(200);
    expect(await status({ 'sec-fetch-site': 'same-site', 'sec-fetch-mode': 'no-cors' })).toBe(401);
    expect(await status({ origin: urlOf(3001) })).toBe(401);
    expect(await client.upgrade('/', { cookie, origin: urlOf(3001) })).toMatchObject({ statusCode: 401 });
    const foreign = { ...headers, origin: 'https://evil.example' };
    expect((await client.call('/.berth/session', { method: 'POST', headers: foreign, body })).status).toBe(403);
    expect((await client.call('/.berth/session', { method: 'POST', body })).status).toBe(415);
    const elsewhere = new PreviewClient(urlOf(3001));
    expect(await redeemed(token, elsewhere)).toBeNull();
    expect((await elsewhere.call('/', { headers: { cookie } })).status).toBe(401);
  });

  it('must be seen by everybody where it is public, if the tier allows that', async () => {
    const put = (access: string) => user.api.call('PUT', ports('/3000'), { access });
    expect((await put('public')).body).toEqual({ port: 3000, access: 'public', url: urlOf(3000) });
    expect((await client.call('/')).status).toBe(200);
    expect((await user.api.call('GET', ports())).body).toMatchObject({ ports: [{ access: 'public' }] });
    const socket = await client.upgrade('/');
    if (!(socket instanceof Socket)) throw new Error('refused');
    const closed = once(socket, 'close');
    socket.on('error', () => undefined).resume();
    expect((await put('private')).status).toBe(200);
    await closed;
    expect((await client.call('/')).status).toBe(401);
    const guest = await berth.user('guest');
    const own = await guest.api.running();
    const refused = await guest.api.call('PUT', `/api/containers/${own.db_id}/ports/3000`, { access: 'public' });
    expect(refused).toMatchObject({ status: 403, body: { code: 'public_not_allowed', tier: 'guest' } });
  });

  it('must be private again, and end what is open, when the owner moves to a tier without public ports', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'berth-tiers-'));
    const closed = Object.assign({}, DEFAULT_TIERS.tiers['pro'], { public_previews: false });
    const TIERS_FILE = join(folder, 'tiers.json');
    writeFileSync(TIERS_FILE, JSON.stringify({ ...DEFAULT_TIERS, tiers: { ...DEFAULT_TIERS.tiers, closed } }));
    await apart({ environment: { TIERS_FILE } }, async ({ server, user: owner, api, id, to }) => {
      await api.call('PUT', `/api/containers/${id}/ports/3000`, { access: 'public' });
      const socket = await to.upgrade('/');
      if (!(socket instanceof Socket)) throw new Error('refused');
      const ended = once(socket.on('error', () => undefined).resume(), 'close');
      const { api: admin } = await server.user('pro', ['admin']);
      const moved = await admin.call('PATCH', `/api/admin/users/${owner.id}`, { tier: 'closed' });
      expect(moved.status).toBe(200);
      await ended;
      expect((await to.call('/')).status).toBe(401);
      const { body } = await api.call('GET', `/api/containers/${id}/ports`);
      expect(body).toMatchObject({ ports: [{ access: 'private' }] });
    });
    rmSync(folder, { recursive: true });
  });

  it('must end what is open when a link is revoked, a token is revoked, and the user is suspended', async () => {
    const [visitor, admin] = [await berth.user(), await berth.user('pro', ['admin'])];
    const own = await visitor.api.running();
    const to = new PreviewClient(urlOf(3000, own));
    const opened = async (headers: Record<string, string>): Promise<{ closed: Promise<unknown> }> => {
      const socket = await to.upgrade('/', headers);
      if (!(socket instanceof Socket)) throw new Error('refused');
      return { closed: once(socket.on('error', () => undefined).resume(), 'close') };
    };
    const path = `/api/containers/${own.db_id}/ports/3000/links`;
    const { body: made } = await visitor.api.call('POST', path, {});
    const byLink = await opened({ 'berth-token': String(made['token']) });
    await visitor.api.call('DELETE', `${path}/${String(made['id'])}`);
    await byLink.closed;
    const { body: token } = await visitor.api.call('POST', '/api/tokens', { name: 'x', scopes: ['exec'] });
    const byToken = await opened({ 'berth-token': String(token['token']) });
    await visitor.api.call('DELETE', `/api/tokens/${String(token['id'])}`);
    await byToken.closed;
    const byOwner = await opened({ 'berth-token': visitor.token });
    await admin.api.call('PATCH', `/api/admin/users/${visitor.id}`, { suspended: true });
    await byOwner.closed;
    expect((await to.call('/', { headers: { 'berth-token': visitor.token } })).status).toBe(403);
  });

  it('must end with the run of the container, and say so then', async () => {
    const own = await user.api.running();
    const to = new PreviewClient(urlOf(3000, own));
    const socket = await to.upgrade('/', owns());
    if (!(socket instanceof Socket)) throw new Error('refused');
    const closed = once(socket.on('error', () => undefined).resume(), 'close');
    await user.api.stop(own.db_id);
    await closed;
    const stopped = await to.call('/', { headers: { ...owns(), ...PAGE } });
    expect(stopped).toMatchObject({ status: 409, headers: { 'content-type': 'text/html; charset=utf-8' } });
    expect(stopped.text).toContain('The container is stopped');
    const program = await to.call('/', { headers: owns() });
    expect(JSON.parse(program.text)).toMatchObject({ code: 'container_not_running' });
    await user.api.delete(own.db_id);
    expect((await to.call('/', { headers: owns() })).status).toBe(404);
  });

  it('must resume a paused container, and count as use of it', async () => {
    const own = await user.api.running();
    const to = new PreviewClient(urlOf(3000, own));
    expect((await user.api.call('POST', `/api/containers/${own.db_id}/pause`)).status).toBe(200);
    expect((await to.call('/', { headers: owns() })).status).toBe(200);
    expect((await user.api.get(own.db_id)).body).toMatchObject({ status: 'running' });
  });

  it('must leave a paused container paused where the setting says so', async () => {
    await apart({ environment: { PREVIEW_RESUMES: 'off' } }, async ({ api, id, to, headers }) => {
      expect((await to.call('/', { headers })).status).toBe(200);
      expect((await api.call('POST', `/api/containers/${id}/pause`)).status).toBe(200);
      const refused = await to.call('/', { headers });
      expect([refused.status, JSON.parse(refused.text)]).toMatchObject([409, { code: 'container_paused' }]);
      expect((await to.call('/', { headers: { ...headers, ...PAGE } })).text).toContain('The container is paused');
      expect((await api.get(id)).body).toMatchObject({ status: 'paused' });
    });
  });

  it('must meter bytes as usage of the owner, once a minute and when the process stops', async () => {
    const database = await openTestDatabase();
    const options = { database, environment: { INSTANCE_ID: 'previews-usage' } };
    const bytesOf = async (api: NewUser['api']): Promise<unknown[]> => {
      const { body } = await api.call('GET', '/api/usage');
      return (body['usage'] as { preview_bytes: number }[]).map((day) => day.preview_bytes);
    };
    const post = { method: 'POST', body: 'x'.repeat(1000) };
    const user = await apart(options, async ({ server, api, to, headers, ...rest }) => {
      expect((await to.call('/echo', { ...post, headers })).status).toBe(200);
      const ledger = jest.spyOn(server.app.get(UsageLedger), 'recordPreviewBytes');
      ledger.mockRejectedValueOnce(new Error('the database is away'));
      const traffic = server.app.get(PreviewTraffic);
      await expect(traffic.write()).rejects.toThrow('away');
      expect(await bytesOf(api)).toEqual([0]);
      await traffic.write();
      await traffic.write();
      expect(await bytesOf(api)).toEqual([2000]);
      await to.call('/echo', { ...post, headers });
      return rest.user;
    });
    const later = await Berth.start({ engine: new FakeEngine(new FakeDaemon()), ...options });
    expect(await bytesOf(new ApiClient(later.url, user.token))).toEqual([4000]);
    await later.stop();
    await database.drop();
  });

  it('must forget the links and public ports of a container when it is purged', async () => {
    await apart({ environment: { VOLUME_RETENTION: '0' } }, async ({ server, api, id }) => {
      await api.call('POST', `/api/containers/${id}/ports/3000/links`, {});
      await api.call('PUT', `/api/containers/${id}/ports/3000`, { access: 'public' });
      const { manager } = server.app.get(Database);
      const kept = async (): Promise<number[]> => [
        await manager.countBy(PreviewLinkEntity, { containerId: id }),
        await manager.countBy(PublicPortEntity, { containerId: id }),
      ];
      expect(await kept()).toEqual([1, 1]);
      await api.delete(id);
      await eventually(async () => expect(await kept()).toEqual([0, 0]));
    });
  });

  describe('of a stopped container', () => {
    const stopped = async (settings: object = {}): Promise<NewContainer> => {
      const own = await user.api.running();
      await user.api.patch(own.db_id, { name: own.name, ...settings });
      await user.api.stop(own.db_id);
      return own;
    };
    const statusOf = async ({ db_id: id }: NewContainer): Promise<unknown> => (await user.api.get(id)).body['status'];
    const linkTo = async ({ db_id: id }: NewContainer, body: object): Promise<string> =>
      String((await user.api.call('POST', `/api/containers/${id}/ports/3000/links`, body)).body['token']);
    const press = (to: PreviewClient, headers: Record<string, string>) =>
      to.call('/.berth/start', {
        method: 'POST',
        headers: { 'content-type': 'application/json', ...headers },
        body: '{}',
      });

    it('must start it where its auto_start says so, and wait until its server listens', async () => {
      const own = await stopped({ auto_start: true });
      expect((await user.api.get(own.db_id)).body).toMatchObject({ auto_start: true, status: 'stopped' });
      const to = new PreviewClient(urlOf(3000, own));
      let refusals = 2;
      application.beforeConnect = () => {
        if (refusals-- > 0) throw new EngineError('port_closed', 'not yet');
      };
      const answers = await Promise.all([1, 2, 3].map(() => to.call('/', { headers: owns() })));
      expect(answers.map(({ status }) => status)).toEqual([200, 200, 200]);
      const { body } = await user.api.call('GET', '/api/events?limit=500');
      const events = body['events'] as { type: string; data: { db_id: string } }[];
      const starts = events.filter(({ type, data }) => type === 'container_started' && data.db_id === own.db_id);
      expect(starts).toHaveLength(2);
      await user.api.stop(own.db_id);
      expect((await to.call('/', {})).status).toBe(401);
      expect(await statusOf(own)).toBe('stopped');
    });

    it('must start it for a link that may do that, by a button, and for no other', async () => {
      const own = await stopped();
      const to = new PreviewClient(urlOf(3000, own));
      const cookies = [];
      for (const body of [{}, { may_start: true, once: true }]) {
        cookies.push({ cookie: String(await redeemed(await linkTo(own, body), to)) });
      }
      const [usual = {}, starting = {}] = cookies;
      const page = async (headers: object): Promise<string> =>
        (await to.call('/', { headers: { ...headers, ...PAGE } })).text;
      expect(await page(usual)).not.toContain('<button>');
      expect(await page(starting)).toContain('<button>Start</button>');
      expect((await press(to, usual)).status).toBe(403);
      expect((await press(to, {})).status).toBe(401);
      expect((await press(to, { ...starting, origin: urlOf(3001, own) })).status).toBe(403);
      expect((await to.call('/.berth/start', { method: 'POST', headers: starting, body: '{}' })).status).toBe(415);
      expect(await statusOf(own)).toBe('stopped');
      expect((await press(to, starting)).status).toBe(204);
      expect(await statusOf(own)).toBe('running');
      expect((await press(to, starting)).status).toBe(204);
      expect((await to.call('/', { headers: usual })).status).toBe(200);
      const { body } = await (
        await berth.user('pro', ['admin'])
      ).api.call('GET', `/api/audit?all=true&action=container.preview_start`);
      expect(body['entries']).toContainEqual(expect.objectContaining({ container_id: own.db_id, outcome: 'ok' }));
    });

    it("must be started by the owner's token only with the scope write", async () => {
      const own = await stopped();
      const to = new PreviewClient(urlOf(3000, own));
      const { body: made } = await user.api.call('POST', '/api/tokens', { name: 'x', scopes: ['exec'] });
      expect((await press(to, { 'berth-token': String(made['token']) })).status).toBe(403);
      expect((await press(to, owns())).status).toBe(204);
      expect(await statusOf(own)).toBe('running');
    });
  });

  it('must say in words what is wrong, and nothing of it to strangers', async () => {
    const page = async (path: string, to = client, headers: Record<string, string> = owns()): Promise<string> =>
      (await to.call(path, { headers: { ...headers, ...PAGE } })).text;
    expect(await page('/', client, {})).toContain('This preview is private');
    expect(await page('/', new PreviewClient(urlOf(3001)))).toContain('Nothing listens on this port');
    expect(await page('/broken')).toContain('The application did not respond');
    const open = await client.call('/.berth/open', { headers: PAGE });
    expect(open.headers['content-security-policy']).toMatch(/default-src 'none'; script-src 'sha256-/);
    expect((await client.call('/.berth/else', { headers: owns() })).status).toBe(404);
  });

  it.each<[string, Record<string, string>, number]>([
    ["the API's", { host: 'localhost' }, 421],
    ['none of a preview', { host: 'preview.localhost' }, 421],
    ['a preview of another domain', { host: 'HOST.evil.example' }, 421],
    ['of a port that is none', { host: '65536-ID.preview.localhost' }, 421],
    ['of no id', { host: '3000-4000-ID.preview.localhost' }, 421],
  ])('must not be served under a name that is %s', async (_what, headers, status) => {
    const host = String(headers['host']).replace('HOST', `3000-${container.db_id}`).replace('ID', container.db_id);
    expect((await client.call('/', { headers: { ...owns(), host } })).status).toBe(status);
    expect(seen).toEqual([]);
  });

  it('must not be asked for more connections at once than the tier allows', async () => {
    const limited = await berth.user('pro');
    expect((await user.api.call('GET', '/api/tiers')).body).toMatchObject({
      tiers: expect.arrayContaining([expect.objectContaining({ name: 'pro', preview_connections: 200 })]) as unknown,
    });
    const own = await limited.api.running();
    const to = new PreviewClient(urlOf(3000, own));
    const headers = { 'berth-token': limited.token };
    const sockets = await Promise.all(Array.from({ length: 201 }, () => to.upgrade('/', headers)));
    const refused = sockets.filter((socket): socket is IncomingMessage => socket instanceof IncomingMessage);
    expect(refused.map(({ statusCode }) => statusCode)).toEqual([429]);
    for (const socket of sockets) socket.destroy();
    await eventually(async () => expect((await to.call('/', { headers })).status).toBe(200));
  });

  it('must be off where the setting says so', async () => {
    const off = await Berth.start({ engine: new FakeEngine(new FakeDaemon()) });
    try {
      const { api } = await off.user();
      const { db_id: id } = await api.running();
      const refused = await api.call('POST', `/api/containers/${id}/ports/3000/links`, {});
      expect(refused).toMatchObject({ status: 409, body: { code: 'previews_disabled' } });
      expect((await api.call('GET', `/api/containers/${id}/ports`)).body).toEqual({ ports: [] });
    } finally {
      await off.stop();
    }
  });
});
