import { randomUUID } from 'node:crypto';
import { Body, Controller, Get, Module, Post } from '@nestjs/common';
import { NestFastifyApplication } from '@nestjs/platform-fastify';
import { Test } from '@nestjs/testing';
import { CurrentPrincipal, Public, Scopes, TokenService, UserService } from '../../src/auth';
import type { Principal, Scope } from '../../src/auth';
import { AuthModule } from '../../src/auth';
import { runTokenCommand } from '../../src/cli/token-command';
import { Config, parseConfig } from '../../src/config';
import { ConfigModule } from '../../src/config.module';
import { Database, DatabaseModule } from '../../src/database';
import { createHttpAdapter, HttpModule, RouteRegistry, setUpHttp } from '../../src/http';
import { LoggingModule } from '../../src/logging';
import { Signals, SignalsModule } from '../../src/signals';
import { TiersModule } from '../../src/tiers';
import { openTestDatabase, TestDatabase } from '../support/test-database';

@Controller('stub')
class StubController {
  @Get('public')
  @Public()
  open(): object {
    return { open: true };
  }

  @Get('read')
  @Scopes('read')
  read(@CurrentPrincipal() caller: Principal): object {
    return { username: caller.username };
  }

  @Post('write')
  @Scopes('write')
  write(@Body() body: unknown): object {
    return { body };
  }

  @Get('admin')
  @Scopes('admin')
  admin(): object {
    return {};
  }

  @Get('forgotten')
  forgotten(): object {
    return {};
  }
}

@Module({ controllers: [StubController] })
class StubModule {}

const DAY = 24 * 3_600_000;
const unknownToken = `berth_${'ab'.repeat(32)}`;
let database: TestDatabase;
let config: Config;
let app: NestFastifyApplication;
let tokens: TokenService;
let users: UserService;

async function startApp(): Promise<NestFastifyApplication> {
  const module = await Test.createTestingModule({
    imports: [
      ...[ConfigModule.forRoot(config), LoggingModule, HttpModule, DatabaseModule, SignalsModule],
      ...[TiersModule, AuthModule, StubModule],
    ],
  }).compile();
  const server = module.createNestApplication<NestFastifyApplication>(createHttpAdapter(), { logger: false });
  setUpHttp(server);
  await server.init();
  return server;
}

beforeAll(async () => {
  database = await openTestDatabase();
  config = parseConfig({ NODE_ENV: 'test', DATABASE_URL: database.url, LOG_LEVEL: 'silent' });
  app = await startApp();
  tokens = app.get(TokenService);
  users = app.get(UserService);
});
afterAll(async () => {
  await app.close();
  await database.drop();
});

interface Holder {
  readonly userId: string;
  readonly username: string;
  readonly text: string;
  readonly id: string;
}

async function holder(options: { scopes?: Scope[]; expiresAt?: Date; tier?: string } = {}): Promise<Holder> {
  const username = `user-${randomUUID()}`;
  const { user } = await users.ensure({ username, tier: options.tier ?? 'free' });
  return { username, ...(await another(user.id, options)) };
}

async function another(
  userId: string,
  { scopes = ['read', 'write'], expiresAt }: { scopes?: Scope[]; expiresAt?: Date } = {},
) {
  const issued = await tokens.issue({ userId, name: 'test', scopes, expiresAt: expiresAt ?? null });
  return { userId, text: issued.text, id: issued.token.id };
}

async function revoked(): Promise<string> {
  const { userId, text, id } = await holder();
  await tokens.revoke({ userId, tokenId: id });
  return text;
}

interface Answer {
  readonly status: number;
  readonly headers: Readonly<Record<string, unknown>>;
  readonly body: Record<string, unknown>;
}

async function call(
  method: 'GET' | 'POST' | 'DELETE',
  url: string,
  options: { token?: string; body?: object; headers?: Record<string, string> } = {},
): Promise<Answer> {
  const response = await app.inject({
    method,
    url,
    headers: { ...(options.token !== undefined && { authorization: `Bearer ${options.token}` }), ...options.headers },
    ...(options.body && { payload: options.body }),
  });
  return { status: response.statusCode, headers: response.headers, body: response.json<Record<string, unknown>>() };
}

