import { TokenService, UserService } from '../../src/auth';
import { ContainerRepository } from '../../src/containers/rows/container.repository';
import { ExpiryWatcher } from '../../src/containers/expiry/expiry-watcher';
import { Reconciler } from '../../src/containers/reconcile/reconciler';
import { Berth, TestUser } from '../support/servers/berth';
import { leaseAsDead } from '../support/databases/lease-as-dead';
import { eventually } from '../support/eventually';
import { FakeDaemon } from '../support/fakes/fake-daemon';
import { FakeEngine } from '../support/fakes/fake-engine';
import { TestClock } from '../support/fakes/test-clock';
import { smallestSpec } from '../support/docker/smallest-spec';

const HOUR = 3_600_000;
const ENVIRONMENT = {
  INSTANCE_ID: 'admin',
  SWEEP_INTERVAL_SECONDS: '3600',
  VOLUME_RETENTION: '7d',
  // Nor does anybody look for what is over but the test.
  LIMIT_CHECK_SECONDS: '3600',
};

type Item = Readonly<Record<string, unknown>>;

describe('an operator', () => {
  const daemon = new FakeDaemon();
  const engine = new FakeEngine(daemon);
  const clock = new TestClock();
  let berth: Berth;
  let admin: TestUser;
  let user: TestUser;

  beforeAll(async () => {
    berth = await Berth.start({ engine, clock, environment: ENVIRONMENT });
    admin = await berth.user('pro', ['admin']);
  });

  beforeEach(async () => {
    user = await berth.user('free');
  });

  afterAll(async () => {
    await berth.stop();
    expect(daemon.violations).toEqual([]);
  });

  it('must find users in pages, by name and by tier', async () => {
    for (let made = 0; made < 4; made += 1) await berth.user('enterprise');
    const found: Item[] = [];
    for (let next: string | null = ''; next !== null;) {
      const { body } = await admin.api.call(
        'GET',
        `/api/admin/users?tier=enterprise&limit=3${next && `&cursor=${next}`}`,
      );
      found.push(...(body['users'] as Item[]));
      next = body['next_cursor'] as string | null;
    }
    expect(found).toHaveLength(4);
    expect(new Set(found.map(({ id }) => id)).size).toBe(4);
    const times = found.map(({ created_at }) => String(created_at));
    expect(times).toEqual([...times].sort().reverse());
    const [one] = found;
    const { body } = await admin.api.call('GET', `/api/admin/users?username=${String(one?.['username'])}`);
    expect(body['users']).toEqual([one]);
    expect(JSON.stringify(body)).not.toMatch(/hash|token/);
    for (const asked of ['limit=0', 'username=%00', 'tier=a%20b', 'cursor=AAAA', 'x=1']) {
      const refused = await admin.api.call('GET', `/api/admin/users?${asked}`);
      expect(refused.body['details']).toEqual([expect.objectContaining({ field: asked.split('=')[0] })]);
    }
  });

  it('must find users by a part of their name, in which no character stands for others', async () => {
    for (const username of ['Grace.H_1', 'grace-h-1', 'hopper@grace']) {
      await berth.app.get(UserService).ensure({ username, tier: 'free' });
    }
    const found = async (search: string): Promise<unknown[]> => {
      const { body } = await admin.api.call('GET', `/api/admin/users?search=${encodeURIComponent(search)}`);
      return (body['users'] as Item[]).map(({ username }) => username).sort();
    };
    expect(await found('GRACE')).toEqual(['Grace.H_1', 'grace-h-1', 'hopper@grace']);
    expect(await found('h_1')).toEqual(['Grace.H_1']);
    for (const nothing of ['%', '!', "'"]) expect(await found(nothing)).toEqual([]);
    const refused = await admin.api.call('GET', `/api/admin/users?search=${'x'.repeat(256)}`);
    expect(refused.body['details']).toEqual([expect.objectContaining({ field: 'search' })]);
  });

  it('must create a user with a token that is shown once, and be noted as who did', async () => {
    const asked = {
      username: 'new-user',
      tier: 'free',
      scopes: ['read', 'write'],
      token_name: 'laptop',
      expires_in: 30,
    };
    const made = await admin.api.call('POST', '/api/admin/users', asked);
    expect(made.status).toBe(201);
    const { user: created, token } = made.body as { user: Item; token: Item };
    expect(created).toMatchObject({ username: 'new-user', tier: 'free', suspended_at: null });
    expect(token).toMatchObject({ name: 'laptop', scopes: ['read', 'write'] });
    const lifetime = Date.parse(String(token['expires_at'])) - clock.now().getTime();
    expect(Math.abs(lifetime - 30 * 24 * HOUR)).toBeLessThan(60_000);
    const owner = berth.as({ ...user, token: String(token['token']) });
    expect((await owner.api.call('GET', '/api/me')).body).toMatchObject({ user: { id: created['id'] } });
    expect((await owner.api.call('POST', '/api/auth/codes')).status).toBe(201);
    const [entry] = (await admin.api.call('GET', '/api/audit?action=user.create')).body['entries'] as Item[];
    expect(entry).toMatchObject({ user_id: admin.id, subject_user_id: created['id'], target_id: created['id'] });
    expect(JSON.stringify(entry)).not.toContain(String(token['token']));
    const again = await admin.api.call('POST', '/api/admin/users', { username: 'New-User', tier: 'pro' });
    expect([again.status, again.body['code']]).toEqual([409, 'username_taken']);
    for (const [field, body] of [
      ['username', { username: '~', tier: 'free' }],
      ['tier', { username: 'other', tier: 'platinum' }],
      ['scopes', { username: 'other', tier: 'free', scopes: ['agent'] }],
      ['expires_in', { username: 'other', tier: 'free', expires_in: 0 }],
    ] as const) {
      const refused = await admin.api.call('POST', '/api/admin/users', body);
      expect(refused.body['details']).toEqual([expect.objectContaining({ field })]);
    }
    const { body } = await admin.api.call('GET', '/api/admin/users?username=other');
    expect(body['users']).toEqual([]);
  });

  it('must not create an administrator who lasts longer than they do', async () => {
    const end = new Date(clock.now().getTime() + HOUR);
    const brief = await berth.user('pro', ['admin'], { expiresAt: end });
    const make = (body: object): ReturnType<TestUser['api']['call']> =>
      brief.api.call('POST', '/api/admin/users', { tier: 'pro', ...body });
    const made = await make({ username: 'second-admin', scopes: ['admin'] });
    expect(made.body).toMatchObject({ token: { expires_at: end.toISOString() } });
    const refused = await make({ username: 'third-admin', scopes: ['admin'], expires_in: 30 });
    expect(refused.body['details']).toEqual([expect.objectContaining({ field: 'expires_in' })]);
    const plain = await make({ username: 'no-admin' });
    expect(plain.body).toMatchObject({ token: { expires_at: null, scopes: ['read', 'write', 'exec'] } });
  });

  it('must move a user to another tier, which holds at once, and whose session begins and ends with it', async () => {
    const moved = await move(user.id, 'guest');
    expect(moved.status).toBe(200);
    const { session_expires_at: end } = moved.body['user'] as Item;
    expect(Math.abs(Date.parse(String(end)) - clock.now().getTime() - 50 * HOUR)).toBeLessThan(60_000);
    expect((await user.api.call('GET', '/api/me')).body).toMatchObject({ tier: 'guest', session: { expires_at: end } });
    clock.forward(HOUR);
    expect((await move(user.id, 'guest')).body['user']).toMatchObject({ session_expires_at: end });
    expect((await move(user.id, 'enterprise')).body['user']).toMatchObject({
      tier: 'enterprise',
      session_expires_at: null,
    });
    expect((await user.api.call('GET', '/api/me')).body).toMatchObject({ limits: { containers: 25 }, session: null });
    const refused = await move(user.id, 'platinum');
    expect([refused.status, refused.body['details']]).toEqual([400, [expect.objectContaining({ field: 'tier' })]]);
    expect(await outcomes('user.update')).toEqual(['invalid_parameters', 'ok', 'ok', 'ok']);
  });

  it("must stop anybody's container as its owner would, with an event for the owner", async () => {
    const { id, db_id, name } = await user.api.running();
    const events = await berth.record(user);
    const listed = await admin.api.call('GET', `/api/admin/containers?user_id=${user.id}&status=running`);
    expect(listed.body).toMatchObject({
      containers: [{ db_id, user_id: user.id, status: 'running' }],
      next_cursor: null,
    });
    for (const form of [id.slice(0, 12), db_id]) {
      const stopped = await admin.api.call('POST', `/api/admin/containers/${form}/stop`);
      expect(stopped.body).toEqual({ message: 'container stopped', id, name, status: 'stopped' });
    }
    await events.next('container_stopped', { db_id });
    expect(events.types()).toEqual(['container_stopped']);
    expect(daemon.running(db_id)).toEqual([]);
    expect(await count(`user_id=${user.id}&status=running`)).toBe(0);
    const told = (await user.api.call('GET', '/api/audit?action=container.stop')).body['entries'] as Item[];
    expect(told).toHaveLength(2);
    for (const entry of told) {
      expect(entry).toMatchObject({ user_id: admin.id, subject_user_id: user.id, container_id: db_id, address: null });
    }
    await user.api.delete(db_id);
    expect(await count(`user_id=${user.id}`)).toBe(0);
    expect(await count(`user_id=${user.id}&status=deleted`)).toBe(1);
  });

  it("must find anybody's containers by a part of what they are called, and start them", async () => {
    const { db_id } = await user.api.running({ name: 'Web-server' });
    const other = await berth.user('free');
    await other.api.running({ name: 'web-two' });
    const { username } = (await user.api.call('GET', '/api/me')).body['user'] as { username: string };
    const found = async (asked: string): Promise<unknown[]> => {
      const { body } = await admin.api.call('GET', `/api/admin/containers?${asked}`);
      return (body['containers'] as Item[]).map(({ name }) => name).sort();
    };
    expect(await found('search=WEB')).toEqual(['Web-server', 'web-two']);
    expect(await found('search=b-s')).toEqual(['Web-server']);
    expect(await found(`search=${username.slice(2)}`)).toEqual(['Web-server']);
    expect(await found(`search=${db_id.slice(0, 8)}`)).toEqual(['Web-server']);
    expect(await found('search=web&status=stopped')).toEqual([]);
    expect(await found('node=node-1')).toEqual([]);
    for (const nothing of ['web_', '%25', '!']) expect(await found(`search=${nothing}`)).toEqual([]);
    await user.api.stop(db_id);
    expect(await found('search=web&status=stopped')).toEqual(['Web-server']);
    const start = (): ReturnType<TestUser['api']['call']> =>
      admin.api.call('POST', `/api/admin/containers/${db_id}/start`);
    expect((await start()).body).toMatchObject({ message: 'container started', status: 'running' });
    const [entry] = (await user.api.call('GET', '/api/audit?action=container.start')).body['entries'] as Item[];
    expect(entry).toMatchObject({ user_id: admin.id, container_id: db_id, outcome: 'ok' });
    await user.api.stop(db_id);
    await change(user.id, { suspended: true });
    const refused = await start();
    expect([refused.status, refused.body['code']]).toEqual([403, 'user_suspended']);
  });

  it("must revoke any token, or all of a user's, and close what they opened", async () => {
    const sockets = await berth.record(user);
    const spare = await tokenOf(user);
    const answer = await admin.api.call('DELETE', `/api/admin/tokens/${spare.id}`);
    expect(answer.body).toEqual({ message: 'token revoked', id: spare.id, user_id: user.id });
    expect((await admin.api.call('DELETE', `/api/admin/tokens/${spare.id}`)).status).toBe(404);
    expect((await spare.as.api.call('GET', '/api/me')).status).toBe(401);
    expect((await user.api.call('GET', '/api/me')).status).toBe(200);
    const second = await tokenOf(user);
    const all = await admin.api.call('POST', `/api/admin/users/${user.id}/revoke-tokens`);
    expect(all.body).toEqual({ message: 'tokens revoked', id: user.id, count: 2 });
    for (const { api } of [user, second.as]) expect((await api.call('GET', '/api/me')).status).toBe(401);
    await eventually(() => expect(sockets.socket.connected).toBe(false));
    expect((await admin.api.call('POST', `/api/admin/users/${user.id}/revoke-tokens`)).body).toMatchObject({
      count: 0,
    });
    expect((await admin.api.call('GET', '/api/me')).status).toBe(200);
  });

  it.each(['free', 'guest'])(
    'must suspend a user of the tier %s with all that is theirs, and end that',
    async (tier) => {
      await move(user.id, tier);
      const { db_id } = await user.api.running();
      const sockets = await berth.record(user);
      const suspended = await change(user.id, { suspended: true });
      expect(suspended.body).toMatchObject({ user: { tier, suspended_at: expect.any(String) } });
      expect((await change(user.id, { suspended: true })).body).toEqual(suspended.body);
      const refused = await user.api.call('GET', '/api/me');
      expect([refused.status, refused.body['code']]).toEqual([403, 'user_suspended']);
      await eventually(() => expect(sockets.socket.connected).toBe(false));
      expect(await berth.refusal(user)).toBe('user is suspended');
      await check();
      await eventually(async () => expect(await statuses(user)).toEqual(['stopped']));
      expect(daemon.running(db_id)).toEqual([]);
      // What nobody can use is not deleted for that.
      clock.forward(365 * 24 * HOUR);
      await check();
      expect((await change(user.id, { suspended: false })).body).toMatchObject({ user: { suspended_at: null } });
      const events = await berth.record(user, 0);
      await events.next('container_stopped', { db_id, reason: 'user_suspended' });
      expect((await user.api.get(db_id)).body).toMatchObject({ status: 'stopped', status_reason: 'user_suspended' });
      expect((await user.api.call('GET', '/api/audit?action=container.stop_suspended')).body['entries']).toHaveLength(
        1,
      );
      expect((await user.api.start(db_id)).status).toBe(tier === 'guest' ? 403 : 200);
    },
  );

  it('must delete a user with all that is theirs, also what they had deleted, and free their name', async () => {
    const [runs, stopped, gone] = [await user.api.running(), await user.api.running(), await user.api.running()];
    await user.api.stop(stopped.db_id);
    await user.api.delete(gone.db_id);
    const { username } = (await user.api.call('GET', '/api/me')).body['user'] as { username: string };
    const sockets = await berth.record(user);
    const deleted = await admin.api.call('DELETE', `/api/admin/users/${user.id}`);
    expect([deleted.status, deleted.body]).toEqual([200, { message: 'user deleted', id: user.id }]);
    expect((await user.api.call('GET', '/api/me')).status).toBe(401);
    await eventually(() => expect(sockets.socket.connected).toBe(false));
    for (const again of [() => admin.api.call('DELETE', `/api/admin/users/${user.id}`), () => move(user.id, 'pro')]) {
      expect((await again()).body).toMatchObject({ code: 'user_not_found' });
    }
    // One that was being issued meanwhile.
    expect((await (await tokenOf(user)).as.api.call('GET', '/api/me')).status).toBe(401);
    const { user: next } = await berth.app.get(UserService).ensure({ username, tier: 'free' });
    expect(next.id).not.toBe(user.id);
    await check();
    await eventually(async () => expect(await statuses(user)).toEqual([]));
    await berth.app.get(Reconciler).sweepNow();
    for (const { db_id } of [runs, stopped, gone]) expect(daemon.volumes.has(`berth-${db_id}`)).toBe(false);
    const told = (await admin.api.call('GET', `/api/audit?all=true&user_id=${user.id}`)).body['entries'] as Item[];
    expect(told.map(({ action }) => action)).toEqual(expect.arrayContaining(['user.delete', 'container.purge']));
  });

  it('must not be able to suspend or delete themselves', async () => {
    for (const refused of [
      await change(admin.id, { suspended: true }),
      await admin.api.call('DELETE', `/api/admin/users/${admin.id}`),
    ]) {
      expect([refused.status, refused.body['details']]).toEqual([400, [expect.objectContaining({ field: 'id' })]]);
    }
    expect((await change(admin.id, { suspended: false })).status).toBe(200);
  });

  it('must get what a comparison with Docker found and did, behind one that goes on', async () => {
    // What the tests before have left.
    clock.forward(8 * 24 * HOUR);
    await reconcile();
    const [cut, gone] = [await user.api.running(), await user.api.running()];
    await user.api.delete(gone.db_id);
    clock.forward(8 * 24 * HOUR);
    daemon.create(
      smallestSpec({
        name: 'orphan',
        volumeName: `berth-${cut.db_id}`,
        owner: { instance: 'admin', containerId: 'nobody', userId: 'nobody' },
      }),
    );
    const repository = berth.app.get(ContainerRepository);
    const row = await repository.findById(cut.db_id);
    if (!row) throw new Error('there is no row');
    await leaseAsDead(berth, row, 'reconcile');
    daemon.down = true;
    const refused = await reconcile();
    daemon.down = false;
    expect([refused.status, refused.body]).toEqual([503, expect.objectContaining({ code: 'docker_unavailable' })]);
    const hold = engine.holdOn('containers.list');
    const going = berth.app.get(Reconciler).sweepNow();
    await hold.reached;
    const asked = reconcile();
    hold.release();
    const first = await going;
    expect(first).toMatchObject({ removed_orphans: 1, purged: 1, failed: 0 });
    expect(first.finished + first.under_way).toBe(1);
    expect((await asked).body).toMatchObject({ removed_orphans: 0, purged: 0, failed: 0 });
    await eventually(async () => expect(await repository.findById(cut.db_id)).toMatchObject({ operation: null }));
    expect((await reconcile()).body).toEqual({
      looked: 0,
      finished: 0,
      under_way: 0,
      reconciled: 0,
      reconnected: 0,
      moved: 0,
      removed_orphans: 0,
      purged: 0,
      failed: 0,
    });
    expect(await outcomes('containers.reconcile')).toEqual(['ok', 'ok', 'docker_unavailable', 'ok']);
    expect(daemon.volumes.has(`berth-${gone.db_id}`)).toBe(false);
    expect([...daemon.containers.values()].map(({ name }) => name)).not.toContain('orphan');
  });

  function reconcile(): ReturnType<TestUser['api']['call']> {
    return admin.api.call('POST', '/api/admin/reconcile');
  }

  function move(id: string, tier: string): ReturnType<TestUser['api']['call']> {
    return change(id, { tier });
  }

  function change(id: string, body: unknown): ReturnType<TestUser['api']['call']> {
    return admin.api.call('PATCH', `/api/admin/users/${id}`, body);
  }

  function check(): Promise<void> {
    return berth.app.get(ExpiryWatcher).check();
  }

  /** Of the live containers. */
  async function statuses({ id }: TestUser): Promise<unknown[]> {
    const { body } = await admin.api.call('GET', `/api/admin/containers?user_id=${id}`);
    return (body['containers'] as Item[]).map(({ status }) => status);
  }

  async function count(asked: string): Promise<number> {
    const { body } = await admin.api.call('GET', `/api/admin/containers?${asked}`);
    return (body['containers'] as Item[]).length;
  }

  /** Of this action, newest first. */
  async function outcomes(action: string): Promise<unknown[]> {
    const { body } = await admin.api.call('GET', `/api/audit?action=${action}`);
    return (body['entries'] as Item[]).map(({ outcome }) => outcome);
  }

  async function tokenOf(owner: TestUser): Promise<{ id: string; as: TestUser }> {
    const { text, token } = await berth.app
      .get(TokenService)
      .issue({ userId: owner.id, name: 'spare', scopes: ['read'], expiresAt: null });
    return { id: token.id, as: berth.as({ ...owner, token: text }) };
  }
});
