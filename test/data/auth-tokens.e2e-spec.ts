import { randomUUID } from 'node:crypto';
import { TokenLookup } from '../../src/auth/token-lookup';
import { TokenEntity } from '../../src/auth/token.entity';
import { TokenRetention } from '../../src/auth/token.service';
import { Database } from '../../src/database';
import { Clock } from '../../src/scheduling';
import { Signals } from '../../src/signals';
import { AuthServer, expectForbidden, expectUnauthorized, UNKNOWN_TOKEN } from '../support/servers/auth-server';

const DAY = 24 * 3_600_000;

let server: AuthServer;

beforeAll(async () => {
  server = await AuthServer.start();
});

afterAll(() => server.stop());

/** How far the database's clock, as the server estimates it, may be from this process's own. */
const CLOCKS_MS = 1_000;

describe('verification', () => {
  it('must find who holds the token', async () => {
    const expiresAt = new Date(Date.now() + DAY);
    const { text, userId, username, id } = await server.holder({ scopes: ['read'], expiresAt, tier: 'pro' });
    expect(await server.tokens.verify(text)).toEqual({
      userId,
      username,
      tier: 'pro',
      tokenId: id,
      scopes: ['read'],
      agentId: null,
      boundTo: null,
      sessionExpiresAt: null,
      tokenExpiresAt: expiresAt,
    });
  });

  it.each<[string, () => Promise<string>]>([
    ['an unknown token', () => Promise.resolve(UNKNOWN_TOKEN)],
    ['a revoked token', () => server.revokedToken()],
    ['an expired token', async () => (await server.holder({ expiresAt: new Date(Date.now() - 60_000) })).text],
  ])('must refuse %s', async (_name, make) => {
    expect(await server.tokens.verify(await make())).toBeNull();
  });

  it('must refuse a token from the moment at which it expires', async () => {
    const expiresAt = new Date(Date.now() + 60_000);
    const { text } = await server.holder({ expiresAt });
    expect(await server.tokens.verify(text)).not.toBeNull();
    const now = jest.spyOn(server.app.get(Clock), 'now').mockReturnValue(expiresAt);
    expect(await server.tokens.verify(text)).toBeNull();
    now.mockReturnValue(new Date(expiresAt.getTime() - 1));
    expect(await server.tokens.verify(text)).not.toBeNull();
    now.mockRestore();
  });

  it('must not ask the database about what cannot be a token', async () => {
    const query = jest.spyOn(TokenLookup.prototype, 'byHash');
    for (const text of ['', 'x', `berth_${'A'.repeat(64)}`, "' OR 1=1 --", 'x'.repeat(100_000)]) {
      expect(await server.tokens.verify(text)).toBeNull();
    }
    expect(query).not.toHaveBeenCalled();
    await server.tokens.verify(UNKNOWN_TOKEN);
    expect(query).toHaveBeenCalledTimes(1);
    query.mockRestore();
  });

  it('must keep no token where the database can be read', async () => {
    const { text, id } = await server.holder();
    const { manager } = server.app.get(Database);
    const [row] = await manager.query<object[]>(`SELECT * FROM tokens WHERE id = '${id}'`);
    expect(JSON.stringify(row)).not.toContain(text.slice(12));
    expect(JSON.stringify(row)).toContain(text.slice(0, 12));
  });
});

