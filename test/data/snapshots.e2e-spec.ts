import { randomUUID } from 'node:crypto';
import { Database } from '../../src/database';
import { EngineError } from '../../src/engine';
import { ContainerEntity } from '../../src/containers/model/container.entity';
import { RecoveryQueue } from '../../src/containers/reconcile/recovery-queue';
import { SnapshotEntity } from '../../src/containers/model/snapshot.entity';
import { Answer, answered, testImage } from '../support/clients/api-client';
import { holdSweeps } from '../support/servers/hold-sweeps';
import { leaseAsDead } from '../support/databases/lease-as-dead';
import { eventually } from '../support/eventually';
import { describeOnAnyDatabase, itOnAnyDatabase, sampled } from '../support/extent';
import type { EngineMethod } from '../support/fakes/fake-engine';
import { DAY, MIB, SnapshotWorld } from '../support/servers/snapshot-world';

jest.setTimeout(120_000);

describe('snapshots', () => {
  const world = new SnapshotWorld('snapshots');
  const { containerOf, take, get, wait, remove, taken, sweep, leftOf, told } = world;

  beforeAll(() => world.open());
  beforeEach(() => world.begin());
  afterEach(() => world.check());
  afterAll(() => world.close());

  describe('the making of one', () => {
    it('must be answered at once, be told of, and leave the container running', async () => {
      const made = await take({ name: 'first', description: 'with nginx', labels: { team: 'core' } });
      expect(made).toMatchObject({
        status: 202,
        body: {
          container_id: world.id,
          name: 'first',
          description: 'with nginx',
          status: 'making',
          labels: { team: 'core' },
        },
      });
      const snapshot = String(made.body['id']);
      expect(made.headers.get('location')).toBe(`/api/snapshots/${snapshot}`);
      const ready = await wait(snapshot);
      expect(ready).toMatchObject({
        status: 200,
        body: {
          status: 'ready',
          root: true,
          bytes: 10 * MIB + 'nginx'.length,
          image: testImage(),
          status_reason: null,
        },
      });
      expect(ready.body['downtime_ms']).toEqual(expect.any(Number));
      await eventually(() => expect(told('snapshot_ready')).toHaveLength(1));
      expect(told('snapshot_created')).toMatchObject([{ id: snapshot, status: 'making' }]);
      expect(told('snapshot_ready')).toMatchObject([{ id: snapshot, status: 'ready', root: true }]);
      expect(told('container_paused')).toEqual([]);
      expect(containerOf(world.id).state).toBe('running');
      expect((await world.user.api.get(world.id)).body).toMatchObject({ status: 'running' });
      expect(world.daemon.volumes.get(`berth-snapshot-${snapshot}`)?.content).toBe('precious');
      expect(await sweep()).toMatchObject({ failed: 0 });
      expect(leftOf(snapshot)).toHaveLength(2);
    });

    itOnAnyDatabase('must suspend a running container, copy meanwhile, and let it go on', async () => {
      await taken();
      const methods = world.engine.calls.map(({ method }) => method).filter((method) => MAKING.includes(method));
      expect(methods).toEqual([
        'volumes.ensure',
        'containers.pause',
        'layers.commit',
        'volumes.copy',
        'volumes.copy',
        'containers.unpause',
        'layers.flatten',
      ]);
    });

    itOnAnyDatabase('must let a command wait that comes meanwhile', async () => {
      const hold = world.engine.holdOn('volumes.copy', { call: 2 });
      const made = await take();
      await hold.reached;
      const command = world.user.api.call('POST', `/api/containers/${world.id}/exec`, { command: ['true'] });
      expect(containerOf(world.id).state).toBe('paused');
      hold.release();
      expect(await command).toMatchObject({ status: 200, body: { exit_code: 0 } });
      await wait(made.body['id']);
    });

    itOnAnyDatabase('must let a command wait that came just before', async () => {
      const begun = world.engine.holdOn('programs.start');
      world.engine.failOn('programs.start', { error: new EngineError('container_paused', 'the container is paused') });
      const command = world.user.api.call('POST', `/api/containers/${world.id}/exec`, { command: ['true'] });
      await begun.reached;
      const hold = world.engine.holdOn('volumes.copy', { call: 2 });
      const made = await take();
      await hold.reached;
      begun.release();
      hold.release();
      expect(await command).toMatchObject({ status: 200, body: { exit_code: 0 } });
      await wait(made.body['id']);
    });

    itOnAnyDatabase.each(['stopped', 'paused'] as const)('must leave a %s container as it is', async (status) => {
      await (status === 'stopped'
        ? world.user.api.stop(world.id)
        : world.user.api.call('POST', `/api/containers/${world.id}/pause`));
      const snapshot = await taken();
      expect((await get(snapshot)).body).toMatchObject({ status: 'ready', root: true, downtime_ms: 0 });
      expect((await world.user.api.get(world.id)).body).toMatchObject({ status });
      expect(world.engine.callsOf('containers.unpause')).toBe(0);
    });

    itOnAnyDatabase('must contain the data alone where the machine does not keep the layer', async () => {
      world.daemon.keepsLayers = false;
      try {
        const snapshot = await taken();
        expect((await get(snapshot)).body).toMatchObject({ root: false, bytes: 10 * MIB });
        expect(leftOf(snapshot)).toEqual([`berth-snapshot-${snapshot}`]);
      } finally {
        world.daemon.keepsLayers = true;
      }
    });

    itOnAnyDatabase('must commit nothing if nothing was written outside the home', async () => {
      containerOf(world.id).layer = '';
      const snapshot = await taken();
      expect((await get(snapshot)).body).toMatchObject({ root: true, bytes: 10 * MIB });
      expect(world.engine.callsOf('layers.commit')).toBe(0);
    });

    itOnAnyDatabase('must be refused while the container is being created, or if that has failed', async () => {
      const created = await world.user.api.create({ custom_image: 'berth/missing:1', name: 'broken' });
      const broken = String(created.body['db_id']);
      await eventually(async () => expect((await world.user.api.get(broken)).body['status']).toBe('error'));
      expect(await take({}, broken)).toMatchObject({ status: 409, body: { code: 'container_not_running' } });
    });

    it('must happen once for one idempotency key', async () => {
      const headers = { 'idempotency-key': randomUUID() };
      const [first, second] = await Promise.all([take({}, world.id, headers), take({}, world.id, headers)]);
      expect([first.status, second.status]).toEqual([202, 202]);
      expect(second.body['id']).toBe(first.body['id']);
      expect(await take({ name: 'other' }, world.id, headers)).toMatchObject({
        status: 409,
        body: { code: 'idempotency_key_reused' },
      });
      await wait(first.body['id']);
      expect((await world.user.api.call('GET', '/api/snapshots')).body).toMatchObject({ count: 1 });
    });

    itOnAnyDatabase.each([
      ['name', { name: 'a b' }],
      ['description', { description: 'a\u0007b' }],
      ['labels', { labels: { A: 'b' } }],
      ['more', { more: 1 }],
    ])('must name %s as faulty', async (field, body) => {
      expect(await take(body)).toMatchObject({ status: 400, body: { details: [{ field }] } });
    });
  });

  describe('the list', () => {
    it("must have the user's own alone, by container and label, and what they count with", async () => {
      const other = (await world.user.api.running({ name: 'other' })).db_id;
      const one = await taken({ labels: { team: 'core' } });
      const two = await taken({ labels: { team: 'web' } }, other);
      const list = (query: string): Promise<Answer> => world.user.api.call('GET', `/api/snapshots${query}`);
      const ids = (answer: Answer): string[] => (answer.body['snapshots'] as { id: string }[]).map((each) => each.id);
      expect(ids(await list(''))).toEqual([two, one]);
      expect(ids(await list(`?container=${world.id}`))).toEqual([one]);
      expect(ids(await list('?label=team:web'))).toEqual([two]);
      const first = await list('?limit=1');
      expect(ids(first)).toEqual([two]);
      expect(ids(await list(`?limit=1&cursor=${String(first.body['next_cursor'])}`))).toEqual([one]);
      expect((await list('')).body['usage']).toMatchObject({ snapshots: 2, limit: 25 });
      const stranger = await world.berth.user();
      expect(await stranger.api.call('GET', `/api/snapshots/${one}`)).toMatchObject({ status: 403 });
      expect((await stranger.api.call('GET', '/api/snapshots')).body).toMatchObject({ count: 0 });
    });

    it("must be everybody's for administrators, who delete any", async () => {
      const snapshot = await taken();
      const admin = await world.berth.user('pro', ['read', 'write', 'admin']);
      const listed = await admin.api.call('GET', `/api/admin/snapshots?user_id=${world.user.id}`);
      expect(listed.body).toMatchObject({ snapshots: [{ id: snapshot, user_id: world.user.id }], next_cursor: null });
      expect(await world.user.api.call('GET', '/api/admin/snapshots')).toMatchObject({ status: 403 });
      expect(await admin.api.call('DELETE', `/api/admin/snapshots/${snapshot}`)).toMatchObject({ status: 200 });
      expect(await get(snapshot)).toMatchObject({ status: 404 });
      await eventually(() => expect(told('snapshot_deleted')).toHaveLength(1));
    });

    it('must follow changes of name, description and labels', async () => {
      const snapshot = await taken({ description: 'before' });
      const changed = { name: 'renamed', description: null, labels: { a: 'b' } };
      const answer = await world.user.api.call('PATCH', `/api/snapshots/${snapshot}`, changed);
      expect(answer).toMatchObject({ status: 200, body: changed });
      expect((await get(snapshot)).body).toMatchObject(changed);
    });
  });

  describe('limits', () => {
    it('must be exact with 50 requests at once', async () => {
      const many = await world.berth.user('free');
      const ids = await Promise.all([1, 2, 3, 4, 5].map(async () => (await many.api.running()).db_id));
      const requests = Array.from({ length: 50 }, (_none, at) =>
        answered(() => many.api.call('POST', `/api/containers/${String(ids[at % 5])}/snapshots`, {})),
      );
      const answers = await Promise.all(requests);
      // On a busy machine one may fail meanwhile, which gives its place back.
      const made = (await many.api.call('GET', '/api/snapshots')).body['snapshots'] as { status: string }[];
      expect(answers.filter(({ status }) => status === 202)).toHaveLength(made.length);
      expect(made.length).toBeGreaterThanOrEqual(5);
      expect(made.filter(({ status }) => status !== 'failed').length).toBeLessThanOrEqual(5);
      // On a busy machine any number of requests wait too long for another one of the same container.
      const refused = answers.filter(({ status, body }) => status !== 202 && body['code'] !== 'operation_in_progress');
      const limit = { code: 'snapshot_limit_reached', current: 5, limit: 5, tier: 'free' };
      expect(refused.length).toBeGreaterThan(0);
      for (const { status, body } of refused) expect({ status, body }).toMatchObject({ status: 403, body: limit });
    });

    it('must count the size, also that which it has in the end', async () => {
      const free = await world.berth.user('free');
      const own = (await free.api.running({ disk_mb: 10_240 })).db_id;
      const ask = (): Promise<Answer> => free.api.call('POST', `/api/containers/${own}/snapshots`, {});
      const ended = (answer: Answer): Promise<Answer> =>
        free.api.call('GET', `/api/snapshots/${String(answer.body['id'])}/wait`);
      containerOf(own).layer = 'nginx';
      world.daemon.write(`berth-${own}`, 'all that fits', 10_240 * MIB);
      for (let count = 1; count <= 4; count += 1) expect(await ended(await ask())).toMatchObject({ status: 200 });
      world.daemon.write(`berth-${own}`, 'less', 10_239 * MIB);
      const hold = world.engine.holdOn('containers.pause');
      const last = await ask();
      expect(last.status).toBe(202);
      await hold.reached;
      containerOf(own).layer = 'x'.repeat(2 * MIB);
      hold.release();
      expect(await ended(last)).toMatchObject({ status: 409, body: { status: 'failed' } });
      const snapshot = String(last.body['id']);
      const failed = await free.api.call('GET', `/api/snapshots/${snapshot}`);
      expect(failed.body).toMatchObject({ status_reason: 'snapshot_limit_reached' });
      await sweep();
      expect(leftOf(snapshot)).toEqual([]);
      expect(await ask()).toMatchObject({ status: 403, body: { code: 'snapshot_limit_reached', limit_mb: 51_200 } });
    });

    itOnAnyDatabase(
      'refuses files outside the home that are larger than the disk, or have become so since',
      async () => {
        const { manager } = world.berth.app.get(Database);
        await manager.query(`UPDATE containers SET disk_mb = 32 WHERE id = '${world.id}'`);
        containerOf(world.id).layer = 'x'.repeat(33 * MIB);
        expect(await take()).toMatchObject({ status: 400, body: { details: [{ field: 'disk_mb', min: 49 }] } });
        containerOf(world.id).layer = 'nginx';
        await expectTooLarge(33 * MIB);
      },
    );

    itOnAnyDatabase(
      'refuses a layer that the disk of the machine has no room for once the container is suspended',
      async () => {
        const { machine } = world.daemon;
        // Enough for the data and the layer as they are when the snapshot is accepted.
        world.daemon.machine = { ...machine, freeDiskMb: 11 };
        await expectTooLarge(12 * MIB);
        world.daemon.machine = machine;
      },
    );

    /** Lets the layer grow between the acceptance and the suspension; nothing of it is kept. */
    async function expectTooLarge(bytes: number): Promise<void> {
      const hold = world.engine.holdOn('containers.pause');
      const made = await take();
      expect(made.status).toBe(202);
      await hold.reached;
      containerOf(world.id).layer = 'x'.repeat(bytes);
      hold.release();
      const snapshot = String(made.body['id']);
      expect(await wait(snapshot)).toMatchObject({ status: 409, body: { status: 'failed' } });
      expect((await get(snapshot)).body).toMatchObject({ status_reason: 'data_too_large' });
      expect(containerOf(world.id).state).toBe('running');
      await eventually(() => expect(leftOf(snapshot)).toEqual([]));
    }

    itOnAnyDatabase('must leave guests none', async () => {
      const guest = await world.berth.user('guest');
      const own = (await guest.api.running()).db_id;
      expect(await guest.api.call('POST', `/api/containers/${own}/snapshots`, {})).toMatchObject({
        status: 403,
        body: { code: 'snapshot_limit_reached', limit: 0 },
      });
    });
  });

  describeOnAnyDatabase('a failure', () => {
    it.each([
      ['volumes.ensure', 1],
      ['containers.pause', 1],
      ['layers.commit', 1],
      ['volumes.copy', 1],
      ['volumes.copy', 2],
      ['containers.unpause', 1],
      ['layers.flatten', 1],
    ] as const)('of %s, call %i, must leave the container as it was, and nothing else', async (method, call) => {
      for (const when of ['before', 'after'] as const) {
        world.engine.failOn(method, { call, when, error: new EngineError('docker_error', 'no space left on device') });
        const made = await take();
        const snapshot = String(made.body['id']);
        await eventually(async () => expect((await get(snapshot)).body['status']).toBe('failed'));
        await eventually(() => expect(leftOf(snapshot)).toEqual([]));
        expect(containerOf(world.id).state).toBe('running');
        expect((await world.user.api.get(world.id)).body).toMatchObject({ status: 'running' });
        expect(told('snapshot_failed').at(-1)).toMatchObject({ id: snapshot, reason: 'docker_error' });
        expect(told('container_paused')).toEqual([]);
        expect(await wait(snapshot)).toMatchObject({ status: 409, body: { code: 'status_unreachable' } });
        await remove(snapshot);
      }
    });

    it('must be noticed if the container was resumed while its data was copied', async () => {
      const hold = world.engine.holdOn('volumes.copy', { call: 2 });
      const made = await take();
      await hold.reached;
      world.daemon.unpause(containerOf(world.id).engineId);
      hold.release();
      await eventually(async () => expect((await get(made.body['id'])).body['status']).toBe('failed'));
      expect(world.daemon.violations.splice(0)).toEqual([]);
    });

    it('must come of a first write outside the home that is made before the container is suspended', async () => {
      containerOf(world.id).layer = '';
      const hold = world.engine.holdOn('containers.pause', { when: 'before' });
      const made = await take();
      await hold.reached;
      containerOf(world.id).layer = 'nginx';
      hold.release();
      expect(await wait(made.body['id'])).toMatchObject({ status: 409, body: { code: 'status_unreachable' } });
      expect((await get(made.body['id'])).body).toMatchObject({ status: 'failed', status_reason: 'copy_failed' });
      expect(containerOf(world.id).state).toBe('running');
      expect((await get(await taken())).body).toMatchObject({ root: true, bytes: expect.any(Number) });
    });

    it.each(MORTAL_CALLS())('must be recovered if the process dies at %s, call %i', async (method, call, when) => {
      const died = world.engine.dieOn(method, { call, when, how: 'throw' });
      const made = await take();
      const snapshot = String(made.body['id']);
      await died;
      await world.restartAfterDeath();
      await eventually(
        async () => {
          await sweep();
          // If the process died before the answer, there is none.
          if (made.status === 202) expect((await get(snapshot)).body['status']).toMatch(/^(ready|failed)$/);
          expect((await world.user.api.get(world.id)).body).toMatchObject({ status: 'running' });
          expect(containerOf(world.id).state).toBe('running');
          if ((await get(snapshot)).body['status'] === 'failed') expect(leftOf(snapshot)).toEqual([]);
        },
        { timeoutMs: 20_000 },
      );
      const helpers = [...world.daemon.containers.values()].filter(({ spec }) => spec.generation === 0);
      expect(helpers).toEqual([]);
      world.events = await world.berth.record(world.user);
    });
  });

  it('fail with the recovery of their operation, without waiting for a sweep', async () => {
    const id = await taken();
    const sweepAgain = await holdSweeps(world.berth);
    const { manager } = world.berth.app.get(Database);
    // A process died while it copied the data.
    await leaseAsDead(world.berth, await manager.findOneByOrFail(ContainerEntity, { id: world.id }), 'snapshot');
    await manager.update(SnapshotEntity, { id }, { status: 'making', operationId: 'dead', downtimeMs: null });
    containerOf(world.id).state = 'paused';
    expect(await world.berth.app.get(RecoveryQueue).resume(world.id)).toBe('ok');
    expect((await get(id)).body).toMatchObject({ status: 'failed', status_reason: 'interrupted' });
    expect(containerOf(world.id).state).toBe('running');
    sweepAgain();
    await eventually(() => expect(leftOf(id)).toEqual([]));
  });

  describe('files that Docker lacks', () => {
    it.each<[string, (snapshot: string) => () => unknown]>([
      [
        'volume',
        (snapshot) => {
          const [name, { volumes }] = [`berth-snapshot-${snapshot}`, world.daemon];
          const volume = world.daemon.volume(name);
          volumes.delete(name);
          return () => volumes.set(name, volume);
        },
      ],
      [
        'image',
        (snapshot) => {
          const { images } = world.daemon;
          const names = [...images].filter((name) => name.includes(snapshot));
          expect(names).toHaveLength(1);
          for (const name of names) images.delete(name);
          return () => names.map((name) => images.add(name));
        },
      ],
    ])('fail a snapshot at the next sweep if its %s is gone, until it is back', async (_what, lose) => {
      const snapshot = await taken();
      const bringBack = lose(snapshot);
      await eventually(async () =>
        expect((await get(snapshot)).body).toMatchObject({ status: 'failed', status_reason: 'files_missing' }),
      );
      await eventually(() =>
        expect(told('snapshot_failed')).toMatchObject([{ id: snapshot, reason: 'files_missing' }]),
      );
      const restore = { snapshot, keep: false };
      expect(await world.user.api.call('POST', `/api/containers/${world.id}/restore-snapshot`, restore)).toMatchObject({
        status: 409,
        body: { code: 'snapshot_not_ready', reason: 'files_missing' },
      });
      await sweep();
      expect(leftOf(snapshot)).toHaveLength(1);
      bringBack();
      await eventually(async () => expect((await get(snapshot)).body).toMatchObject({ status: 'ready' }));
      expect(leftOf(snapshot)).toHaveLength(2);
    });

    it('do not fail a snapshot in another Docker', async () => {
      const snapshot = await taken();
      const restore = world.daemon.empty();
      await sweep();
      await sweep();
      restore();
      await sweep();
      expect((await get(snapshot)).body).toMatchObject({ status: 'ready' });
      expect(told('snapshot_failed')).toEqual([]);
    });
  });

  describeOnAnyDatabase('the image of one that a commit made too late', () => {
    /** Docker ends a commit after Berth has given it up. @returns the snapshot's id */
    const late = async (): Promise<string> => {
      world.engine.failOn('layers.commit', { error: new EngineError('docker_unavailable', 'no answer in 30 minutes') });
      const snapshot = String((await take()).body['id']);
      await eventually(async () => expect((await get(snapshot)).body['status']).toBe('failed'));
      const { manager } = world.berth.app.get(Database);
      await eventually(async () =>
        expect(await manager.findOneBy(SnapshotEntity, { id: snapshot })).toMatchObject({ isClean: true }),
      );
      // One that was running may remove it too.
      await sweep();
      const image = `berth/layer:${snapshot}`;
      world.daemon.layers.set(image, { layer: 'nginx', at: world.clock.now(), instance: world.instance });
      world.daemon.images.add(image);
      return snapshot;
    };

    it('must be removed, and no other', async () => {
      const [ready, failed] = [await taken(), await late()];
      await sweep();
      expect(leftOf(failed)).toHaveLength(1);
      world.clock.forward(DAY / 12);
      await sweep();
      expect(leftOf(failed)).toEqual([]);
      expect(leftOf(ready)).toHaveLength(2);
      const deleted = await late();
      await remove(deleted);
      await eventually(() => expect(leftOf(deleted)).toEqual([]));
    });

    it('must stay while Docker has snapshots that the database does not know', async () => {
      const [lost, failed] = [await taken(), await late()];
      const { manager } = world.berth.app.get(Database);
      const row = await manager.findOneByOrFail(SnapshotEntity, { id: lost });
      await manager.delete(SnapshotEntity, { id: lost });
      world.clock.forward(DAY / 12);
      await sweep();
      expect([leftOf(lost).length, leftOf(failed).length]).toEqual([2, 1]);
      await manager.insert(SnapshotEntity, row);
      await sweep();
      expect([leftOf(lost).length, leftOf(failed).length]).toEqual([2, 0]);
    });
  });

  describe('the end of one', () => {
    it('must wait for the making of it', async () => {
      const hold = world.engine.holdOn('volumes.copy', { call: 2 });
      const made = await take();
      const snapshot = String(made.body['id']);
      await hold.reached;
      expect(await remove(snapshot)).toMatchObject({ status: 200 });
      expect(leftOf(snapshot)).not.toEqual([]);
      hold.release();
      await eventually(async () => {
        await sweep();
        expect(leftOf(snapshot)).toEqual([]);
      });
      expect(told('snapshot_deleted')).toMatchObject([{ id: snapshot, status: 'deleting' }]);
      expect(told('snapshot_ready')).toEqual([]);
      expect(containerOf(world.id).state).toBe('running');
    });

    it('must come by itself, a while after that of its container', async () => {
      const snapshot = await taken();
      await world.user.api.delete(world.id);
      world.clock.forward(29 * DAY);
      await sweep();
      expect((await get(snapshot)).body).toMatchObject({ status: 'ready' });
      world.clock.forward(2 * DAY);
      await sweep();
      expect(await get(snapshot)).toMatchObject({ status: 404 });
      expect(leftOf(snapshot)).toEqual([]);
    });

    it('must come with that of its user', async () => {
      const snapshot = await taken();
      const admin = await world.berth.user('pro', ['read', 'write', 'admin']);
      expect((await admin.api.call('DELETE', `/api/admin/users/${world.user.id}`)).status).toBeLessThan(300);
      await sweep();
      expect(leftOf(snapshot)).toEqual([]);
    });
  });
});

const MAKING: readonly EngineMethod[] = [
  'volumes.ensure',
  'containers.pause',
  'containers.unpause',
  'layers.commit',
  'layers.flatten',
  'volumes.copy',
];

/** Every call that the making of a snapshot makes, before and after its effect. */
function MORTAL_CALLS(): readonly [EngineMethod, number, 'before' | 'after'][] {
  const calls: [EngineMethod, number][] = [
    ['volumes.measure', 1],
    ['layers.measure', 1],
    ['volumes.ensure', 1],
    ['containers.pause', 1],
    ['layers.commit', 1],
    ['volumes.copy', 1],
    ['volumes.copy', 2],
    ['containers.unpause', 1],
    ['layers.flatten', 1],
  ];
  const all = (['before', 'after'] as const).flatMap((when) =>
    calls.map(([method, call]): [EngineMethod, number, 'before' | 'after'] => [method, call, when]),
  );
  return sampled(all, 4);
}
