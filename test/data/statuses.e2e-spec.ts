import { Berth, TestUser } from '../support/berth';
import { EventRecorder } from '../support/event-recorder';
import { eventually } from '../support/eventually';
import { FakeDaemon, FakeEngine } from '../support/fake-engine';
import { holdSweeps } from '../support/hold-sweeps';

describe('what the status of a container promises', () => {
  let daemon: FakeDaemon;
  let engine: FakeEngine;
  let berth: Berth;
  let user: TestUser;
  let events: EventRecorder;

  beforeAll(async () => {
    daemon = new FakeDaemon();
    engine = new FakeEngine(daemon);
    berth = await Berth.start({ engine, environment: { SWEEP_INTERVAL_SECONDS: '3600' } });
    // Each test shows what a request does; the comparison with Docker would do it, too, a little later.
    await holdSweeps(berth);
  });

  afterAll(async () => {
    await berth.stop();
    expect(daemon.violations).toEqual([]);
  });

  beforeEach(async () => {
    user = await berth.user();
    events = await berth.record(user);
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

  /** A container whose creation failed and left nothing. */
  async function failed(): Promise<string> {
    engine.failOn('startContainer');
    const id = String((await user.api.create()).body['db_id']);
    await events.next('container_error', { db_id: id });
    await settled(id);
    return id;
  }

  /** The same, with Docker away at the moment of taking it back. */
  async function failedAndLeftRunning(): Promise<string> {
    engine.failOn('inspectContainer');
    engine.failOn('listContainers');
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
