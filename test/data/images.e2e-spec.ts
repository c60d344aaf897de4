import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { UnusedImages } from '../../src/containers/reconcile/unused-images';
import { EngineError } from '../../src/engine';
import { ImageRecords, ImageStore } from '../../src/images';
import { type Answer, type NewContainer, SMALL } from '../support/clients/api-client';
import { Berth, TestUser } from '../support/servers/berth';
import { eventually } from '../support/eventually';
import { FakeDaemon } from '../support/fakes/fake-daemon';
import { FakeEngine } from '../support/fakes/fake-engine';
import { TestClock } from '../support/fakes/test-clock';

const HOUR = 3_600_000;
const DAY = 24 * HOUR;
const LARGER = { ...SMALL, memory_mb: 512 };

/** By the name in the catalogue, which is also the pull policy. */
const REFERENCES = { missing: 'tools:1', daily: 'daily:1', always: 'always:1', never: 'berth/own:1' } as const;
type Name = keyof typeof REFERENCES;

describe('images', () => {
  let folder: string;
  let daemon: FakeDaemon;
  let engine: FakeEngine;
  let clock: TestClock;
  let berth: Berth;
  let user: TestUser;

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'berth-images-'));
    const images = Object.entries(REFERENCES).map(([name, reference]) => ({
      name,
      reference,
      pull: name,
      default: name === 'missing',
    }));
    await writeFile(join(folder, 'images.json'), JSON.stringify({ images }));
    daemon = new FakeDaemon();
    engine = new FakeEngine(daemon);
    clock = new TestClock();
    berth = await start(engine);
  });

  beforeEach(async () => {
    user = await berth.user('enterprise');
    for (const reference of Object.values(REFERENCES)) daemon.registry.add(reference);
  });

  afterEach(async () => {
    engine.forget();
    daemon.machine = { ...daemon.machine, diskMb: null, freeDiskMb: null };
    daemon.registryVersions.clear();
    await removeAll();
    await sweepLater(8 * DAY);
    expect(daemon.violations).toEqual([]);
  });

  afterAll(async () => {
    await berth.stop();
    await rm(folder, { recursive: true });
  });

  describe("that is a user's own", () => {
    const absent = { image: 'custom', custom_image: 'registry.example/none:1' };
    const create = (key?: string) =>
      user.api.call('POST', '/api/containers', absent, key === undefined ? {} : { 'idempotency-key': key });

    it('is refused at once, and takes no place, where its registry says that it has none', async () => {
      const { status, body } = await create();
      expect([status, body]).toMatchObject([
        400,
        {
          code: 'invalid_parameters',
          details: [{ field: 'custom_image', message: 'is in no registry: registry.example/none:1' }],
        },
      ]);
      expect((await user.api.call('GET', '/api/containers')).body).toMatchObject({
        count: 0,
        usage: { containers: 0 },
      });
    });

    it('is accepted while its registry does not answer, and again under the same key when it says that it has none', async () => {
      engine.failOn('images.isAbsent', { error: new EngineError('docker_unavailable', 'no answer'), times: 1 });
      const first = await create('same');
      expect(first.status).toBe(202);
      expect(await create('same')).toMatchObject({ status: 202, body: { db_id: first.body['db_id'] } });
      expect((await create('other')).status).toBe(400);
    });
  });

  const start = (way: FakeEngine): Promise<Berth> =>
    Berth.start({
      engine: way,
      clock,
      ...(way === engine ? {} : { database: berth.database }),
      environment: {
        INSTANCE_ID: 'images',
        VOLUME_RETENTION: '1d',
        IMAGES_FILE: join(folder, 'images.json'),
        SWEEP_INTERVAL_SECONDS: '3600',
        SHUTDOWN_GRACE_SECONDS: '0',
        DISK_RESERVE_MB: '0',
      },
    });

  const sweep = (): Promise<void> => berth.app.get(UnusedImages).sweep();
  const reconcile = async (): Promise<void> => void (await asAdmin('reconcile'));
  const running = (name: Name): Promise<NewContainer> => user.api.running({ image: name, custom_image: undefined });
  const versionOf = (id: string): string | undefined => daemon.containers.get(id)?.imageId;
  const isHere = (name: Name): boolean => daemon.images.has(REFERENCES[name]);

  async function asAdmin(path: string): Promise<Answer> {
    const admin = await berth.user('pro', ['admin']);
    return admin.api.call('POST', `/api/admin/${path}`);
  }

  async function sweepLater(ms: number): Promise<void> {
    clock.forward(ms);
    await reconcile();
    await sweep();
  }

  /** All of the user's containers, and their data after its time. */
  async function removeAll(): Promise<void> {
    const { body } = await user.api.call('GET', '/api/containers');
    for (const { db_id } of body['containers'] as { db_id: string }[]) await user.api.delete(db_id);
  }

  /** A newer version of it is pushed to the registry. */
  const publish = (name: Name, version: number): void => void daemon.registryVersions.set(REFERENCES[name], version);

  describe('that nothing needs', () => {
    it('must be removed once unused for IMAGE_RETENTION, and not while a container can be restored', async () => {
      const { db_id } = await running('missing');
      await sweepLater(30 * DAY);
      expect(isHere('missing')).toBe(true);
      await user.api.delete(db_id);
      await sweepLater(DAY - HOUR);
      expect((await user.api.call('POST', `/api/containers/${db_id}/restore`)).status).toBe(200);
      expect((await user.api.start(db_id)).body).not.toHaveProperty('image_changed');
      await user.api.delete(db_id);
      await sweepLater(DAY - HOUR);
      // Purged, and needed until then.
      await sweepLater(2 * HOUR);
      await sweepLater(7 * DAY - 4 * HOUR);
      expect(isHere('missing')).toBe(true);
      await sweepLater(4 * HOUR);
      expect(isHere('missing')).toBe(false);
    });

    it('must stay if Berth did not bring it, whoever uses it and whatever a pull confirms', async () => {
      daemon.images.add(REFERENCES.missing);
      daemon.images.add(REFERENCES.always);
      await running('missing');
      await running('always');
      await removeAll();
      await sweepLater(8 * DAY);
      await sweepLater(8 * DAY);
      expect([isHere('missing'), isHere('always')]).toEqual([true, true]);
      daemon.images.delete(REFERENCES.missing);
      daemon.images.delete(REFERENCES.always);
    });

    it('must be removed earlier while the disk is too full, the longest unused first, until it is not', async () => {
      await running('missing');
      await removeAll();
      await sweepLater(DAY + HOUR);
      await running('daily');
      await removeAll();
      await running('always');
      await sweepLater(DAY + HOUR);
      const free = (share: number): void =>
        void (daemon.machine = { ...daemon.machine, diskMb: 100_000, freeDiskMb: share * 1000 });
      free(20);
      await sweep();
      expect([isHere('missing'), isHere('daily'), isHere('always')]).toEqual([true, true, true]);
      free(10);
      // The first removal makes room enough.
      jest.spyOn(daemon, 'removeImage').mockImplementationOnce((image) => {
        free(20);
        return FakeDaemon.prototype.removeImage.call(daemon, image);
      });
      await sweep();
      expect([isHere('missing'), isHere('daily'), isHere('always')]).toEqual([false, true, true]);
      free(10);
      await sweepLater(HOUR);
      // The last one runs.
      expect([isHere('daily'), isHere('always')]).toEqual([false, true]);
      const metrics = await (await fetch(`${berth.url}/metrics`)).text();
      expect(metrics).toMatch(/berth_images_removed_total\{reason="disk"\} 2\n/);
      expect(metrics).toContain(`berth_capacity_disk_bytes{kind="free"} ${10_000 * 2 ** 20}\n`);
    });

    it('must be pulled again where it is removed under a creation that had found it', async () => {
      await running('missing');
      await removeAll();
      const hold = engine.holdOn('containers.create');
      const { body } = await user.api.create({ image: 'missing', custom_image: undefined });
      await hold.reached;
      expect(daemon.images.delete(REFERENCES.missing)).toBe(true);
      hold.release();
      const waited = await user.api.call('GET', `/api/containers/${String(body['db_id'])}/wait?status=running`);
      expect(waited.status).toBe(200);
    });

    it('must be known for ours where a process died after its pull', async () => {
      const dying = new FakeEngine(daemon);
      const doomed = process.env['TEST_DATABASE'] === 'postgres' ? await start(dying) : null;
      const way = doomed ? dying : engine;
      const died = way.holdOn('images.ensure', { when: 'after' });
      const { api } = doomed ? doomed.as(user) : user;
      const { body } = await api.create({ image: 'missing', custom_image: undefined });
      await died.reached;
      // Nothing is written of its end: as if it had died here.
      await sweep();
      expect(daemon.images.has(REFERENCES.missing)).toBe(true);
      const rows = await berth.app.get(ImageRecords).brought(daemon.id);
      expect(rows.map(({ reference }) => reference)).toContain(REFERENCES.missing);
      died.release();
      await api.call('GET', `/api/containers/${String(body['db_id'])}/wait?status=running`);
      await doomed?.stop();
    });
  });

  describe('of which there is a newer version', () => {
    it('must be taken by new containers as the pull policy says', async () => {
      for (const name of ['missing', 'daily', 'always'] as const) await running(name);
      for (const name of ['missing', 'daily', 'always'] as const) publish(name, 2);
      const first = await Promise.all((['missing', 'daily', 'always'] as const).map(running));
      const versions = (containers: NewContainer[]): (number | undefined)[] =>
        containers.map(({ id }, at) => {
          const reference = Object.values(REFERENCES)[at] ?? '';
          return [1, 2].find((version) => daemon.imageId(reference, version) === versionOf(id));
        });
      expect(versions(first)).toEqual([1, 1, 2]);
      clock.forward(DAY);
      const next = await Promise.all((['missing', 'daily', 'always'] as const).map(running));
      expect(versions(next)).toEqual([1, 2, 2]);
    });

    it('must not come between the look at an image and the container that is created from it', async () => {
      await running('missing');
      const version = daemon.imageId(REFERENCES.missing);
      const hold = engine.holdOn('containers.create');
      const { body } = await user.api.create({ image: 'missing', custom_image: undefined });
      await hold.reached;
      publish('missing', 2);
      daemon.pull(REFERENCES.missing);
      expect(daemon.imageId(REFERENCES.missing)).not.toBe(version);
      hold.release();
      const path = `/api/containers/${String(body['db_id'])}/wait?status=running`;
      const { id } = (await user.api.call('GET', path)).body;
      expect(versionOf(String(id))).toBe(version);
      // Not Berth's own pull, so not its to remove.
      daemon.images.delete(REFERENCES.missing);
    });

    it('must not be forced upon a container by a resize, nor by a start that recreates it', async () => {
      const { id, db_id } = await running('always');
      const version = versionOf(id);
      publish('always', 2);
      const newer = await running('always');
      expect(versionOf(newer.id)).not.toBe(version);
      const { body } = await user.api.update(db_id, { name: 'kept', ...LARGER });
      const resized = (body['container'] as { id: string }).id;
      expect(resized).not.toBe(id);
      expect(versionOf(resized)).toBe(version);
      daemon.vanish(resized);
      const started = await user.api.start(db_id);
      expect(started.body).toMatchObject({ recreated: true, volume_kept: true });
      expect(started.body).not.toHaveProperty('image_changed');
      expect(versionOf(String(started.body['id']))).toBe(version);
      // The version that no reference names any more stays while it is needed, and goes then.
      await sweepLater(30 * DAY);
      expect(daemon.unnamedImages).toContain(version);
      await user.api.delete(db_id);
      await sweepLater(8 * DAY);
      await sweepLater(8 * DAY);
      expect(daemon.unnamedImages).not.toContain(version);
      expect(isHere('always')).toBe(true);
    });

    it('must be pulled by its digest where somebody removed it, and be replaced, and said so, where it is lost', async () => {
      const { id, db_id } = await running('always');
      const version = versionOf(id);
      publish('always', 2);
      await running('always');
      const recreated = async (): Promise<Answer> => {
        daemon.vanish(String((await user.api.get(db_id)).body['id']));
        daemon.unnamedImages.clear();
        for (const reference of daemon.images) if (reference.includes('@')) daemon.images.delete(reference);
        return user.api.start(db_id);
      };
      const same = await recreated();
      expect(same.body).not.toHaveProperty('image_changed');
      expect(versionOf(String(same.body['id']))).toBe(version);
      const pull = jest.spyOn(daemon, 'pull').mockImplementationOnce(() => {
        throw new EngineError('image_not_found', 'manifest unknown');
      });
      const events = await berth.record(user);
      const other = await recreated();
      pull.mockRestore();
      expect(other).toMatchObject({ status: 200, body: { image_changed: true } });
      await events.next('container_started', { db_id, image_changed: true });
      expect(versionOf(String(other.body['id']))).toBe(daemon.imageId(REFERENCES.always, 2));
    });

    it('must not be waited for by a daily look at a registry that is away, but by every creation of "always"', async () => {
      await running('daily');
      await running('always');
      clock.forward(DAY);
      const away = { error: new EngineError('image_unavailable', 'dial tcp: connection refused') };
      const pulling = jest.spyOn(daemon, 'pull').mockImplementation(() => {
        throw away.error;
      });
      await running('daily');
      expect(pulling).toHaveBeenCalledTimes(1);
      // Not asked again for some minutes.
      await running('daily');
      expect(pulling).toHaveBeenCalledTimes(1);
      const { body } = await user.api.create({ image: 'always', custom_image: undefined });
      await eventually(async () =>
        expect((await user.api.get(String(body['db_id']))).body).toMatchObject({
          status: 'error',
          status_reason: 'image_unavailable',
        }),
      );
      pulling.mockRestore();
    });
  });

  describe('built here', () => {
    afterEach(() => daemon.images.delete(REFERENCES.never));

    it('must be used where they are, and said to be missing where they are not, without a pull', async () => {
      const { body } = await user.api.create({ image: 'never', custom_image: undefined });
      const id = String(body['db_id']);
      const read = async (): Promise<Answer['body']> => (await user.api.get(id)).body;
      await eventually(async () => {
        expect(await read()).toMatchObject({ status: 'error', status_reason: 'image_not_built' });
      });
      expect(isHere('never')).toBe(false);
      const started = await user.api.start(id);
      expect([started.status, started.body['code']]).toEqual([500, 'image_not_built']);
      daemon.images.add(REFERENCES.never);
      expect((await user.api.start(id)).status).toBe(200);
    });

    it('must not be pulled by an administrator either', async () => {
      daemon.images.add(REFERENCES.never);
      const before = engine.callsOf('images.ensure');
      expect(await asAdmin('images/never/pull')).toMatchObject({
        status: 409,
        body: { error: 'image is never pulled', code: 'image_never_pulled' },
      });
      expect(engine.callsOf('images.ensure')).toBe(before);
    });

    it('must take the place of a former version that was built here and is gone', async () => {
      daemon.images.add(REFERENCES.never);
      const { db_id } = await running('never');
      daemon.rebuild(REFERENCES.never);
      expect((await user.api.update(db_id, { name: 'larger', ...LARGER })).status).toBe(200);
      const { id } = (await user.api.get(db_id)).body;
      expect(versionOf(String(id))).toBe(daemon.imageId(REFERENCES.never, 2));
    });
  });

  describe('pulled by an administrator', () => {
    it('must be told for what was done, and asked of the registry whatever the policy is', async () => {
      expect((await asAdmin('images/missing/pull')).body).toMatchObject({
        message: 'image pulled',
        name: 'missing',
        state: 'updated',
        previous_image_id: null,
        image_id: daemon.imageId(REFERENCES.missing),
      });
      expect((await asAdmin('images/missing/pull')).body).toMatchObject({ state: 'unchanged', progress: 100 });
      publish('missing', 2);
      const before = daemon.imageId(REFERENCES.missing);
      expect((await asAdmin('images/missing/pull')).body).toMatchObject({
        state: 'updated',
        previous_image_id: before,
      });
      expect(await asAdmin('images/none/pull')).toMatchObject({ status: 404, body: { code: 'image_not_found' } });
      daemon.registry.delete(REFERENCES.missing);
      expect(await asAdmin('images/missing/pull')).toMatchObject({
        status: 500,
        body: { error: 'failed to pull image', code: 'image_not_found' },
      });
      expect((await user.api.call('POST', '/api/admin/images/missing/pull')).status).toBe(403);
      const admin = await berth.user('pro', ['read', 'admin']);
      const { body } = await admin.api.call('GET', '/api/audit?all=true&action=image.pull&limit=1');
      expect(body['entries']).toEqual([
        expect.objectContaining({ target_id: 'missing', outcome: 'insufficient_permissions' }),
      ]);
    });

    it('must be answered while it goes on, and joined by who asks again', async () => {
      Object.assign(berth.app.get(ImageStore), { patienceMs: 1 });
      const before = engine.callsOf('images.ensure');
      const hold = engine.holdOn('images.ensure');
      const pulling = { status: 200, body: { state: 'pulling', image_id: null, message: 'image is being pulled' } };
      expect(await asAdmin('images/missing/pull')).toMatchObject(pulling);
      expect(await asAdmin('images/missing/pull')).toMatchObject(pulling);
      expect(engine.callsOf('images.ensure')).toBe(before + 1);
      Object.assign(berth.app.get(ImageStore), { patienceMs: 20_000 });
      hold.release();
      await eventually(() => expect(isHere('missing')).toBe(true));
    });
  });
});
