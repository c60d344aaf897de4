import { runTokenCommand } from '../../src/cli/token-command';
import { AuthServer } from '../support/servers/auth-server';
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
    expect(result.stderr).toBe('mover was on tier free and is on pro now\n');
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

  it('must make the database where there is none', async () => {
    const fresh = await openEmptyTestDatabase();
    const result = await runTokenCommand(['--user', 'first', '--tier', 'free'], {
      ...server.config,
      DATABASE_URL: fresh.url,
    });
    await fresh.drop();
    expect(result.exitCode).toBe(0);
  });

  it('must print nothing on stdout where it is refused', async () => {
    const result = await runTokenCommand(['--tier', 'gold'], server.config);
    expect([result.exitCode, result.stdout]).toEqual([2, '']);
    expect(result.stderr).toMatch(/--user is missing\n--tier must be one of .*\n\nUsage: npm run/);
  });
});
