import { randomUUID } from 'node:crypto';
import type { Scope } from '../../src/auth';
import { Database } from '../../src/database';
import { AuthServer, expectUnauthorized, type Holder } from '../support/servers/auth-server';

const DAY = 24 * 3_600_000;

let server: AuthServer;

beforeAll(async () => {
  server = await AuthServer.start();
});

afterAll(() => server.stop());

describe('POST /api/tokens', () => {
  it('must show the token once, and a token that works', async () => {
    const { text: token } = await server.holder();
    const { status, body } = await server.call('POST', '/api/tokens', {
      token,
      body: { name: 'laptop', expires_in: 30 },
    });
    expect(status).toBe(201);
    expect(body).toMatchObject({
      name: 'laptop',
      scopes: ['read', 'write', 'exec'],
      token: expect.stringMatching(/^berth_[0-9a-f]{64}$/) as unknown,
    });
    expect(body['token_prefix']).toBe(String(body['token']).slice(0, 12));
    const lifetime = Date.parse(String(body['expires_at'])) - Date.parse(String(body['created_at']));
    expect(Math.abs(lifetime - 30 * DAY)).toBeLessThan(1000);
    expect((await server.call('GET', '/api/me', { token: String(body['token']) })).status).toBe(200);
    const list = await server.call('GET', '/api/tokens', { token });
    expect(JSON.stringify(list.body)).not.toContain(String(body['token']));
    expect(list.body).toMatchObject({ count: 2 });
  });

  it.each<[Scope[], Scope[] | undefined, unknown]>([
    [['write'], undefined, ['write']],
    [['read', 'write'], undefined, ['read', 'write']],
    [['admin'], undefined, ['read', 'write']],
    [['admin', 'exec'], undefined, ['read', 'write', 'exec']],
    [
      ['admin', 'exec'],
      ['admin', 'exec'],
      ['admin', 'exec'],
    ],
    [['admin'], ['exec'], 'insufficient permissions'],
    [['admin'], ['admin'], ['admin']],
    [['read', 'write'], ['read'], ['read']],
    [['read', 'write'], ['admin'], 'insufficient permissions'],
    [['write'], ['read'], 'insufficient permissions'],
    [['admin'], ['agent'], 'invalid parameters'],
    [['admin'], [], 'invalid parameters'],
  ])('must give a token of %j that asks for %j: %j', async (own, asked, outcome) => {
    const { text: token } = await server.holder({ scopes: own });
    const { status, body } = await server.call('POST', '/api/tokens', {
      token,
      body: { name: 'x', ...(asked && { scopes: asked }) },
    });
    expect(status === 201 ? body['scopes'] : body['error']).toEqual(outcome);
  });

  it('must not give a token that outlasts the one that asks', async () => {
    const expiresAt = new Date(Date.now() + 3_600_000);
    const { text: token } = await server.holder({ expiresAt });
    const longer = await server.call('POST', '/api/tokens', { token, body: { name: 'x', expires_in: 1 } });
    expect(longer).toMatchObject({ status: 400, body: { details: [{ field: 'expires_in' }] } });
    const { body } = await server.call('POST', '/api/tokens', { token, body: { name: 'x' } });
    expect(body['expires_at']).toBe(expiresAt.toISOString());
  });

  it.each<[object, string]>([
    [{}, 'name'],
    [{ name: '' }, 'name'],
    [{ name: 'x'.repeat(65) }, 'name'],
    [{ name: 'a\nb' }, 'name'],
    [{ name: 'a\u202eb' }, 'name'],
    [{ name: '\ud800' }, 'body'],
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
    const { text: token } = await server.holder();
    const answer = await server.call('POST', '/api/tokens', { token, body });
    expect([answer.status, answer.body['error']]).toEqual([400, 'invalid parameters']);
    expect(answer.body['details']).toEqual([{ field, message: expect.any(String) as unknown }]);
  });
});