function expectUnauthorized({ status, headers, body }: Answer): void {
  expect([status, body['error'], body['code']]).toEqual([401, 'unauthorized', 'unauthorized']);
  expect(headers['www-authenticate']).toBe('Bearer');
}

function expectForbidden({ status, body }: Answer): void {
  expect([status, body['error'], body['code']]).toEqual([403, 'insufficient permissions', 'insufficient_permissions']);
}

describe('verification', () => {
  it('must tell who holds the token', async () => {
    const expiresAt = new Date(Date.now() + DAY);
    const { text, userId, username, id } = await holder({ scopes: ['read'], expiresAt, tier: 'pro' });
    expect(await tokens.verify(text)).toEqual({
      ...{ userId, username, tier: 'pro', tokenId: id, scopes: ['read'] },
      ...{ sessionExpiresAt: null, tokenExpiresAt: expiresAt },
    });
  });

  it.each<[string, () => Promise<string>]>([
    ['an unknown token', () => Promise.resolve(unknownToken)],
    ['a revoked token', revoked],
    ['an expired token', async () => (await holder({ expiresAt: new Date(Date.now() - 1) })).text],
  ])('must refuse %s', async (_name, make) => {
    expect(await tokens.verify(await make())).toBeNull();
  });

  it('must refuse a token from the moment at which it expires', async () => {
    const expiresAt = new Date(Date.now() + 60_000);
    const { text } = await holder({ expiresAt });
    expect(await tokens.verify(text)).not.toBeNull();
    jest.useFakeTimers({ now: expiresAt, doNotFake: ['nextTick', 'setImmediate', 'setTimeout'] });
    try {
      expect(await tokens.verify(text)).toBeNull();
    } finally {
      jest.useRealTimers();
    }
  });

  it('must not ask the database about what cannot be a token', async () => {
    const { manager } = app.get(Database);
    const query = jest.spyOn(manager, 'query');
    for (const text of ['', 'x', `berth_${'A'.repeat(64)}`, "' OR 1=1 --", 'x'.repeat(100_000)]) {
      expect(await tokens.verify(text)).toBeNull();
    }
    expect(query).not.toHaveBeenCalled();
    await tokens.verify(unknownToken);
    expect(query).toHaveBeenCalledTimes(1);
    query.mockRestore();
  });

  it('must keep no token where the database can be read', async () => {
    const { text, id } = await holder();
    const { manager } = app.get(Database);
    const [row] = await manager.query<object[]>(`SELECT * FROM tokens WHERE id = '${id}'`);
    expect(JSON.stringify(row)).not.toContain(text.slice(12));
    expect(JSON.stringify(row)).toContain(text.slice(0, 12));
  });
});

