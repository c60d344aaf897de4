import { Reconciler } from '../../src/containers/reconcile/reconciler';
import { SnapshotRepository } from '../../src/containers/rows/snapshot.repository';
import { EngineError } from '../../src/engine';
import { type Answer, SMALL, testImage } from '../support/clients/api-client';
import { openTestDatabase, type TestDatabase } from '../support/databases/test-database';
import { eventually } from '../support/eventually';
import { beforeAndAfter, describeOnAnyDatabase, IS_MORE, itOnAnyDatabase } from '../support/extent';
import { FakeDaemon } from '../support/fakes/fake-daemon';
import { type EngineMethod, FakeEngine } from '../support/fakes/fake-engine';
import { TestClock } from '../support/fakes/test-clock';
import { Berth, type TestUser } from '../support/servers/berth';

jest.setTimeout(120_000);

const MIB = 2 ** 20;
const DAY = 24 * 3_600_000;
const ENVIRONMENT = {
  INSTANCE_ID: 'templates',
  VOLUME_COPY_IMAGE: testImage(),
  ORPHAN_GRACE_SECONDS: '0',
  OPERATION_CLAIM_SECONDS: '4',
  SWEEP_INTERVAL_SECONDS: '1',
  SHUTDOWN_GRACE_SECONDS: '0',
};

