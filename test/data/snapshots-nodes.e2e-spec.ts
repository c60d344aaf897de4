import { NodeWatch } from '../../src/containers/nodes/node-watch';
import { Reconciler } from '../../src/containers/reconcile/reconciler';
import { ReservedCapacity } from '../../src/containers/rows/reserved-capacity';
import { ContainerRepository } from '../../src/containers/rows/container.repository';
import type { ContainerRow } from '../../src/containers/model/container.entity';
import { EngineError } from '../../src/engine';
import { type Answer, SMALL, testImage } from '../support/clients/api-client';
import type { EventRecorder } from '../support/clients/socket-client';
import { openTestDatabase, type TestDatabase } from '../support/databases/test-database';
import { eventually } from '../support/eventually';
import { inMore, sampled } from '../support/extent';
import { FakeCluster, type FakeNode } from '../support/fakes/fake-cluster';
import type { EngineMethod, FakeEngine } from '../support/fakes/fake-engine';
import { TestClock } from '../support/fakes/test-clock';
import { Berth, type TestUser } from '../support/servers/berth';

jest.setTimeout(240_000);

const MIB = 2 ** 20;
const HOUR = 3_600_000;
const DAY = 24 * HOUR;
const ENVIRONMENT = {
  INSTANCE_ID: 'snapshots',
  VOLUME_COPY_IMAGE: testImage(),
  MEMORY_OVERCOMMIT: '1',
  CPU_OVERCOMMIT: '100',
  ORPHAN_GRACE_SECONDS: '0',
  OPERATION_CLAIM_SECONDS: '4',
  SWEEP_INTERVAL_SECONDS: '1',
  SHUTDOWN_GRACE_SECONDS: '0',
};

/** The calls that bring a snapshot to another machine, and that make a container there: at which machine, and which. */
const BRINGING: readonly [side: 'source' | 'target', EngineMethod, call: number][] = [
  ['source', 'images.tag', 1],
  ['source', 'layers.send', 1],
  ['target', 'layers.receive', 1],
  ['source', 'images.remove', 1],
  ['target', 'volumes.ensure', 1],
  ['source', 'volumes.digest', 1],
  ['source', 'volumes.send', 1],
  ['source', 'volumes.send', 2],
  ['target', 'volumes.receive', 1],
  ['target', 'volumes.receive', 2],
  ['target', 'volumes.digest', 1],
  ['target', 'containers.create', 1],
  ['target', 'containers.start', 1],
];
/** Before and after their effect. */
const POINTS = (['before', 'after'] as const).flatMap((when) =>
  BRINGING.map(([side, method, call]) => ({ side, method, call, when })),
);