describe('revocation', () => {
  it('must be final as soon as it is acknowledged, however many requests use the token', async () => {
    const { userId, text, id } = await holder();
    let acknowledged = false;
    const verify = async (): Promise<boolean> => {
      const begunAfter = acknowledged;
      const principal = await tokens.verify(text);
      return begunAfter && principal !== null;
    };
    const attempts = Array.from({ length: 50 }, verify);
    await tokens.revoke({ userId, tokenId: id });
    acknowledged = true;
    attempts.push(...Array.from({ length: 50 }, verify));
    expect((await Promise.all(attempts)).filter(Boolean)).toEqual([]);
  });

  it('must succeed once and be told once of many at the same time', async () => {
    const { userId, id } = await holder();
    const signalled: string[] = [];
    const stop = app.get(Signals).on('token_revoked', ({ tokenId }) => signalled.push(tokenId));
    const results = await Promise.allSettled(Array.from({ length: 20 }, () => tokens.revoke({ userId, tokenId: id })));
    stop();
    expect(results.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
    expect(signalled).toEqual([id]);
  });

  it('must be told only when it is committed', async () => {
    const { userId, text, id } = await holder();
    const signalled: string[] = [];
    const stop = app.get(Signals).on('token_revoked', ({ tokenId }) => signalled.push(tokenId));
    const undone = app.get(Database).runInTx(async () => {
      await tokens.revoke({ userId, tokenId: id });
      throw new Error('undo');
    });
    await expect(undone).rejects.toThrow('undo');
    stop();
    expect(signalled).toEqual([]);
    expect(await tokens.verify(text)).not.toBeNull();
  });

  it('must not reach another user’s token', async () => {
    const [owner, stranger] = [await holder(), await holder()];
    await expect(tokens.revoke({ userId: stranger.userId, tokenId: owner.id })).rejects.toMatchObject({
      kind: 'token_not_found',
    });
    expect(await tokens.verify(owner.text)).not.toBeNull();
  });
});

describe('tokens made at the same time', () => {
  it('must all work, and be different', async () => {
    const { userId } = await holder();
    const made = await Promise.all(Array.from({ length: 50 }, () => another(userId)));
    expect(new Set(made.map(({ text }) => text)).size).toBe(50);
    const found = await Promise.all(made.map(({ text }) => tokens.verify(text)));
    expect(found.map((principal) => principal?.tokenId)).toEqual(made.map(({ id }) => id));
    expect(await tokens.list(userId)).toHaveLength(51);
  });
});

describe('a user', () => {
  it('must be made once, however many ask for them at the same time', async () => {
    const username = `user-${randomUUID()}`;
    const found = await Promise.all(Array.from({ length: 20 }, () => users.ensure({ username, tier: 'free' })));
    expect(new Set(found.map(({ user }) => user.id)).size).toBe(1);
    expect(found.filter(({ created }) => created)).toHaveLength(1);
  });

  it('must be moved to the tier that is asked for, with what it was told', async () => {
    const username = `user-${randomUUID()}`;
    await users.ensure({ username, tier: 'free' });
    expect(await users.ensure({ username, tier: 'pro' })).toMatchObject({ created: false, previousTier: 'free' });
    expect(await users.ensure({ username, tier: 'pro' })).toMatchObject({ previousTier: null, user: { tier: 'pro' } });
  });

  it('must have a session of 50 hours as a guest, which asking again does not renew', async () => {
    const username = `guest-${randomUUID()}`;
    const before = Date.now();
    const { user } = await users.ensure({ username, tier: 'guest' });
    const end = user.sessionExpiresAt?.getTime() ?? 0;
    expect(end - before).toBeGreaterThanOrEqual(50 * 3_600_000 - 1);
    expect(end - Date.now()).toBeLessThanOrEqual(50 * 3_600_000);
    const again = await users.ensure({ username, tier: 'guest' });
    expect(again.user.sessionExpiresAt?.getTime()).toBe(end);
  });

  it.each(['', ' ', 'a b', '-a', 'x'.repeat(65), "a'; DROP TABLE users", 'ünï', 'a\u0000'])(
    'must not be called %j',
    async (username) => {
      await expect(users.ensure({ username, tier: 'free' })).rejects.toMatchObject({ kind: 'invalid_parameters' });
    },
  );

  it('must not be on a tier that does not exist', async () => {
    await expect(users.ensure({ username: 'ada', tier: 'gold' })).rejects.toMatchObject({ kind: 'invalid_parameters' });
  });
});

describe('every route that asks for a scope', () => {
  const open = new Set(['GET /api/stub/public', 'GET /api/openapi.json']);
  const guarded = () =>
    app
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
    expect(paths).toHaveLength(9);
  });

  it.each<[string, () => Promise<Record<string, string>>]>([
    ['no token', () => Promise.resolve({})],
    ['an empty header', () => Promise.resolve({ authorization: '' })],
    ['another scheme', async () => ({ authorization: `Basic ${(await holder()).text}` })],
    ['no scheme', async () => ({ authorization: (await holder()).text })],
    ['three words', async () => ({ authorization: `Bearer ${(await holder()).text} x` })],
    ['a malformed token', () => Promise.resolve({ authorization: 'Bearer berth_123' })],
    ['SQL', () => Promise.resolve({ authorization: "Bearer '--" })],
    ['an unknown token', () => Promise.resolve({ authorization: `Bearer ${unknownToken}` })],
    ['a revoked token', async () => ({ authorization: `Bearer ${await revoked()}` })],
    ['an expired token', async () => ({ authorization: `Bearer ${(await holder({ expiresAt: new Date(0) })).text}` })],
  ])('must answer 401 to %s', async (_name, make) => {
    const headers = await make();
    for (const { method, url } of guarded()) expectUnauthorized(await call(method, url, { headers }));
  });

  it.each<[string, Scope[]]>([
    ['no scope', []],
    ['an agent’s', ['agent']],
    ['an agent’s with more', ['agent', 'read', 'write', 'admin']],
  ])('must answer 403 to a token with %s', async (_name, scopes) => {
    const { text: token } = await holder({ scopes });
    for (const { method, url } of guarded()) expectForbidden(await call(method, url, { token }));
  });

  it('must open to a token that holds the scope, and to no other', async () => {
    const statuses = async (scopes: Scope[]): Promise<number[]> => {
      const { text: token } = await holder({ scopes });
      const answers = [
        await call('GET', '/api/stub/read', { token }),
        await call('POST', '/api/stub/write', { token }),
        await call('GET', '/api/stub/admin', { token }),
      ];
      return answers.map(({ status }) => status);
    };
    expect(await statuses(['read'])).toEqual([200, 403, 403]);
    expect(await statuses(['write'])).toEqual([403, 201, 403]);
    expect(await statuses(['read', 'write'])).toEqual([200, 201, 403]);
    expect(await statuses(['admin'])).toEqual([200, 201, 200]);
  });

  it('must take the token from the Authorization header alone', async () => {
    const { text } = await holder();
    expectUnauthorized(await call('GET', `/api/stub/read?access_token=${text}`));
    expectUnauthorized(await call('POST', '/api/stub/write', { body: { access_token: text } }));
    expect((await call('GET', `/api/stub/read?access_token=${unknownToken}`, { token: text })).status).toBe(200);
    expect((await call('POST', '/api/stub/write', { token: text, body: { access_token: 'x' } })).status).toBe(201);
  });

  it('must see its own caller, however many there are at the same time', async () => {
    const holders = await Promise.all(Array.from({ length: 30 }, () => holder()));
    const answers = await Promise.all(holders.map(({ text }) => call('GET', '/api/stub/read', { token: text })));
    expect(answers.map(({ body }) => body['username'])).toEqual(holders.map(({ username }) => username));
  });
});

