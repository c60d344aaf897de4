import { randomUUID } from 'node:crypto';
import { Database } from '../../src/database';
import { EngineError } from '../../src/engine';
import { Answer, SMALL, testImage } from '../support/clients/api-client';
import { eventually } from '../support/eventually';
import { sampled } from '../support/extent';
import { DAY, MIB, SnapshotWorld } from '../support/servers/snapshot-world';

jest.setTimeout(120_000);

const WHEN = ['before', 'after'] as const;

describe('what is made from snapshots', () => {
  const world = new SnapshotWorld('snapshot-copies');
  const { containerOf, take, get, wait, remove, taken, sweep, leftOf, told } = world;

  beforeAll(() => world.open());
  beforeEach(() => world.begin());
  afterEach(() => world.check());
  afterAll(() => world.close());

  describe('a container that is created from one', () => {
    it('must begin with its layer and its data, and share neither', async () => {
      const snapshot = await taken();
      const { db_id: copy } = await created({ snapshot });
      expect(containerOf(copy).layer).toBe('nginx');
      expect(world.daemon.volumes.get(`berth-${copy}`)?.content).toBe('precious');
      world.daemon.write(`berth-${copy}`, 'changed');
      expect(world.daemon.volumes.get(`berth-snapshot-${snapshot}`)?.content).toBe('precious');
      expect((await world.user.api.get(copy)).body).toMatchObject({ image: testImage(), status: 'running' });
    });

    it('must outlive the snapshot, and be recreated with the layer', async () => {
      const snapshot = await taken();
      const { db_id: copy } = await created({ snapshot });
      expect(await remove(snapshot)).toMatchObject({ status: 200 });
      expect(await get(snapshot)).toMatchObject({ status: 404, body: { code: 'snapshot_not_found' } });
      await eventually(() => expect(world.daemon.volumes.has(`berth-snapshot-${snapshot}`)).toBe(false));
      world.daemon.vanish(containerOf(copy).engineId);
      expect((await world.user.api.start(copy)).body).toMatchObject({ recreated: true, volume_kept: true });
      expect(containerOf(copy).layer).toBe('nginx');
      expect(world.daemon.volumes.get(`berth-${copy}`)?.content).toBe('precious');
      // The image goes with the last container that needs it.
      await world.user.api.delete(copy);
      world.clock.forward(8 * DAY);
      await sweep();
      await sweep();
      expect(leftOf(snapshot)).toEqual([]);
    });

    it('must get its data though the snapshot is deleted before the copy begins', async () => {
      const snapshot = await taken();
      const hold = world.engine.holdOn('volumes.ensure', { on: (volume) => isFor(volume, 'berth-') });
      const creation = await world.user.api.call('POST', '/api/containers', { snapshot, ...SMALL });
      await hold.reached;
      await remove(snapshot);
      await sweep();
      hold.release();
      const copy = String(creation.body['db_id']);
      expect(await world.user.api.call('GET', `/api/containers/${copy}/wait?status=running`)).toMatchObject({
        status: 200,
      });
      expect(world.daemon.volumes.get(`berth-${copy}`)?.content).toBe('precious');
      await sweep();
      expect(world.daemon.volumes.has(`berth-snapshot-${snapshot}`)).toBe(false);
    });

    it('must be refused with an image, with too little disk, and from what is not there or not ready', async () => {
      world.daemon.write(`berth-${world.id}`, 'large', 1000 * MIB);
      const snapshot = await taken();
      const create = (body: object): Promise<Answer> => world.user.api.call('POST', '/api/containers', body);
      expect(await create({ snapshot, image: 'sandbox' })).toMatchObject({
        status: 400,
        body: { details: [{ field: 'image' }] },
      });
      expect(await create({ snapshot, ...SMALL })).toMatchObject({
        status: 400,
        body: { details: [{ field: 'disk_mb', min: 1050 }] },
      });
      expect(await create({})).toMatchObject({ status: 400, body: { details: [{ field: 'image' }] } });
      expect(await create({ snapshot: randomUUID() })).toMatchObject({
        status: 404,
        body: { code: 'snapshot_not_found' },
      });
      const stranger = await world.berth.user();
      expect(await stranger.api.call('POST', '/api/containers', { snapshot })).toMatchObject({ status: 403 });
      const hold = world.engine.holdOn('containers.pause');
      const making = await take();
      expect(await create({ snapshot: making.body['id'] })).toMatchObject({
        status: 409,
        body: { code: 'snapshot_not_ready', status: 'making' },
      });
      hold.release();
      await wait(making.body['id']);
    });

    const KILLS = (['volumes.ensure', 'containers.create', 'containers.start', 'volumes.copy'] as const).flatMap(
      (method) => WHEN.map((when) => [when, method] as const),
    );
    it.each(sampled(KILLS, 3))('is finished if a kill interrupts it %s %s', async (when, method) => {
      const snapshot = await taken();
      const died = world.engine.dieOn(method, { when });
      const copy = String((await world.user.api.call('POST', '/api/containers', { snapshot, ...SMALL })).body['db_id']);
      await died;
      await world.restartAfterDeath();
      await eventually(async () => {
        await sweep();
        expect((await world.user.api.get(copy)).body).toMatchObject({ status: 'running' });
      });
      expect(world.daemon.running(copy)).toHaveLength(1);
      expect(containerOf(copy).layer).toBe('nginx');
      expect(world.daemon.volumes.get(`berth-${copy}`)?.content).toBe('precious');
    });

    it('says at a start that its snapshot is gone, and changes nothing', async () => {
      const snapshot = await taken();
      world.engine.failOn('volumes.copy', { error: new EngineError('docker_error', 'no') });
      const copy = String((await world.user.api.call('POST', '/api/containers', { snapshot, ...SMALL })).body['db_id']);
      await eventually(async () => expect((await world.user.api.get(copy)).body).toMatchObject({ status: 'error' }));
      const before = (await world.user.api.get(copy)).body;
      await remove(snapshot);
      await eventually(() => expect(leftOf(snapshot)).toEqual([]));
      expect(await world.user.api.start(copy)).toMatchObject({ status: 404, body: { code: 'snapshot_not_found' } });
      // On a busy machine the time goes on.
      expect((await world.user.api.get(copy)).body).toEqual({ ...before, idle_seconds: expect.any(Number) });
    });

    it("must not get at a snapshot's image by its name", async () => {
      const snapshot = await taken();
      for (const custom_image of [`berth/layer:${snapshot}`, `docker.io/berth/layer:${snapshot}`]) {
        expect(await world.user.api.create({ custom_image })).toMatchObject({
          status: 400,
          body: { details: [{ field: 'custom_image' }] },
        });
      }
    });
  });

  describe('a fork', () => {
    const fork = (body: object = {}, headers = {}): Promise<Answer> =>
      world.user.api.call('POST', `/api/containers/${world.id}/fork`, body, headers);
    const runs = (of: unknown): Promise<Answer> =>
      world.user.api.call('GET', `/api/containers/${String(of)}/wait?status=running`);
    /** Nothing of a snapshot is left. */
    const expectNoSnapshot = async (): Promise<void> => {
      await eventually(() => {
        const own = [...world.daemon.volumes].filter(
          ([, { owner }]) => owner.userId === world.user.id && owner.isSnapshot === true,
        );
        expect(own).toEqual([]);
      });
      expect((await world.user.api.call('GET', '/api/snapshots')).body).toMatchObject({ count: 0 });
    };

    beforeEach(async () => {
      await world.user.api.patch(world.id, { env: { KEY: 'value' }, labels: { team: 'core' } });
    });

    it('must be a container like the first, with its files, settings and variables', async () => {
      const forked = await fork({ name: 'copy' });
      expect(forked).toMatchObject({
        status: 202,
        body: { name: 'copy', status: 'creating', labels: { team: 'core' } },
      });
      const copy = String(forked.body['db_id']);
      expect(forked.headers.get('location')).toBe(`/api/containers/${copy}`);
      expect(await runs(copy)).toMatchObject({ status: 200 });
      expect(containerOf(copy).layer).toBe('nginx');
      expect(world.daemon.volumes.get(`berth-${copy}`)?.content).toBe('precious');
      expect((await world.user.api.get(copy)).body).toMatchObject({
        image: testImage(),
        resources: SMALL,
        labels: { team: 'core' },
      });
      const said: string[] = [];
      world.daemon.onExec = ({ env }) => (said.push(env['KEY'] ?? ''), 0);
      await world.user.api.call('POST', `/api/containers/${copy}/exec`, { command: ['true'] });
      expect(said).toContain('value');
      expect(containerOf(world.id).state).toBe('running');
      expect(told('snapshot_created')).toEqual([]);
      // The data of a single copy is copied once.
      expect(world.engine.callsOf('volumes.copy')).toBe(2);
      await expectNoSnapshot();
    });

    it.each([1, 2])('must start %i of them while the data is copied, and say so only after that', async (count) => {
      const hold = world.engine.holdOn('volumes.copy', { call: 2 });
      const copies = (await fork({ count })).body['containers'] as { db_id: string }[];
      await hold.reached;
      await eventually(() => {
        for (const { db_id } of copies) expect(containerOf(db_id)).toMatchObject({ state: 'running' });
      });
      for (const { db_id } of copies) {
        expect((await world.user.api.get(db_id)).body).toMatchObject({ status: 'creating' });
        expect(containerOf(db_id)).toMatchObject({ layer: 'nginx', spec: { isSeeded: true } });
      }
      hold.release();
      for (const { db_id } of copies) {
        expect(await runs(db_id)).toMatchObject({ status: 200 });
        expect(world.daemon.volumes.get(`berth-${db_id}`)?.content).toBe('precious');
      }
      await expectNoSnapshot();
    });

    it.each([1, 2])('must leave no container of %i that started if the copy of the data fails', async (count) => {
      world.engine.failOn('volumes.copy', {
        call: 2,
        when: 'after',
        error: new EngineError('copy_failed', 'it differs'),
      });
      const hold = world.engine.holdOn('volumes.copy', { call: 2 });
      const copies = (await fork({ count })).body['containers'] as { db_id: string }[];
      await hold.reached;
      await eventually(() => {
        for (const { db_id } of copies) expect(world.daemon.running(db_id)).toHaveLength(1);
      });
      hold.release();
      for (const { db_id } of copies) {
        await eventually(async () => expect((await world.user.api.get(db_id)).body).toMatchObject({ status: 'error' }));
        expect(world.daemon.running(db_id)).toEqual([]);
      }
      expect((await world.user.api.get(world.id)).body).toMatchObject({ status: 'running' });
      await expectNoSnapshot();
    });

    it('must count the layer against the disk of the copy, as that of the first counts', async () => {
      containerOf(world.id).layer = 'x'.repeat(3 * MIB);
      const copy = String((await fork({})).body['db_id']);
      await runs(copy);
      expect(containerOf(copy).spec.keptLayerMb).toBe(3);
      containerOf(copy).layer = 'x'.repeat(5 * MIB);
      const second = String((await world.user.api.call('POST', `/api/containers/${copy}/fork`, {})).body['db_id']);
      await runs(second);
      expect(containerOf(second).spec.keptLayerMb).toBe(8);
      const { manager } = world.berth.app.get(Database);
      await manager.query(`UPDATE containers SET kept_layer_mb = 1010 WHERE id = '${second}'`);
      expect(await world.user.api.call('POST', `/api/containers/${second}/fork`, {})).toMatchObject({
        status: 400,
        body: { details: [{ field: 'disk_mb', min: expect.any(Number) }] },
      });
    });

    it('refuses files outside the home that the disk of the machine has no room for', async () => {
      const { machine } = world.daemon;
      containerOf(world.id).layer = 'x'.repeat(3 * MIB);
      world.daemon.machine = { ...machine, freeDiskMb: 2 };
      expect(await fork({})).toMatchObject({
        status: 503,
        body: { code: 'no_capacity', short: [{ resource: 'free_disk_mb', needed: 3 }] },
      });
      world.daemon.machine = machine;
    });

    it('fails where its layer has become too large before the container was suspended', async () => {
      const { machine } = world.daemon;
      world.daemon.machine = { ...machine, freeDiskMb: 11 };
      const before = world.daemon.layers.size;
      const hold = world.engine.holdOn('containers.pause');
      const copy = String((await fork({})).body['db_id']);
      await hold.reached;
      containerOf(world.id).layer = 'x'.repeat(12 * MIB);
      hold.release();
      await eventually(async () =>
        expect((await world.user.api.get(copy)).body).toMatchObject({ status: 'error', status_reason: 'copy_failed' }),
      );
      world.daemon.machine = machine;
      expect(world.daemon.layers.size).toBe(before);
      await expectNoSnapshot();
    });

    it('must have an empty home where that of the first is empty', async () => {
      world.daemon.write(`berth-${world.id}`, '');
      const copy = String((await fork({})).body['db_id']);
      expect(await runs(copy)).toMatchObject({ status: 200 });
      expect(containerOf(copy).spec.isSeeded).toBe(true);
    });

    it('must make ten that share nothing', async () => {
      const forked = await fork({ name: 'many', count: 10 });
      const copies = forked.body['containers'] as { db_id: string; name: string }[];
      expect(copies.map(({ name }) => name)).toEqual(
        Array.from({ length: 10 }, (_none, at) => `many-${String(at + 1)}`),
      );
      for (const { db_id } of copies) {
        expect(await runs(db_id)).toMatchObject({ status: 200 });
        expect(world.daemon.volumes.get(`berth-${db_id}`)?.content).toBe('precious');
        world.daemon.write(`berth-${db_id}`, db_id);
      }
      for (const { db_id } of copies) expect(world.daemon.volumes.get(`berth-${db_id}`)?.content).toBe(db_id);
      expect(world.daemon.volumes.get(`berth-${world.id}`)?.content).toBe('precious');
      await expectNoSnapshot();
      expect(await sweep()).toMatchObject({ failed: 0 });
    });

    it('must be all or none', async () => {
      const few = await world.berth.user('free');
      const own = (await few.api.running()).db_id;
      const refused = await few.api.call('POST', `/api/containers/${own}/fork`, { count: 5 });
      expect(refused).toMatchObject({ status: 403, body: { code: 'container_limit_reached' } });
      expect((await few.api.call('GET', '/api/containers')).body).toMatchObject({ count: 1 });
      expect(await fork({ count: 11 })).toMatchObject({ status: 400, body: { details: [{ field: 'count' }] } });
    });

    it('must happen once for one idempotency key', async () => {
      const headers = { 'idempotency-key': randomUUID() };
      const [first, second] = await Promise.all([fork({}, headers), fork({}, headers)]);
      expect(second.body['db_id']).toBe(first.body['db_id']);
      await runs(first.body['db_id']);
      expect((await world.user.api.call('GET', '/api/containers')).body).toMatchObject({ count: 2 });
    });

    const DEATHS = [
      ['containers.pause', 1],
      ['layers.commit', 1],
      ['volumes.copy', 1],
      ['volumes.copy', 2],
      ['containers.unpause', 1],
      ['containers.create', 1],
    ] as const;
    it.each(sampled(DEATHS, 3))(
      'leaves copies that run, have failed or are removed if the process dies at %s, call %i',
      async (method, call) => {
        const died = world.engine.dieOn(method, { call, how: 'throw' });
        const forked = await fork({ count: 2 });
        await died;
        await world.restartAfterDeath();
        const copies = forked.body['containers'] as { db_id: string }[];
        await eventually(async () => {
          await sweep();
          expect((await world.user.api.get(world.id)).body).toMatchObject({ status: 'running' });
          expect(containerOf(world.id).state).toBe('running');
          for (const { db_id } of copies) {
            const copy = await world.user.api.get(db_id);
            // Removed if the dying process did not record the failure, so that there is no snapshot to finish it from.
            if (copy.status !== 404) expect(copy.body['status']).toMatch(/^(running|error)$/);
          }
          await expectNoSnapshot();
        });
        for (const { db_id } of copies) {
          if ((await world.user.api.get(db_id)).body['status'] === 'running')
            expect(world.daemon.volumes.get(`berth-${db_id}`)?.content).toBe('precious');
        }
        world.events = await world.berth.record(world.user);
      },
    );

    const KILLS = [
      ['containers.pause', 1, 2],
      ['layers.commit', 1, 2],
      ['volumes.copy', 1, 2],
      ['volumes.copy', 2, 1],
      ['containers.unpause', 1, 2],
      ['containers.create', 1, 1],
      ['volumes.copy', 4, 2],
    ] as const;
    it.each(sampled(KILLS, 3))(
      'is finished, or removed with an event, if a kill interrupts it at %s, call %i, of %i',
      async (...at) => {
        const [method, call, count] = at;
        const died = world.engine.dieOn(method, { call });
        const copies = (await fork({ count })).body['containers'] as { db_id: string }[];
        await died;
        await world.restartAfterDeath();
        const left = new Set<string>();
        await eventually(async () => {
          await sweep();
          expect((await world.user.api.get(world.id)).body).toMatchObject({ status: 'running' });
          expect(containerOf(world.id).state).toBe('running');
          left.clear();
          for (const { db_id } of copies) {
            const { status, body } = await world.user.api.get(db_id);
            expect([status, body['status']]).toEqual(status === 200 ? [200, 'running'] : [404, undefined]);
            if (status === 200) left.add(db_id);
            expect(world.daemon.running(db_id)).toHaveLength(left.has(db_id) ? 1 : 0);
            expect([db_id, world.daemon.volumes.has(`berth-${db_id}`)]).toEqual([db_id, left.has(db_id)]);
          }
          await expectNoSnapshot();
        });
        for (const db_id of left) expect(world.daemon.volumes.get(`berth-${db_id}`)?.content).toBe('precious');
        // Their places are free again, and their user is told.
        expect((await world.user.api.call('GET', '/api/containers')).body).toMatchObject({ count: 1 + left.size });
        world.events = await world.berth.record(world.user, 0);
        const removed = copies.filter(({ db_id }) => !left.has(db_id));
        await eventually(() => {
          const events = told('container_deleted').map(({ db_id, reason }) => ({ db_id, reason }));
          expect(events).toHaveLength(removed.length);
          expect(events).toEqual(
            expect.arrayContaining(removed.map(({ db_id }) => ({ db_id, reason: 'interrupted' }))),
          );
        });
        expect(told('container_error')).toEqual([]);
      },
    );
  });

  describe('a return to one', () => {
    const restore = (body: object): Promise<Answer> =>
      world.user.api.call('POST', `/api/containers/${world.id}/restore-snapshot`, body);
    const content = (): string | undefined => world.daemon.volumes.get(containerOf(world.id).spec.volumeName)?.content;
    const change = (): void => {
      world.daemon.write(containerOf(world.id).spec.volumeName, 'changed', 5 * MIB);
      containerOf(world.id).layer = 'nothing';
    };

    it('must bring back layer and data, keep the state before, and change neither id nor settings', async () => {
      const snapshot = await taken();
      change();
      const before = (await world.user.api.get(world.id)).body;
      const answer = await restore({ snapshot });
      expect(answer).toMatchObject({
        status: 200,
        body: {
          message: 'snapshot restored',
          db_id: world.id,
          name: 'origin',
          status: 'running',
          restarted: true,
          snapshot,
        },
      });
      expect(answer.body['id']).not.toBe(before['id']);
      expect([containerOf(world.id).layer, content()]).toEqual(['nginx', 'precious']);
      await eventually(() => expect(world.daemon.running(world.id)).toHaveLength(1));
      await eventually(() =>
        expect([...world.daemon.volumes].filter(([name]) => name.includes(world.id))).toHaveLength(1),
      );
      const kept = String(answer.body['kept']);
      expect((await get(kept)).body).toMatchObject({ status: 'ready', container_id: world.id });
      expect((await restore({ snapshot: kept, keep: false })).body).toMatchObject({ kept: null });
      expect([containerOf(world.id).layer, content()]).toEqual(['nothing', 'changed']);
      expect(await sweep()).toMatchObject({ failed: 0 });
    });

    it("must be refused with another container's, and leave a stopped container stopped", async () => {
      const other = (await world.user.api.running({ name: 'other' })).db_id;
      const foreign = await taken({}, other);
      expect(await restore({ snapshot: foreign })).toMatchObject({
        status: 400,
        body: { details: [{ field: 'snapshot' }] },
      });
      const snapshot = await taken();
      change();
      await world.user.api.stop(world.id);
      expect(await restore({ snapshot, keep: false })).toMatchObject({
        status: 200,
        body: { status: 'stopped', restarted: false },
      });
      await world.user.api.start(world.id);
      expect([containerOf(world.id).layer, content()]).toEqual(['nginx', 'precious']);
    });

    it.each(sampled(WHEN))(
      'must leave nothing of the old container if its process dies %s the removal of the volume',
      async (when) => {
        const snapshot = await taken();
        change();
        const isOld = (name: unknown): boolean => name === `berth-${world.id}`;
        const died = world.engine.dieOn('volumes.remove', { when, how: 'throw', on: isOld });
        void restore({ snapshot, keep: false });
        await died;
        await world.restartAfterDeath();
        await eventually(async () => {
          await sweep();
          expect((await world.user.api.get(world.id)).body).toMatchObject({ status: 'running' });
          expect([...world.daemon.volumes].filter(([name]) => name.includes(world.id))).toHaveLength(1);
        });
        expect([containerOf(world.id).layer, content()]).toEqual(['nginx', 'precious']);
        world.events = await world.berth.record(world.user);
      },
    );

    const RESTORING = [
      ['volumes.copy', 1],
      ['volumes.ensure', 1],
      ['volumes.copy', 2],
      ['containers.start', 1],
      ['containers.create', 1],
      ['containers.stop', 1],
    ] as const;
    it.each(sampled(RESTORING, 3))(
      'must change nothing if it fails, or its process dies, at %s, call %i',
      async (method, call) => {
        const snapshot = await taken();
        change();
        world.engine.failOn(method, { call, error: new EngineError('docker_error', 'no space left on device') });
        expect(await restore({ snapshot, keep: false })).toMatchObject({
          status: 500,
          body: { error: 'failed to restore snapshot' },
        });
        const unchanged = async (): Promise<void> => {
          expect((await world.user.api.get(world.id)).body).toMatchObject({ status: 'running' });
          expect(world.daemon.running(world.id)).toHaveLength(1);
          expect([containerOf(world.id).layer, content()]).toEqual(['nothing', 'changed']);
          expect([...world.daemon.volumes].filter(([name]) => name.includes(world.id))).toHaveLength(1);
        };
        await eventually(unchanged);
        const died = world.engine.dieOn(method, { call, how: 'throw' });
        void restore({ snapshot, keep: false });
        await died;
        await world.restartAfterDeath();
        await eventually(async () => {
          await sweep();
          await unchanged();
        });
      },
    );
  });

  describe('a start of a container that Docker can never start again', () => {
    const broken = { error: new EngineError('container_broken', 'cannot signal container in state paused') };
    const engineId = async (): Promise<unknown> => (await world.user.api.get(world.id)).body['id'];

    it('must keep its layer', async () => {
      await world.user.api.stop(world.id);
      const before = await engineId();
      world.engine.failOn('containers.start', broken);
      expect(await world.user.api.start(world.id)).toMatchObject({
        status: 200,
        body: { recreated: true, old_id: before },
      });
      expect(containerOf(world.id).layer).toBe('nginx');
      world.daemon.vanish(containerOf(world.id).engineId);
      await world.user.api.start(world.id);
      expect(containerOf(world.id).layer).toBe('nginx');
    });

    it.each([
      ['layers.commit', 1],
      ['layers.flatten', 1],
      ['containers.remove', 1],
      ['containers.create', 1],
    ] as const)('must lose nothing if %s fails, call %i', async (method, call) => {
      await world.user.api.stop(world.id);
      for (const when of ['before', 'after'] as const) {
        world.engine.failOn('containers.start', broken);
        world.engine.failOn(method, { call, when, error: new EngineError('docker_error', 'no space left on device') });
        expect(await world.user.api.start(world.id)).toMatchObject({ status: 500, body: { code: 'docker_error' } });
        expect((await world.user.api.get(world.id)).body).toMatchObject({ status: 'stopped' });
      }
      await world.user.api.start(world.id);
      expect(containerOf(world.id).layer).toBe('nginx');
    });

    it('must do without what cannot be read', async () => {
      await world.user.api.stop(world.id);
      world.engine.failOn('containers.start', broken);
      world.engine.failOn('layers.measure', { error: new EngineError('docker_error', 'no such file or directory') });
      expect(await world.user.api.start(world.id)).toMatchObject({ status: 200, body: { recreated: true } });
      expect(containerOf(world.id).layer).toBe('');
    });
  });

  it('copies the data of one container of a user at a time, and suspends none that waits', async () => {
    const second = (await world.user.api.running({ name: 'second' })).db_id;
    world.daemon.write(`berth-${second}`, 'more', MIB);
    const other = await world.berth.newcomer('enterprise');
    const others = (await other.user.api.running()).db_id;
    world.daemon.write(`berth-${others}`, 'theirs', MIB);
    const hold = world.engine.holdOn('volumes.copy');
    const made = [await take()];
    await hold.reached;
    made.push(await take({}, second));
    const theirs = await other.user.api.call('POST', `/api/containers/${others}/snapshots`, {});
    const ended = await other.user.api.call('GET', `/api/snapshots/${String(theirs.body['id'])}/wait?timeout=20`);
    expect(ended).toMatchObject({ status: 200, body: { status: 'ready' } });
    expect(containerOf(world.id).state).toBe('paused');
    expect(containerOf(second).state).toBe('running');
    hold.release();
    for (const each of made) expect(await wait(each.body['id'])).toMatchObject({ status: 200 });
  });

  describe('a resize', () => {
    const resize = (changes: object = { memory_mb: 512 }): Promise<Answer> => world.user.api.patch(world.id, changes);
    const layers = (): string[] => [...world.daemon.images].filter((name) => name.includes(world.id));

    it('must keep what was written outside the home, again and again', async () => {
      for (const memory_mb of [512, 256, 512]) {
        expect(await resize({ memory_mb })).toMatchObject({ status: 200, body: { restarted: true, root_kept: true } });
        expect(containerOf(world.id).layer).toBe('nginx');
        containerOf(world.id).layer = 'nginx';
      }
      await eventually(() => expect(told('container_updated').at(-1)).toMatchObject({ root_kept: true }));
      expect(world.daemon.volumes.get(`berth-${world.id}`)?.content).toBe('precious');
      containerOf(world.id).layer = 'more';
      await resize({ memory_mb: 256 });
      expect(containerOf(world.id).layer).toBe('more');
      // Of each layer that no container needs any more, nothing is left.
      world.clock.forward(DAY / 12);
      await sweep();
      expect(layers()).toHaveLength(1);
      await world.user.api.delete(world.id);
      world.clock.forward(8 * DAY);
      await sweep();
      await sweep();
      expect(layers()).toEqual([]);
    });

    it('must not stop the container before its replacement if there is nothing to keep', async () => {
      containerOf(world.id).layer = '';
      expect((await resize()).body).toMatchObject({ root_kept: true });
      const methods = world.engine.calls.map(({ method }) => method);
      expect(methods.indexOf('containers.create')).toBeLessThan(methods.indexOf('containers.stop'));
      expect(methods).not.toContain('layers.commit');
    });

    it('must keep what is written after it has begun, before the container stops', async () => {
      containerOf(world.id).layer = '';
      const hold = world.engine.holdOn('containers.create', { when: 'after' });
      const answering = resize();
      await hold.reached;
      for (const each of world.daemon.containers.values()) if (each.state === 'running') each.layer = 'nginx';
      hold.release();
      expect(await answering).toMatchObject({ status: 200, body: { restarted: true, root_kept: true } });
      expect(containerOf(world.id)).toMatchObject({ state: 'running', layer: 'nginx' });
    });

    it('must say that nothing is kept where the machine does not keep it, or the container is gone', async () => {
      world.daemon.keepsLayers = false;
      expect((await resize()).body).toMatchObject({ root_kept: false });
      world.daemon.keepsLayers = true;
      world.daemon.vanish(containerOf(world.id).engineId);
      await eventually(async () =>
        expect((await world.user.api.get(world.id)).body).toMatchObject({ status: 'stopped' }),
      );
      expect((await resize({ memory_mb: 256 })).body).toMatchObject({ root_kept: false });
    });

    it('must fail if its layer is removed before its use, and not go on without it', async () => {
      const hold = world.engine.holdOn('layers.flatten', { when: 'after' });
      const answering = resize();
      await hold.reached;
      for (const name of layers()) {
        world.daemon.images.delete(name);
        world.daemon.layers.delete(name);
      }
      hold.release();
      expect(await answering).toMatchObject({ status: 500, body: { code: 'image_not_found' } });
      expect(containerOf(world.id)).toMatchObject({ state: 'running', layer: 'nginx' });
    });

    it('refuses a layer that has become larger than the disk by the end of its programs', async () => {
      const { manager } = world.berth.app.get(Database);
      await manager.query(`UPDATE containers SET disk_mb = 32 WHERE id = '${world.id}'`);
      const grown = 'x'.repeat(33 * MIB);
      for (const before of ['nginx', '']) {
        const own = containerOf(world.id);
        own.layer = before;
        // A container that an earlier resize has replaced is perhaps stopped meanwhile.
        const hold = world.engine.holdOn('containers.stop', { on: (engineId) => engineId === own.engineId });
        const answering = resize();
        await hold.reached;
        for (const each of world.daemon.containers.values()) if (each.state === 'running') each.layer = grown;
        hold.release();
        expect((await answering).status).toBe(before === '' ? 400 : 500);
        expect(containerOf(world.id)).toMatchObject({ state: 'running', layer: grown });
        expect(layers()).toEqual([]);
      }
    });

    it('must count what is kept against the disk', async () => {
      containerOf(world.id).layer = 'x'.repeat(3 * MIB);
      expect(await resize({ memory_mb: 512 })).toMatchObject({ status: 200 });
      expect(containerOf(world.id).spec.keptLayerMb).toBe(3);
    });

    const CALLS = [
      ['containers.stop', 1],
      ['layers.commit', 1],
      ['layers.flatten', 1],
      ['containers.create', 1],
      ['containers.rename', 1],
      ['containers.start', 1],
    ] as const;
    const POINTS = WHEN.flatMap((when, offset) =>
      // In turn, so that in a sample one is before the effect of its call and the next one after it.
      CALLS.map((_call, at) => [...(CALLS[(at + offset) % CALLS.length] ?? CALLS[0]), when] as const),
    );

    it.each(sampled(POINTS, 4))(
      'must leave the old one running if it fails, or its process dies, at %s, call %i, %s its effect',
      async (method, call, when) => {
        const error = new EngineError('docker_error', 'no space left on device');
        world.engine.failOn(method, { call, when, error });
        expect(await resize()).toMatchObject({ status: 500 });
        const unchanged = async (): Promise<void> => {
          expect((await world.user.api.get(world.id)).body).toMatchObject({
            status: 'running',
            resources: { memory_mb: 256 },
          });
          expect(world.daemon.running(world.id)).toHaveLength(1);
          expect(containerOf(world.id).layer).toBe('nginx');
        };
        await eventually(unchanged);
        const died = world.engine.dieOn(method, { call, when, how: 'throw' });
        void resize();
        await died;
        await world.restartAfterDeath();
        await eventually(async () => {
          await sweep();
          await unchanged();
        });
        world.clock.forward(DAY / 12);
        await sweep();
        expect(layers()).toEqual([]);
        world.events = await world.berth.record(world.user);
      },
    );
  });

  /** Creates a container from a snapshot and waits until it runs. */
  async function created(body: { snapshot: string }): Promise<{ db_id: string }> {
    const creation = await world.user.api.call('POST', '/api/containers', { ...SMALL, ...body });
    expect(creation.status).toBe(202);
    const db_id = String(creation.body['db_id']);
    expect(await world.user.api.call('GET', `/api/containers/${db_id}/wait?status=running`)).toMatchObject({
      status: 200,
    });
    return { db_id };
  }
});

function isFor(volume: unknown, prefix: string): boolean {
  return String((volume as { name?: unknown }).name).startsWith(prefix);
}
