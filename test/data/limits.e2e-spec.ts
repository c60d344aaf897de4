import { UserService } from '../../src/auth';
import { ContainersService } from '../../src/containers';
import { ContainerEntity, type ContainerRow } from '../../src/containers/model/container.entity';
import { ContainerRepository } from '../../src/containers/rows/container.repository';
import { ExpiryWatcher } from '../../src/containers/expiry/expiry-watcher';
import { expiring } from '../../src/containers/operations/expire';
import { OperationRunner } from '../../src/containers/operations/operation-runner';
import { Database } from '../../src/database';
import { Answer, ApiClient, SMALL } from '../support/clients/api-client';
import { Berth, TestUser } from '../support/servers/berth';
import { eventually } from '../support/eventually';
import { FakeDaemon } from '../support/fakes/fake-daemon';
import { FakeEngine } from '../support/fakes/fake-engine';
import { TestClock } from '../support/fakes/test-clock';
import { openTestDatabase, TestDatabase } from '../support/databases/test-database';

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;
const LARGER = { memory_mb: 512, cpu_shares: 500, disk_mb: 2048 } as const;

describe('the ends of sessions and runs', () => {
  const clock = new TestClock();
  let daemon: FakeDaemon;
  let database: TestDatabase;
  let engine: FakeEngine;
  let berth: Berth;

  beforeAll(async () => {
    daemon = new FakeDaemon();
    database = await openTestDatabase();
    await begin();
  });

  afterAll(async () => {
    await berth.stop();
    await database.drop();
    expect(daemon.violations).toEqual([]);
  });

  describe('a guest', () => {
    let guest: TestUser;
    let sessionEnd: string;

    beforeEach(async () => {
      const login = { username: `guest-${String(Date.now())}` };
      const { body } = await new ApiClient(berth.url, '').call('POST', '/api/auth/guest', login);
      guest = { id: (body['user'] as { id: string }).id, token: String(body['token']), api: clientOf(body['token']) };
      sessionEnd = String(body['expires_at']);
    });

    afterEach(() => clear(guest));

    it('must see from the start when the session ends, whatever it starts again', async () => {
      const created = await guest.api.create();
      expect(created.body).toMatchObject({ expires_at: sessionEnd, session_limit_seconds: 50 * 3600 });
      const id = String(created.body['db_id']);
      await eventually(async () => expect(await view(guest, id)).toMatchObject({ status: 'running' }));
      expect(await view(guest, id)).toMatchObject({ expires_at: sessionEnd });
      await guest.api.stop(id);
      expect(await view(guest, id)).toMatchObject({ status: 'stopped', expires_at: sessionEnd });
      clock.forward(HOUR);
      await guest.api.start(id);
      expect(await view(guest, id)).toMatchObject({ expires_at: sessionEnd });
    });

    it('must be warned once, stopped at the end with the reason, and still read, stop and delete', async () => {
      const { id, db_id, name } = await guest.api.running();
      const events = await berth.record(guest);
      clock.forward(50 * HOUR - 10 * MINUTE - 30_000);
      await look();
      clock.forward(MINUTE);
      await look();
      await look();
      const warning = await events.next('container_expiring');
      expect(warning.data).toMatchObject({ db_id, status: 'running', expires_at: sessionEnd });
      const { seconds_left } = warning.data as { seconds_left: number };
      expect(seconds_left).toBeGreaterThan(500);
      expect(seconds_left).toBeLessThanOrEqual(570);
      clock.forward(10 * MINUTE);
      await look();
      expect((await events.next('container_stopped')).data).toMatchObject({ db_id, reason: 'session_expired' });
      await look();
      expect(await view(guest, id)).toMatchObject({
        status: 'stopped',
        status_reason: 'session_expired',
        expires_at: sessionEnd,
        ip_address: null,
      });
      expect(daemon.running(db_id)).toEqual([]);
      const audited = await guest.api.call('GET', '/api/audit?action=container.expire');
      expect(audited.body['entries']).toEqual([
        expect.objectContaining({ user_id: null, container_id: db_id, outcome: 'ok' }),
      ]);
      const refused = [guest.api.start(id), guest.api.create(), guest.api.update(id, { name, ...SMALL })];
      for (const { status, body } of await Promise.all(refused)) {
        expect({ status, body }).toMatchObject({ status: 403, body: { code: 'guest_session_expired' } });
      }
      expect((await guest.api.stop(id)).status).toBe(200);
      expect((await guest.api.call('GET', '/api/me')).body).toMatchObject({ session: { expires_at: sessionEnd } });
      expect((await guest.api.delete(id)).status).toBe(200);
      expect((await guest.api.call('POST', `/api/containers/${db_id}/restore`)).status).toBe(403);
      await events.next('container_deleted');
      expect(events.types()).toEqual(['container_expiring', 'container_stopped', 'container_deleted']);
    });

    it('must not get round the end by a start behind the back', async () => {
      const { db_id, id } = await guest.api.running();
      clock.forward(50 * HOUR);
      await look();
      await stopped(guest, db_id);
      const events = await berth.record(guest);
      daemon.start(id);
      await events.next('container_started');
      await look();
      await events.next('container_stopped', { reason: 'session_expired' });
      expect(daemon.running(db_id)).toEqual([]);
    });
  });

  describe('a run on a tier with limited runs', () => {
    let user: TestUser;
    let dbId: string;
    let end: string;

    beforeEach(async () => {
      user = await berth.user('free');
      const created = await user.api.create({ name: 'one' });
      expect(created.body).toMatchObject({ session_limit_seconds: 50 * 3600 });
      expect(created.body).not.toHaveProperty('expires_at');
      dbId = String(created.body['db_id']);
      await eventually(async () => expect(await view(user, dbId)).toMatchObject({ status: 'running' }));
      end = await endOf();
      expectIn(end, 50 * HOUR);
    });

    afterEach(() => clear(user));

    it('must be stopped at its end and warned of it, and so must the next', async () => {
      const events = await berth.record(user);
      for (const run of [1, 2]) {
        clock.forward(50 * HOUR - MINUTE);
        await look();
        clock.forward(2 * MINUTE);
        await look();
        await stopped(user, dbId);
        await events.next('container_stopped');
        expect(events.types()).toEqual(['container_expiring', 'container_stopped']);
        events.clear();
        if (run === 2) break;
        clock.forward(100 * HOUR);
        expect((await user.api.start(dbId)).status).toBe(200);
        expectIn(await endOf(), 50 * HOUR);
        await events.next('container_started');
        // What is seen in Docker afterwards is written last, and a look that meets it leaves the row to the next.
        await eventually(async () => expect((await view(user, dbId))['ip_address']).toEqual(expect.any(String)));
        events.clear();
      }
    });

    it('must keep its end and its warning through a resize, a rename and a restart of Berth', async () => {
      clock.forward(50 * HOUR - 5 * MINUTE);
      await look();
      expect((await user.api.update(dbId, { name: 'one', ...LARGER })).body).toMatchObject({ restarted: true });
      expect((await user.api.update(dbId, { name: 'two', ...LARGER })).status).toBe(200);
      expect((await user.api.start(dbId)).status).toBe(200);
      await berth.stop();
      await begin();
      user = berth.as(user);
      await look();
      expect(await endOf()).toBe(end);
      expect(await told('container_expiring')).toBe(1);
    });

    it('must go on in a container that is recreated because it was missing, but not past its end', async () => {
      clock.forward(HOUR);
      daemon.vanish(await engineId());
      await eventually(async () => expect(await view(user, dbId)).toMatchObject({ status_reason: 'missing' }));
      // Nothing runs, so nothing ends; that the run goes on shows when it is started again.
      expect(await endOf()).toBe('null');
      expect((await user.api.start(dbId)).body).toMatchObject({ recreated: true });
      expect(await endOf()).toBe(end);
      daemon.vanish(await engineId());
      clock.forward(50 * HOUR);
      await eventually(async () => expect(await view(user, dbId)).toMatchObject({ status_reason: 'missing' }));
      expect((await user.api.start(dbId)).body).toMatchObject({ recreated: true });
      expectIn(await endOf(), 50 * HOUR);
    });

    it('must end with every stop, and begin again with every start, whoever made them', async () => {
      clock.forward(HOUR);
      daemon.kill(await engineId());
      await eventually(async () => expect(await view(user, dbId)).toMatchObject({ status_reason: 'exited' }));
      expect(await endOf()).toBe('null');
      daemon.start(await engineId());
      await eventually(async () => expect(await view(user, dbId)).toMatchObject({ status: 'running' }));
      expectIn(await endOf(), 50 * HOUR);
      clock.forward(HOUR);
      await user.api.stop(dbId);
      daemon.vanish(await engineId());
      await user.api.start(dbId);
      expectIn(await endOf(), 50 * HOUR);
    });

    it('must follow the tier of its user, also at the last moment', async () => {
      await setTier('pro');
      clock.forward(50 * HOUR);
      // As when the tier changed between the look and the lease.
      await berth.app.get(OperationRunner).run(await row(), expiring('expire'));
      expect(await view(user, dbId)).toMatchObject({ status: 'running', expires_at: null });
      expect(await row()).toMatchObject({ operation: null });
      clock.forward(50 * HOUR);
      await setTier('free');
      await look();
      expectIn(await endOf(), 50 * HOUR);
      await setTier('pro');
      await look();
      expect(await endOf()).toBe('null');
      await setTier('guest');
      await look();
      expectIn(await endOf(), 50 * HOUR);
      expect(await told('container_stopped')).toBe(0);
    });

    it('must be emitted for what it was where the answer to the stop is lost', async () => {
      clock.forward(50 * HOUR);
      engine.failOn('containers.stop', { when: 'after' });
      await look();
      await stopped(user, dbId);
      expect(await told('container_stopped')).toBe(1);
    });

    it('must wait for Docker, and for the operation that holds the container', async () => {
      clock.forward(50 * HOUR);
      daemon.down = true;
      await expect(look()).rejects.toThrow('ECONNREFUSED');
      daemon.down = false;
      expect(await row()).toMatchObject({ operation: null, status: 'running' });
      const hold = engine.holdOn('containers.create');
      const updating = user.api.update(dbId, { name: 'one', ...LARGER });
      await hold.reached;
      await look();
      hold.release();
      expect((await updating).status).toBe(200);
      expect(await view(user, dbId)).toMatchObject({ status: 'running', expires_at: end });
      // One look may meet the sweep.
      await eventually(async () => {
        await look();
        expect(await view(user, dbId)).toMatchObject({ status: 'stopped' });
      });
    });

    it.each(['before', 'after'] as const)(
      'must be ended once, and for its reason, where the process died %s the stop',
      async (when) => {
        const events = await berth.record(user);
        clock.forward(50 * HOUR);
        const died = engine.dieOn('containers.stop', { when });
        await look();
        await died;
        expect(await row()).toMatchObject({ operation: 'expire' });
        events.close();
        await berth.stop();
        await begin();
        user = berth.as(user);
        await stopped(user, dbId);
        await eventually(async () => expect(await row()).toMatchObject({ operation: null }));
        expect(daemon.running(dbId)).toEqual([]);
        expect(await told('container_stopped')).toBe(1);
        expectIn(String((await user.api.start(dbId)).status === 200 && (await endOf())), 50 * HOUR);
      },
    );

    async function setTier(tier: string): Promise<void> {
      const { body } = await user.api.call('GET', '/api/me');
      const { username } = body['user'] as { username: string };
      await berth.app.get(UserService).ensure({ username, tier });
    }

    async function endOf(): Promise<string> {
      return String((await view(user, dbId))['expires_at']);
    }

    async function engineId(): Promise<string> {
      return String((await view(user, dbId))['id']);
    }

    async function row(): Promise<ContainerRow> {
      const found = await berth.app.get(ContainerRepository).findById(dbId);
      if (!found) throw new Error('there is no row');
      return found;
    }

    /** How many events of this type the user was ever told. */
    async function told(type: string): Promise<number> {
      const events = await berth.record(user, 0);
      const { body } = await user.api.call('GET', '/api/containers');
      await eventually(() => expect(events.events.at(-1)?.seq).toBeGreaterThanOrEqual(Number(body['event_seq'])));
      return events.types().filter((each) => each === type).length;
    }
  });

  describe('a container that stays stopped', () => {
    let user: TestUser;
    let dbId: string;
    const DAY = 24 * HOUR;

    beforeEach(async () => {
      user = await berth.user('pro');
      dbId = (await user.api.running({ name: 'one', auto_delete_seconds: (4 * DAY) / 1000 })).db_id;
    });

    afterEach(() => clear(user));

    it('must be warned of and deleted after its time, say so, and come back with its data', async () => {
      await user.api.stop(dbId);
      const events = await berth.record(user);
      clock.forward(2 * DAY);
      await look();
      expect(await view(user, dbId)).toMatchObject({ status: 'stopped', auto_delete_seconds: (4 * DAY) / 1000 });
      clock.forward(DAY + HOUR);
      await look();
      await look();
      const { data } = await events.next('container_expiring');
      expect(data).toMatchObject({ db_id: dbId, action: 'delete', reason: 'auto_delete' });
      expectIn(String((data as { expires_at?: string }).expires_at), DAY);
      clock.forward(DAY);
      await look();
      expect((await events.next('container_deleted')).data).toMatchObject({ db_id: dbId, reason: 'auto_delete' });
      expect(events.types()).toEqual(['container_expiring', 'container_deleted']);
      expect((await user.api.get(dbId)).status).toBe(404);
      const audited = await user.api.call('GET', '/api/audit?action=container.auto_delete');
      expect(audited.body['entries']).toEqual([
        expect.objectContaining({ user_id: null, container_id: dbId, outcome: 'ok' }),
      ]);
      expect((await user.api.call('POST', `/api/containers/${dbId}/restore`)).status).toBe(200);
      // Its time begins anew.
      await look();
      expect((await user.api.start(dbId)).body).toMatchObject({ volume_kept: true });
    });

    it('must be kept where it was touched, also between the look and the lease', async () => {
      await user.api.stop(dbId);
      clock.forward(3 * DAY);
      await look();
      clock.forward(DAY);
      const repository = berth.app.get(ContainerRepository);
      const read = await repository.findById(dbId);
      expect((await user.api.call('POST', `/api/containers/${dbId}/touch`)).body).toMatchObject({ idle_seconds: 0 });
      if (read) await berth.app.get(OperationRunner).run(read, expiring('auto_delete'));
      expect(await view(user, dbId)).toMatchObject({ status: 'stopped' });
      await look();
      clock.forward(3 * DAY);
      await look();
      expect(await view(user, dbId)).toMatchObject({ status: 'stopped' });
    });

    it('must be warned of first where its limit is new, and be kept where it is gone again', async () => {
      await user.api.update(dbId, { name: 'one', ...SMALL, auto_delete_seconds: null });
      await user.api.stop(dbId);
      const events = await berth.record(user);
      clock.forward(30 * DAY);
      await look();
      // As by a tier's limit: the row's own begins with its change.
      const { manager } = berth.app.get(Database);
      await manager.update(ContainerEntity, dbId, { autoDeleteSeconds: (4 * DAY) / 1000 });
      await look();
      const { data } = await events.next('container_expiring');
      expectIn(String((data as { expires_at?: string }).expires_at), DAY);
      await user.api.update(dbId, { name: 'one', ...SMALL, auto_delete_seconds: null });
      clock.forward(2 * DAY);
      await look();
      expect(await view(user, dbId)).toMatchObject({ status: 'stopped', auto_delete_seconds: null });
    });

    it.each(['before', 'after'] as const)(
      'must be deleted once, and for its reason, where the process died %s the removal',
      async (when) => {
        await user.api.stop(dbId);
        clock.forward(3 * DAY);
        await look();
        clock.forward(DAY);
        const died = engine.dieOn('containers.remove', { when });
        await look();
        await died;
        await berth.stop();
        await begin();
        user = berth.as(user);
        await eventually(async () => expect((await user.api.get(dbId)).status).toBe(404));
        const events = await berth.record(user, 0);
        const deleted = await events.next('container_deleted');
        expect(deleted.data).toMatchObject({ db_id: dbId, reason: 'auto_delete' });
        const left = [...daemon.containers.values()].filter(({ spec }) => spec.owner.containerId === dbId);
        expect(left).toEqual([]);
      },
    );

    it("must go some days after its guest's session", async () => {
      const login = { username: `guest-${String(Date.now())}-x` };
      const { body } = await new ApiClient(berth.url, '').call('POST', '/api/auth/guest', login);
      const guest = {
        id: (body['user'] as { id: string }).id,
        token: String(body['token']),
        api: clientOf(body['token']),
      };
      const { db_id } = await guest.api.running();
      clock.forward(50 * HOUR);
      await look();
      await stopped(guest, db_id);
      expect((await guest.api.call('POST', `/api/containers/${db_id}/touch`)).status).toBe(403);
      clock.forward(2 * DAY);
      await look();
      clock.forward(DAY);
      const events = await berth.record(guest);
      await look();
      const { data } = await events.next('container_deleted');
      expect(data).toMatchObject({ db_id, reason: 'session_expired', purge_at: expect.any(String) });
    });
  });

  describe('a container that nobody uses', () => {
    let user: TestUser;
    let dbId: string;

    beforeEach(async () => {
      user = await berth.user('enterprise');
      dbId = (await user.api.running({ name: 'one' })).db_id;
    });

    afterEach(() => clear(user));

    it('must be stopped after its time, and say so', async () => {
      const events = await berth.record(user);
      clock.forward(29 * MINUTE);
      await look();
      await look();
      const { data } = await events.next('container_expiring');
      expect(data).toMatchObject({ db_id: dbId, action: 'stop', reason: 'idle' });
      expect(await view(user, dbId)).toMatchObject({ status: 'running', expires_at: null });
      clock.forward(2 * MINUTE);
      await look();
      expect((await events.next('container_stopped')).data).toMatchObject({ db_id: dbId, reason: 'idle' });
      expect(await view(user, dbId)).toMatchObject({ status: 'stopped', status_reason: 'idle' });
      const audited = await user.api.call('GET', '/api/audit?action=container.stop_idle');
      expect(audited.body['entries']).toEqual([
        expect.objectContaining({ user_id: null, container_id: dbId, outcome: 'ok' }),
      ]);
      expect((await user.api.start(dbId)).status).toBe(200);
      await look();
      expect(await view(user, dbId)).toMatchObject({ status: 'running', status_reason: null });
    });

    it.each<[string, (id: string) => Promise<unknown>]>([
      ['a start of what runs', (id) => user.api.start(id)],
      ['a rename', (id) => user.api.update(id, { name: 'two', ...SMALL })],
      ['an update that changes nothing', (id) => user.api.update(id, { name: 'one', ...SMALL })],
      ['a touch', (id) => user.api.call('POST', `/api/containers/${id}/touch`)],
      [
        'what an internal module notes',
        (id) => berth.app.get(ContainersService).touch({ userId: user.id, boundTo: null }, id),
      ],
    ])('must count %s as a use', async (_what, use) => {
      clock.forward(20 * MINUTE);
      await use(dbId);
      clock.forward(20 * MINUTE);
      await look();
      const { status, idle_seconds } = await view(user, dbId);
      expect(status).toBe('running');
      expect(Math.abs(Number(idle_seconds) - 20 * 60)).toBeLessThan(10);
    });

    it('must be stopped after its own time, set without a restart, within its bounds', async () => {
      const settings = { name: 'one', ...SMALL };
      const refused = await user.api.update(dbId, { ...settings, auto_stop_seconds: 1801 });
      expect(refused).toMatchObject({ status: 400, body: { details: [{ field: 'auto_stop_seconds', max: 1800 }] } });
      expect((await user.api.create({ auto_delete_seconds: 59 })).status).toBe(400);
      daemon.down = true;
      const set = await user.api.update(dbId, { ...settings, auto_stop_seconds: 300 });
      daemon.down = false;
      expect(set).toMatchObject({ status: 200, body: { restarted: false } });
      expect(await view(user, dbId)).toMatchObject({ auto_stop_seconds: 300, auto_delete_seconds: null });
      expect((await user.api.update(dbId, settings)).status).toBe(200);
      clock.forward(6 * MINUTE);
      await look();
      await eventually(async () => expect(await view(user, dbId)).toMatchObject({ status_reason: 'idle' }));
    });

    it('must not be stopped while a command runs in it, nor be idle before its end', async () => {
      const hold = engine.holdOn('programs.run');
      const service = berth.app.get(ContainersService);
      const caller = { userId: user.id, tier: 'enterprise', sessionExpiresAt: null, boundTo: null };
      const running = service.exec(caller, dbId, { command: ['true'], timeoutMs: MINUTE, maxOutputBytes: 1024 });
      await hold.reached;
      for (let times = 0; times < 3; times += 1) {
        clock.forward(31 * MINUTE);
        await look();
      }
      clock.forward(20 * MINUTE);
      hold.release();
      expect(await running).toEqual({ exitCode: 0 });
      clock.forward(20 * MINUTE);
      await look();
      expect(await view(user, dbId)).toMatchObject({ status: 'running' });
      clock.forward(11 * MINUTE);
      await look();
      await eventually(async () => expect(await view(user, dbId)).toMatchObject({ status_reason: 'idle' }));
    });

    it('must not be stopped where it was used between the look and the lease', async () => {
      clock.forward(31 * MINUTE);
      const repository = berth.app.get(ContainerRepository);
      const read = await repository.findById(dbId);
      await berth.app.get(ContainersService).touch({ userId: user.id, boundTo: null }, dbId);
      if (read) await berth.app.get(OperationRunner).run(read, expiring('idle'));
      expect(await view(user, dbId)).toMatchObject({ status: 'running' });
    });

    it('must have its uses written once a minute at most, without event, and by its owner alone', async () => {
      const service = berth.app.get(ContainersService);
      const { last_used_at: first, updated_at } = await view(user, dbId);
      clock.forward(50_000);
      await service.touch({ userId: user.id, boundTo: null }, dbId);
      expect(await view(user, dbId)).toMatchObject({ last_used_at: first });
      clock.forward(20_000);
      await Promise.all(Array.from({ length: 5 }, () => service.touch({ userId: user.id, boundTo: null }, dbId)));
      const { last_used_at: second } = await view(user, dbId);
      expect(Date.parse(String(second)) - Date.parse(String(first))).toBeGreaterThanOrEqual(70_000);
      expect(await view(user, dbId)).toMatchObject({ updated_at });
      await expect(service.touch({ userId: 'somebody-else', boundTo: null }, dbId)).rejects.toThrow('not authorized');
    });
  });

  /** A process of this Berth, the first or the next. */
  async function begin(): Promise<void> {
    engine = new FakeEngine(daemon);
    berth = await Berth.start({
      engine,
      clock,
      database,
      environment: {
        INSTANCE_ID: 'limits',
        OPERATION_CLAIM_SECONDS: '5',
        SWEEP_INTERVAL_SECONDS: '1',
        IDLE_STOP_AFTER: 'enterprise=30m',
        LIMIT_CHECK_SECONDS: '3600',
        SHUTDOWN_GRACE_SECONDS: '0',
      },
    });
  }

  /** What every `LIMIT_CHECK_SECONDS` brings. */
  function look(): Promise<void> {
    return berth.app.get(ExpiryWatcher).check();
  }

  /** Leaves nothing that the next test's look would find due. */
  async function clear({ api }: TestUser): Promise<void> {
    const { body } = await api.call('GET', '/api/containers');
    for (const { db_id } of body['containers'] as { db_id: string }[]) {
      expect((await api.delete(db_id)).status).toBe(200);
    }
  }

  async function view({ api }: TestUser, id: string): Promise<Answer['body']> {
    return (await api.get(id)).body;
  }

  async function stopped(user: TestUser, id: string): Promise<void> {
    const expected = { status: 'stopped', status_reason: 'session_expired' };
    await eventually(async () => expect(await view(user, id)).toMatchObject(expected));
  }

  function clientOf(token: unknown): ApiClient {
    return new ApiClient(berth.url, String(token));
  }

  function expectIn(time: string, ms: number): void {
    expect(Math.abs(Date.parse(time) - clock.now().getTime() - ms)).toBeLessThan(MINUTE);
  }
});