describe('revocation', () => {
  it('must be final as soon as it is acknowledged, however many requests use the token', async () => {
    const { userId, text, id } = await server.holder();
    let acknowledged = false;
    const verify = async (): Promise<boolean> => {
      const begunAfter = acknowledged;
      const principal = await server.tokens.verify(text);
      return begunAfter && principal !== null;
    };
    const attempts = Array.from({ length: 50 }, verify);
    await server.tokens.revoke({ userId, tokenId: id });
    acknowledged = true;
    attempts.push(...Array.from({ length: 50 }, verify));
    expect((await Promise.all(attempts)).filter(Boolean)).toEqual([]);
  });

  it('must succeed once and be signalled once of many at the same time', async () => {
    const { userId, id } = await server.holder();
    const signalled: string[] = [];
    const stop = server.app.get(Signals).on('token_revoked', ({ tokenId }) => signalled.push(tokenId));
    const results = await Promise.allSettled(
      Array.from({ length: 20 }, () => server.tokens.revoke({ userId, tokenId: id })),
    );
    stop();
    expect(results.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
    expect(signalled).toEqual([id]);
  });

  it('must be signalled only when it is committed', async () => {
    const { userId, text, id } = await server.holder();
    const signalled: string[] = [];
    const stop = server.app.get(Signals).on('token_revoked', ({ tokenId }) => signalled.push(tokenId));
    const undone = server.app.get(Database).runInTx(async () => {
      await server.tokens.revoke({ userId, tokenId: id });
      throw new Error('undo');
    });
    await expect(undone).rejects.toThrow('undo');
    stop();
    expect(signalled).toEqual([]);
    expect(await server.tokens.verify(text)).not.toBeNull();
  });

  it('must not reach another user’s token', async () => {
    const [owner, stranger] = [await server.holder(), await server.holder()];
    await expect(server.tokens.revoke({ userId: stranger.userId, tokenId: owner.id })).rejects.toMatchObject({
      kind: 'token_not_found',
    });
    expect(await server.tokens.verify(owner.text)).not.toBeNull();
  });
});

describe('tokens made at the same time', () => {
  it('must all work, and be different', async () => {
    const { userId } = await server.holder();
    const made = await Promise.all(Array.from({ length: 50 }, () => server.another(userId)));
    expect(new Set(made.map(({ text }) => text)).size).toBe(50);
    const found = await Promise.all(made.map(({ text }) => server.tokens.verify(text)));
    expect(found.map((principal) => principal?.tokenId)).toEqual(made.map(({ id }) => id));
    expect(await server.tokens.list(userId)).toHaveLength(51);
  });
});

describe('a user', () => {
  it('must be made once, however many ask for them at the same time', async () => {
    const username = `user-${randomUUID()}`;
    const found = await Promise.all(Array.from({ length: 20 }, () => server.users.ensure({ username, tier: 'free' })));
    expect(new Set(found.map(({ user }) => user.id)).size).toBe(1);
    expect(found.filter(({ created }) => created)).toHaveLength(1);
  });

  it('must be moved to the tier that is asked for, with the tier before', async () => {
    const username = `user-${randomUUID()}`;
    await server.users.ensure({ username, tier: 'free' });
    expect(await server.users.ensure({ username, tier: 'pro' })).toMatchObject({
      created: false,
      previousTier: 'free',
    });
    expect(await server.users.ensure({ username, tier: 'pro' })).toMatchObject({
      previousTier: null,
      user: { tier: 'pro' },
    });
  });

  it('must have a session of 50 hours as a guest, which asking again does not renew', async () => {
    const username = `guest-${randomUUID()}`;
    const before = Date.now();
    const { user } = await server.users.ensure({ username, tier: 'guest' });
    const end = user.sessionExpiresAt?.getTime() ?? 0;
    expect(end - before).toBeGreaterThanOrEqual(50 * 3_600_000 - CLOCKS_MS);
    expect(end - Date.now()).toBeLessThanOrEqual(50 * 3_600_000 + CLOCKS_MS);
    const again = await server.users.ensure({ username, tier: 'guest' });
    expect(again.user.sessionExpiresAt?.getTime()).toBe(end);
  });

  it.each(['', ' ', 'a b', '-a', 'x'.repeat(65), "a'; DROP TABLE users", 'ünï', 'a\u0000'])(
    'must not be called %j',
    async (username) => {
      await expect(server.users.ensure({ username, tier: 'free' })).rejects.toMatchObject({
        kind: 'invalid_parameters',
      });
    },
  );

  it('must not be on a tier that does not exist', async () => {
    await expect(server.users.ensure({ username: 'ada', tier: 'gold' })).rejects.toMatchObject({
      kind: 'invalid_parameters',
    });
  });
});

describe('a route', () => {
  it.each<[string, (token: string) => string]>([
    ['an empty header', () => ''],
    ['no scheme', (token) => token],
    ['three words', (token) => `Bearer ${token} x`],
    ['SQL', () => "Bearer '--"],
  ])('must answer 401 to %s', async (_what, header) => {
    const authorization = header((await server.holder()).text);
    expectUnauthorized(await server.call('GET', '/api/stub/read', { headers: { authorization } }));
  });

  it('must take the token from the Authorization header alone', async () => {
    const { text: token } = await server.holder();
    expectUnauthorized(await server.call('GET', `/api/stub/read?access_token=${token}`));
    expectUnauthorized(await server.call('POST', '/api/stub/write', { body: { access_token: token } }));
    const queried = await server.call('GET', `/api/stub/read?access_token=${UNKNOWN_TOKEN}`, { token });
    expect(queried).toMatchObject({ status: 400, body: { details: [{ field: 'access_token' }] } });
    const posted = await server.call('POST', '/api/stub/write', { token, body: { access_token: 'x' } });
    expect(posted.status).toBe(201);
  });

  it('must see its own caller, however many there are at the same time', async () => {
    const holders = await Promise.all(Array.from({ length: 30 }, () => server.holder()));
    const answers = await Promise.all(holders.map(({ text }) => server.call('GET', '/api/stub/read', { token: text })));
    expect(answers.map(({ body }) => body['username'])).toEqual(holders.map(({ username }) => username));
  });

  it('that declares nothing must be closed to everyone', async () => {
    const { text: token } = await server.holder({ scopes: ['admin'] });
    expectForbidden(await server.call('GET', '/api/stub/forgotten', { token }));
  });

  it('that is public must be open to everyone, whatever token they bring', async () => {
    expect((await server.call('GET', '/api/stub/public')).status).toBe(200);
    expect((await server.call('GET', '/api/stub/public', { token: UNKNOWN_TOKEN })).status).toBe(200);
  });

  it('must verify by the database of its own application, where there are two in one process', async () => {
    const { text: token } = await server.holder();
    const other = await AuthServer.start();
    expect((await server.call('GET', '/api/me', { token })).status).toBe(200);
    expect((await other.call('GET', '/api/me', { token })).status).toBe(401);
    await other.stop();
    expect((await server.call('GET', '/api/me', { token })).status).toBe(200);
  });
});

describe('a token that ended', () => {
  it('must be forgotten once that is long enough ago, and no other', async () => {
    const before = new Date(Date.now() - 60_000);
    const { userId, id: live } = await server.holder({ expiresAt: new Date(Date.now() + DAY) });
    const endless = await server.another(userId);
    const justExpired = await server.another(userId, { expiresAt: new Date(before.getTime() + 1_000) });
    await server.another(userId, { expiresAt: new Date(before.getTime() - 1_000) });
    const justRevoked = await server.another(userId);
    const revoked = await server.another(userId);
    await server.tokens.revoke({ userId, tokenId: justRevoked.id });
    await server.tokens.revoke({ userId, tokenId: revoked.id });
    const { manager } = server.app.get(Database);
    await manager.update(TokenEntity, { id: revoked.id }, { revokedAt: new Date(before.getTime() - 1_000) });
    await server.app.get(TokenRetention).prune(before);
    const kept = await manager.findBy(TokenEntity, { userId });
    expect(kept.map(({ id }) => id).sort()).toEqual([live, endless.id, justExpired.id, justRevoked.id].sort());
  });
});
