import { runTokenCommand } from '../../src/cli/token-command';
import { TokenService, UserService } from '../../src/auth';
import { FakeEngine } from '../support/fakes/fake-engine';
import { AuthServer } from '../support/servers/auth-server';
import { Berth } from '../support/servers/berth';
import { openEmptyTestDatabase } from '../support/databases/test-database';

let server: AuthServer;

beforeAll(async () => {
  server = await AuthServer.start();
});

afterAll(() => server.stop());

describe('the token command', () => {
  it('must make a token beside a running server, which knows it at once', async () => {
    const result = await runTokenCommand(['--user', 'cli-user', '--tier', 'free', '--expires-in', '1'], server.config);
    expect(result).toEqual({
      exitCode: 0,
      stdout: expect.stringMatching(/^berth_[0-9a-f]{64}\n$/) as unknown,
      stderr: '',
    });
    const { body } = await server.call('GET', '/api/me', { token: result.stdout.trim() });
    expect(body).toMatchObject({ user: { username: 'cli-user' }, tier: 'free', scopes: ['read', 'write', 'exec'] });
  });

  it('must say so when it moves a user to another tier', async () => {
    await runTokenCommand(['--user', 'mover', '--tier', 'free'], server.config);
    const result = await runTokenCommand(['--user', 'mover', '--tier', 'pro', '--scopes', 'admin'], server.config);
    expect(result.stderr).toBe('mover was moved from tier free to pro\n');
    expect(await server.tokens.verify(result.stdout.trim())).toMatchObject({ tier: 'pro', scopes: ['admin'] });
  });

  it('must not make a user of a guest who took the name first, and whose token would open what is meant for that user', async () => {
    const guest = await server.call('POST', '/api/auth/guest', { body: { username: 'chosen' } });
    expect(guest.status).toBe(201);
    const result = await runTokenCommand(['--user', 'chosen', '--tier', 'pro'], server.config);
    expect([result.exitCode, result.stdout]).toEqual([2, '']);
    expect(result.stderr).toMatch(/chosen is a guest.*PATCH \/api\/admin\/users\//);
    const { body } = await server.call('GET', '/api/me', { token: String(guest.body['token']) });
    expect(body).toMatchObject({ tier: 'guest' });
  });

  it('creates a missing database, and makes its first user, no guest and no other, an administrator if asked', async () => {
    const fresh = await openEmptyTestDatabase();
    const tokenFor = async (user: string, ...more: string[]): Promise<string> => {
      const config = { ...server.config, DATABASE_URL: fresh.url };
      const result = await runTokenCommand(['--user', user, '--tier', 'pro', ...more], config);
      expect(result.exitCode).toBe(0);
      return result.stdout.trim();
    };
    const usual = await tokenFor('first');
    const beside = await Berth.start({ database: fresh, engine: new FakeEngine() });
    await beside.app.get(UserService).ensure({ username: 'visitor', tier: 'guest' });
    const verified = [usual, await tokenFor('first', '--first-is-admin'), await tokenFor('second', '--first-is-admin')];
    const found = await Promise.all(verified.map((token) => beside.app.get(TokenService).verify(token)));
    const scopes = ['read', 'write', 'exec'];
    expect(found.map((each) => each?.scopes)).toEqual([scopes, [...scopes, 'admin'], scopes]);
    await beside.stop();
    await fresh.drop();
  });

  it('must print nothing on stdout where it is refused', async () => {
    const result = await runTokenCommand(['--tier', 'gold'], server.config);
    expect([result.exitCode, result.stdout]).toEqual([2, '']);
    expect(result.stderr).toMatch(/--user is missing\n--tier must be one of .*\n\nUsage: npm run/);
  });
});