describe('a route that declares nothing', () => {
  it('must be closed to everyone', async () => {
    const { text: token } = await holder({ scopes: ['admin'] });
    expectForbidden(await call('GET', '/api/stub/forgotten', { token }));
  });
});

describe('a public route', () => {
  it('must be open to everyone, whatever token they bring', async () => {
    expect((await call('GET', '/api/stub/public')).status).toBe(200);
    expect((await call('GET', '/api/stub/public', { token: unknownToken })).status).toBe(200);
  });
});

describe('POST /api/tokens', () => {
  it('must show the token once, and a token that works', async () => {
    const { text: token } = await holder();
    const { status, body } = await call('POST', '/api/tokens', { token, body: { name: 'laptop', expires_in: 30 } });
    expect(status).toBe(201);
    expect(body).toMatchObject({
      name: 'laptop',
      scopes: ['read', 'write'],
      token: expect.stringMatching(/^berth_[0-9a-f]{64}$/) as unknown,
    });
    expect(body['token_prefix']).toBe(String(body['token']).slice(0, 12));
    const lifetime = Date.parse(String(body['expires_at'])) - Date.parse(String(body['created_at']));
    expect(Math.abs(lifetime - 30 * DAY)).toBeLessThan(1000);
    expect((await call('GET', '/api/me', { token: String(body['token']) })).status).toBe(200);
    const list = await call('GET', '/api/tokens', { token });
    expect(JSON.stringify(list.body)).not.toContain(String(body['token']));
    expect(list.body).toMatchObject({ count: 2 });
  });

  it.each<[Scope[], Scope[] | undefined, unknown]>([
    [['write'], undefined, ['write']],
    [['admin'], undefined, ['read', 'write']],
    [['admin'], ['admin'], ['admin']],
    [['read', 'write'], ['read'], ['read']],
    [['read', 'write'], ['admin'], 'insufficient permissions'],
    [['write'], ['read'], 'insufficient permissions'],
    [['admin'], ['agent'], 'invalid parameters'],
    [['admin'], [], 'invalid parameters'],
  ])('must give a token of %j that asks for %j: %j', async (own, asked, outcome) => {
    const { text: token } = await holder({ scopes: own });
    const { status, body } = await call('POST', '/api/tokens', {
      token,
      body: { name: 'x', ...(asked && { scopes: asked }) },
    });
    expect(status === 201 ? body['scopes'] : body['error']).toEqual(outcome);
  });

  it.each<[object, string]>([
    [{}, 'name'],
    [{ name: '' }, 'name'],
    [{ name: 'x'.repeat(65) }, 'name'],
    [{ name: 'a\nb' }, 'name'],
    [{ name: '\ud800' }, 'name'],
    [{ name: 7 }, 'name'],
    [{ name: ['a'] }, 'name'],
    [{ name: 'a', scopes: 'read' }, 'scopes'],
    [{ name: 'a', scopes: ['root'] }, 'scopes'],
    [{ name: 'a', scopes: ['read', 'read'] }, 'scopes'],
    [{ name: 'a', scopes: [{}] }, 'scopes'],
    [{ name: 'a', scopes: null }, 'scopes'],
    [{ name: 'a', expires_in: 0 }, 'expires_in'],
    [{ name: 'a', expires_in: 1.5 }, 'expires_in'],
    [{ name: 'a', expires_in: '30' }, 'expires_in'],
    [{ name: 'a', expires_in: 1e9 }, 'expires_in'],
    [{ name: 'a', user_id: 'x' }, 'user_id'],
  ])('must refuse %j for its field %s', async (body, field) => {
    const { text: token } = await holder();
    const answer = await call('POST', '/api/tokens', { token, body });
    expect([answer.status, answer.body['error']]).toEqual([400, 'invalid parameters']);
    expect(answer.body['details']).toEqual([{ field, message: expect.any(String) as unknown }]);
  });
});

