import { randomUUID } from 'node:crypto';
import { ContainerEntity } from '../../src/containers/model/container.entity';
import { Environments } from '../../src/containers/rows/environments';
import { Database } from '../../src/database';
import { Berth, TestUser } from '../support/servers/berth';
import { eventually } from '../support/eventually';
import { FakeDaemon } from '../support/fakes/fake-daemon';
import { FakeEngine } from '../support/fakes/fake-engine';
import { FakeRolePrograms } from '../support/fakes/fake-role-programs';
import { type HttpAnswer, httpCall } from '../support/clients/http-call';

/** What Rexec's command line and its Go SDK send with every request, one without a body included. */
const GO = { 'user-agent': 'Go-http-client/1.1', 'content-type': 'application/json', 'accept-encoding': 'gzip' };

/**
 * Each test speaks as a client of Rexec does that was not changed for Berth, and reads of the answer what that client
 * reads.
 */
describe("Rexec's own clients", () => {
  let daemon: FakeDaemon;
  let berth: Berth;
  let user: TestUser;

  beforeAll(async () => {
    daemon = new FakeDaemon();
    daemon.images.add('ubuntu:24.04');
    new FakeRolePrograms(daemon);
    berth = await Berth.start({ engine: new FakeEngine(daemon), environment: { SWEEP_INTERVAL_SECONDS: '3600' } });
  });

  afterAll(async () => {
    await berth.stop();
    expect(daemon.violations).toEqual([]);
  });

  beforeEach(async () => {
    user = await berth.user('free');
  });

  function send(method: string, path: string, call: { body?: unknown; headers?: Record<string, string> } = {}) {
    const { body, headers = GO } = call;
    return httpCall(berth.url, path, { method, token: user.token, headers, ...(body !== undefined && { body }) });
  }

  describe('rexec login --token, and rexec whoami', () => {
    const profile = { email: null, tier: 'free', is_admin: false };

    it('must find the user in GET /api/profile', async () => {
      const { status, body } = await send('GET', '/api/profile');
      const username = ((await user.api.call('GET', '/api/me')).body['user'] as { username: string }).username;
      expect([status, body]).toEqual([200, { user: { username, ...profile } }]);
    });

    it('must be shown for an administrator', async () => {
      user = await berth.user('enterprise', ['admin']);
      const { body } = await send('GET', '/api/profile');
      expect(body).toEqual({ user: expect.objectContaining({ tier: 'enterprise', is_admin: true }) });
    });

    it('must be refused with a token that nobody has, in the form of every error', async () => {
      const token = `rexec_${'0'.repeat(64)}`;
      for (const path of ['/api/profile', '/api/tokens/validate']) {
        const { status, body } = await httpCall(berth.url, path, { token, headers: GO });
        expect([status, body]).toEqual([401, expect.objectContaining({ error: 'unauthorized', code: 'unauthorized' })]);
      }
    });

    it('must find the same flat in GET /api/tokens/validate, as the agent’s token refresh does', async () => {
      const { status, body } = await send('GET', '/api/tokens/validate');
      const [{ user: shown }, { body: me }] = [
        (await send('GET', '/api/profile')).body as { user: object },
        await user.api.call('GET', '/api/me'),
      ];
      expect(status).toBe(200);
      expect(body).toEqual({ valid: true, user_id: user.id, ...shown, scopes: me['scopes'] });
    });
  });

  describe('rexec create', () => {
    it('must be answered without a role of its own: "default" is "standard"', async () => {
      const body = { name: 'terminal-1764137000', image: 'ubuntu', role: 'default', memory_mb: 512, cpu_shares: 500 };
      const created = await send('POST', '/api/containers', { body });
      expect(created.status).toBe(202);
      expect(created.body).toMatchObject({ name: body.name, image: 'ubuntu:24.04', role: 'standard' });
      const id = String(created.body['id']);
      await eventually(async () =>
        expect((await send('GET', `/api/containers/${id}`)).body).toMatchObject({
          status: 'running',
          role: 'standard',
          role_status: 'installed',
        }),
      );
    });

    it.each(['barebone', 'standard', 'node', 'python', 'go', 'neovim', 'devops', 'overemployed'])(
      'must be answered with the documented --role %s',
      async (role) => {
        const body = { name: `terminal-${role}`, image: 'ubuntu', role, memory_mb: 512, cpu_shares: 500 };
        const created = await send('POST', '/api/containers', { body });
        expect([created.status, created.body['role']]).toEqual([202, role]);
        const { body: listed } = await send('GET', '/api/roles');
        expect(listed['roles']).toContainEqual(expect.objectContaining({ name: role }));
      },
    );
  });

  describe('rexec stop, start and delete, with the id as rexec list shows it', () => {
    const shown = (answer: HttpAnswer): string => String(answer.body['id']).slice(0, 12);
    const create = (): Promise<HttpAnswer> => send('POST', '/api/containers', { body: { image: 'ubuntu' } });

    it('must take the first 12 characters of a database id, and of a Docker id', async () => {
      daemon.images.delete('ubuntu:24.04');
      const created = await create();
      const first = shown(created);
      expect(String(created.body['db_id']).startsWith(first)).toBe(true);
      await eventually(async () =>
        expect((await send('GET', `/api/containers/${first}`)).body).toMatchObject({ status: 'error' }),
      );
      daemon.images.add('ubuntu:24.04');
      const started = await send('POST', `/api/containers/${first}/start`);
      expect([started.status, started.body['status']]).toEqual([200, 'running']);
      const { body } = await send('POST', `/api/containers/${shown(started)}/stop`);
      expect(body).toMatchObject({ id: started.body['id'], status: 'stopped' });
      const settings = { name: 'short', memory_mb: 256, cpu_shares: 500, disk_mb: 1024 };
      expect((await send('PATCH', `/api/containers/${first}`, { body: settings })).status).toBe(200);
      expect((await send('DELETE', `/api/containers/${first}`)).body).toMatchObject({ name: 'short' });
      expect((await send('POST', `/api/containers/${first}/restore`)).body).toMatchObject({ name: 'short' });
    });

    it('must take any beginning from 8 characters on, in any case, and nothing that begins no id', async () => {
      const id = String((await create()).body['db_id']);
      const lengths = Array.from({ length: 28 }, (_each, at) => 8 + at);
      for (const length of lengths) {
        const found = await send('GET', `/api/containers/${id.slice(0, length).toUpperCase()}`);
        expect([length, found.status, found.body['db_id']]).toEqual([length, 200, id]);
      }
      const other = id.startsWith('0') ? 'f' : '0';
      for (const form of [
        id.slice(0, 7),
        `${other}${id.slice(1, 12)}`,
        id.replaceAll('-', '').slice(0, 16),
        `${id}0`,
      ]) {
        expect([form, (await send('GET', `/api/containers/${form}`)).status]).toEqual([form, 404]);
      }
    });

    it('must say so where two of the user’s containers begin alike, and never mind those of others', async () => {
      const id = String((await create()).body['db_id']);
      const beginning = id.slice(0, 12);
      const stranger = await berth.user('free');
      await twin(id, { userId: stranger.id });
      expect((await send('GET', `/api/containers/${beginning}`)).body).toMatchObject({ db_id: id });
      const visitor = await berth.user('free');
      expect(await visitor.api.get(beginning)).toMatchObject({ status: 403, body: { code: 'not_authorized' } });
      await twin(id, { userId: user.id, name: 'twin' });
      for (const [method, act] of [
        ['GET', ''],
        ['POST', '/stop'],
        ['POST', '/restore'],
      ] as const) {
        const refused = await send(method, `/api/containers/${beginning}${act}`);
        expect([refused.status, refused.body['code']]).toEqual([400, 'ambiguous_id']);
      }
      const admin = await berth.user('pro', ['admin']);
      const stop = await admin.api.call('POST', `/api/admin/containers/${beginning}/stop`);
      expect(stop).toMatchObject({ status: 400, body: { code: 'ambiguous_id' } });
      expect((await admin.api.call('POST', `/api/admin/containers/${id.slice(0, -1)}/stop`)).status).toBe(200);
    });

    /** Another row whose id begins like this one. */
    async function twin(id: string, as: { userId: string; name?: string }): Promise<void> {
      const { manager } = berth.app.get(Database);
      const row = await manager.findOneByOrFail(ContainerEntity, { id });
      const other = `${id.slice(0, 24)}${randomUUID().slice(24)}`;
      const free = { operation: null, operationId: null, operationExpiresAt: null, engineId: null };
      const copy: ContainerEntity = Object.assign(new ContainerEntity(), row, free, as, { id: other });
      await manager.insert(ContainerEntity, copy);
    }
  });

  describe('the SDKs', () => {
    const sdks: [string, Record<string, string>][] = [
      ['Go', { ...GO, accept: 'application/json' }],
      ['JavaScript', { 'content-type': 'application/json', accept: 'application/json', 'user-agent': 'node' }],
      ['PHP', { 'content-type': 'application/json', accept: 'application/json', 'user-agent': 'GuzzleHttp/7' }],
    ];

    it.each(sdks)('%s: must give a container its variables as "environment"', async (_language, headers) => {
      const body = { image: 'ubuntu', environment: { MY_VAR: 'value', toString: 'kept' } };
      const created = await send('POST', '/api/containers', { body, headers });
      expect(created.status).toBe(202);
      expect(await environmentOf(created)).toEqual(body.environment);
    });

    it.each(sdks)('%s: must find the labels that it gave a container', async (_language, headers) => {
      const body = { image: 'ubuntu', labels: { project: 'demo', 'app.io/tier': 'backend: no. 1' } };
      const created = await send('POST', '/api/containers', { body, headers });
      const found = await send('GET', `/api/containers/${String(created.body['id'])}`, { headers });
      const list = await send('GET', '/api/containers', { headers });
      for (const shown of [created.body, found.body, (list.body['containers'] as unknown[])[0]]) {
        expect(shown).toMatchObject({ labels: body.labels });
      }
    });

    it('must be refused where both names are given, and where a variable is none', async () => {
      const both = { image: 'ubuntu', env: { A: '1' }, environment: { A: '1' } };
      const faulty = { image: 'ubuntu', environment: { 'not a name': '1' } };
      for (const body of [both, faulty]) {
        const refused = await send('POST', '/api/containers', { body });
        expect(refused).toMatchObject({ status: 400, body: { details: [{ field: 'environment' }] } });
      }
      const none = await send('POST', '/api/containers', { body: { image: 'ubuntu', environment: null, env: null } });
      expect(await environmentOf(none)).toEqual({});
    });

    async function environmentOf({ body }: HttpAnswer): Promise<unknown> {
      const id = String(body['db_id']);
      const row = await berth.app.get(Database).manager.findOneByOrFail(ContainerEntity, { id });
      return berth.app.get(Environments).open(row);
    }
  });
});