describe('templates', () => {
  let database: TestDatabase;
  let daemon: FakeDaemon;
  let engine: FakeEngine;
  let berth: Berth;
  let clock: TestClock;
  let admin: TestUser;
  let user: TestUser;
  let id: string;
  let earlier: ReadonlySet<string>;

  const begin = async (): Promise<void> => {
    engine = new FakeEngine(daemon);
    berth = await Berth.start({ database, engine, clock, environment: ENVIRONMENT });
  };
  const begunAnew = async (): Promise<void> => {
    await berth.stop();
    await begin();
    admin = berth.as(admin);
    user = berth.as(user);
  };
  const containerOf = (dbId: string) => {
    const found = daemon.running(dbId)[0];
    if (!found) throw new Error(`no container of ${dbId}`);
    return found;
  };
  /** Makes a snapshot of the administrator's container and waits for it. @returns its id */
  const taken = async (of = id): Promise<string> => {
    const made = await admin.api.call('POST', `/api/containers/${of}/snapshots`, {});
    expect(made.status).toBe(202);
    const path = `/api/snapshots/${String(made.body['id'])}/wait?timeout=20`;
    expect(await admin.api.call('GET', path)).toMatchObject({ status: 200 });
    return String(made.body['id']);
  };
  const put = (body: object, name = 'tools'): Promise<Answer> =>
    admin.api.call('PUT', `/api/admin/templates/${name}`, { version: '1', ...body });
  const drop = (name = 'tools'): Promise<Answer> => admin.api.call('DELETE', `/api/admin/templates/${name}`);
  const create = (body: object = {}, of = user): Promise<Answer> =>
    of.api.call('POST', '/api/containers', { image: 'tools', ...body });
  /** Creates a container from the template and waits until it runs. @returns its database id */
  const created = async (body: object = {}, of = user): Promise<string> => {
    const answer = await create(body, of);
    expect(answer).toMatchObject({ status: 202 });
    const dbId = String(answer.body['db_id']);
    const waited = await of.api.call('GET', `/api/containers/${dbId}/wait?status=running&timeout=20`);
    expect(waited).toMatchObject({ status: 200 });
    return dbId;
  };
  const listed = async (of = user): Promise<Record<string, unknown>[]> => {
    const { body } = await of.api.call('GET', '/api/images');
    return (body['images'] as Record<string, unknown>[]).filter(({ template }) => template !== null);
  };
  const sweep = (): Promise<unknown> => berth.app.get(Reconciler).sweepNow();
  const ofSnapshots = (): string[] =>
    [...daemon.images, ...daemon.volumes.keys()].filter((name) => /^berth(\/layer:|-snapshot-)/.test(name));
  /** The names of images and volumes of this test's snapshots and templates. */
  const kept = (): string[] =>
    ofSnapshots()
      .filter((name) => !earlier.has(name))
      .sort();
  const removeAll = async (): Promise<void> => {
    const { body } = await admin.api.call('GET', '/api/admin/templates');
    for (const { name } of body['templates'] as { name: string }[]) await drop(name);
  };

  beforeAll(async () => {
    clock = new TestClock();
    database = await openTestDatabase();
    daemon = new FakeDaemon();
    await begin();
  });

  beforeEach(async () => {
    admin = await berth.user('enterprise', ['read', 'write', 'exec', 'admin']);
    user = await berth.user('pro');
    id = (await admin.api.running({ name: 'origin' })).db_id;
    daemon.write(`berth-${id}`, 'precious', 10 * MIB);
    containerOf(id).layer = 'nginx';
    engine.calls.splice(0);
    earlier = new Set(ofSnapshots());
  });

  afterEach(async () => {
    engine.forget();
    await removeAll();
    expect(daemon.violations).toEqual([]);
  });

  afterAll(async () => {
    await berth.stop();
    await database.drop();
  });

  describe('of an image', () => {
    it('must be created, listed, replaced and deleted by administrators alone', async () => {
      const first = await put({ image: testImage(), description: 'with tools', memory_mb: 512, tiers: ['pro'] });
      expect(first).toMatchObject({
        status: 201,
        body: {
          message: 'template created',
          template: { name: 'tools', version: '1', image: testImage(), snapshot: null, memory_mb: 512, tiers: ['pro'] },
        },
      });
      expect(first.headers.get('location')).toBe('/api/admin/templates/tools');
      expect(await listed()).toEqual([
        {
          name: 'tools',
          reference: testImage(),
          description: 'with tools',
          default: false,
          pull: 'never',
          available: true,
          template: { version: '1', memory_mb: 512, cpu_shares: null, disk_mb: null, role: null, data: false },
        },
      ]);
      expect(await put({ image: testImage(), version: '2' })).toMatchObject({
        status: 200,
        body: { message: 'template replaced', template: { version: '2', memory_mb: null, tiers: null } },
      });
      const again = await put({ image: testImage(), version: '2' });
      expect(again).toMatchObject({ status: 200, body: { message: 'template replaced' } });
      expect((await admin.api.call('GET', '/api/admin/templates/tools')).body).toMatchObject({ version: '2' });
      expect(await user.api.call('PUT', '/api/admin/templates/x', { image: testImage(), version: '1' })).toMatchObject({
        status: 403,
        body: { code: 'insufficient_permissions' },
      });
      expect(await drop()).toMatchObject({ status: 200, body: { message: 'template deleted', name: 'tools' } });
      expect(await drop()).toMatchObject({ status: 404, body: { code: 'template_not_found' } });
      expect(await create()).toMatchObject({ status: 400, body: { details: [{ field: 'image' }] } });
      const { body } = await admin.api.call('GET', `/api/audit?user_id=${admin.id}&limit=200`);
      const told = (body['entries'] as { action: string; outcome: string; target_id: string }[])
        .filter(({ action }) => action.startsWith('template.'))
        .map(({ action, outcome, target_id }) => [action, outcome, target_id]);
      expect(told).toContainEqual(['template.put', 'ok', 'tools']);
      expect(told).toContainEqual(['template.delete', 'ok', 'tools']);
    });

    itOnAnyDatabase('must give a container what its creation does not', async () => {
      const start = { command: ['sleep', '1'] };
      await put({ image: testImage(), ...SMALL, start, role: 'node', network: 'none' });
      const plain = (await user.api.get(await created())).body;
      expect(plain).toMatchObject({
        image: testImage(),
        role: 'node',
        network: 'none',
        resources: SMALL,
        start: { command: ['sleep', '1'], restart: 'on-failure' },
        template: { name: 'tools', version: '1' },
      });
      const own = { memory_mb: 768, role: 'barebone', network: 'internet', start: null };
      expect((await user.api.get(await created(own))).body).toMatchObject({
        role: 'barebone',
        network: 'internet',
        start: null,
        resources: { ...SMALL, memory_mb: 768 },
      });
    });

    itOnAnyDatabase(
      "must have the tier's maximum in place of a larger size, and the tier's limits for what a creation gives",
      async () => {
        await put({ image: testImage(), memory_mb: 8192, disk_mb: 2048 });
        const made = await create();
        expect(made.body).toMatchObject({ resources: { memory_mb: 4096, disk_mb: 2048 } });
        expect(await create({ memory_mb: 8192 })).toMatchObject({ status: 400, body: { details: [{ max: 4096 }] } });
      },
    );

    itOnAnyDatabase('must be offered to the permitted tiers alone', async () => {
      await put({ image: testImage(), tiers: ['enterprise'] });
      expect(await listed()).toEqual([]);
      expect(await listed(admin)).toHaveLength(1);
      expect(await create()).toMatchObject({ status: 400, body: { details: [{ field: 'image' }] } });
      expect(await create(SMALL, admin)).toMatchObject({ status: 202 });
    });

    itOnAnyDatabase('must never be pulled, nor be named as an image of one’s own', async () => {
      const image = 'registry.example/team/tools:1';
      daemon.images.add(image);
      daemon.registry.add(image).add('registry.example/team/tools:2');
      await put({ image });
      for (const custom_image of [image, 'registry.example/team/tools:1@sha256:' + 'a'.repeat(64)]) {
        const refused = await create({ image: 'custom', custom_image });
        expect(refused).toMatchObject({ status: 400, body: { details: [{ field: 'custom_image' }] } });
      }
      expect(await create({ image: 'custom', custom_image: 'registry.example/team/tools:2' })).toMatchObject({
        status: 202,
      });
      daemon.images.delete(image);
      const answer = await create(SMALL);
      const failed = async (): Promise<void> => {
        const { body } = await user.api.get(String(answer.body['db_id']));
        expect(body).toMatchObject({ status: 'error', status_reason: 'image_not_built' });
      };
      await eventually(failed);
      expect(await listed()).toMatchObject([{ available: false }]);
    });

    itOnAnyDatabase.each([
      ['no source', {}, 'image'],
      ['both sources', { image: testImage(), snapshot: '3f0c8a52-6d1b-4c7e-9b1a-2e5d7f904c11' }, 'image'],
      ['an image that is not here', { image: 'missing:1' }, 'image'],
      ["an image's id", { image: 'sha256:0a1b' }, 'image'],
      ["a snapshot's image", { image: 'berth/layer:x' }, 'image'],
      ['the data of an image', { image: testImage(), data: true }, 'data'],
      ['an unknown tier', { image: testImage(), tiers: ['none'] }, 'tiers'],
      ['no tier', { image: testImage(), tiers: [] }, 'tiers'],
      ['an unknown role', { image: testImage(), role: 'none' }, 'role'],
      ['a size that no tier allows', { image: testImage(), memory_mb: 9000 }, 'memory_mb'],
      ['a size that its tiers do not allow', { image: testImage(), memory_mb: 8000, tiers: ['free'] }, 'memory_mb'],
      ['a start command that is none', { image: testImage(), start: { command: [] } }, 'start'],
      ['no version', { image: testImage(), version: '' }, 'version'],
      ['an unknown field', { image: testImage(), more: 1 }, 'more'],
    ])('must be refused with %s, naming the field', async (_what, body, field) => {
      expect(await put(body)).toMatchObject({ status: 400, body: { details: [{ field }] } });
      expect(await admin.api.call('GET', '/api/admin/templates/tools')).toMatchObject({ status: 404 });
    });

    itOnAnyDatabase(
      'must be refused with a name that images cannot have, or that one of the catalogue has',
      async () => {
        expect(await put({ image: testImage() }, 'A')).toMatchObject({
          status: 400,
          body: { details: [{ field: 'name' }] },
        });
        for (const name of ['ubuntu', 'custom']) {
          expect(await put({ image: testImage() }, name)).toMatchObject({
            status: 409,
            body: { code: 'image_name_taken' },
          });
        }
      },
    );

    itOnAnyDatabase('must take the scope exec for a start command', async () => {
      const plain = await berth.user('pro', ['admin']);
      const body = { image: testImage(), version: '1', start: { command: ['true'] } };
      expect(await plain.api.call('PUT', '/api/admin/templates/tools', body)).toMatchObject({ status: 403 });
      expect(await put({ image: testImage(), start: { command: ['true'] } })).toMatchObject({ status: 201 });
    });

    itOnAnyDatabase('must be refused while Docker does not answer', async () => {
      daemon.down = true;
      try {
        expect(await put({ image: testImage() })).toMatchObject({ status: 500, body: { code: 'docker_unavailable' } });
      } finally {
        daemon.down = false;
      }
    });

    it('must be created once by two requests at once', async () => {
      const answers = await Promise.all(Array.from({ length: 4 }, () => put({ image: testImage() })));
      expect(answers.map(({ status }) => status).sort()).toEqual([200, 200, 200, 201]);
    });
  });

  describe('of a snapshot', () => {
    itOnAnyDatabase('must give each container the layer, and no data', async () => {
      const snapshot = await taken();
      expect(await put({ snapshot })).toMatchObject({
        status: 201,
        body: { template: { snapshot, image: testImage(), data: false } },
      });
      const copy = await created(SMALL);
      expect(containerOf(copy).layer).toBe('nginx');
      expect(daemon.volumes.get(`berth-${copy}`)?.content).toBe('');
      expect((await user.api.get(copy)).body).toMatchObject({ image: testImage(), template: { name: 'tools' } });
      expect(engine.callsOf('volumes.copy')).toBe(2);
    });

    it('must give each container the data too if asked to, which none shares', async () => {
      await put({ snapshot: await taken(), data: true });
      const [one, two] = [await created(SMALL), await created(SMALL)];
      daemon.write(`berth-${one}`, 'changed');
      expect(daemon.volumes.get(`berth-${two}`)?.content).toBe('precious');
      expect(await create({ ...SMALL, disk_mb: 1 })).toMatchObject({ status: 400 });
    });

    it.each(['volume', 'image'])(
      'is not available while Docker lacks its %s, and is again once that is back',
      async (what) => {
        const snapshot = await taken();
        await put({ snapshot, data: true });
        await admin.api.call('DELETE', `/api/snapshots/${snapshot}`);
        await eventually(() => expect(kept()).toHaveLength(2));
        const [name = '', image = ''] = kept();
        const volume = daemon.volume(name);
        if (what === 'image') daemon.images.delete(image);
        else daemon.volumes.delete(name);
        await sweep();
        expect(await listed()).toMatchObject([{ name: 'tools', available: false }]);
        expect(await create(SMALL)).toMatchObject({
          status: 409,
          body: { code: 'snapshot_not_ready', reason: 'files_missing' },
        });
        daemon.images.add(image);
        daemon.volumes.set(name, volume);
        await sweep();
        expect(kept()).toEqual([name, image]);
        expect(await listed()).toMatchObject([{ name: 'tools', available: true }]);
        expect(daemon.volumes.get(`berth-${await created(SMALL)}`)?.content).toBe('precious');
      },
    );

    itOnAnyDatabase('must outlive the snapshot, its container and the administrator', async () => {
      const snapshot = await taken();
      await put({ snapshot, data: true });
      expect(await admin.api.call('DELETE', `/api/snapshots/${snapshot}`)).toMatchObject({ status: 200 });
      await admin.api.delete(id);
      const other = await berth.user('pro', ['read', 'write', 'exec', 'admin']);
      expect((await other.api.call('DELETE', `/api/admin/users/${admin.id}`)).status).toBe(200);
      admin = other;
      clock.forward(60 * DAY);
      user = await berth.user('pro');
      await sweep();
      await sweep();
      expect(kept()).toHaveLength(2);
      const copy = await created(SMALL);
      expect(containerOf(copy).layer).toBe('nginx');
      expect(daemon.volumes.get(`berth-${copy}`)?.content).toBe('precious');
    });

    itOnAnyDatabase('must count in no limit and in no list of the administrator', async () => {
      const snapshot = await taken();
      const usage = async (): Promise<unknown> => (await admin.api.call('GET', '/api/snapshots')).body['usage'];
      const before = await usage();
      await put({ snapshot, data: true });
      expect(await usage()).toEqual(before);
      const all = await admin.api.call('GET', `/api/admin/snapshots?user_id=${admin.id}`);
      expect(all.body['snapshots']).toMatchObject([{ id: snapshot }]);
    });

    itOnAnyDatabase('must be updated without another copy, also once its snapshot is deleted', async () => {
      const snapshot = await taken();
      await put({ snapshot, data: true });
      const before = kept();
      await admin.api.call('DELETE', `/api/snapshots/${snapshot}`);
      expect(await put({ snapshot, data: true, version: '2' })).toMatchObject({ status: 200 });
      await eventually(() => expect(kept().filter((name) => name.includes(snapshot))).toEqual([]));
      const own = kept();
      expect(before).toEqual(expect.arrayContaining(own));
      expect(own).toHaveLength(2);
      expect(await put({ snapshot, version: '3' })).toMatchObject({ status: 200 });
      await eventually(() => expect(kept()).toHaveLength(1));
      expect(await put({ snapshot, data: true })).toMatchObject({ status: 404, body: { code: 'snapshot_not_found' } });
      expect(containerOf(await created(SMALL)).layer).toBe('nginx');
    });

    itOnAnyDatabase(
      'must leave containers of the version before as they are, and remove it with the last that needs it',
      async () => {
        await put({ snapshot: await taken() });
        const copy = await created(SMALL);
        containerOf(id).layer = 'apache';
        const second = await taken();
        await put({ snapshot: second, version: '2' });
        expect(containerOf(await created(SMALL)).layer).toBe('apache');
        daemon.vanish(containerOf(copy).engineId);
        expect((await user.api.start(copy)).body).toMatchObject({ recreated: true });
        expect(containerOf(copy).layer).toBe('nginx');
        expect((await user.api.get(copy)).body).toMatchObject({ template: { version: '1' } });
      },
    );

    it('must be removed whole once it is deleted, and no creation is using it', async () => {
      const snapshot = await taken();
      await put({ snapshot, data: true });
      await admin.api.call('DELETE', `/api/snapshots/${snapshot}`);
      const hold = engine.holdOn('volumes.copy', { call: 1 });
      const answer = await create(SMALL);
      await hold.reached;
      await drop();
      await sweep();
      expect(kept()).toHaveLength(2);
      hold.release();
      const copy = String(answer.body['db_id']);
      await eventually(async () => expect((await user.api.get(copy)).body['status']).toBe('running'));
      expect(daemon.volumes.get(`berth-${copy}`)?.content).toBe('precious');
      await user.api.delete(copy);
      clock.forward(8 * DAY);
      await sweep();
      await sweep();
      expect(kept()).toEqual([]);
    });

    it('must be begun anew by a creation during which it is replaced', async () => {
      await put({ snapshot: await taken() });
      const creations = Array.from({ length: 6 }, (_none, at) =>
        at === 3 ? put({ image: testImage(), version: '2' }) : create(SMALL),
      );
      const answers = await Promise.all(creations);
      expect(answers.map(({ status }) => status)).toEqual([202, 202, 202, 200, 202, 202]);
      const ids = answers.filter(({ status }) => status === 202).map(({ body }) => String(body['db_id']));
      for (const each of ids) {
        const waited = await user.api.call('GET', `/api/containers/${each}/wait?status=running&timeout=20`);
        expect(waited).toMatchObject({ status: 200 });
      }
    });

    it('must keep the last of several replacements at once, and the files of no other', async () => {
      const snapshot = await taken();
      const answers = await Promise.all([1, 2, 3, 4].map((version) => put({ snapshot, version: String(version) })));
      expect(answers.map(({ status }) => status).sort()).toEqual([200, 200, 200, 201]);
      await admin.api.call('DELETE', `/api/snapshots/${snapshot}`);
      await eventually(async () => {
        await sweep();
        expect(kept()).toHaveLength(1);
      });
      expect(containerOf(await created(SMALL)).layer).toBe('nginx');
    });

    itOnAnyDatabase('must leave no image behind, however many containers are created from it', async () => {
      await put({ snapshot: await taken(), data: true });
      const many = await berth.user('enterprise');
      const images = new Set(daemon.images);
      for (let count = 0; count < (IS_MORE ? 100 : 10); count += 1) {
        const copy = await created(SMALL, many);
        if (count % 10 === 9) expect(containerOf(copy).layer).toBe('nginx');
        expect((await many.api.delete(copy)).status).toBe(200);
      }
      expect(new Set(daemon.images)).toEqual(images);
    });

    itOnAnyDatabase("must be refused with another user's, a missing one, or one that is not ready", async () => {
      const snapshot = await taken();
      const other = await berth.user('pro', ['read', 'write', 'exec', 'admin']);
      const body = { snapshot, version: '1' };
      expect(await other.api.call('PUT', '/api/admin/templates/tools', body)).toMatchObject({ status: 403 });
      expect(await put({ snapshot: '3f0c8a52-6d1b-4c7e-9b1a-2e5d7f904c11' })).toMatchObject({ status: 404 });
      const hold = engine.holdOn('layers.commit');
      const making = await admin.api.call('POST', `/api/containers/${id}/snapshots`, {});
      await hold.reached;
      expect(await put({ snapshot: making.body['id'] })).toMatchObject({
        status: 409,
        body: { code: 'snapshot_not_ready' },
      });
      hold.release();
    });

    it('must wait with the removal of a snapshot that is being copied', async () => {
      const snapshot = await taken();
      const hold = engine.holdOn('volumes.copy', { call: 2 });
      const answer = put({ snapshot, data: true });
      await hold.reached;
      await admin.api.call('DELETE', `/api/snapshots/${snapshot}`);
      await sweep();
      expect(daemon.volumes.has(`berth-snapshot-${snapshot}`)).toBe(true);
      hold.release();
      expect(await answer).toMatchObject({ status: 201 });
      await eventually(async () => {
        await sweep();
        expect(kept().filter((name) => name.includes(snapshot))).toEqual([]);
      });
      expect(daemon.volumes.get(`berth-${await created(SMALL)}`)?.content).toBe('precious');
    });
  });

  describeOnAnyDatabase('a failure', () => {
    const CALLS: readonly [EngineMethod, number][] = [
      ['images.tag', 1],
      ['volumes.ensure', 1],
      ['volumes.copy', 1],
      ['volumes.copy', 2],
    ];

    it.each(CALLS)('of %s, call %i, must leave the template before, and nothing else', async (method, call) => {
      await put({ image: testImage(), version: 'before' });
      const snapshot = await taken();
      const before = kept();
      for (const when of ['before', 'after'] as const) {
        engine.failOn(method, { call, when, error: new EngineError('docker_error', 'no space left on device') });
        expect(await put({ snapshot, data: true })).toMatchObject({ status: 500, body: { code: 'docker_error' } });
        await eventually(() => expect(kept()).toEqual(before));
        const { body } = await admin.api.call('GET', '/api/admin/templates/tools');
        expect(body).toMatchObject({ version: 'before', snapshot: null });
      }
    });

    it('must be recovered if the process dies', async () => {
      const snapshot = await taken();
      const before = kept();
      for (const { method, call, when } of beforeAndAfter(CALLS.map(([method, call]) => ({ method, call })))) {
        // A dead process writes nothing any more.
        jest.spyOn(berth.app.get(SnapshotRepository), 'fail').mockRejectedValue(new Error('the process is dead'));
        const died = engine.dieOn(method, { call, when, how: 'throw' });
        const answer = put({ snapshot, data: true });
        await died;
        await answer;
        await begunAnew();
        await eventually(async () => {
          await sweep();
          expect([method, call, when, kept()]).toEqual([method, call, when, before]);
        });
        const workers = [...daemon.containers.values()].filter(({ spec }) => spec.generation === 0);
        expect(workers).toEqual([]);
        expect(await admin.api.call('GET', '/api/admin/templates/tools')).toMatchObject({ status: 404 });
      }
      expect(await put({ snapshot, data: true })).toMatchObject({ status: 201 });
    });

    it('of the removal must be made good by the next sweep', async () => {
      const snapshot = await taken();
      await put({ snapshot, data: true });
      const before = kept().filter((name) => !name.includes(snapshot));
      engine.failOn('volumes.remove', { error: new EngineError('docker_error', 'busy'), on: isFiles(before) });
      await drop();
      await eventually(async () => {
        await sweep();
        expect(kept().filter((name) => before.includes(name))).toEqual([]);
      });
    });
  });
});

function isFiles(names: readonly string[]) {
  return (volume: unknown): boolean => names.includes(String(volume));
}