describe('DELETE /api/tokens/:id', () => {
  it('must close the token at once and for good', async () => {
    const { text: token, userId } = await holder();
    const other = await another(userId);
    expect(await call('DELETE', `/api/tokens/${other.id}`, { token })).toMatchObject({
      status: 200,
      body: { message: 'token revoked', id: other.id },
    });
    expectUnauthorized(await call('GET', '/api/me', { token: other.text }));
    expect((await call('DELETE', `/api/tokens/${other.id}`, { token })).status).toBe(404);
  });

  it('must find neither another user’s token nor what is no id', async () => {
    const [{ text: token }, stranger] = [await holder(), await holder()];
    for (const id of [stranger.id, randomUUID(), 'x', '%00', "'%20OR%201=1", 'x'.repeat(5000)]) {
      const { status, body } = await call('DELETE', `/api/tokens/${id}`, { token });
      expect([status, body['error'], body['code']]).toEqual([404, 'token not found', 'token_not_found']);
    }
    expect(await tokens.verify(stranger.text)).not.toBeNull();
  });
});

describe('GET /api/me', () => {
  it('must tell who one is, and what is allowed and used', async () => {
    const { text: token, username, userId } = await holder({ tier: 'guest', scopes: ['read'] });
    const { body } = await call('GET', '/api/me', { token });
    expect(body).toEqual({
      user: { id: userId, username, tier: 'guest' },
      tier: 'guest',
      limits: {
        containers: 1,
        min: { memory_mb: 256, cpu_shares: 250, disk_mb: 1024 },
        max: { memory_mb: 512, cpu_shares: 500, disk_mb: 2048 },
        session_seconds: 180_000,
        session_once: true,
        agents: 0,
      },
      usage: { containers: 0 },
      scopes: ['read'],
      session: { expires_at: expect.stringMatching(/^\d{4}-\d\d-\d\dT.*\.\d{3}Z$/) as unknown },
    });
  });

  it('must count the containers that are not deleted, and the user’s own alone', async () => {
    const [mine, stranger] = [await holder(), await holder()];
    for (const [userId, name, deletedAt] of [
      [mine.userId, 'a', null],
      [mine.userId, 'b', null],
      [mine.userId, 'c', new Date()],
      [stranger.userId, 'a', null],
    ] as const) {
      await insertContainer({ userId, name, deletedAt });
    }
    const { body } = await call('GET', '/api/me', { token: mine.text });
    expect(body).toMatchObject({ usage: { containers: 2 }, session: null });
  });
});