describe('snapshots on several machines', () => {
  let database: TestDatabase;
  let cluster: FakeCluster;
  let clock: TestClock;
  let berth: Berth;
  let operator: TestUser;
  let user: TestUser;
  let events: EventRecorder;
  let id: string;
  let snapshot: string;
  let source: FakeNode;
  let target: FakeNode;

  const begin = async (): Promise<void> => {
    berth = await Berth.start({ database, engine: cluster.engine(), clock, environment: ENVIRONMENT });
  };
  const rowOf = async (dbId: string): Promise<ContainerRow> => {
    const row = await berth.app.get(ContainerRepository).findById(dbId);
    if (!row) throw new Error(`no row of ${dbId}`);
    return row;
  };
  /** The container, and its data, as its machine has them. */
  const foundOf = async (dbId: string): Promise<{ node: string; layer: string; data: string | undefined }> => {
    const { nodeId, engineId, volumeName } = await rowOf(dbId);
    const { daemon } = cluster.named(String(nodeId));
    const container = daemon.containers.get(String(engineId).split('/')[1] ?? '');
    if (!container) throw new Error(`no container of ${dbId}`);
    return { node: String(nodeId), layer: container.layer, data: daemon.volumes.get(volumeName)?.content };
  };
  const sweep = (): Promise<unknown> => berth.app.get(Reconciler).sweepNow();
  const create = (of = snapshot): Promise<Answer> =>
    user.api.call('POST', '/api/containers', { ...SMALL, snapshot: of });
  const runs = async (answer: Answer): Promise<string> => {
    expect(answer.status).toBe(202);
    const dbId = String(answer.body['db_id']);
    expect(await user.api.call('GET', `/api/containers/${dbId}/wait?status=running`)).toMatchObject({ status: 200 });
    return dbId;
  };
  const get = (of = snapshot): Promise<Answer> => user.api.call('GET', `/api/snapshots/${of}`);
  const restore = (of = snapshot): Promise<Answer> =>
    user.api.call('POST', `/api/containers/${id}/restore-snapshot`, { snapshot: of, keep: false });
  const move = (node: FakeNode, dbId = id): Promise<Answer> =>
    operator.api.call('POST', `/api/admin/containers/${dbId}/move`, { node: node.name });
  /** Leaves room on the target alone. */
  const fill = (): void => {
    for (const node of cluster.nodes)
      if (node !== target) node.facts = { ...node.facts, memoryMb: node === source ? SMALL.memory_mb : 0 };
  };
  const change = async (): Promise<void> => {
    const { nodeId, engineId, volumeName } = await rowOf(id);
    const { daemon } = cluster.named(String(nodeId));
    daemon.write(volumeName, 'changed', MIB);
    const container = daemon.containers.get(String(engineId).split('/')[1] ?? '');
    if (container) container.layer = 'changed';
  };
  const layersAt = ({ daemon }: FakeNode): string[] => [...daemon.layers.keys()];
  const told = (type: string): Record<string, unknown>[] =>
    events.events.filter((event) => event.type === type).map(({ data }) => ({ ...data }));
  const wellAgain = async (): Promise<void> => {
    for (const node of cluster.nodes) {
      node.engine.forget();
      if (!node.isReachable) node.heal();
      node.facts = { ...node.facts, memoryMb: 1024, availability: 'active' };
    }
    await berth.app.get(NodeWatch).look();
  };
  /** The process is no more, and another one starts. */
  const rebirth = async (): Promise<void> => {
    await berth.stop();
    cluster.reconnect();
    await begin();
    user = berth.as(user);
    operator = berth.as(operator);
  };
  const engineAt = (side: 'source' | 'target'): FakeEngine => (side === 'source' ? source : target).engine;

  beforeAll(async () => {
    clock = new TestClock();
    database = await openTestDatabase();
    cluster = new FakeCluster(['one', 'two', 'three']);
    await begin();
    operator = await berth.user('pro', ['admin', 'read', 'write']);
  });

  beforeEach(async () => {
    await wellAgain();
    ({ user, events } = await berth.newcomer('enterprise'));
    id = (await user.api.running(SMALL)).db_id;
    const { nodeId, volumeName, engineId } = await rowOf(id);
    source = cluster.named(String(nodeId));
    target = cluster.nodes.find((node) => node !== source) ?? source;
    source.daemon.write(volumeName, 'precious', 10 * MIB);
    const container = source.daemon.containers.get(String(engineId).split('/')[1] ?? '');
    if (container) container.layer = 'nginx';
    const made = await user.api.call('POST', `/api/containers/${id}/snapshots`, {});
    snapshot = String(made.body['id']);
    expect(await user.api.call('GET', `/api/snapshots/${snapshot}/wait`)).toMatchObject({ status: 200 });
  });

  afterEach(async () => {
    await wellAgain();
    const { body } = await user.api.call('GET', '/api/containers');
    for (const { db_id } of body['containers'] as { db_id: string }[])
      await eventually(async () => expect([200, 404]).toContain((await user.api.delete(db_id)).status));
    await user.api.call('DELETE', `/api/snapshots/${snapshot}`);
    for (const { daemon } of cluster.nodes) expect(daemon.violations).toEqual([]);
    expect(await berth.app.get(ReservedCapacity).recount()).toBe(false);
    clock.forward(8 * DAY);
    await eventually(async () => {
      await sweep();
      const left = cluster.nodes.map(({ daemon }) => [
        daemon.containers.size,
        [...daemon.volumes.keys()],
        [...daemon.layers.keys()],
      ]);
      expect(left).toEqual([
        [0, [], []],
        [0, [], []],
        [0, [], []],
      ]);
    });
    events.close();
  });

  afterAll(async () => {
    await berth.stop();
    await database.drop();
  });

  describe('a container that is created from one', () => {
    it('must be on the machine of the snapshot while that has room', async () => {
      // Of all machines, it has the least room.
      const copies = [await runs(await create()), await runs(await create())];
      for (const copy of copies)
        expect(await foundOf(copy)).toEqual({ node: source.name, layer: 'nginx', data: 'precious' });
      expect(engineAt('source').callsOf('layers.send')).toBe(0);
    });

    it('must be on another with layer and data where that has no room, and share nothing with it', async () => {
      fill();
      const copy = await runs(await create());
      expect(await foundOf(copy)).toEqual({ node: target.name, layer: 'nginx', data: 'precious' });
      expect(layersAt(source)).toEqual([`berth/layer:${snapshot}`]);
      expect(layersAt(target)).toEqual([`berth/layer:${copy}-g0`]);
      // Another one there shares the layers, which are not sent again.
      const before = engineAt('source').callsOf('layers.send');
      const other = await runs(await create());
      expect(engineAt('source').callsOf('layers.send')).toBe(before);
      expect(await foundOf(other)).toMatchObject({ node: target.name, layer: 'nginx' });
      // The snapshot's end does not concern them, nor that of one the other.
      await user.api.call('DELETE', `/api/snapshots/${snapshot}`);
      await user.api.delete(copy);
      clock.forward(8 * DAY);
      await sweep();
      target.daemon.vanish(String((await rowOf(other)).engineId).split('/')[1] ?? '');
      await eventually(async () => expect((await user.api.get(other)).body['status']).toBe('stopped'));
      expect((await user.api.start(other)).body).toMatchObject({ recreated: true });
      expect(await foundOf(other)).toEqual({ node: target.name, layer: 'nginx', data: 'precious' });
      await eventually(() => expect(layersAt(source)).toEqual([]));
    });

    it('must be on another where that of the snapshot is drained', async () => {
      await operator.api.call('POST', `/api/admin/nodes/${source.name}/drain`);
      const copy = await runs(await create());
      expect((await foundOf(copy)).node).not.toBe(source.name);
      expect(await foundOf(copy)).toMatchObject({ layer: 'nginx', data: 'precious' });
      await operator.api.call('POST', `/api/admin/nodes/${source.name}/activate`);
    });

    it('must be refused where no machine has room, and where that of the snapshot does not answer', async () => {
      for (const node of cluster.nodes) node.facts = { ...node.facts, memoryMb: 256 };
      target.facts = { ...target.facts, memoryMb: 100 };
      for (const node of cluster.nodes) if (node !== source) node.facts = { ...node.facts, availability: 'drain' };
      expect(await create()).toMatchObject({ status: 503, body: { code: 'no_capacity' } });
      await wellAgain();
      source.cut();
      const refused = await create();
      expect(refused).toMatchObject({ status: 503, body: { code: 'node_unavailable' } });
      expect(refused.headers.get('retry-after')).toMatch(/^\d+$/);
    });

    it('must keep its layer through the sweeps of a long creation', async () => {
      fill();
      const hold = engineAt('target').holdOn('containers.create');
      const creation = await create();
      await hold.reached;
      clock.forward(HOUR);
      await sweep();
      expect(layersAt(target)).toHaveLength(1);
      hold.release();
      expect(await foundOf(await runs(creation))).toMatchObject({ node: target.name, layer: 'nginx' });
    });

    it('must fail if the machine of the snapshot falls silent meanwhile, and be made by a start later', async () => {
      fill();
      const hold = engineAt('source').holdOn('volumes.send', { call: 2 });
      const creation = await create();
      await hold.reached;
      source.cut();
      hold.release();
      const copy = String(creation.body['db_id']);
      await eventually(async () => {
        expect((await user.api.get(copy)).body).toMatchObject({ status: 'error', status_reason: 'node_unavailable' });
      });
      source.heal();
      await berth.app.get(NodeWatch).look();
      expect((await user.api.start(copy)).body).toMatchObject({ status: 'running' });
      expect(await foundOf(copy)).toEqual({ node: target.name, layer: 'nginx', data: 'precious' });
    });

    it('must fail if its machine is full, and leave nothing', async () => {
      fill();
      engineAt('target').failOn('layers.receive', {
        error: new EngineError('docker_error', 'no space left on device'),
      });
      const copy = String((await create()).body['db_id']);
      await eventually(async () => expect((await user.api.get(copy)).body['status']).toBe('error'));
      await sweep();
      expect([layersAt(source), layersAt(target)]).toEqual([[`berth/layer:${snapshot}`], []]);
    });

    it('must be made, or fail and be made by a start, if a call fails', async () => {
      fill();
      for (const { side, method, call, when } of sampled(POINTS, 4)) {
        engineAt(side).failOn(method, { call, when, error: new EngineError('docker_error', 'it refuses') });
        const copy = String((await create()).body['db_id']);
        await at([side, method, call, when], () => expectMadeInTheEnd(copy));
      }
    });

    it('must be made, or fail and be made by a start, if the process dies', async () => {
      fill();
      for (const { side, method, call, when } of sampled(POINTS, 5)) {
        const died = engineAt(side).dieOn(method, { call, when, how: 'throw' });
        const copy = String((await create()).body['db_id']);
        await died;
        await rebirth();
        await at([side, method, call, when], () => expectMadeInTheEnd(copy));
      }
    });

    /** It runs with its files, at once or by a start; each time it is the only one, and nothing else is left. */
    async function expectMadeInTheEnd(copy: string): Promise<void> {
      const ended = async (): Promise<unknown> => (await user.api.get(copy)).body['status'];
      await eventually(async () => expect(await ended()).toMatch(/^(running|error)$/));
      for (const { engine } of cluster.nodes) engine.forget();
      if ((await ended()) === 'error') expect((await user.api.start(copy)).status).toBe(200);
      expect(await foundOf(copy)).toEqual({ node: target.name, layer: 'nginx', data: 'precious' });
      await eventually(async () => {
        await sweep();
        const containers = cluster.nodes.map(({ daemon }) => [...daemon.containers.values()]);
        const own = containers.flat().filter(({ spec }) => spec.owner.containerId === copy);
        expect(own).toHaveLength(1);
        expect(layersAt(source)).toEqual([`berth/layer:${snapshot}`]);
      });
      await user.api.delete(copy);
      clock.forward(8 * DAY);
      await sweep();
      await eventually(async () => {
        await sweep();
        expect([layersAt(target), [...target.daemon.volumes.keys()]]).toEqual([[], []]);
      });
    }
  });

  describe('a fork', () => {
    const fork = (body: object = {}): Promise<Answer> => user.api.call('POST', `/api/containers/${id}/fork`, body);

    it('must be on other machines where its own has no room, and leave no snapshot', async () => {
      fill();
      const copy = await runs(await fork());
      expect(await foundOf(copy)).toEqual({ node: target.name, layer: 'nginx', data: 'precious' });
      await eventually(() => expect([...source.daemon.volumes.keys()]).toHaveLength(2));
      await eventually(() => expect(layersAt(source)).toEqual([`berth/layer:${snapshot}`]));
    });

    it('must fill its own machine first', async () => {
      source.facts = { ...source.facts, memoryMb: 768 };
      const forked = await fork({ count: 4 });
      const copies = forked.body['containers'] as { db_id: string }[];
      const found: Awaited<ReturnType<typeof foundOf>>[] = [];
      for (const { db_id } of copies) {
        expect((await user.api.call('GET', `/api/containers/${db_id}/wait?status=running`)).status).toBe(200);
        found.push(await foundOf(db_id));
      }
      expect(found.filter(({ node }) => node === source.name)).toHaveLength(2);
      for (const each of found) expect(each).toMatchObject({ layer: 'nginx', data: 'precious' });
    });
  });

  describe('a return to one', () => {
    it('must bring it to the machine that the container is on now', async () => {
      expect((await move(target)).body).toMatchObject({ root_kept: true });
      await change();
      const sent = engineAt('source').callsOf('volumes.send');
      expect(await restore()).toMatchObject({ status: 200, body: { status: 'running', restarted: true } });
      expect(await foundOf(id)).toEqual({ node: target.name, layer: 'nginx', data: 'precious' });
      expect(engineAt('source').callsOf('volumes.send')).toBeGreaterThan(sent);
    });

    it('must be refused while the machine of the snapshot does not answer', async () => {
      await move(target);
      source.cut();
      expect(await restore()).toMatchObject({ status: 503, body: { code: 'node_unavailable' } });
      expect((await user.api.get(id)).body).toMatchObject({ status: 'running' });
    });

    it('must change nothing if a call fails, or the process dies', async () => {
      await move(target);
      await change();
      const unchanged = async (): Promise<void> => {
        expect((await user.api.get(id)).body).toMatchObject({ status: 'running' });
        expect(await foundOf(id)).toEqual({ node: target.name, layer: 'changed', data: 'changed' });
        expect(target.daemon.running(id)).toHaveLength(1);
      };
      const points = BRINGING.filter(([, method]) => method !== 'images.remove');
      for (const [side, method, call] of sampled(points, 4)) {
        await at([side, method, call], async () => {
          engineAt(side).failOn(method, { call, error: new EngineError('docker_error', 'it refuses') });
          expect(await restore()).toMatchObject({ status: 500 });
          await unchanged();
          const died = engineAt(side).dieOn(method, { call, how: 'throw' });
          void restore().catch(() => undefined);
          await died;
          await rebirth();
          await eventually(unchanged);
        });
      }
      events = await berth.record(user);
    });
  });

  describe('of a machine that is given up', () => {
    const giveUp = async (node = source): Promise<void> => {
      await move(target);
      node.cut();
      clock.forward(20_000);
      await berth.app.get(NodeWatch).look();
      const path = `/api/admin/nodes/${node.name}/forget`;
      await eventually(async () => expect((await operator.api.call('POST', path)).status).toBe(200));
    };

    it('must have failed, be no base any more, and be ready again if the machine comes back', async () => {
      await giveUp();
      await sweep();
      expect((await get()).body).toMatchObject({ status: 'failed', status_reason: 'node_lost' });
      await eventually(() => expect(told('snapshot_failed')).toMatchObject([{ id: snapshot, reason: 'node_lost' }]));
      const lost = { status: 409, body: { code: 'snapshot_not_ready', status: 'failed', reason: 'node_lost' } };
      expect(await create()).toMatchObject(lost);
      expect(await restore()).toMatchObject(lost);
      source.heal();
      await sweep();
      await berth.app.get(NodeWatch).look();
      await sweep();
      expect((await get()).body).toMatchObject({ status: 'ready', status_reason: null });
      await eventually(() => expect(told('snapshot_ready')).toHaveLength(2));
      await sweep();
      expect(await foundOf(await runs(await create()))).toMatchObject({ layer: 'nginx', data: 'precious' });
    });

    it('must be what a container returns to whose own machine was given up, once it has been started elsewhere', async () => {
      await giveUp(target);
      expect(await restore()).toMatchObject({ status: 409, body: { code: 'container_not_running' } });
      expect(await user.api.start(id)).toMatchObject({ status: 200 });
      expect(await restore()).toMatchObject({ status: 200 });
      expect(await foundOf(id)).toMatchObject({ layer: 'nginx', data: 'precious' });
    });

    it('must be deleted by its user at once, and there if the machine comes back', async () => {
      await giveUp();
      await sweep();
      expect(await user.api.call('DELETE', `/api/snapshots/${snapshot}`)).toMatchObject({ status: 200 });
      expect(await get()).toMatchObject({ status: 404 });
      await sweep();
      source.heal();
      await berth.app.get(NodeWatch).look();
      await eventually(async () => {
        await sweep();
        expect([layersAt(source), [...source.daemon.volumes.keys()]]).toEqual([[], []]);
      });
      expect(told('snapshot_ready')).toHaveLength(1);
    });

    inMore('must be counted before its machine is taken out', async () => {
      const drain = { move: true };
      const drained = await operator.api.call('POST', `/api/admin/nodes/${source.name}/drain`, drain);
      expect(drained.body).toMatchObject({ evacuation: { snapshots: 1 } });
      await operator.api.call('POST', `/api/admin/nodes/${source.name}/activate`);
    });
  });
});

/** Names the point in the error of a check. */
async function at(point: readonly unknown[], check: () => Promise<void>): Promise<void> {
  try {
    await check();
  } catch (error) {
    if (error instanceof Error) error.message = `${point.join(' ')}: ${error.message}`;
    throw error;
  }
}
