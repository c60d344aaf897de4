import { ContainerEntity } from '../../src/containers/container.entity';
import { Database } from '../../src/database';
import { Berth, TestUser } from '../support/berth';
import { eventually } from '../support/eventually';
import { FakeDaemon, FakeEngine } from '../support/fake-engine';
import { FakeRolePrograms } from '../support/fake-role-programs';
import { type HttpAnswer, httpCall } from '../support/http-call';

/** What Rexec's command line and its Go SDK send with every request, one without a body included. */
const GO = { 'user-agent': 'Go-http-client/1.1', 'content-type': 'application/json', 'accept-encoding': 'gzip' };

/** Each test speaks as a client of Rexec does that was not changed for Berth, and reads of the answer what that client reads. */
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

    it('must be told of an administrator', async () => {
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
      return (await berth.app.get(Database).manager.findOneByOrFail(ContainerEntity, { id })).env;
    }
  });
});
