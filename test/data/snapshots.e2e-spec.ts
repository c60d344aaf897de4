import { randomUUID } from 'node:crypto';
import { Database } from '../../src/database';
import { EngineError } from '../../src/docker';
import { SnapshotEntity } from '../../src/containers/model/snapshot.entity';
import { Reconciler } from '../../src/containers/reconcile/reconciler';
import { Answer, SMALL, testImage } from '../support/clients/api-client';
import type { EventRecorder } from '../support/clients/socket-client';
import { openTestDatabase, TestDatabase } from '../support/databases/test-database';
import { eventually } from '../support/eventually';
import { FakeDaemon } from '../support/fakes/fake-daemon';
import { type EngineMethod, FakeEngine } from '../support/fakes/fake-engine';
import { TestClock } from '../support/fakes/test-clock';
import { Berth, type TestUser } from '../support/servers/berth';

jest.setTimeout(120_000);

const MIB = 2 ** 20;
const DAY = 24 * 3_600_000;
const ENVIRONMENT = {
  INSTANCE_ID: 'snapshots',
  VOLUME_COPY_IMAGE: testImage(),
  ORPHAN_GRACE_SECONDS: '0',
  OPERATION_CLAIM_SECONDS: '4',
  SWEEP_INTERVAL_SECONDS: '1',
  SHUTDOWN_GRACE_SECONDS: '0',
};