async function insertContainer(row: { userId: string; name: string; deletedAt: Date | null }): Promise<void> {
  const now = new Date();
  await app.get(Database).manager.insert<Record<string, unknown>>('containers', {
    ...row,
    ...{ id: randomUUID(), image: 'x', env: {}, memoryMb: 256, cpuShares: 250, diskMb: 1024, status: 'stopped' },
    ...{ volumeName: 'x', operationCancelled: false, lastUsedAt: now, createdAt: now, updatedAt: now },
  });
}

describe('GET /api/tiers', () => {
  it('must list the tiers in order', async () => {
    const { text: token } = await holder();
    const { body } = await call('GET', '/api/tiers', { token });
    expect(body).toMatchObject({
      tiers: [
        { name: 'guest' },
        { name: 'free', max: { memory_mb: 2048 }, session_seconds: 180_000 },
        { name: 'pro' },
        { name: 'enterprise', session_seconds: null },
      ],
    });
  });
});

describe('the token command', () => {
  it('must make a token beside a running server, which knows it at once', async () => {
    const result = await runTokenCommand(['--user', 'cli-user', '--tier', 'free', '--expires-in', '1'], config);
    expect(result).toEqual({
      exitCode: 0,
      stdout: expect.stringMatching(/^berth_[0-9a-f]{64}\n$/) as unknown,
      stderr: '',
    });
    const { body } = await call('GET', '/api/me', { token: result.stdout.trim() });
    expect(body).toMatchObject({ user: { username: 'cli-user' }, tier: 'free', scopes: ['read', 'write'] });
  });

  it('must say so when it moves a user to another tier', async () => {
    await runTokenCommand(['--user', 'mover', '--tier', 'free'], config);
    const result = await runTokenCommand(['--user', 'mover', '--tier', 'pro', '--scopes', 'admin'], config);
    expect(result.stderr).toBe('mover was on tier free and is on pro now\n');
    expect(await tokens.verify(result.stdout.trim())).toMatchObject({ tier: 'pro', scopes: ['admin'] });
  });

  it('must make the database where there is none', async () => {
    const fresh = await openTestDatabase();
    const result = await runTokenCommand(['--user', 'first', '--tier', 'free'], { ...config, DATABASE_URL: fresh.url });
    await fresh.drop();
    expect(result.exitCode).toBe(0);
  });

  it('must print nothing on stdout where it is refused', async () => {
    const result = await runTokenCommand(['--tier', 'gold'], config);
    expect([result.exitCode, result.stdout]).toEqual([2, '']);
    expect(result.stderr).toMatch(/--user is missing\n--tier must be one of .*\n\nUsage: npm run/);
  });
});

describe('two applications in one process', () => {
  it('must each verify by their own database', async () => {
    const { text: token } = await holder();
    const [otherDatabase, ownConfig] = [await openTestDatabase(), config];
    config = { ...config, DATABASE_URL: otherDatabase.url };
    const other = await startApp();
    config = ownConfig;
    const headers = { authorization: `Bearer ${token}` };
    expect((await call('GET', '/api/me', { token })).status).toBe(200);
    expect((await other.inject({ method: 'GET', url: '/api/me', headers })).statusCode).toBe(401);
    await other.close();
    await otherDatabase.drop();
    expect((await call('GET', '/api/me', { token })).status).toBe(200);
  });
});
