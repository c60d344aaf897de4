import { EventFeed } from '../../src/events';
import { type Answer, ApiClient, testImage } from '../support/clients/api-client';
import { Berth, TestUser } from '../support/servers/berth';
import { EventRecorder } from '../support/clients/socket-client';
import { eventually } from '../support/eventually';
import { FakeDaemon } from '../support/fakes/fake-daemon';
import { FakeEngine } from '../support/fakes/fake-engine';
import { holdSweeps } from '../support/servers/hold-sweeps';

describe('what the status of a container promises', () => {
  let daemon: FakeDaemon;
  let engine: FakeEngine;
  let berth: Berth;
  let user: TestUser;
  let events: EventRecorder;

  beforeAll(async () => {
    engine = new FakeEngine();
    ({ daemon } = engine);
    // Each test shows the effect of a request, not of a sweep.
    berth = await Berth.start({ engine, environment: { SWEEP_INTERVAL_SECONDS: '3600' } });
    // Each test shows what a request does; the comparison with Docker would do it, too, a little later.
    await holdSweeps(berth);
  });

  afterAll(async () => {
    await berth.stop();
    expect(daemon.violations).toEqual([]);
  });

  beforeEach(async () => {
    ({ user, events } = await berth.newcomer());
  });

  afterEach(() => engine.forget());

  describe('a stop of a container in error', () => {
    it('must make it stopped in the answer, the row and an event, and a start must try the creation again', async () => {
      const id = await failed();
      const name = (await user.api.get(id)).body['name'];
      events.clear();
      expect((await user.api.stop(id)).body).toEqual({ message: 'container stopped', id, name, status: 'stopped' });
      expect((await user.api.get(id)).body).toMatchObject({ status: 'stopped', status_reason: null });
      expect((await events.next('container_stopped')).data).toMatchObject({ db_id: id, status: 'stopped' });
      expect((await user.api.stop(id)).body).toMatchObject({ status: 'stopped' });
      const started = await user.api.start(id);
      expect(started.body).toEqual({ message: 'container started', id: expect.any(String), name, status: 'running' });
      await events.next('container_started');
      expect(events.types()).toEqual(['container_stopped', 'container_started']);
      expect(daemon.running(id)).toHaveLength(1);
    });

    it('must stop what runs in Docker of a creation that could not be taken back', async () => {
      const id = await failedAndLeftRunning();
      expect((await user.api.stop(id)).body).toMatchObject({ status: 'stopped' });
      expect(daemon.running(id)).toEqual([]);
      expect((await user.api.start(id)).status).toBe(200);
    });

    it('must not be called stopped where Docker does not answer', async () => {
      const id = await failedAndLeftRunning();
      daemon.down = true;
      const refused = await user.api.stop(id);
      daemon.down = false;
      expect([refused.status, refused.body['code']]).toEqual([500, 'docker_unavailable']);
      expect((await user.api.get(id)).body).toMatchObject({ status: 'error' });
      expect((await user.api.stop(id)).status).toBe(200);
      expect(daemon.running(id)).toEqual([]);
    });

    it('must be the same for an administrator, and leave what was deleted in error stopped when it is restored', async () => {
      const admin = await berth.user('pro', ['admin']);
      const id = await failed();
      const stopped = await admin.api.call('POST', `/api/admin/containers/${id}/stop`);
      expect(stopped.body).toMatchObject({ status: 'stopped' });
      const other = await failed();
      await user.api.delete(other);
      const restored = await user.api.call('POST', `/api/containers/${other}/restore`);
      expect(restored.body).toMatchObject({ status: 'stopped' });
    });
  });

  it('a deletion must not leave what runs in Docker of a creation that could not be taken back', async () => {
    const id = await failedAndLeftRunning();
    expect((await user.api.delete(id)).status).toBe(200);
    expect(daemon.running(id)).toEqual([]);
  });

  describe('expires_at', () => {
    const shown = async ({ api }: TestUser, id: string): Promise<unknown[]> => {
      const admin = await berth.user('pro', ['admin']);
      const { body } = await api.call('GET', '/api/containers');
      const all = await admin.api.call('GET', '/api/admin/containers');
      const listed = [body, all.body].flatMap(({ containers }) => containers as Record<string, unknown>[]);
      const one = await api.get(id);
      return [one.body, ...listed.filter(({ db_id }) => db_id === id)].map(({ expires_at }) => expires_at);
    };

    it('must be null whenever a container without a session does not run, and a vanished run must keep its end', async () => {
      user = await berth.user('free');
      events = await berth.record(user);
      const { id, db_id } = await user.api.running();
      const [end, ...same] = await shown(user, db_id);
      expect([end, ...same]).toEqual(Array(3).fill(expect.any(String)));
      daemon.vanish(id);
      await events.next('container_stopped', { reason: 'missing' });
      expect(await shown(user, db_id)).toEqual([null, null, null]);
      await user.api.start(db_id);
      expect(await shown(user, db_id)).toEqual([end, end, end]);
      await user.api.stop(db_id);
      expect(await shown(user, db_id)).toEqual([null, null, null]);
      await user.api.start(db_id);
      await user.api.delete(db_id);
      const { body } = await user.api.call('GET', '/api/containers?status=deleted');
      expect(body['containers']).toEqual([expect.objectContaining({ db_id, expires_at: null })]);
      await user.api.call('POST', `/api/containers/${db_id}/restore`);
      expect(await shown(user, db_id)).toEqual([null, null, null]);
      expect(await shown(user, await failed())).toEqual([null, null, null]);
    });

    it('must be the end of the session for what is a guest’s, whether it runs or not', async () => {
      const login = await user.api.call('POST', '/api/auth/guest', { username: 'visitor' });
      const end = login.body['expires_at'];
      const api = new ApiClient(berth.url, String(login.body['token']));
      const guest = { ...user, api };
      const { id, db_id } = await api.running();
      expect(await shown(guest, db_id)).toEqual([end, end, end]);
      daemon.vanish(id);
      await eventually(async () => expect((await api.get(db_id)).body).toMatchObject({ status: 'stopped' }));
      expect(await shown(guest, db_id)).toEqual([end, end, end]);
    });
  });

  describe('a wait', () => {
    const wait = (id: string, status: string): Promise<Answer> =>
      user.api.call('GET', `/api/containers/${id}/wait?status=${status}&timeout=120`);
    const unreachable = (status: string): object => ({ status: 409, body: { code: 'status_unreachable', status } });

    it('must end at once where the status takes another request', async () => {
      const id = await failed();
      expect(await wait(id, 'running')).toMatchObject(unreachable('error'));
      const { db_id } = await user.api.running();
      expect(await wait(db_id, 'error')).toMatchObject(unreachable('running'));
      expect(await wait(db_id, 'creating')).toMatchObject(unreachable('running'));
      await user.api.stop(db_id);
      expect(await wait(db_id, 'running')).toMatchObject(unreachable('stopped'));
    });

    it('must end as soon as that comes to be: the creation fails, the container is deleted', async () => {
      const hold = engine.holdOn('containers.start');
      engine.failOn('containers.start');
      const id = String((await user.api.create()).body['db_id']);
      await hold.reached;
      const running = await underWay(id, 'running');
      hold.release();
      expect(await running.answer).toMatchObject(unreachable('error'));
      await settled(id);
      const { db_id } = await user.api.running();
      const removal = engine.holdOn('containers.remove');
      const deleted = user.api.delete(db_id);
      await removal.reached;
      const stopped = await underWay(db_id, 'stopped');
      removal.release();
      expect(await stopped.answer).toMatchObject(unreachable('deleted'));
      expect((await deleted).status).toBe(200);
      expect(await wait(db_id, 'stopped')).toMatchObject({ status: 404 });
    });

    it('must go on while a start is under way, and end where that fails, which changes nothing', async () => {
      const { db_id } = await user.api.running();
      await user.api.stop(db_id);
      for (const [fails, outcome] of [
        [true, unreachable('stopped')],
        [false, { status: 200, body: { status: 'running' } }],
      ] as const) {
        const hold = engine.holdOn('containers.start');
        if (fails) engine.failOn('containers.start');
        const starting = user.api.start(db_id);
        await hold.reached;
        const running = await underWay(db_id, 'running');
        hold.release();
        expect((await starting).status).toBe(fails ? 500 : 200);
        expect(await running.answer).toMatchObject(outcome);
      }
    });

    it('must not keep a process from ending', async () => {
      const ending = await Berth.start({ engine: new FakeEngine(new FakeDaemon()) });
      const { api } = await ending.user();
      const { db_id } = await api.running();
      const subscribe = jest.spyOn(ending.app.get(EventFeed), 'subscribe');
      const answer = api.call('GET', `/api/containers/${db_id}/wait?status=stopped&timeout=120`);
      await eventually(() => expect(subscribe).toHaveBeenCalled());
      const ended = ending.stop();
      expect(await answer).toMatchObject({ status: 503, body: { code: 'shutting_down' } });
      await ended;
    });

    it('must not keep a process from ending where it is for a snapshot', async () => {
      const other = new FakeEngine(new FakeDaemon());
      const ending = await Berth.start({ engine: other, environment: { VOLUME_COPY_IMAGE: testImage() } });
      const { api } = await ending.user();
      const { db_id } = await api.running();
      const hold = other.holdOn('containers.pause');
      const made = await api.call('POST', `/api/containers/${db_id}/snapshots`, {});
      await hold.reached;
      const subscribe = jest.spyOn(ending.app.get(EventFeed), 'subscribe');
      const answer = api.call('GET', `/api/snapshots/${String(made.body['id'])}/wait?timeout=120`);
      await eventually(() => expect(subscribe).toHaveBeenCalled());
      const ended = ending.stop();
      expect(await answer).toMatchObject({ status: 503, body: { code: 'shutting_down' } });
      hold.release();
      await ended;
    });

    /** A wait that has looked at the container, and been told nothing yet. */
    async function underWay(id: string, status: string): Promise<{ answer: Promise<Answer> }> {
      const subscribe = jest.spyOn(berth.app.get(EventFeed), 'subscribe');
      const answer = wait(id, status);
      await eventually(() => expect(subscribe).toHaveBeenCalled());
      subscribe.mockRestore();
      return { answer };
    }
  });

  it('count must be the length of the list, and usage what the tier counts', async () => {
    const free = await berth.user('free');
    const usage = { containers: 3, limit: 5 };
    for (const name of ['one', 'two', 'three']) await free.api.create({ name });
    for (const query of ['', '?name=two', '?status=stopped', '?limit=2', '?status=deleted']) {
      const { body } = await free.api.call('GET', `/api/containers${query}`);
      expect([query, body]).toEqual([query, expect.objectContaining({ usage, limit: 5 })]);
      expect([query, body['count']]).toEqual([query, (body['containers'] as unknown[]).length]);
    }
  });

  /** A container whose creation failed and left nothing. */
  async function failed(): Promise<string> {
    engine.failOn('containers.start');
    const id = String((await user.api.create()).body['db_id']);
    await events.next('container_error', { db_id: id });
    await settled(id);
    return id;
  }

  /** The same, with Docker away at the moment of taking it back. */
  async function failedAndLeftRunning(): Promise<string> {
    engine.failOn('containers.inspect');
    engine.failOn('containers.list');
    const id = String((await user.api.create()).body['db_id']);
    await events.next('container_error', { db_id: id });
    await settled(id);
    expect(daemon.running(id)).toHaveLength(1);
    return id;
  }

  async function settled(id: string): Promise<void> {
    await eventually(async () => expect((await user.api.get(id)).body).toMatchObject({ status: 'error' }));
  }
});