describe('TOKEN_LIMIT', () => {
  it('must bound the live tokens of a user exactly, however many are asked for at once', async () => {
    const { text: token, userId } = await server.holder();
    await server.another(userId, { expiresAt: new Date(Date.now() - 60_000) });
    const revoked = await server.another(userId);
    await server.tokens.revoke({ userId, tokenId: revoked.id });
    const agentId = randomUUID();
    await server.tokens.issue({ userId, name: 'agent', scopes: ['agent'], agentId, expiresAt: null });
    const make = () => server.call('POST', '/api/tokens', { token, body: { name: 'x' } });
    const answers = await Promise.all(Array.from({ length: 60 }, make));
    expect(answers.filter(({ status }) => status === 201)).toHaveLength(49);
    const refused = answers.filter(({ status }) => status !== 201);
    expect(refused).toHaveLength(11);
    for (const { status, body } of refused) {
      expect(status).toBe(403);
      expect(body).toMatchObject({ error: 'token limit reached', code: 'token_limit_reached', current: 50, limit: 50 });
    }
    const { text: other } = await server.holder();
    expect((await server.call('POST', '/api/tokens', { token: other, body: { name: 'x' } })).status).toBe(201);
    // A place is free as soon as a token is revoked.
    const made = (await server.tokens.list(userId)).find(({ name }) => name === 'x');
    await server.tokens.revoke({ userId, tokenId: String(made?.id) });
    expect((await make()).status).toBe(201);
    expect((await make()).status).toBe(403);
  });
});

describe('a request that was let in before its token ended', () => {
  /** Does `end` once a request is at the lock of the user's row, and has not taken it. */
  function beforeLock(userId: string, end: () => Promise<unknown>): void {
    const database = server.app.get(Database);
    const lock = database.runInTxLocking.bind(database);
    let isEnded = false;
    jest.spyOn(database, 'runInTxLocking').mockImplementation(async (key, work) => {
      if (key === userId && !isEnded) {
        isEnded = true;
        await end();
      }
      return lock(key, work);
    });
  }

  afterEach(() => jest.restoreAllMocks());

  const live = async (userId: string) => (await server.tokens.list(userId)).length;

  it.each<[string, number, string, (of: Holder) => Promise<unknown>]>([
    ['was revoked', 401, 'unauthorized', ({ userId, id }) => server.tokens.revoke({ userId, tokenId: id })],
    ['was revoked with all others', 401, 'unauthorized', ({ userId }) => server.tokens.revokeAll(userId)],
    ['is of a user who was deleted', 401, 'unauthorized', ({ userId }) => server.users.delete(userId)],
    [
      'is of a user who was suspended',
      403,
      'user_suspended',
      ({ userId }) => server.users.change(userId, { suspended: true }),
    ],
  ])('must make no token with one that %s', async (_what, status, code, end) => {
    const holder = await server.holder();
    beforeLock(holder.userId, () => end(holder));
    const before = await live(holder.userId);
    const answer = await server.call('POST', '/api/tokens', { token: holder.text, body: { name: 'late' } });
    expect([answer.status, answer.body['code']]).toEqual([status, code]);
    expect(await live(holder.userId)).toBeLessThanOrEqual(before);
    expect((await server.tokens.list(holder.userId)).map(({ name }) => name)).not.toContain('late');
  });

  it('must leave none when all tokens are revoked, however many are asked for meanwhile', async () => {
    const { text: token, userId } = await server.holder();
    const make = (): Promise<{ status: number }> =>
      server.call('POST', '/api/tokens', { token, body: { name: 'x', scopes: ['read'] } });
    const first = Array.from({ length: 10 }, make);
    const revoked = server.tokens.revokeAll(userId);
    const answers = await Promise.all([...first, ...Array.from({ length: 10 }, make)]);
    await revoked;
    for (const { status } of answers) expect([201, 401]).toContain(status);
    expect(await live(userId)).toBe(0);
  });
});

