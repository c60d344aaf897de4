import { randomUUID } from 'node:crypto';
import type { Scope } from '../../src/auth';
import { RouteRegistry } from '../../src/http';
import { AuthServer, expectForbidden, expectUnauthorized, UNKNOWN_TOKEN } from '../support/auth-server';

let server: AuthServer;

beforeAll(async () => {
  server = await AuthServer.start();
});

afterAll(() => server.stop());

describe('every route that asks for a scope', () => {
  const open = new Set(['GET /api/stub/public', 'GET /api/openapi.json', 'POST /api/auth/guest']);
  const guarded = () =>
    server.app
      .get(RouteRegistry)
      .routes.filter(
        ({ method, url }) => method !== 'HEAD' && !url.startsWith('/api/docs') && !open.has(`${method} ${url}`),
      )
      .map(({ method, url }) => ({
        method: method as 'GET' | 'POST' | 'DELETE',
        url: url.replace(':id', randomUUID()),
      }));

  it('must be among the enumerated', () => {
    const paths = guarded().map(({ method, url }) => `${method} ${url}`);
    for (const path of [
      'GET /api/me',
      'GET /api/tiers',
      'POST /api/tokens',
      'GET /api/tokens',
      'GET /api/stub/forgotten',
    ]) {
      expect(paths).toContain(path);
    }
    expect(paths).toHaveLength(11);
  });

  it.each<[string, () => Promise<Record<string, string>>]>([
    ['no token', () => Promise.resolve({})],
    ['an empty header', () => Promise.resolve({ authorization: '' })],
    ['another scheme', async () => ({ authorization: `Basic ${(await server.holder()).text}` })],
    ['no scheme', async () => ({ authorization: (await server.holder()).text })],
    ['three words', async () => ({ authorization: `Bearer ${(await server.holder()).text} x` })],
    ['a malformed token', () => Promise.resolve({ authorization: 'Bearer berth_123' })],
    ['SQL', () => Promise.resolve({ authorization: "Bearer '--" })],
    ['an unknown token', () => Promise.resolve({ authorization: `Bearer ${UNKNOWN_TOKEN}` })],
    ['a revoked token', async () => ({ authorization: `Bearer ${await server.revokedToken()}` })],
    [
      'an expired token',
      async () => ({ authorization: `Bearer ${(await server.holder({ expiresAt: new Date(0) })).text}` }),
    ],
  ])('must answer 401 to %s', async (_name, make) => {
    const headers = await make();
    for (const { method, url } of guarded()) expectUnauthorized(await server.call(method, url, { headers }));
  });

  it.each<[string, Scope[]]>([
    ['no scope', []],
    ['an agent’s', ['agent']],
    ['an agent’s with more', ['agent', 'read', 'write', 'admin']],
  ])('must answer 403 to a token with %s', async (_name, scopes) => {
    const { text: token } = await server.holder({ scopes });
    for (const { method, url } of guarded()) expectForbidden(await server.call(method, url, { token }));
  });

  it('must open to a token that holds the scope, and to no other', async () => {
    const statuses = async (scopes: Scope[]): Promise<number[]> => {
      const { text: token } = await server.holder({ scopes });
      const answers = [
        await server.call('GET', '/api/stub/read', { token }),
        await server.call('POST', '/api/stub/write', { token }),
        await server.call('GET', '/api/stub/admin', { token }),
      ];
      return answers.map(({ status }) => status);
    };
    expect(await statuses(['read'])).toEqual([200, 403, 403]);
    expect(await statuses(['write'])).toEqual([403, 201, 403]);
    expect(await statuses(['read', 'write'])).toEqual([200, 201, 403]);
    expect(await statuses(['admin'])).toEqual([200, 201, 200]);
  });

  it('must take the token from the Authorization header alone', async () => {
    const { text } = await server.holder();
    expectUnauthorized(await server.call('GET', `/api/stub/read?access_token=${text}`));
    expectUnauthorized(await server.call('POST', '/api/stub/write', { body: { access_token: text } }));
    expect((await server.call('GET', `/api/stub/read?access_token=${UNKNOWN_TOKEN}`, { token: text })).status).toBe(
      200,
    );
    expect((await server.call('POST', '/api/stub/write', { token: text, body: { access_token: 'x' } })).status).toBe(
      201,
    );
  });

  it('must see its own caller, however many there are at the same time', async () => {
    const holders = await Promise.all(Array.from({ length: 30 }, () => server.holder()));
    const answers = await Promise.all(holders.map(({ text }) => server.call('GET', '/api/stub/read', { token: text })));
    expect(answers.map(({ body }) => body['username'])).toEqual(holders.map(({ username }) => username));
  });
});

describe('a route that declares nothing', () => {
  it('must be closed to everyone', async () => {
    const { text: token } = await server.holder({ scopes: ['admin'] });
    expectForbidden(await server.call('GET', '/api/stub/forgotten', { token }));
  });
});

describe('a public route', () => {
  it('must be open to everyone, whatever token they bring', async () => {
    expect((await server.call('GET', '/api/stub/public')).status).toBe(200);
    expect((await server.call('GET', '/api/stub/public', { token: UNKNOWN_TOKEN })).status).toBe(200);
  });
});

describe('two applications in one process', () => {
  it('must each verify by their own database', async () => {
    const { text: token } = await server.holder();
    const other = await AuthServer.start();
    expect((await server.call('GET', '/api/me', { token })).status).toBe(200);
    expect((await other.call('GET', '/api/me', { token })).status).toBe(401);
    await other.stop();
    expect((await server.call('GET', '/api/me', { token })).status).toBe(200);
  });
});