describe('snapshots', () => {
  let database: TestDatabase;
  let daemon: FakeDaemon;
  let engine: FakeEngine;
  let berth: Berth;
  let clock: TestClock;
  let user: TestUser;
  let events: EventRecorder;
  let id: string;

  const begin = async (): Promise<void> => {
    engine = new FakeEngine(daemon);
    berth = await Berth.start({ database, engine, clock, environment: ENVIRONMENT });
  };
  const containerOf = (dbId: string) => {
    // A container that was replaced is removed in the background.
    const found = [...daemon.containers.values()]
      .filter(({ spec }) => spec.owner.containerId === dbId && spec.generation > 0)
      .sort((one, other) => other.spec.generation - one.spec.generation)[0];
    if (!found) throw new Error(`no container of ${dbId}`);
    return found;
  };
  const take = (body: object = {}, of = id, headers = {}): Promise<Answer> =>
    user.api.call('POST', `/api/containers/${of}/snapshots`, body, headers);
  const get = (snapshot: unknown): Promise<Answer> => user.api.call('GET', `/api/snapshots/${String(snapshot)}`);
  const wait = (snapshot: unknown): Promise<Answer> =>
    user.api.call('GET', `/api/snapshots/${String(snapshot)}/wait?timeout=20`);
  const remove = (snapshot: unknown): Promise<Answer> => user.api.call('DELETE', `/api/snapshots/${String(snapshot)}`);
  /** Makes a snapshot and waits for it. @returns its id */
  const taken = async (body: object = {}, of = id): Promise<string> => {
    const made = await take(body, of);
    expect(made.status).toBe(202);
    expect(await wait(made.body['id'])).toMatchObject({ status: 200 });
    return String(made.body['id']);
  };
  const sweep = (): Promise<unknown> => berth.app.get(Reconciler).sweepNow();
  const leftOf = (snapshot: string): string[] =>
    [...daemon.volumes.keys(), ...daemon.images].filter((name) => name.includes(snapshot));
  const told = (type: string): Record<string, unknown>[] =>
    events.events.filter((event) => event.type === type).map(({ data }) => ({ ...data }));

  beforeAll(async () => {
    clock = new TestClock();
    database = await openTestDatabase();
    daemon = new FakeDaemon();
    await begin();
  });

  beforeEach(async () => {
    ({ user, events } = await berth.newcomer('enterprise'));
    id = (await user.api.running({ name: 'origin' })).db_id;
    daemon.write(`berth-${id}`, 'precious', 10 * MIB);
    containerOf(id).layer = 'nginx';
    engine.calls.splice(0);
  });

  afterEach(() => {
    engine.forget();
    expect(daemon.violations).toEqual([]);
  });

  afterAll(async () => {
    await berth.stop();
    await database.drop();
  });

  describe('the making of one', () => {
    it('must be answered at once, be told of, and leave the container running', async () => {
      const made = await take({ name: 'first', description: 'with nginx', labels: { team: 'core' } });
      expect(made).toMatchObject({
        status: 202,
        body: {
          container_id: id,
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
      expect(containerOf(id).state).toBe('running');
      expect((await user.api.get(id)).body).toMatchObject({ status: 'running' });
      expect(daemon.volumes.get(`berth-snapshot-${snapshot}`)?.content).toBe('precious');
      expect(await sweep()).toMatchObject({ failed: 0 });
      expect(leftOf(snapshot)).toHaveLength(2);
    });

    it('must suspend a running container, copy meanwhile, and let it go on', async () => {
      await taken();
      const methods = engine.calls.map(({ method }) => method).filter((method) => MAKING.includes(method));
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

    it('must let a command wait that comes meanwhile', async () => {
      const hold = engine.holdOn('volumes.copy', { call: 2 });
      const made = await take();
      await hold.reached;
      const command = user.api.call('POST', `/api/containers/${id}/exec`, { command: ['true'] });
      expect(containerOf(id).state).toBe('paused');
      hold.release();
      expect(await command).toMatchObject({ status: 200, body: { exit_code: 0 } });
      await wait(made.body['id']);
    });

    it('must let a command wait that came just before', async () => {
      const begun = engine.holdOn('programs.start');
      engine.failOn('programs.start', { error: new EngineError('container_paused', 'the container is paused') });
      const command = user.api.call('POST', `/api/containers/${id}/exec`, { command: ['true'] });
      await begun.reached;
      const hold = engine.holdOn('volumes.copy', { call: 2 });
      const made = await take();
      await hold.reached;
      begun.release();
      hold.release();
      expect(await command).toMatchObject({ status: 200, body: { exit_code: 0 } });
      await wait(made.body['id']);
    });

    it.each(['stopped', 'paused'] as const)('must leave a %s container as it is', async (status) => {
      await (status === 'stopped' ? user.api.stop(id) : user.api.call('POST', `/api/containers/${id}/pause`));
      const snapshot = await taken();
      expect((await get(snapshot)).body).toMatchObject({ status: 'ready', root: true, downtime_ms: 0 });
      expect((await user.api.get(id)).body).toMatchObject({ status });
      expect(engine.callsOf('containers.unpause')).toBe(0);
    });

    it('must contain the data alone where the machine does not keep the layer', async () => {
      daemon.keepsLayers = false;
      try {
        const snapshot = await taken();
        expect((await get(snapshot)).body).toMatchObject({ root: false, bytes: 10 * MIB });
        expect(leftOf(snapshot)).toEqual([`berth-snapshot-${snapshot}`]);
      } finally {
        daemon.keepsLayers = true;
      }
    });

    it('must commit nothing if nothing was written outside the home', async () => {
      containerOf(id).layer = '';
      const snapshot = await taken();
      expect((await get(snapshot)).body).toMatchObject({ root: true, bytes: 10 * MIB });
      expect(engine.callsOf('layers.commit')).toBe(0);
    });

    it('must be refused while the container is being created, or if that has failed', async () => {
      const created = await user.api.create({ custom_image: 'berth/missing:1', name: 'broken' });
      const broken = String(created.body['db_id']);
      await eventually(async () => expect((await user.api.get(broken)).body['status']).toBe('error'));
      expect(await take({}, broken)).toMatchObject({ status: 409, body: { code: 'container_not_running' } });
    });

    it('must happen once for one idempotency key', async () => {
      const headers = { 'idempotency-key': randomUUID() };
      const [first, second] = await Promise.all([take({}, id, headers), take({}, id, headers)]);
      expect([first.status, second.status]).toEqual([202, 202]);
      expect(second.body['id']).toBe(first.body['id']);
      expect(await take({ name: 'other' }, id, headers)).toMatchObject({
        status: 409,
        body: { code: 'idempotency_key_reused' },
      });
      await wait(first.body['id']);
      expect((await user.api.call('GET', '/api/snapshots')).body).toMatchObject({ count: 1 });
    });

    it.each([
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
      const other = (await user.api.running({ name: 'other' })).db_id;
      const one = await taken({ labels: { team: 'core' } });
      const two = await taken({ labels: { team: 'web' } }, other);
      const list = (query: string): Promise<Answer> => user.api.call('GET', `/api/snapshots${query}`);
      const ids = (answer: Answer): string[] => (answer.body['snapshots'] as { id: string }[]).map((each) => each.id);
      expect(ids(await list(''))).toEqual([two, one]);
      expect(ids(await list(`?container=${id}`))).toEqual([one]);
      expect(ids(await list('?label=team:web'))).toEqual([two]);
      const first = await list('?limit=1');
      expect(ids(first)).toEqual([two]);
      expect(ids(await list(`?limit=1&cursor=${String(first.body['next_cursor'])}`))).toEqual([one]);
      expect((await list('')).body['usage']).toMatchObject({ snapshots: 2, limit: 25 });
      const stranger = await berth.user();
      expect(await stranger.api.call('GET', `/api/snapshots/${one}`)).toMatchObject({ status: 403 });
      expect((await stranger.api.call('GET', '/api/snapshots')).body).toMatchObject({ count: 0 });
    });

    it("must be everybody's for administrators, who delete any", async () => {
      const snapshot = await taken();
      const admin = await berth.user('pro', ['read', 'write', 'admin']);
      const listed = await admin.api.call('GET', `/api/admin/snapshots?user_id=${user.id}`);
      expect(listed.body).toMatchObject({ snapshots: [{ id: snapshot, user_id: user.id }], next_cursor: null });
      expect(await user.api.call('GET', '/api/admin/snapshots')).toMatchObject({ status: 403 });
      expect(await admin.api.call('DELETE', `/api/admin/snapshots/${snapshot}`)).toMatchObject({ status: 200 });
      expect(await get(snapshot)).toMatchObject({ status: 404 });
      await eventually(() => expect(told('snapshot_deleted')).toHaveLength(1));
    });

    it('must follow changes of name, description and labels', async () => {
      const snapshot = await taken({ description: 'before' });
      const changed = { name: 'renamed', description: null, labels: { a: 'b' } };
      const answer = await user.api.call('PATCH', `/api/snapshots/${snapshot}`, changed);
      expect(answer).toMatchObject({ status: 200, body: changed });
      expect((await get(snapshot)).body).toMatchObject(changed);
    });
  });

  describe('limits', () => {
    it('must be exact with 50 requests at once', async () => {
      const many = await berth.user('free');
      const ids = await Promise.all([1, 2, 3, 4, 5].map(async () => (await many.api.running()).db_id));
      const requests = Array.from({ length: 50 }, (_none, at) =>
        many.api.call('POST', `/api/containers/${String(ids[at % 5])}/snapshots`, {}),
      );
      const answers = await Promise.all(requests);
      expect(answers.filter(({ status }) => status === 202)).toHaveLength(5);
      const refused = answers.filter(({ status }) => status === 403);
      expect(refused).toHaveLength(45);
      expect(refused[0]?.body).toMatchObject({ code: 'snapshot_limit_reached', current: 5, limit: 5, tier: 'free' });
    });

    it('must count the size, also that which it has in the end', async () => {
      const free = await berth.user('free');
      const own = (await free.api.running({ disk_mb: 10_240 })).db_id;
      const ask = (): Promise<Answer> => free.api.call('POST', `/api/containers/${own}/snapshots`, {});
      const ended = (answer: Answer): Promise<Answer> =>
        free.api.call('GET', `/api/snapshots/${String(answer.body['id'])}/wait`);
      containerOf(own).layer = 'nginx';
      daemon.write(`berth-${own}`, 'all that fits', 10_240 * MIB);
      for (let count = 1; count <= 4; count += 1) expect(await ended(await ask())).toMatchObject({ status: 200 });
      daemon.write(`berth-${own}`, 'less', 10_239 * MIB);
      const hold = engine.holdOn('containers.pause');
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

    it('must leave guests none', async () => {
      const guest = await berth.user('guest');
      const own = (await guest.api.running()).db_id;
      expect(await guest.api.call('POST', `/api/containers/${own}/snapshots`, {})).toMatchObject({
        status: 403,
        body: { code: 'snapshot_limit_reached', limit: 0 },
      });
    });
  });

  describe('a container that is created from one', () => {
    it('must begin with its layer and its data, and share neither', async () => {
      const snapshot = await taken();
      const { db_id: copy } = await created({ snapshot });
      expect(containerOf(copy).layer).toBe('nginx');
      expect(daemon.volumes.get(`berth-${copy}`)?.content).toBe('precious');
      daemon.write(`berth-${copy}`, 'changed');
      expect(daemon.volumes.get(`berth-snapshot-${snapshot}`)?.content).toBe('precious');
      expect((await user.api.get(copy)).body).toMatchObject({ image: testImage(), status: 'running' });
    });

    it('must outlive the snapshot, and be recreated with the layer', async () => {
      const snapshot = await taken();
      const { db_id: copy } = await created({ snapshot });
      expect(await remove(snapshot)).toMatchObject({ status: 200 });
      expect(await get(snapshot)).toMatchObject({ status: 404, body: { code: 'snapshot_not_found' } });
      await eventually(() => expect(daemon.volumes.has(`berth-snapshot-${snapshot}`)).toBe(false));
      daemon.vanish(containerOf(copy).dockerId);
      expect((await user.api.start(copy)).body).toMatchObject({ recreated: true, volume_kept: true });
      expect(containerOf(copy).layer).toBe('nginx');
      expect(daemon.volumes.get(`berth-${copy}`)?.content).toBe('precious');
      // The image goes with the last container that needs it.
      await user.api.delete(copy);
      clock.forward(8 * DAY);
      await sweep();
      await sweep();
      expect(leftOf(snapshot)).toEqual([]);
    });

    it('must get its data though the snapshot is deleted before the copy begins', async () => {
      const snapshot = await taken();
      const hold = engine.holdOn('volumes.ensure', { on: (volume) => isFor(volume, 'berth-') });
      const creation = await user.api.call('POST', '/api/containers', { snapshot, ...SMALL });
      await hold.reached;
      await remove(snapshot);
      await sweep();
      hold.release();
      const copy = String(creation.body['db_id']);
      expect(await user.api.call('GET', `/api/containers/${copy}/wait?status=running`)).toMatchObject({ status: 200 });
      expect(daemon.volumes.get(`berth-${copy}`)?.content).toBe('precious');
      await sweep();
      expect(daemon.volumes.has(`berth-snapshot-${snapshot}`)).toBe(false);
    });

    it('must be refused with an image, with too little disk, and from what is not there or not ready', async () => {
      daemon.write(`berth-${id}`, 'large', 1000 * MIB);
      const snapshot = await taken();
      const create = (body: object): Promise<Answer> => user.api.call('POST', '/api/containers', body);
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
      const stranger = await berth.user();
      expect(await stranger.api.call('POST', '/api/containers', { snapshot })).toMatchObject({ status: 403 });
      const hold = engine.holdOn('containers.pause');
      const making = await take();
      expect(await create({ snapshot: making.body['id'] })).toMatchObject({
        status: 409,
        body: { code: 'snapshot_not_ready', status: 'making' },
      });
      hold.release();
      await wait(making.body['id']);
    });

    it("must not get at a snapshot's image by its name", async () => {
      const snapshot = await taken();
      for (const custom_image of [`berth/layer:${snapshot}`, `docker.io/berth/layer:${snapshot}`]) {
        expect(await user.api.create({ custom_image })).toMatchObject({
          status: 400,
          body: { details: [{ field: 'custom_image' }] },
        });
      }
    });
  });

  describe('a fork', () => {
    const fork = (body: object = {}, headers = {}): Promise<Answer> =>
      user.api.call('POST', `/api/containers/${id}/fork`, body, headers);
    const runs = (of: unknown): Promise<Answer> =>
      user.api.call('GET', `/api/containers/${String(of)}/wait?status=running`);
    /** Nothing of a snapshot is left. */
    const expectNoSnapshot = async (): Promise<void> => {
      await eventually(() => {
        const own = [...daemon.volumes].filter(
          ([, { owner }]) => owner.userId === user.id && owner.isSnapshot === true,
        );
        expect(own).toEqual([]);
      });
      expect((await user.api.call('GET', '/api/snapshots')).body).toMatchObject({ count: 0 });
    };

    beforeEach(async () => {
      await user.api.patch(id, { env: { KEY: 'value' }, labels: { team: 'core' } });
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
      expect(daemon.volumes.get(`berth-${copy}`)?.content).toBe('precious');
      expect((await user.api.get(copy)).body).toMatchObject({
        image: testImage(),
        resources: SMALL,
        labels: { team: 'core' },
      });
      const said: string[] = [];
      daemon.onExec = ({ env }) => (said.push(env['KEY'] ?? ''), 0);
      await user.api.call('POST', `/api/containers/${copy}/exec`, { command: ['true'] });
      expect(said).toContain('value');
      expect(containerOf(id).state).toBe('running');
      expect(told('snapshot_created')).toEqual([]);
      // The data of a single copy is copied once.
      expect(engine.callsOf('volumes.copy')).toBe(2);
      await expectNoSnapshot();
    });

    it.each([1, 2])('must start %i of them while the data is copied, and say so only after that', async (count) => {
      const hold = engine.holdOn('volumes.copy', { call: 2 });
      const copies = (await fork({ count })).body['containers'] as { db_id: string }[];
      await hold.reached;
      await eventually(() => {
        for (const { db_id } of copies) expect(containerOf(db_id)).toMatchObject({ state: 'running' });
      });
      for (const { db_id } of copies) {
        expect((await user.api.get(db_id)).body).toMatchObject({ status: 'creating' });
        expect(containerOf(db_id)).toMatchObject({ layer: 'nginx', spec: { isSeeded: true } });
      }
      hold.release();
      for (const { db_id } of copies) {
        expect(await runs(db_id)).toMatchObject({ status: 200 });
        expect(daemon.volumes.get(`berth-${db_id}`)?.content).toBe('precious');
      }
      await expectNoSnapshot();
    });

    it.each([1, 2])('must leave no container of %i that started if the copy of the data fails', async (count) => {
      engine.failOn('volumes.copy', { call: 2, when: 'after', error: new EngineError('copy_failed', 'it differs') });
      const hold = engine.holdOn('volumes.copy', { call: 2 });
      const copies = (await fork({ count })).body['containers'] as { db_id: string }[];
      await hold.reached;
      await eventually(() => {
        for (const { db_id } of copies) expect(daemon.running(db_id)).toHaveLength(1);
      });
      hold.release();
      for (const { db_id } of copies) {
        await eventually(async () => expect((await user.api.get(db_id)).body).toMatchObject({ status: 'error' }));
        expect(daemon.running(db_id)).toEqual([]);
      }
      expect((await user.api.get(id)).body).toMatchObject({ status: 'running' });
      await expectNoSnapshot();
    });

    it('must count the layer against the disk of the copy, as that of the first counts', async () => {
      containerOf(id).layer = 'x'.repeat(3 * MIB);
      const copy = String((await fork({})).body['db_id']);
      await runs(copy);
      expect(containerOf(copy).spec.keptLayerMb).toBe(3);
      containerOf(copy).layer = 'x'.repeat(5 * MIB);
      const second = String((await user.api.call('POST', `/api/containers/${copy}/fork`, {})).body['db_id']);
      await runs(second);
      expect(containerOf(second).spec.keptLayerMb).toBe(8);
      const { manager } = berth.app.get(Database);
      await manager.query(`UPDATE containers SET kept_layer_mb = 1010 WHERE id = '${second}'`);
      const full = String((await user.api.call('POST', `/api/containers/${second}/fork`, {})).body['db_id']);
      await eventually(async () =>
        expect((await user.api.get(full)).body).toMatchObject({ status: 'error', status_reason: 'data_too_large' }),
      );
    });

    it('must have an empty home where that of the first is empty', async () => {
      daemon.write(`berth-${id}`, '');
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
        expect(daemon.volumes.get(`berth-${db_id}`)?.content).toBe('precious');
        daemon.write(`berth-${db_id}`, db_id);
      }
      for (const { db_id } of copies) expect(daemon.volumes.get(`berth-${db_id}`)?.content).toBe(db_id);
      expect(daemon.volumes.get(`berth-${id}`)?.content).toBe('precious');
      await expectNoSnapshot();
      expect(await sweep()).toMatchObject({ failed: 0 });
    });

    it('must be all or none', async () => {
      const few = await berth.user('free');
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
      expect((await user.api.call('GET', '/api/containers')).body).toMatchObject({ count: 2 });
    });

    it.each([
      ['containers.pause', 1],
      ['layers.commit', 1],
      ['volumes.copy', 1],
      ['volumes.copy', 2],
      ['containers.unpause', 1],
      ['containers.create', 1],
    ] as const)(
      'must leave nothing but a failed container if the process dies at %s, call %i',
      async (method, call) => {
        const died = engine.dieOn(method, { call, how: 'throw' });
        const forked = await fork({ count: 2 });
        await died;
        await berth.stop();
        await begin();
        user = berth.as(user);
        const copies = forked.body['containers'] as { db_id: string }[];
        await eventually(async () => {
          await sweep();
          expect((await user.api.get(id)).body).toMatchObject({ status: 'running' });
          expect(containerOf(id).state).toBe('running');
          for (const { db_id } of copies)
            expect((await user.api.get(db_id)).body['status']).toMatch(/^(running|error)$/);
          await expectNoSnapshot();
        });
        for (const { db_id } of copies) {
          if ((await user.api.get(db_id)).body['status'] === 'running')
            expect(daemon.volumes.get(`berth-${db_id}`)?.content).toBe('precious');
        }
        events = await berth.record(user);
      },
    );
  });

  describe('a return to one', () => {
    const restore = (body: object): Promise<Answer> =>
      user.api.call('POST', `/api/containers/${id}/restore-snapshot`, body);
    const content = (): string | undefined => daemon.volumes.get(containerOf(id).spec.volumeName)?.content;
    const change = (): void => {
      daemon.write(containerOf(id).spec.volumeName, 'changed', 5 * MIB);
      containerOf(id).layer = 'nothing';
    };

    it('must bring back layer and data, keep the state before, and change neither id nor settings', async () => {
      const snapshot = await taken();
      change();
      const before = (await user.api.get(id)).body;
      const answer = await restore({ snapshot });
      expect(answer).toMatchObject({
        status: 200,
        body: { message: 'snapshot restored', db_id: id, name: 'origin', status: 'running', restarted: true, snapshot },
      });
      expect(answer.body['id']).not.toBe(before['id']);
      expect([containerOf(id).layer, content()]).toEqual(['nginx', 'precious']);
      await eventually(() => expect(daemon.running(id)).toHaveLength(1));
      await eventually(() => expect([...daemon.volumes].filter(([name]) => name.includes(id))).toHaveLength(1));
      const kept = String(answer.body['kept']);
      expect((await get(kept)).body).toMatchObject({ status: 'ready', container_id: id });
      expect((await restore({ snapshot: kept, keep: false })).body).toMatchObject({ kept: null });
      expect([containerOf(id).layer, content()]).toEqual(['nothing', 'changed']);
      expect(await sweep()).toMatchObject({ failed: 0 });
    });

    it("must be refused with another container's, and leave a stopped container stopped", async () => {
      const other = (await user.api.running({ name: 'other' })).db_id;
      const foreign = await taken({}, other);
      expect(await restore({ snapshot: foreign })).toMatchObject({
        status: 400,
        body: { details: [{ field: 'snapshot' }] },
      });
      const snapshot = await taken();
      change();
      await user.api.stop(id);
      expect(await restore({ snapshot, keep: false })).toMatchObject({
        status: 200,
        body: { status: 'stopped', restarted: false },
      });
      await user.api.start(id);
      expect([containerOf(id).layer, content()]).toEqual(['nginx', 'precious']);
    });

    it.each(['before', 'after'] as const)(
      'must leave nothing of the old container if its process dies %s the removal of the volume',
      async (when) => {
        const snapshot = await taken();
        change();
        const isOld = (name: unknown): boolean => name === `berth-${id}`;
        const died = engine.dieOn('volumes.remove', { when, how: 'throw', on: isOld });
        void restore({ snapshot, keep: false });
        await died;
        await berth.stop();
        await begin();
        user = berth.as(user);
        await eventually(async () => {
          await sweep();
          expect((await user.api.get(id)).body).toMatchObject({ status: 'running' });
          expect([...daemon.volumes].filter(([name]) => name.includes(id))).toHaveLength(1);
        });
        expect([containerOf(id).layer, content()]).toEqual(['nginx', 'precious']);
        events = await berth.record(user);
      },
    );

    it.each([
      ['volumes.ensure', 1],
      ['volumes.copy', 1],
      ['volumes.copy', 2],
      ['containers.create', 1],
      ['containers.stop', 1],
      ['containers.start', 1],
    ] as const)('must change nothing if it fails, or its process dies, at %s, call %i', async (method, call) => {
      const snapshot = await taken();
      change();
      engine.failOn(method, { call, error: new EngineError('docker_error', 'no space left on device') });
      expect(await restore({ snapshot, keep: false })).toMatchObject({ status: 500 });
      const unchanged = async (): Promise<void> => {
        expect((await user.api.get(id)).body).toMatchObject({ status: 'running' });
        expect(daemon.running(id)).toHaveLength(1);
        expect([containerOf(id).layer, content()]).toEqual(['nothing', 'changed']);
        expect([...daemon.volumes].filter(([name]) => name.includes(id))).toHaveLength(1);
      };
      await eventually(unchanged);
      const died = engine.dieOn(method, { call, how: 'throw' });
      void restore({ snapshot, keep: false });
      await died;
      await berth.stop();
      await begin();
      user = berth.as(user);
      await eventually(async () => {
        await sweep();
        await unchanged();
      });
      events = await berth.record(user);
    });
  });

  describe('a start of a container that Docker can never start again', () => {
    const broken = { error: new EngineError('container_broken', 'cannot signal container in state paused') };
    const dockerId = async (): Promise<unknown> => (await user.api.get(id)).body['id'];

    it('must keep its layer', async () => {
      await user.api.stop(id);
      const before = await dockerId();
      engine.failOn('containers.start', broken);
      expect(await user.api.start(id)).toMatchObject({ status: 200, body: { recreated: true, old_id: before } });
      expect(containerOf(id).layer).toBe('nginx');
      daemon.vanish(containerOf(id).dockerId);
      await user.api.start(id);
      expect(containerOf(id).layer).toBe('nginx');
    });

    it.each([
      ['layers.commit', 1],
      ['layers.flatten', 1],
      ['containers.remove', 1],
      ['containers.create', 1],
    ] as const)('must lose nothing if %s fails, call %i', async (method, call) => {
      await user.api.stop(id);
      for (const when of ['before', 'after'] as const) {
        engine.failOn('containers.start', broken);
        engine.failOn(method, { call, when, error: new EngineError('docker_error', 'no space left on device') });
        expect(await user.api.start(id)).toMatchObject({ status: 500, body: { code: 'docker_error' } });
        expect((await user.api.get(id)).body).toMatchObject({ status: 'stopped' });
      }
      await user.api.start(id);
      expect(containerOf(id).layer).toBe('nginx');
    });

    it('must do without what cannot be read', async () => {
      await user.api.stop(id);
      engine.failOn('containers.start', broken);
      engine.failOn('layers.measure', { error: new EngineError('docker_error', 'no such file or directory') });
      expect(await user.api.start(id)).toMatchObject({ status: 200, body: { recreated: true } });
      expect(containerOf(id).layer).toBe('');
    });
  });

  describe('a resize', () => {
    const resize = (changes: object = { memory_mb: 512 }): Promise<Answer> => user.api.patch(id, changes);
    const layers = (): string[] => [...daemon.images].filter((name) => name.includes(id));

    it('must keep what was written outside the home, again and again', async () => {
      for (const memory_mb of [512, 256, 512]) {
        expect(await resize({ memory_mb })).toMatchObject({ status: 200, body: { restarted: true, root_kept: true } });
        expect(containerOf(id).layer).toBe('nginx');
        containerOf(id).layer = 'nginx';
      }
      await eventually(() => expect(told('container_updated').at(-1)).toMatchObject({ root_kept: true }));
      expect(daemon.volumes.get(`berth-${id}`)?.content).toBe('precious');
      containerOf(id).layer = 'more';
      await resize({ memory_mb: 256 });
      expect(containerOf(id).layer).toBe('more');
      // Of each layer that no container needs any more, nothing is left.
      clock.forward(DAY / 12);
      await sweep();
      expect(layers()).toHaveLength(1);
      await user.api.delete(id);
      clock.forward(8 * DAY);
      await sweep();
      await sweep();
      expect(layers()).toEqual([]);
    });

    it('must not stop the container before its replacement if there is nothing to keep', async () => {
      containerOf(id).layer = '';
      expect((await resize()).body).toMatchObject({ root_kept: true });
      const methods = engine.calls.map(({ method }) => method);
      expect(methods.indexOf('containers.create')).toBeLessThan(methods.indexOf('containers.stop'));
      expect(methods).not.toContain('layers.commit');
    });

    it('must say that nothing is kept where the machine does not keep it, or the container is gone', async () => {
      daemon.keepsLayers = false;
      expect((await resize()).body).toMatchObject({ root_kept: false });
      daemon.keepsLayers = true;
      daemon.vanish(containerOf(id).dockerId);
      await eventually(async () => expect((await user.api.get(id)).body).toMatchObject({ status: 'stopped' }));
      expect((await resize({ memory_mb: 256 })).body).toMatchObject({ root_kept: false });
    });

    it('must fail if its layer is removed before its use, and not go on without it', async () => {
      const hold = engine.holdOn('layers.flatten', { when: 'after' });
      const answering = resize();
      await hold.reached;
      for (const name of layers()) {
        daemon.images.delete(name);
        daemon.layers.delete(name);
      }
      hold.release();
      expect(await answering).toMatchObject({ status: 500, body: { code: 'image_not_found' } });
      expect(containerOf(id)).toMatchObject({ state: 'running', layer: 'nginx' });
    });

    it('must count what is kept against the disk', async () => {
      containerOf(id).layer = 'x'.repeat(3 * MIB);
      expect(await resize({ memory_mb: 512 })).toMatchObject({ status: 200 });
      expect(containerOf(id).spec.keptLayerMb).toBe(3);
    });

    it.each([
      ['containers.stop', 1],
      ['layers.commit', 1],
      ['layers.flatten', 1],
      ['containers.create', 1],
      ['containers.rename', 1],
      ['containers.start', 1],
    ] as const)(
      'must leave the old one running if it fails, or its process dies, at %s, call %i',
      async (method, call) => {
        for (const when of ['before', 'after'] as const) {
          engine.failOn(method, { call, when, error: new EngineError('docker_error', 'no space left on device') });
          expect(await resize()).toMatchObject({ status: 500 });
          const unchanged = async (): Promise<void> => {
            expect((await user.api.get(id)).body).toMatchObject({ status: 'running', resources: { memory_mb: 256 } });
            expect(daemon.running(id)).toHaveLength(1);
            expect(containerOf(id).layer).toBe('nginx');
          };
          await eventually(unchanged);
          const died = engine.dieOn(method, { call, when, how: 'throw' });
          void resize();
          await died;
          await berth.stop();
          await begin();
          user = berth.as(user);
          await eventually(async () => {
            await sweep();
            await unchanged();
          });
        }
        clock.forward(DAY / 12);
        await sweep();
        expect(layers()).toEqual([]);
        events = await berth.record(user);
      },
    );
  });

  describe('a failure', () => {
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
        engine.failOn(method, { call, when, error: new EngineError('docker_error', 'no space left on device') });
        const made = await take();
        const snapshot = String(made.body['id']);
        await eventually(async () => expect((await get(snapshot)).body['status']).toBe('failed'));
        await eventually(() => expect(leftOf(snapshot)).toEqual([]));
        expect(containerOf(id).state).toBe('running');
        expect((await user.api.get(id)).body).toMatchObject({ status: 'running' });
        expect(told('snapshot_failed').at(-1)).toMatchObject({ id: snapshot, reason: 'docker_error' });
        expect(told('container_paused')).toEqual([]);
        expect(await wait(snapshot)).toMatchObject({ status: 409, body: { code: 'status_unreachable' } });
        await remove(snapshot);
      }
    });

    it('must be noticed if the container was resumed while its data was copied', async () => {
      const hold = engine.holdOn('volumes.copy', { call: 2 });
      const made = await take();
      await hold.reached;
      daemon.unpause(containerOf(id).dockerId);
      hold.release();
      await eventually(async () => expect((await get(made.body['id'])).body['status']).toBe('failed'));
      expect(daemon.violations.splice(0)).toEqual([]);
    });

    it.each(MORTAL_CALLS())('must be recovered if the process dies at %s, call %i', async (method, call, when) => {
      const died = engine.dieOn(method, { call, when, how: 'throw' });
      const made = await take();
      const snapshot = String(made.body['id']);
      await died;
      await berth.stop();
      await begin();
      user = berth.as(user);
      await eventually(
        async () => {
          await sweep();
          // If the process died before the answer, there is none.
          if (made.status === 202) expect((await get(snapshot)).body['status']).toMatch(/^(ready|failed)$/);
          expect((await user.api.get(id)).body).toMatchObject({ status: 'running' });
          expect(containerOf(id).state).toBe('running');
          if ((await get(snapshot)).body['status'] === 'failed') expect(leftOf(snapshot)).toEqual([]);
        },
        { timeoutMs: 20_000 },
      );
      const helpers = [...daemon.containers.values()].filter(({ spec }) => spec.generation === 0);
      expect(helpers).toEqual([]);
      events = await berth.record(user);
    });
  });

  describe('the image of one that a commit made too late', () => {
    /** Docker ends a commit after Berth has given it up. @returns the snapshot's id */
    const late = async (): Promise<string> => {
      engine.failOn('layers.commit', { error: new EngineError('docker_unavailable', 'no answer in 30 minutes') });
      const snapshot = String((await take()).body['id']);
      await eventually(async () => expect((await get(snapshot)).body['status']).toBe('failed'));
      await eventually(() => expect(leftOf(snapshot)).toEqual([]));
      const image = `berth/layer:${snapshot}`;
      daemon.layers.set(image, { layer: 'nginx', at: clock.now(), instance: ENVIRONMENT.INSTANCE_ID });
      daemon.images.add(image);
      return snapshot;
    };

    it('must be removed, and no other', async () => {
      const [ready, failed] = [await taken(), await late()];
      await sweep();
      expect(leftOf(failed)).toHaveLength(1);
      clock.forward(DAY / 12);
      await sweep();
      expect(leftOf(failed)).toEqual([]);
      expect(leftOf(ready)).toHaveLength(2);
      const deleted = await late();
      await remove(deleted);
      await eventually(() => expect(leftOf(deleted)).toEqual([]));
    });

    it('must stay while Docker has snapshots that the database does not know', async () => {
      const [lost, failed] = [await taken(), await late()];
      const { manager } = berth.app.get(Database);
      const row = await manager.findOneByOrFail(SnapshotEntity, { id: lost });
      await manager.delete(SnapshotEntity, { id: lost });
      clock.forward(DAY / 12);
      await sweep();
      expect([leftOf(lost).length, leftOf(failed).length]).toEqual([2, 1]);
      await manager.insert(SnapshotEntity, row);
      await sweep();
      expect([leftOf(lost).length, leftOf(failed).length]).toEqual([2, 0]);
    });
  });

  describe('the end of one', () => {
    it('must wait for the making of it', async () => {
      const hold = engine.holdOn('volumes.copy', { call: 2 });
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
      expect(containerOf(id).state).toBe('running');
    });

    it('must come by itself, a while after that of its container', async () => {
      const snapshot = await taken();
      await user.api.delete(id);
      clock.forward(29 * DAY);
      await sweep();
      expect((await get(snapshot)).body).toMatchObject({ status: 'ready' });
      clock.forward(2 * DAY);
      await sweep();
      expect(await get(snapshot)).toMatchObject({ status: 404 });
      expect(leftOf(snapshot)).toEqual([]);
    });

    it('must come with that of its user', async () => {
      const snapshot = await taken();
      const admin = await berth.user('pro', ['read', 'write', 'admin']);
      expect((await admin.api.call('DELETE', `/api/admin/users/${user.id}`)).status).toBeLessThan(300);
      await sweep();
      expect(leftOf(snapshot)).toEqual([]);
    });
  });

  /** Creates a container from a snapshot and waits until it runs. */
  async function created(body: { snapshot: string }): Promise<{ db_id: string }> {
    const creation = await user.api.call('POST', '/api/containers', { ...SMALL, ...body });
    expect(creation.status).toBe(202);
    const db_id = String(creation.body['db_id']);
    expect(await user.api.call('GET', `/api/containers/${db_id}/wait?status=running`)).toMatchObject({ status: 200 });
    return { db_id };
  }
});

const MAKING: readonly EngineMethod[] = [
  'volumes.ensure',
  'containers.pause',
  'containers.unpause',
  'layers.commit',
  'layers.flatten',
  'volumes.copy',
];

function isFor(volume: unknown, prefix: string): boolean {
  return String((volume as { name?: unknown }).name).startsWith(prefix);
}

/** Every call that the making of a snapshot makes, before and after its effect. */
function MORTAL_CALLS(): [EngineMethod, number, 'before' | 'after'][] {
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
  return calls.flatMap(([method, call]): [EngineMethod, number, 'before' | 'after'][] => [
    [method, call, 'before'],
    [method, call, 'after'],
  ]);
}
