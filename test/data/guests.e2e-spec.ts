import { UserService } from '../../src/auth';
import { Answer, ApiClient } from '../support/clients/api-client';
import { Berth } from '../support/servers/berth';
import { FakeEngine } from '../support/fakes/fake-engine';
import { TestClock } from '../support/fakes/test-clock';

const HOUR = 3_600_000;

describe('the log-in of guests', () => {
  const clock = new TestClock();
  let berth: Berth;

  beforeAll(async () => {
    berth = await Berth.start({ engine: new FakeEngine(), clock, environment: { GUEST_SESSION: '2h' } });
  });

  afterAll(() => berth.stop());

  it('must give a token of the usual scopes, which has no end but the session', async () => {
    const before = clock.now().getTime();
    const { status, body } = await login('ada');
    expect(status).toBe(201);
    expect(body).toEqual({
      token: expect.stringMatching(/^berth_[0-9a-f]{64}$/),
      user: { id: expect.any(String), username: 'ada', tier: 'guest' },
      expires_at: expect.any(String),
    });
    const sessionMs = Date.parse(String(body['expires_at'])) - before;
    expect(Math.abs(sessionMs - 2 * HOUR)).toBeLessThan(10_000);
    const api = clientOf(body);
    expect((await api.call('GET', '/api/me')).body).toMatchObject({
      user: body['user'],
      tier: 'guest',
      scopes: ['read', 'write', 'exec'],
      usage: { containers: 0 },
      session: { expires_at: body['expires_at'] },
      limits: { containers: 1, session_seconds: 7200 },
    });
    const tokens = await api.call('GET', '/api/tokens');
    expect(tokens.body['tokens']).toEqual([
      expect.objectContaining({ expires_at: null, scopes: ['read', 'write', 'exec'] }),
    ]);
    const tiers = (await api.call('GET', '/api/tiers')).body['tiers'];
    expect(tiers).toContainEqual(expect.objectContaining({ name: 'guest', session_seconds: 7200, session_once: true }));
    clock.forward(100 * HOUR);
    expect((await api.call('GET', '/api/me')).status).toBe(200);
  });

  it('must refuse the name of a user, and of a guest whose session goes on', async () => {
    const { user } = await berth.app.get(UserService).ensure({ username: 'grace', tier: 'free' });
    await login('alan');
    for (const taken of [user.username, 'alan']) {
      expect(await login(taken)).toMatchObject({
        status: 409,
        body: { error: 'username is taken', code: 'username_taken' },
      });
    }
  });

  it('must take names that differ in case alone for the same, of users and guests alike', async () => {
    const users = berth.app.get(UserService);
    const { user } = await users.ensure({ username: 'Hedy', tier: 'free' });
    const guest = (await login('visitor_1')).body['user'] as { id: string };
    for (const taken of ['hedy', 'HEDY', 'VISITOR_1', 'Visitor_1']) {
      expect(await login(taken)).toMatchObject({ status: 409, body: { code: 'username_taken' } });
    }
    expect((await users.ensure({ username: 'hEDY', tier: 'free' })).user).toMatchObject({
      id: user.id,
      username: 'Hedy',
    });
    await expect(users.ensure({ username: 'Visitor_1', tier: 'free' })).rejects.toMatchObject({
      kind: 'username_taken',
    });
    expect((await users.list({ limit: 5, username: 'VISITOR_1' })).map(({ id }) => id)).toEqual([guest.id]);
    clock.forward(2 * HOUR);
    const next = await login('VISITOR_1');
    expect(next).toMatchObject({ status: 201, body: { user: { username: 'VISITOR_1' } } });
    expect((await users.get(guest.id)).username).toBe(`visitor_1~${guest.id.slice(0, 8)}`);
  });

  it('must give the guest no other token that outlasts the session, and none after it', async () => {
    const { body } = await login('katherine');
    const api = clientOf(body);
    const made = await api.call('POST', '/api/tokens', { name: 'laptop' });
    expect(made).toMatchObject({ status: 201, body: { expires_at: body['expires_at'] } });
    expect(await api.call('POST', '/api/tokens', { name: 'longer', expires_in: 1 })).toMatchObject({
      status: 400,
      body: { details: [{ field: 'expires_in' }] },
    });
    clock.forward(2 * HOUR);
    expect(await api.call('POST', '/api/tokens', { name: 'late' })).toMatchObject({
      status: 403,
      body: { code: 'guest_session_expired' },
    });
    expect((await api.call('GET', '/api/tokens')).body).toMatchObject({ count: 2 });
  });

  it('must refuse a name whose guest has become a user, however long ago', async () => {
    const { id } = (await login('edsger')).body['user'] as { id: string };
    await berth.app.get(UserService).change(id, { tier: 'pro' });
    clock.forward(100 * HOUR);
    expect((await login('edsger')).status).toBe(409);
  });

  it('must give the name of a guest whose session is over to the next one, and leave the former theirs', async () => {
    const former = await login('barbara');
    const { id } = former.body['user'] as { id: string };
    const { db_id } = await clientOf(former.body).running();
    clock.forward(2 * HOUR);
    const next = await login('barbara');
    expect(next.status).toBe(201);
    expect(next.body['user']).not.toMatchObject({ id });
    expect((await clientOf(former.body).call('GET', '/api/me')).body).toMatchObject({
      user: { id, username: `barbara~${id.slice(0, 8)}` },
    });
    expect((await clientOf(former.body).get(db_id)).status).toBe(200);
    expect((await clientOf(next.body).get(db_id)).status).toBe(403);
  });

  it.each(['a new name', 'the name of a guest whose session is over'])(
    'must be one of many at once under %s',
    async (what) => {
      const name = what.includes('over') ? 'once-and-again' : 'brand_new';
      if (what.includes('over')) {
        await login(name);
        clock.forward(2 * HOUR);
      }
      const answers = await Promise.all(Array.from({ length: 12 }, () => login(name)));
      expect(answers.map(({ status }) => status).sort()).toEqual([201, ...Array.from({ length: 11 }, () => 409)]);
    },
  );

  it.each(['a', 'a'.repeat(31), 'a b', 'a.b', 'ä1', 'a~1', ''])('must refuse the name %p', async (username) => {
    expect(await login(username)).toMatchObject({
      status: 400,
      body: { code: 'invalid_parameters', details: [{ field: 'username' }] },
    });
  });

  it('must be refused while there are as many as the operator takes, exactly, and work again when sessions are over', async () => {
    const later = new TestClock();
    const environment = { GUEST_SESSION: '2h', GUEST_LIMIT: '3' };
    const small = await Berth.start({ engine: new FakeEngine(), clock: later, environment });
    const loginTo = (username: string): Promise<Answer> =>
      new ApiClient(small.url, '').call('POST', '/api/auth/guest', { username });
    try {
      await small.user('free');
      const answers = await Promise.all(Array.from({ length: 10 }, (_, n) => loginTo(`visitor-${n}`)));
      expect(answers.map(({ status }) => status).sort()).toEqual([
        201,
        201,
        201,
        ...Array.from({ length: 7 }, () => 403),
      ]);
      expect(await loginTo('one-more')).toMatchObject({
        status: 403,
        body: { error: 'guest limit reached', code: 'guest_limit_reached', current: 3, limit: 3 },
      });
      later.forward(2 * HOUR);
      expect((await loginTo('one-more')).status).toBe(201);
    } finally {
      await small.stop();
    }
  });

  it('must be refused where the operator wants none', async () => {
    const closed = await Berth.start({ engine: new FakeEngine(), environment: { GUEST_LOGIN: 'deny' } });
    try {
      const refused = await new ApiClient(closed.url, '').call('POST', '/api/auth/guest', { username: 'ada' });
      expect(refused).toMatchObject({
        status: 403,
        body: { error: 'guest login is disabled', code: 'guest_login_disabled' },
      });
    } finally {
      await closed.stop();
    }
  });

  function login(username: string): Promise<Answer> {
    return new ApiClient(berth.url, 'none').call('POST', '/api/auth/guest', { username });
  }

  function clientOf(body: Answer['body']): ApiClient {
    return new ApiClient(berth.url, String(body['token']));
  }
});
