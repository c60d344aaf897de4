import { createHash } from 'node:crypto';
import { TokenService, UserService } from '../../src/auth';
import { Database } from '../../src/database';
import { ApiClient, type Answer } from '../support/clients/api-client';
import { Berth, type TestUser } from '../support/servers/berth';
import { FakeEngine } from '../support/fakes/fake-engine';
import { TestClock } from '../support/fakes/test-clock';

const WEEK = 7 * 24 * 3_600_000;

describe('sign-in codes', () => {
  const clock = new TestClock();
  let berth: Berth;
  let user: TestUser;

  beforeAll(async () => {
    berth = await Berth.start({ engine: new FakeEngine(), clock, environment: { TOKEN_LIMIT: '3' } });
  });

  afterAll(() => berth.stop());

  beforeEach(async () => {
    user = await berth.user();
  });

  async function code(by = user.api, body?: object): Promise<string> {
    const answer = await by.call('POST', '/api/auth/codes', body);
    expect(answer.status).toBe(201);
    return String(answer.body['code']);
  }

  const signIn = (text: string): Promise<Answer> =>
    new ApiClient(berth.url, '').call('POST', '/api/auth/sign-in', { code: text });

  it('must sign their maker in once, for a week, with what the token may that made them', async () => {
    const first = await code();
    const answer = await signIn(first);
    expect(answer).toMatchObject({
      status: 201,
      body: { name: 'console', scopes: ['read', 'write', 'exec'], user: { id: user.id, tier: 'pro' } },
    });
    const lasts = Date.parse(String(answer.body['expires_at'])) - clock.now().getTime();
    expect(Math.abs(lasts - WEEK)).toBeLessThan(10_000);
    const me = await new ApiClient(berth.url, String(answer.body['token'])).call('GET', '/api/me');
    expect(me.body).toMatchObject({ user: { id: user.id } });
    expect(await signIn(first)).toMatchObject({ status: 403, body: { code: 'sign_in_code_refused' } });
    const reader = await berth.user('pro', ['read', 'write', 'admin']);
    expect((await signIn(await code(reader.api))).body['scopes']).toEqual(['read', 'write', 'admin']);
  });

  it('must sign in one of all who come with the same code at once', async () => {
    const same = await code();
    const answers = await Promise.all(Array.from({ length: 5 }, () => signIn(same)));
    expect(answers.map(({ status }) => status).sort()).toEqual([201, 403, 403, 403, 403]);
  });

  it('must be refused after their time, once the token that made them is revoked, and where they never were', async () => {
    const late = await code(user.api, { expires_in: 30 });
    const short = await code(user.api);
    clock.forward(31_000);
    await berth.app.get(TokenService).revokeAll(user.id);
    for (const refused of [late, short, 'nonsense', createHash('sha256').update(late).digest('hex')]) {
      expect(await signIn(refused)).toMatchObject({ status: 403, body: { code: 'sign_in_code_refused' } });
    }
  });

  it('must give no session once the token that made them is revoked, also where that is while they are taken', async () => {
    const database = berth.app.get(Database);
    const kept = await code();
    const lock = database.runInTxLocking.bind(database);
    let isRevoked = false;
    const spy = jest.spyOn(database, 'runInTxLocking').mockImplementation(async (key, work) => {
      if (key === user.id && !isRevoked) {
        isRevoked = true;
        await berth.app.get(TokenService).revokeAll(user.id);
      }
      return lock(key, work);
    });
    expect(await signIn(kept)).toMatchObject({ status: 403, body: { code: 'sign_in_code_refused' } });
    spy.mockRestore();
    expect(isRevoked).toBe(true);
    expect(await berth.app.get(TokenService).list(user.id)).toEqual([]);
  });

  it('must give a guest no session that lasts longer than theirs, and none after it', async () => {
    const login = await new ApiClient(berth.url, '').call('POST', '/api/auth/guest', { username: 'coded' });
    const guest = new ApiClient(berth.url, String(login.body['token']));
    const [first, second] = [await code(guest), await code(guest, { expires_in: 600 })];
    const { body } = await signIn(first);
    expect(body['expires_at']).toBe(login.body['expires_at']);
    clock.forward(Date.parse(String(login.body['expires_at'])) - clock.now().getTime() - 60_000);
    const late = await code(guest, { expires_in: 600 });
    clock.forward(60_000);
    expect(await signIn(late)).toMatchObject({ status: 403, body: { code: 'guest_session_expired' } });
    expect(await signIn(second)).toMatchObject({ status: 403, body: { code: 'sign_in_code_refused' } });
    expect(await guest.call('POST', '/api/auth/codes')).toMatchObject({
      status: 403,
      body: { code: 'guest_session_expired' },
    });
  });

  it('must give no session that lasts longer than the token that made them', async () => {
    const soon = new Date(clock.now().getTime() + 3_600_000);
    const { text } = await berth.app
      .get(TokenService)
      .issue({ userId: user.id, name: 'short', scopes: ['write'], expiresAt: soon });
    const { body } = await signIn(await code(new ApiClient(berth.url, text)));
    expect(body).toMatchObject({ scopes: ['write'], expires_at: soon.toISOString() });
  });

  it('must be good again where the user has as many tokens as may be, and of nobody who is suspended', async () => {
    const kept = await code();
    await user.api.call('POST', '/api/tokens', { name: 'second' });
    const third = String((await user.api.call('POST', '/api/tokens', { name: 'third' })).body['id']);
    expect(await signIn(kept)).toMatchObject({ status: 403, body: { code: 'token_limit_reached', limit: 3 } });
    await user.api.call('DELETE', `/api/tokens/${third}`);
    await berth.app.get(UserService).change(user.id, { suspended: true });
    expect(await signIn(kept)).toMatchObject({ status: 403, body: { code: 'user_suspended' } });
    await berth.app.get(UserService).change(user.id, { suspended: false });
    expect((await signIn(kept)).status).toBe(201);
  });
});