describe('DELETE /api/tokens/:id', () => {
  it('must close the token at once and for good', async () => {
    const { text: token, userId } = await server.holder();
    const other = await server.another(userId);
    expect(await server.call('DELETE', `/api/tokens/${other.id}`, { token })).toMatchObject({
      status: 200,
      body: { message: 'token revoked', id: other.id },
    });
    expectUnauthorized(await server.call('GET', '/api/me', { token: other.text }));
    expect((await server.call('DELETE', `/api/tokens/${other.id}`, { token })).status).toBe(404);
  });

  it('must find neither another user’s token nor what is no id', async () => {
    const [{ text: token }, stranger] = [await server.holder(), await server.holder()];
    for (const id of [stranger.id, randomUUID(), 'x', '%00', "'%20OR%201=1", 'x'.repeat(5000)]) {
      const { status, body } = await server.call('DELETE', `/api/tokens/${id}`, { token });
      expect([status, body['error'], body['code']]).toEqual([404, 'token not found', 'token_not_found']);
    }
    expect(await server.tokens.verify(stranger.text)).not.toBeNull();
  });
});

describe('GET /api/me', () => {
  it('must answer who one is, and what is allowed and used', async () => {
    const { text: token, username, userId } = await server.holder({ tier: 'guest', scopes: ['read'] });
    const { body } = await server.call('GET', '/api/me', { token });
    expect(body).toEqual({
      user: { id: userId, username, tier: 'guest' },
      tier: 'guest',
      limits: {
        containers: 1,
        min: { memory_mb: 256, cpu_shares: 250, disk_mb: 1024 },
        max: { memory_mb: 512, cpu_shares: 500, disk_mb: 2048 },
        default: { memory_mb: 512, cpu_shares: 500, disk_mb: 2048 },
        processes: 1024,
        network: 'internet',
        session_seconds: 180_000,
        snapshot_mb: 0,
        webhooks: 0,
        snapshots: 0,
        session_once: true,
        auto_stop_seconds: null,
        auto_delete_seconds: null,
        public_previews: false,
        preview_connections: 200,
        preview_kib_per_second: null,
        agents: 0,
        exec: true,
        idle_action: 'stop',
      },
      transfer_limits: { file_bytes: 10_240 * 2 ** 20, archive_bytes: 10_240 * 2 ** 20 },
      usage: { containers: 0, agents: 0 },
      scopes: ['read'],
      container: null,
      session: { expires_at: expect.stringMatching(/^\d{4}-\d\d-\d\dT.*\.\d{3}Z$/) as unknown },
    });
  });

  it('must count the containers that are not deleted, and the user’s own alone', async () => {
    const [mine, stranger] = [await server.holder(), await server.holder()];
    for (const [userId, name, deletedAt] of [
      [mine.userId, 'a', null],
      [mine.userId, 'b', null],
      [mine.userId, 'c', new Date()],
      [stranger.userId, 'a', null],
    ] as const) {
      await insertContainer({ userId, name, deletedAt });
    }
    const { body } = await server.call('GET', '/api/me', { token: mine.text });
    expect(body).toMatchObject({ usage: { containers: 2 }, session: null });
  });
});

describe('GET /api/tiers', () => {
  it('must list the tiers in order', async () => {
    const { text: token } = await server.holder();
    const { body } = await server.call('GET', '/api/tiers', { token });
    expect(body).toMatchObject({
      tiers: [
        { name: 'guest' },
        { name: 'free', max: { memory_mb: 2048 }, default: { memory_mb: 1024 }, session_seconds: 180_000 },
        { name: 'pro' },
        { name: 'enterprise', session_seconds: null },
      ],
    });
  });
});

async function insertContainer(row: { userId: string; name: string; deletedAt: Date | null }): Promise<void> {
  const now = new Date();
  await server.app.get(Database).manager.insert<Record<string, unknown>>('containers', {
    ...row,
    id: randomUUID(),
    image: 'x',
    sealedEnv: '',
    memoryMb: 256,
    cpuShares: 250,
    diskMb: 1024,
    status: 'stopped',
    volumeName: 'x',
    operationCancelled: false,
    lastUsedAt: now,
    createdAt: now,
    updatedAt: now,
  });
}
