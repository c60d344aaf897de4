import { ContainerEntity } from '../../src/containers/model/container.entity';
import { Reconciler } from '../../src/containers/reconcile/reconciler';
import { Database, SettingEntity } from '../../src/database';
import { testImage } from '../support/clients/api-client';
import { Berth, TestUser } from '../support/servers/berth';
import { eventually } from '../support/eventually';
import { FakeDaemon } from '../support/fakes/fake-daemon';
import { FakeEngine } from '../support/fakes/fake-engine';
import { TestClock } from '../support/fakes/test-clock';
import { openTestDatabase, TestDatabase } from '../support/databases/test-database';

const DAY = 24 * 3_600_000;
const ENVIRONMENT = {
  INSTANCE_ID: 'changed',
  VOLUME_RETENTION: '1d',
  SWEEP_INTERVAL_SECONDS: '3600',
  SHUTDOWN_GRACE_SECONDS: '0',
  VOLUME_COPY_IMAGE: testImage(),
};

describe('a Docker that has lost its data', () => {
  let database: TestDatabase;
  let daemon: FakeDaemon;
  let engine: FakeEngine;
  let clock: TestClock;
  let berth: Berth;
  let user: TestUser;
  let admin: TestUser;
  let deleted: string;
  let kept: string;

  beforeEach(async () => {
    [database, daemon, clock] = [await openTestDatabase(), new FakeDaemon(), new TestClock()];
    await begin();
    [user, admin] = [await berth.user('enterprise'), await berth.user('pro', ['admin'])];
    [deleted, kept] = [(await user.api.running()).db_id, (await user.api.running()).db_id];
    for (const id of [deleted, kept]) daemon.write(`berth-${id}`, 'precious');
    expect((await user.api.delete(deleted)).status).toBe(200);
  });

  afterEach(async () => {
    await berth.stop();
    await database.drop();
    expect(daemon.violations).toEqual([]);
  });

  it('must have no purge noted as done, say so, and have them made once the data is back', async () => {
    expect(await ready()).toMatchObject({ status: 'ok', docker_identity: 'same', notices: [] });
    const restore = daemon.empty();
    clock.forward(2 * DAY);
    expect(await sweep()).toMatchObject({ purged: 0, failed: 0 });
    expect(await purgedAt()).toBeNull();
    expect(await ready()).toMatchObject({ status: 'degraded', docker_identity: 'changed' });
    expect(await metric()).toBe('1');
    // Another process, which was not there before, knows as much.
    await berth.stop();
    await begin();
    user = berth.as(user);
    expect(await ready()).toMatchObject({ status: 'degraded' });
    expect(await sweep()).toMatchObject({ purged: 0, failed: 0 });
    restore();
    await eventually(async () => expect(await purgedAt()).not.toBeNull());
    expect([...daemon.volumes.keys()]).toEqual([`berth-${kept}`]);
    expect(await ready()).toMatchObject({ status: 'ok', docker_identity: 'same', notices: [] });
    expect(await metric()).toBe('0');
  });

  it.each(['before', 'after'] as const)(
    'must have no purge noted as done where it lost them %s a volume was to be removed',
    async (when) => {
      clock.forward(2 * DAY);
      const hold = engine.holdOn('volumes.remove', { when: 'before' });
      const sweeping = sweep();
      await hold.reached;
      const restore = daemon.empty();
      if (when === 'after') engine.failOn('host.identify');
      hold.release();
      expect(await sweeping).toMatchObject({ purged: 0, failed: 1 });
      expect(await purgedAt()).toBeNull();
      restore();
      await eventually(async () => {
        await sweep();
        expect(await purgedAt()).not.toBeNull();
      });
      expect([...daemon.volumes.keys()]).toEqual([`berth-${kept}`]);
    },
  );

  it('must not have a container recreated in it with an empty volume, by a start or an update, nor new ones', async () => {
    const restore = daemon.empty();
    const refused = { status: 500, body: { code: 'docker_changed' } };
    expect(await user.api.start(kept)).toMatchObject(refused);
    expect(
      await user.api.update(kept, { name: 'other', memory_mb: 512, cpu_shares: 500, disk_mb: 1024 }),
    ).toMatchObject(refused);
    await sweep();
    const { db_id } = (await user.api.create()).body;
    await eventually(async () =>
      expect((await user.api.get(String(db_id))).body).toMatchObject({
        status: 'error',
        status_reason: 'docker_changed',
      }),
    );
    expect([daemon.volumes.size, daemon.containers.size]).toEqual([0, 0]);
    restore();
    await eventually(async () => expect((await user.api.get(kept)).body).toMatchObject({ status: 'running' }));
    expect(daemon.volumes.get(`berth-${kept}`)).toMatchObject({ content: 'precious' });
    expect((await user.api.start(String(db_id))).status).toBe(200);
  });

  it('is what a start reports, and not the image that the other Docker lacks', async () => {
    daemon.empty();
    daemon.images.delete(testImage());
    // The image is found missing, and that has reached the operation, before Docker tells its id.
    const [ensure, identify] = [engine.images.ensure.bind(engine.images), engine.host.identify.bind(engine.host)];
    const missing = new Promise<void>((resolve) => {
      jest.spyOn(engine.images, 'ensure').mockImplementation((...call) => ensure(...call).finally(resolve));
    }).then(() => user.api.get(kept));
    jest.spyOn(engine.host, 'identify').mockImplementation(() => missing.then(() => identify()));
    expect(await user.api.start(kept)).toMatchObject({ status: 500, body: { code: 'docker_changed' } });
  });

  it('gets no image pulled, by a start or a creation, also before the change was noticed', async () => {
    daemon.registry.add('nginx:1.27');
    const image = { custom_image: 'nginx:1.27' };
    const { db_id: id } = await user.api.running(image);
    await sweep();
    daemon.empty();
    daemon.images.clear();
    const pull = jest.spyOn(daemon, 'pull');
    const { db_id } = (await user.api.create(image)).body;
    await eventually(async () => expect((await user.api.get(String(db_id))).body).toMatchObject({ status: 'error' }));
    expect(await user.api.start(id)).toMatchObject({ status: 500, body: { code: 'docker_changed' } });
    expect(pull).not.toHaveBeenCalled();
  });

  it('is the reason of a creation that failed in it before the change was noticed', async () => {
    await sweep();
    daemon.empty();
    daemon.images.delete(testImage());
    const { db_id } = (await user.api.create()).body;
    await eventually(async () =>
      expect((await user.api.get(String(db_id))).body).toMatchObject({
        status: 'error',
        status_reason: 'docker_changed',
      }),
    );
  });

  it('must be taken for the known one once an administrator accepts it', async () => {
    daemon.empty();
    clock.forward(2 * DAY);
    await sweep();
    expect((await user.api.call('POST', '/api/admin/docker/accept')).status).toBe(403);
    const accepted = await admin.api.call('POST', '/api/admin/docker/accept');
    expect(accepted).toMatchObject({
      status: 200,
      body: { docker_id: 'docker-1-empty', previous_docker_id: 'docker-1' },
    });
    await eventually(async () => expect(await purgedAt()).not.toBeNull());
    expect(await ready()).toMatchObject({ status: 'ok', docker_identity: 'same' });
    expect(await user.api.start(kept)).toMatchObject({ status: 200, body: { recreated: true, volume_kept: false } });
    const again = await admin.api.call('POST', '/api/admin/docker/accept');
    expect(again.body).toEqual({ docker_id: 'docker-1-empty', previous_docker_id: 'docker-1-empty' });
  });

  it('must lose nothing to a sweep where it comes back after another was accepted', async () => {
    daemon.capabilities = { ...daemon.capabilities, diskQuota: 'enforced', volumeResize: 'move' };
    const restore = daemon.empty();
    await admin.api.call('POST', '/api/admin/docker/accept');
    expect((await user.api.start(kept)).status).toBe(200);
    const { name } = (await user.api.get(kept)).body;
    const larger = { memory_mb: 256, cpu_shares: 500, disk_mb: 2048 };
    expect((await user.api.update(kept, { name, ...larger })).status).toBe(200);
    restore();
    await sweep();
    await sweep();
    expect(await ready()).toMatchObject({ status: 'degraded' });
    expect(daemon.volumes.get(`berth-${kept}`)).toMatchObject({ content: 'precious' });
    expect(daemon.running(kept)).toHaveLength(1);
  });

  it('must not be distinguished from another where the daemon has no id', async () => {
    await berth.app.get(Reconciler).sweepNow();
    expect(await setting()).toBe('docker-1');
    jest.spyOn(engine.host, 'identify').mockResolvedValue(null);
    daemon.empty();
    await sweep();
    expect(await ready()).toMatchObject({ status: 'ok', docker_identity: 'same' });
    expect(await setting()).toBe('docker-1');
  });

  async function begin(): Promise<void> {
    engine = new FakeEngine(daemon);
    berth = await Berth.start({ database, engine, clock, environment: ENVIRONMENT });
  }

  const sweep = (): ReturnType<Reconciler['sweepNow']> => berth.app.get(Reconciler).sweepNow();
  const ready = async (): Promise<unknown> => (await user.api.call('GET', '/health/ready')).body;

  async function metric(): Promise<string | undefined> {
    const text = await (await fetch(`${berth.url}/metrics`)).text();
    return /^berth_docker_changed (\d)/m.exec(text)?.[1];
  }

  async function purgedAt(): Promise<Date | null> {
    const { manager } = berth.app.get(Database);
    return (await manager.findOneOrFail(ContainerEntity, { where: { id: deleted }, withDeleted: true })).purgedAt;
  }

  async function setting(): Promise<string | undefined> {
    return (await berth.app.get(Database).manager.findOneBy(SettingEntity, { key: 'docker_id' }))?.value;
  }
});
