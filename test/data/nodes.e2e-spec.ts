import { CapacityHistory } from '../../src/containers/nodes/capacity-history';
import { ReservedCapacity } from '../../src/containers/rows/reserved-capacity';
import { ContainerEntity, type ContainerRow } from '../../src/containers/model/container.entity';
import { ContainerRepository } from '../../src/containers/rows/container.repository';
import { DeletedContainers } from '../../src/containers/rows/deleted-containers';
import { NodeEntity } from '../../src/containers/model/node.entity';
import { NodeRepository } from '../../src/containers/nodes/node.repository';
import { NodeWatch } from '../../src/containers/nodes/node-watch';
import type { NodeView } from '../../src/containers/nodes/nodes-admin';
import { Reconciler } from '../../src/containers/reconcile/reconciler';
import { TokenService } from '../../src/auth';
import { Database, ProcessPresence } from '../../src/database';
import { EventLog } from '../../src/events';
import { EngineError, type ExecOutput } from '../../src/engine';
import { ClusterEngine } from '../../src/docker/cluster/cluster-engine';
import { Clock } from '../../src/scheduling/clock';
import { answered, SMALL, testImage } from '../support/clients/api-client';
import { Berth, TestUser } from '../support/servers/berth';
import { EventRecorder } from '../support/clients/socket-client';
import { eventually } from '../support/eventually';
import { FakeCluster, type FakeNode } from '../support/fakes/fake-cluster';
import { FakeEngine } from '../support/fakes/fake-engine';
import { openTestDatabase, type TestDatabase } from '../support/databases/test-database';

const NAMES = ['one', 'two', 'three'] as const;

const AS_NEW = new FakeCluster(NAMES);

const BROKEN = new EngineError('docker_error', 'the daemon refuses');

/** What is answered where no machine takes anything. */
const NO_NODE = { status: 503, body: { code: 'no_capacity', short: [{ resource: 'nodes' }] } };

/** As long as a test says. */
class AheadClock extends Clock {
  aheadMs = 0;

  override now(): Date {
    return new Date(super.now().getTime() + this.aheadMs);
  }
}

describe('containers on several machines', () => {
  let cluster: FakeCluster;
  let clock: AheadClock;
  let berth: Berth;
  let operator: TestUser;
  let user: TestUser;
  let events: EventRecorder;
  let engine: ClusterEngine;
  let database: TestDatabase;

  beforeAll(async () => {
    database = await openTestDatabase();
    cluster = new FakeCluster(NAMES);
    engine = cluster.engine();
    clock = new AheadClock();
    const settings = {
      MEMORY_OVERCOMMIT: '1',
      CPU_OVERCOMMIT: '1',
      SWEEP_INTERVAL_SECONDS: '3600',
      VOLUME_COPY_IMAGE: testImage(),
    };
    berth = await Berth.start({ database, engine, clock, environment: { INSTANCE_ID: 'nodes', ...settings } });
    operator = await berth.user('pro', ['admin', 'read', 'write']);
  });

  beforeEach(async () => {
    ({ user, events } = await berth.newcomer('enterprise'));
  });

  /** All nodes answer and are active, and nothing of the test is left on them. */
  afterEach(async () => {
    jest.restoreAllMocks();
    for (const { daemon } of cluster.nodes) expect(daemon.violations).toEqual([]);
    expect(await berth.app.get(ReservedCapacity).recount()).toBe(false);
    for (const node of cluster.nodes) {
      node.engine.forget();
      node.engine.calls.splice(0);
      if (!node.isReachable) node.heal();
      node.facts = { ...AS_NEW.named(node.name).facts, version: node.facts.version + 1 };
    }
    const watch = berth.app.get(NodeWatch);
    await watch.look();
    for (const name of NAMES) await operator.api.call('POST', `/api/admin/nodes/${name}/activate`);
    const { body } = await operator.api.call('GET', '/api/admin/containers');
    for (const { db_id } of body['containers'] as { db_id: string }[])
      await eventually(async () => {
        const { status } = await operator.api.call('DELETE', `/api/admin/containers/${db_id}`);
        expect([200, 404]).toContain(status);
      });
    clock.aheadMs += 8 * 24 * 3_600_000;
    await eventually(async () => {
      await watch.look();
      await berth.app.get(Reconciler).sweep();
      const left = cluster.nodes.map(({ daemon }) => [daemon.containers.size, daemon.volumes.size]);
      expect(left).toEqual(NAMES.map(() => [0, 0]));
    });
    events.close();
  });

  afterAll(async () => {
    await berth.stop();
    await database.drop();
  });

  const running = async (body: Readonly<Record<string, unknown>> = {}): Promise<string> => {
    const { body: made } = await user.api.create(body);
    await events.next('container_started', { db_id: made['db_id'] });
    return String(made['db_id']);
  };

  const nodeOf = async (id: string): Promise<FakeNode> => {
    const { body } = await operator.api.call('GET', '/api/admin/containers');
    const found = (body['containers'] as { db_id: string; node?: string }[]).find(({ db_id }) => db_id === id);
    return cluster.named(found?.node ?? 'none');
  };

  const nodes = async (): Promise<Record<string, NodeView>> => {
    const { body } = await operator.api.call('GET', '/api/admin/nodes');
    return Object.fromEntries((body['nodes'] as NodeView[]).map((node) => [node.name, node]));
  };

  const anotherProcess = (): NodeRepository => {
    const { app } = berth;
    return new NodeRepository(
      app.get(Database),
      app.get(EventLog),
      app.get(ReservedCapacity),
      app.get(TokenService),
      clock,
      app.get(ProcessPresence),
    );
  };

  /** The processes have not heard of it for long. */
  const silence = async (node: FakeNode): Promise<void> => {
    node.cut();
    clock.aheadMs += 20_000;
    await berth.app.get(NodeWatch).look();
  };

  it('must be prepared for programs when they have started, on their machine', async () => {
    const spies = cluster.nodes.map(({ engine: { programs } }) => jest.spyOn(programs, 'prepare'));
    const id = await running();
    const at = cluster.nodes.indexOf(await nodeOf(id));
    const { id: engineId } = (await user.api.get(id)).body;
    await eventually(() => expect(spies[at]).toHaveBeenCalledWith(engineId));
    expect(spies.flatMap(({ mock }) => mock.calls)).toHaveLength(1);
  });

  it('must be found by their machine, and counted in what is sampled of it', async () => {
    const id = await running({ name: 'sampled' });
    const { name } = (await nodeOf(id)).facts;
    await berth.app.get(CapacityHistory).sample();
    for (const each of NAMES) {
      const { body } = await operator.api.call('GET', `/api/admin/nodes/${each}/history`);
      const isThere = each === name;
      expect((body['samples'] as object[]).at(-1)).toMatchObject({
        running: isThere ? 1 : 0,
        memory_reserved_mb: isThere ? SMALL.memory_mb : 0,
        memory_used_mb: null,
      });
      for (const asked of [`node=${each}`, `search=${each.toUpperCase()}`]) {
        const found = await operator.api.call('GET', `/api/admin/containers?${asked}`);
        expect([asked, (found.body['containers'] as object[]).length]).toEqual([asked, isThere ? 1 : 0]);
      }
    }
    const all = await operator.api.call('GET', '/api/admin/capacity/history');
    expect((all.body['samples'] as object[]).at(-1)).toMatchObject({ running: 1 });
  });

  it('must be counted as idle on their machine once they were not used for ten minutes', async () => {
    const id = await running();
    const { name } = (await nodeOf(id)).facts;
    const idle = async (): Promise<object> =>
      Object.fromEntries(Object.values(await nodes()).map((node) => [node.name, node.idle_containers]));
    const none = Object.fromEntries(NAMES.map((each) => [each, 0]));
    expect(await idle()).toEqual(none);
    const lastUsedAt = new Date(clock.now().getTime() - 11 * 60_000);
    await berth.app.get(Database).manager.update(ContainerEntity, { id }, { lastUsedAt });
    expect(await idle()).toEqual({ ...none, [name]: 1 });
  });

  it('must never be more on a machine than it has, however many are created at once', async () => {
    const others = await Promise.all(Array.from({ length: 3 }, () => berth.user('enterprise')));
    const answers = await Promise.all(
      [user, ...others].flatMap(({ api }) => Array.from({ length: 4 }, () => answered(() => api.create(SMALL)))),
    );
    const refused = answers.filter(({ status }) => status === 503);
    expect(answers.filter(({ status }) => status === 202)).toHaveLength(12);
    expect(refused).toHaveLength(4);
    expect(refused[0]?.body).toMatchObject({ code: 'no_capacity', short: [{ resource: 'memory_mb', available: 0 }] });
    expect(refused[0]?.headers.get('retry-after')).toMatch(/^\d+$/);
    for (const name of NAMES) expect((await nodes())[name]).toMatchObject({ containers: 4, used: { memory_mb: 1024 } });
    await eventually(() => expect(cluster.nodes.map(({ daemon }) => daemon.containers.size)).toEqual([4, 4, 4]));
  });

  it('must be placed by pools and on machines that take some, and shown with theirs to administrators alone', async () => {
    cluster.named('one').facts = { ...cluster.named('one').facts, pool: 'gpu' };
    cluster.named('two').facts = { ...cluster.named('two').facts, problem: 'its clock is off' };
    const id = await running();
    expect((await nodeOf(id)).name).toBe('three');
    const { body } = await user.api.get(id);
    expect(body['id']).toMatch(/^[0-9a-f]{64}$/);
    expect(body).toMatchObject({ node_state: 'reachable' });
    expect(body).not.toHaveProperty('node');
    expect((await user.api.get(String(body['id']))).status).toBe(200);
    await operator.api.call('POST', '/api/admin/nodes/three/drain');
    const refused = await user.api.create();
    expect(refused).toMatchObject({ status: 503, body: { code: 'no_capacity', short: [{ resource: 'nodes' }] } });
    // What runs there stays, and what was stopped there waits.
    expect((await user.api.stop(id)).status).toBe(200);
    expect((await user.api.start(id)).body).toMatchObject({ code: 'no_capacity' });
    await operator.api.call('POST', '/api/admin/nodes/three/activate');
    expect((await user.api.start(id)).status).toBe(200);
  });

  describe('on a machine that is drained, by a process that has not heard of it', () => {
    /** What the managers say now is known to another process, which has written it. */
    const drainElsewhere = async (name: string): Promise<void> => {
      const heard = engine.nodes.list();
      await cluster.setAvailability(name, 'drain');
      await anotherProcess().note(cluster.nodes.map((node) => node.view()));
      jest.spyOn(engine.nodes, 'list').mockReturnValue(heard);
    };

    afterEach(() => void jest.restoreAllMocks());

    it('must be neither created nor started there, and refused if no other takes them', async () => {
      const id = await running();
      const drained = await nodeOf(id);
      const others = cluster.nodes.filter((node) => node !== drained);
      await user.api.stop(id);
      await drainElsewhere(drained.name);
      for (let made = 0; made < 4; made += 1) expect(others).toContain(await nodeOf(await running()));
      expect(await user.api.start(id)).toMatchObject(NO_NODE);
      const moved = await running();
      const move = await operator.api.call('POST', `/api/admin/containers/${moved}/move`, { node: drained.name });
      expect(move).toMatchObject({ ...NO_NODE, body: { details: [{ field: 'node', message: 'is drained' }] } });
      // What is left of the others is not enough, and then there is none.
      await eventually(async () => {
        const { body } = await user.api.create();
        expect(body).toMatchObject({ code: 'no_capacity', short: [{ resource: 'memory_mb' }] });
      });
      for (const { name } of others) await cluster.setAvailability(name, 'drain');
      await anotherProcess().note(cluster.nodes.map((node) => node.view()));
      expect(await user.api.create()).toMatchObject(NO_NODE);
    });

    it('must be resized where they run', async () => {
      const id = await running();
      const drained = await nodeOf(id);
      await drainElsewhere(drained.name);
      const { body } = await user.api.get(id);
      const larger = { ...SMALL, memory_mb: 512 };
      expect((await user.api.update(id, { name: String(body['name']), ...larger })).status).toBe(200);
      expect((await nodes())[drained.name]).toMatchObject({ containers: 1, used: { memory_mb: 512 } });
    });

    it('must not be placed there either where somebody changed its row by hand, once that is counted', async () => {
      await running();
      // It would write what the managers say.
      jest.spyOn(berth.app.get(NodeWatch), 'look').mockResolvedValue();
      await berth.app.get(Database).manager.query("UPDATE nodes SET availability = 'drain' WHERE name <> 'two'");
      expect(await berth.app.get(ReservedCapacity).recount()).toBe(true);
      for (let made = 0; made < 2; made += 1) expect((await nodeOf(await running())).name).toBe('two');
    });
  });

  it('must be left as they are while their machine is silent, and be told of it, and harm nobody else', async () => {
    const [kept, other] = [await running(), await running()];
    const [silent, well] = [await nodeOf(kept), await nodeOf(other)];
    expect(silent).not.toBe(well);
    await silence(silent);
    await events.next('container_unreachable', { db_id: kept });
    expect((await user.api.get(kept)).body).toMatchObject({ status: 'running', node_state: 'unreachable' });
    for (const refused of [await user.api.stop(kept), await user.api.delete(kept), await user.api.start(kept)]) {
      expect(refused).toMatchObject({ status: 503, body: { code: 'node_unavailable' } });
      expect(refused.headers.get('retry-after')).toBe('5');
    }
    // What is behind Berth's back on the other one is seen all the same.
    const [container] = [...well.daemon.containers.values()];
    if (container) well.daemon.stop(container.engineId);
    await berth.app.get(Reconciler).sweep();
    await events.next('container_stopped', { db_id: other });
    expect((await user.api.get(kept)).body).toMatchObject({ status: 'running' });
    expect(silent.daemon.containers.size).toBe(1);
    const [mine] = [...silent.daemon.containers.values()];
    if (mine) silent.daemon.stop(mine.engineId);
    silent.heal();
    await berth.app.get(NodeWatch).look();
    await events.next('container_reachable', { db_id: kept });
    // It was swept as soon as it answered.
    await events.next('container_stopped', { db_id: kept });
    expect((await user.api.start(kept)).status).toBe(200);
  });

  it('answers 503 to a command whose machine falls silent while it runs', async () => {
    const id = await running();
    const node = await nodeOf(id);
    const broken = new EngineError('docker_unavailable', 'the connection to the command broke off before its end');
    const gone = jest.fn(() => Promise.reject(broken));
    const output = (async function* () {
      node.cut();
      yield* await Promise.resolve<ExecOutput[]>([]);
    })();
    const facts = { id: 'one', pid: 2, startedAt: 0, from: 0, to: 0 };
    const program = { ...facts, output, stdin: null, resize: gone, exit: gone, close: jest.fn() };
    jest.spyOn(node.engine.programs, 'start').mockResolvedValueOnce(program);
    const refused = await user.api.call('POST', `/api/containers/${id}/exec`, { command: ['sleep', '60'] });
    expect(refused).toMatchObject({ status: 503, body: { code: 'node_unavailable' } });
    expect(refused.headers.get('retry-after')).toBe('5');
  });

  it('emits no container_unreachable for a container in error', async () => {
    const [kept, failed] = [await running(), await running()];
    const node = await nodeOf(failed);
    if ((await nodeOf(kept)) !== node)
      await operator.api.call('POST', `/api/admin/containers/${kept}/move`, { node: node.name });
    await berth.app.get(Database).manager.update(ContainerEntity, { id: failed }, { status: 'error' });
    await silence(node);
    await events.next('container_unreachable', { db_id: kept });
    node.heal();
    await berth.app.get(NodeWatch).look();
    await events.next('container_reachable', { db_id: kept });
    const told = events.events.filter(({ type, data }) => type.endsWith('reachable') && 'db_id' in data);
    expect(told.map(({ data }) => 'db_id' in data && data.db_id)).toEqual([kept, kept]);
    // The row was changed by hand.
    await berth.app.get(ReservedCapacity).recount();
  });

  it('must keep the data of deleted ones until their machine answers', async () => {
    const id = await running();
    const node = await nodeOf(id);
    expect((await user.api.delete(id)).status).toBe(200);
    clock.aheadMs += 8 * 24 * 3_600_000;
    await silence(node);
    await berth.app.get(Reconciler).sweep();
    expect(node.daemon.volumes.size).toBe(1);
    node.heal();
    await eventually(() => expect(node.daemon.volumes.size).toBe(0));
  });

  it('must be lost with a machine that is given up, start anew on another, and be one when it comes back', async () => {
    const id = await running();
    const node = await nodeOf(id);
    const forget = () => operator.api.call('POST', `/api/admin/nodes/${node.name}/forget`);
    expect(await forget()).toMatchObject({ status: 409, body: { code: 'node_reachable' } });
    await silence(node);
    expect((await forget()).body).toMatchObject({ state: 'forgotten', containers: 0 });
    await events.next('container_error', { db_id: id, reason: 'node_lost' });
    expect((await user.api.get(id)).body).toMatchObject({ status: 'error', status_reason: 'node_lost' });
    expect((await user.api.start(id)).status).toBe(200);
    const next = await nodeOf(id);
    expect(next).not.toBe(node);
    node.heal();
    await berth.app.get(NodeWatch).look();
    await eventually(async () => {
      await berth.app.get(Reconciler).sweep();
      expect([node.daemon.containers.size, node.daemon.volumes.size]).toEqual([0, 0]);
    });
    expect((await nodes())[node.name]).toMatchObject({ state: 'reachable' });
    expect((await user.api.get(id)).body).toMatchObject({ status: 'running' });
  });

  describe('of a machine that is given up and comes back', () => {
    const volumesOf = (node: FakeNode): string[] =>
      [...node.daemon.volumes.values()].map((volume) => (volume as { content: string }).content);

    /** With something in it. */
    const kept = async (): Promise<{ id: string; node: FakeNode }> => {
      const id = await running();
      const node = await nodeOf(id);
      node.daemon.write(`berth-${id}`, 'precious');
      return { id, node };
    };

    const forget = async (node: FakeNode): Promise<void> => {
      await silence(node);
      expect((await operator.api.call('POST', `/api/admin/nodes/${node.name}/forget`)).status).toBe(200);
    };

    const comeBack = async (node: FakeNode): Promise<void> => {
      node.heal();
      await berth.app.get(NodeWatch).look();
      await berth.app.get(NodeWatch).look();
    };

    const sweep = (): Promise<void> => berth.app.get(Reconciler).sweep();

    it('must have their data again where nothing has replaced it', async () => {
      const { id, node } = await kept();
      await forget(node);
      await events.next('container_error', { db_id: id, reason: 'node_lost' });
      await comeBack(node);
      await events.next('container_stopped', { db_id: id });
      expect((await user.api.get(id)).body).toMatchObject({ status: 'stopped', node_state: 'reachable' });
      await eventually(async () => {
        await sweep();
        expect([node.daemon.containers.size, volumesOf(node)]).toEqual([0, ['precious']]);
      });
      expect((await user.api.start(id)).body).toMatchObject({ status: 'running' });
      expect(await nodeOf(id)).toBe(node);
      expect(volumesOf(node)).toEqual(['precious']);
    });

    it('are removed there without a further sweep, though it could not list them as it came back', async () => {
      const { id, node } = await kept();
      await forget(node);
      expect((await user.api.start(id)).status).toBe(200);
      const look = jest.spyOn(berth.app.get(NodeWatch), 'look').mockResolvedValue();
      const busy = new EngineError('docker_unavailable', 'it did not list in time');
      const list = jest.spyOn(node.engine.containers, 'list').mockRejectedValue(busy);
      node.heal();
      await eventually(() => expect(list).toHaveBeenCalled());
      await sweep();
      list.mockRestore();
      look.mockRestore();
      expect(node.daemon.containers.size).toBe(1);
      await berth.app.get(NodeWatch).look();
      await eventually(() => expect([node.daemon.containers.size, node.daemon.volumes.size]).toEqual([0, 0]));
    });

    it('must keep what they were made anew with, and what comes back be removed', async () => {
      const { id, node } = await kept();
      await forget(node);
      expect((await user.api.start(id)).status).toBe(200);
      expect(await nodeOf(id)).not.toBe(node);
      await comeBack(node);
      await eventually(async () => {
        await sweep();
        expect([node.daemon.containers.size, node.daemon.volumes.size]).toEqual([0, 0]);
      });
      expect((await user.api.get(id)).body).toMatchObject({ status: 'running' });
    });

    it('must have their data again where a start has failed meanwhile, and leave nothing where that was', async () => {
      const { id, node } = await kept();
      await forget(node);
      for (const other of cluster.nodes) other.engine.failOn('containers.create', { times: 9, error: BROKEN });
      expect((await user.api.start(id)).status).toBe(500);
      for (const other of cluster.nodes) other.engine.forget();
      await comeBack(node);
      await events.next('container_stopped', { db_id: id });
      await eventually(async () => {
        await sweep();
        expect(cluster.nodes.flatMap(volumesOf)).toEqual(['precious']);
      });
      expect((await user.api.start(id)).status).toBe(200);
      expect(await nodeOf(id)).toBe(node);
    });

    it('must be restored with their data where they were deleted meanwhile, and purged in time', async () => {
      const [restored, purged] = [await kept(), await kept()];
      for (const { node } of [restored, purged]) await forget(node);
      for (const { id } of [restored, purged]) expect((await user.api.delete(id)).status).toBe(200);
      for (const { node } of [restored, purged]) await comeBack(node);
      expect((await user.api.call('POST', `/api/containers/${restored.id}/restore`)).status).toBe(200);
      expect((await user.api.start(restored.id)).body).toMatchObject({ status: 'running' });
      expect(await nodeOf(restored.id)).toBe(restored.node);
      expect(volumesOf(restored.node)).toContain('precious');
      clock.aheadMs += 8 * 24 * 3_600_000;
      await eventually(async () => {
        await berth.app.get(NodeWatch).look();
        await sweep();
        expect(volumesOf(purged.node)).toEqual([]);
      });
    });

    it('must leave nothing where they were deleted before, or purged meanwhile', async () => {
      const [before, meanwhile] = [await kept(), await kept()];
      expect((await user.api.delete(before.id)).status).toBe(200);
      for (const { node } of [before, meanwhile]) await forget(node);
      expect((await user.api.delete(meanwhile.id)).status).toBe(200);
      clock.aheadMs += 8 * 24 * 3_600_000;
      await sweep();
      for (const { node } of [before, meanwhile]) await comeBack(node);
      await eventually(async () => {
        await sweep();
        for (const { node } of [before, meanwhile]) expect(volumesOf(node)).toEqual([]);
      });
      expect((await user.api.call('POST', `/api/containers/${before.id}/restore`)).status).toBe(404);
    });

    it('must be started where their data is, or not at all, though creations fail there', async () => {
      const { id, node } = await kept();
      await forget(node);
      await comeBack(node);
      node.engine.failOn('containers.create', { times: 9, error: BROKEN });
      expect((await user.api.start(id)).status).toBe(500);
      expect(await nodeOf(id)).toBe(node);
      node.engine.forget();
      await sweep();
      expect((await user.api.start(id)).status).toBe(200);
      expect(volumesOf(node)).toEqual(['precious']);
    });

    it('must be moved with their data, and stay there', async () => {
      const { id, node } = await kept();
      await forget(node);
      await comeBack(node);
      expect((await operator.api.call('POST', `/api/admin/containers/${id}/move`)).status).toBe(200);
      const target = await nodeOf(id);
      expect(target).not.toBe(node);
      await berth.app.get(NodeWatch).look();
      await sweep();
      expect(await nodeOf(id)).toBe(target);
      expect((await user.api.start(id)).status).toBe(200);
      expect([volumesOf(node), volumesOf(target)]).toEqual([[], ['precious']]);
    });

    it('must have their data again where they are given up twice', async () => {
      const { id, node } = await kept();
      await forget(node);
      await comeBack(node);
      await events.next('container_stopped', { db_id: id });
      await forget(node);
      expect((await user.api.get(id)).body).toMatchObject({ status: 'error', status_reason: 'node_lost' });
      await comeBack(node);
      expect((await user.api.start(id)).status).toBe(200);
      await sweep();
      expect(volumesOf(node)).toEqual(['precious']);
    });
  });

  describe('of a machine that is given up, by a process that is slower than another', () => {
    /** The rows that this process reads next are written by another one before it comes to them. */
    const writtenMeanwhile = (
      method: 'onGivenUp' | 'partlyOnGivenUp',
      write: (row: ContainerRow) => Promise<unknown>,
    ): void => {
      const repository = berth.app.get(NodeRepository);
      const read = repository[method].bind(repository);
      jest.spyOn(repository, method).mockImplementationOnce(async (page) => {
        const rows = await read(page);
        expect(rows).not.toEqual([]);
        for (const row of rows) await write(row);
        return rows;
      });
    };

    const releasedMeanwhile = (): void =>
      writtenMeanwhile('onGivenUp', (row) =>
        row.deletedAt === null
          ? berth.app.get(ContainerRepository).giveUp(row)
          : berth.app.get(DeletedContainers).giveUp(row),
      );

    afterEach(() => void jest.restoreAllMocks());

    it('must be given up once, and the administrator be told what is so', async () => {
      for (const name of ['two', 'three']) await operator.api.call('POST', `/api/admin/nodes/${name}/drain`);
      const [id, deleted] = [await running(), await running()];
      expect((await user.api.delete(deleted)).status).toBe(200);
      const node = cluster.named('one');
      await silence(node);
      releasedMeanwhile();
      const answer = await operator.api.call('POST', `/api/admin/nodes/${node.name}/forget`);
      expect(answer).toMatchObject({ status: 200, body: { state: 'forgotten', containers: 0 } });
      await events.next('container_error', { db_id: id, reason: 'node_lost' });
      const told = events.events.filter(({ type }) => type === 'container_error');
      expect(told).toHaveLength(1);
      const purges = `SELECT id FROM audit_entries WHERE action = 'container.purge' AND container_id = '${deleted}'`;
      expect(await berth.app.get(Database).manager.query<unknown[]>(purges)).toHaveLength(1);
    });

    it.each(['drain', 'activate'])('must fail no %s of another machine', async (verb) => {
      const id = await running();
      const node = await nodeOf(id);
      const other = cluster.nodes.find((each) => each !== node)?.name ?? '';
      await silence(node);
      // What has given it up has died before it came to what is there.
      await berth.app.get(Database).manager.update(NodeEntity, { id: node.id }, { forgottenAt: clock.now() });
      releasedMeanwhile();
      const answer = await operator.api.call('POST', `/api/admin/nodes/${other}/${verb}`);
      expect(answer).toMatchObject({ status: 200, body: { availability: verb === 'drain' ? 'drain' : 'active' } });
      await events.next('container_error', { db_id: id, reason: 'node_lost' });
    });

    it('must be given up all the same where they were only changed', async () => {
      const id = await running();
      const node = await nodeOf(id);
      await silence(node);
      writtenMeanwhile('onGivenUp', (row) =>
        berth.app.get(Database).manager.update(ContainerEntity, { id: row.id }, { revision: row.revision + 1 }),
      );
      const answer = await operator.api.call('POST', `/api/admin/nodes/${node.name}/forget`);
      expect(answer).toMatchObject({ status: 200, body: { state: 'forgotten', containers: 0 } });
      await events.next('container_error', { db_id: id, reason: 'node_lost' });
    });

    it('must be forgotten there where they have moved, and the administrator be told what is so', async () => {
      const id = await running();
      const node = await nodeOf(id);
      const hold = node.engine.holdOn('containers.remove');
      const moving = operator.api.call('POST', `/api/admin/containers/${id}/move`);
      await hold.reached;
      await silence(node);
      hold.release();
      expect((await moving).status).toBe(200);
      writtenMeanwhile('partlyOnGivenUp', (row) => berth.app.get(ContainerRepository).forgetOther(row));
      const answer = await operator.api.call('POST', `/api/admin/nodes/${node.name}/forget`);
      expect(answer).toMatchObject({ status: 200, body: { state: 'forgotten', used: { memory_mb: 0 } } });
      expect((await user.api.get(id)).body).toMatchObject({ status: 'running' });
    });

    it('must stay where they were placed on it after it came back', async () => {
      const node = cluster.named('one');
      await silence(node);
      await operator.api.call('POST', '/api/admin/nodes/one/forget');
      const repository = berth.app.get(NodeRepository);
      const before = await repository.all();
      node.heal();
      await berth.app.get(NodeWatch).look();
      for (const name of ['two', 'three']) await operator.api.call('POST', `/api/admin/nodes/${name}/drain`);
      const id = await running();
      expect(await nodeOf(id)).toBe(node);
      jest.spyOn(repository, 'all').mockResolvedValueOnce(before).mockResolvedValueOnce(before);
      await berth.app.get(NodeWatch).look();
      expect((await user.api.get(id)).body).toMatchObject({ status: 'running' });
    });

    it('must not be taken from their machine where they were restored meanwhile', async () => {
      const id = await running();
      const node = await nodeOf(id);
      expect((await user.api.delete(id)).status).toBe(200);
      await silence(node);
      writtenMeanwhile('onGivenUp', async () =>
        expect((await user.api.call('POST', `/api/containers/${id}/restore`)).status).toBe(200),
      );
      await operator.api.call('POST', `/api/admin/nodes/${node.name}/forget`);
      await events.next('container_error', { db_id: id, reason: 'node_lost' });
      expect((await user.api.get(id)).body).toMatchObject({ status: 'error', status_reason: 'node_lost' });
    });
  });

  describe('that are being created when their machine falls silent', () => {
    const ofRow = (node: FakeNode, id: string): number =>
      [...node.daemon.containers.values()].filter(({ spec }) => spec.owner.containerId === id).length;

    /** A creation is cut off at this call. @returns its id, and the machine that it was placed on first */
    const cutAt = async (
      method: 'volumes.ensure' | 'containers.create' | 'containers.start',
      when: 'before' | 'after',
    ): Promise<{ id: string; first: FakeNode }> => {
      const holds = cluster.nodes.map((node) => ({ node, hold: node.engine.holdOn(method, { when }) }));
      const id = String((await user.api.create()).body['db_id']);
      const first = await Promise.race(holds.map(({ node, hold }) => hold.reached.then(() => node)));
      for (const { node } of holds) if (node !== first) node.engine.forget();
      first.cut();
      first.engine.forget();
      return { id, first };
    };

    /** Nothing is left on a machine that is back. */
    const expectCleaned = async ({ daemon }: FakeNode): Promise<void> =>
      eventually(async () => {
        await berth.app.get(Reconciler).sweep();
        expect([daemon.containers.size, daemon.volumes.size]).toEqual([0, 0]);
      });

    it.each([
      ['volumes.ensure', 'before'],
      ['volumes.ensure', 'after'],
      ['containers.create', 'before'],
      ['containers.create', 'after'],
    ] as const)('must be placed on another, from %s (%s its effect) on', async (method, when) => {
      const { id, first } = await cutAt(method, when);
      await events.next('container_started', { db_id: id });
      const second = await nodeOf(id);
      expect(second).not.toBe(first);
      expect(ofRow(second, id)).toBe(1);
      const given = await nodes();
      expect([given[first.name]?.used.memory_mb, given[second.name]?.used.memory_mb]).toEqual([0, 256]);
      first.heal();
      await expectCleaned(first);
      expect((await user.api.get(id)).body).toMatchObject({ status: 'running' });
      expect(ofRow(second, id)).toBe(1);
    });

    it('must be placed on the last one where two are gone, and nobody has noticed yet', async () => {
      for (const name of ['one', 'two'] as const) {
        const { engine } = cluster.named(name);
        engine.failOn('volumes.ensure', { times: 9 });
      }
      const id = await running();
      expect((await nodeOf(id)).name).toBe('three');
      for (const { engine } of cluster.nodes) engine.forget();
    });

    it('must fail where they may run already, and give their room back', async () => {
      const { id, first } = await cutAt('containers.start', 'after');
      await events.next('container_error', { db_id: id, reason: 'node_unavailable' });
      expect((await nodes())[first.name]?.used.memory_mb).toBe(0);
      first.heal();
      await eventually(async () => {
        await berth.app.get(Reconciler).sweep();
        expect(first.daemon.containers.size).toBe(0);
      });
      expect((await user.api.start(id)).status).toBe(200);
    });

    it('must fail where no other machine has room', async () => {
      for (const { daemon } of cluster.nodes) expect(daemon.containers.size).toBe(0);
      for (const name of ['two', 'three'] as const) await operator.api.call('POST', `/api/admin/nodes/${name}/drain`);
      const { id } = await cutAt('containers.create', 'before');
      await events.next('container_error', { db_id: id, reason: 'node_unavailable' });
      expect((await nodes())['one']).toMatchObject({ containers: 1, used: { memory_mb: 0 } });
    });

    it('must leave no volume on a machine that is back after they were purged', async () => {
      const { id, first } = await cutAt('containers.create', 'after');
      await events.next('container_started', { db_id: id });
      const second = await nodeOf(id);
      expect((await user.api.delete(id)).status).toBe(200);
      clock.aheadMs += 8 * 24 * 3_600_000;
      await eventually(async () => {
        await berth.app.get(Reconciler).sweep();
        expect(second.daemon.volumes.size).toBe(0);
      });
      expect(first.daemon.volumes.size).toBe(1);
      first.heal();
      await expectCleaned(first);
    });
  });

  it('must be listed on a few machines at once, however many there are', async () => {
    const many = new FakeCluster(Array.from({ length: 20 }, (_none, at) => `node${String(at)}`));
    let [listing, most] = [0, 0];
    for (const { engine: each } of many.nodes) {
      jest.spyOn(each.containers, 'list').mockImplementation(async () => {
        most = Math.max(most, (listing += 1));
        await new Promise(setImmediate);
        listing -= 1;
        return { items: [], silent: [] };
      });
    }
    many.named('node7').cut();
    const { silent } = await many.engine().containers.list({ instance: 'nodes' });
    expect([silent, most]).toEqual([['node7'], 4]);
  });

  it('must not be compared once for each machine, where many answer at the same time', async () => {
    const many = new FakeCluster(Array.from({ length: 20 }, (_none, at) => `node${String(at)}`)).engine();
    const lists = jest.spyOn(many.containers, 'list');
    const environment = { INSTANCE_ID: 'many', SWEEP_INTERVAL_SECONDS: '3600' };
    const server = await Berth.start({ engine: many, environment });
    try {
      // After all that wait.
      await server.app.get(Reconciler).sweep();
      expect(lists.mock.calls.length).toBeLessThanOrEqual(4);
    } finally {
      await server.stop();
    }
  });

  it('must not be judged where a list is cut short, and be swept later', async () => {
    const id = await running();
    const node = await nodeOf(id);
    node.engine.failOn('containers.list');
    const [container] = [...node.daemon.containers.values()];
    if (container) node.daemon.remove(container.engineId);
    await berth.app.get(Reconciler).sweep();
    await berth.app.get(Reconciler).sweep();
    await events.next('container_stopped', { db_id: id, reason: 'missing' });
  });

  describe('whose machines change', () => {
    it('must be told to administrators, and to nobody else', async () => {
      const told = await berth.record(operator);
      const verb = (name: string) => operator.api.call('POST', `/api/admin/nodes/one/${name}`);
      await verb('drain');
      await told.next('node_drained', { name: 'one', availability: 'drain', pool: 'default' });
      await verb('drain');
      await verb('activate');
      await told.next('node_activated', { name: 'one', availability: 'active' });
      // As somebody does with Docker's own tools.
      const two = cluster.named('two');
      two.facts = { ...two.facts, availability: 'pause', version: two.facts.version + 1 };
      await berth.app.get(NodeWatch).look();
      await told.next('node_drained', { name: 'two', availability: 'pause' });
      await silence(cluster.named('one'));
      await told.next('node_unreachable', { name: 'one', availability: 'active' });
      cluster.named('one').heal();
      await Promise.all([berth.app.get(NodeWatch).look(), berth.app.get(NodeWatch).look()]);
      await told.next('node_reachable', { name: 'one' });
      await silence(cluster.named('one'));
      await told.next('node_unreachable', { name: 'one' });
      await verb('forget');
      await told.next('node_forgotten', { name: 'one' });
      cluster.named('one').heal();
      await berth.app.get(NodeWatch).look();
      await told.next('node_readmitted', { name: 'one' });
      expect(told.events.map(({ type }) => type)).toEqual([
        'node_drained',
        'node_activated',
        'node_drained',
        'node_unreachable',
        'node_reachable',
        'node_unreachable',
        'node_forgotten',
        'node_readmitted',
      ]);
      expect(events.events.filter(({ type }) => type.startsWith('node_'))).toEqual([]);
    });

    it('must be known and told as Swarm said last, whatever a process says that is behind', async () => {
      const told = await berth.record(operator);
      const other = anotherProcess();
      const before = cluster.nodes.map((node) => node.view());
      await other.note(before);
      await operator.api.call('POST', '/api/admin/nodes/one/drain');
      await told.next('node_drained', { name: 'one' });
      await other.note(before);
      const { body } = await operator.api.call('GET', '/api/admin/nodes');
      expect(body['nodes']).toMatchObject([{ name: 'one', availability: 'drain' }, {}, {}]);
      await other.note(cluster.nodes.map((node) => node.view()));
      await operator.api.call('POST', '/api/admin/nodes/one/activate');
      await told.next('node_activated', { name: 'one' });
      expect(told.events.map(({ type }) => type)).toEqual(['node_drained', 'node_activated']);
    });

    it('must be known as Swarm said last, though a process that starts was told before', async () => {
      const other = anotherProcess();
      other.remember(await other.all());
      const before = cluster.nodes.map((node) => node.view());
      await operator.api.call('POST', '/api/admin/nodes/one/drain');
      await other.note(before);
      const { body } = await operator.api.call('GET', '/api/admin/nodes');
      expect(body['nodes']).toMatchObject([{ name: 'one', availability: 'drain' }, {}, {}]);
    });

    it.each(['goes on', 'starts'])('must be known as a restored Swarm says, by a process that %s', async (which) => {
      const one = cluster.named('one');
      const { version } = one.facts;
      one.facts = { ...one.facts, version: version + 9 };
      await berth.app.get(NodeWatch).look();
      one.facts = { ...one.facts, availability: 'drain', version: version + 3 };
      const starting = anotherProcess();
      starting.remember(await starting.all());
      if (which === 'starts') await starting.note(cluster.nodes.map((node) => node.view()));
      else await berth.app.get(NodeWatch).look();
      const { body } = await operator.api.call('GET', '/api/admin/nodes');
      expect(body['nodes']).toMatchObject([{ name: 'one', availability: 'drain' }, {}, {}]);
    });

    it('must be known as one says that is slower than another, who knew it no better', async () => {
      const one = cluster.named('one');
      const slow = anotherProcess();
      const fast = anotherProcess();
      one.facts = { ...one.facts, labels: { rack: 'b' }, version: one.facts.version + 1 };
      const between = cluster.nodes.map((node) => node.view());
      await cluster.setAvailability('one', 'drain');
      // It reads the rows, and the other one writes before it does.
      const all = slow.all.bind(slow);
      jest.spyOn(slow, 'all').mockImplementationOnce(async () => {
        const rows = await all();
        await fast.note(between);
        return rows;
      });
      await slow.note(cluster.nodes.map((node) => node.view()));
      const { body } = await operator.api.call('GET', '/api/admin/nodes');
      expect(body['nodes']).toMatchObject([{ name: 'one', availability: 'drain' }, {}, {}]);
    });
  });

  it('must be given up, and can be made anew, where they were on a single Docker before', async () => {
    const database = await openTestDatabase();
    const environment = { INSTANCE_ID: 'single', SWEEP_INTERVAL_SECONDS: '3600', VOLUME_RETENTION: '0' };
    const single = await Berth.start({ database, engine: new FakeEngine(), environment });
    const owner = await single.user('enterprise');
    const [kept, deleted] = [await owner.api.running(), await owner.api.running()];
    await single.stop();
    const clustered = await Berth.start({ database, engine: new FakeCluster(NAMES).engine(), environment });
    const { api } = clustered.as(owner);
    const admin = await clustered.user('pro', ['admin', 'read', 'write']);
    try {
      await eventually(async () => {
        await clustered.app.get(Reconciler).sweep();
        expect((await api.get(kept.db_id)).body).toMatchObject({ status: 'stopped', status_reason: 'missing' });
      });
      expect(await api.start(kept.db_id)).toMatchObject({ body: { code: 'docker_changed' } });
      expect((await admin.api.call('POST', '/api/admin/docker/accept')).status).toBe(200);
      expect((await api.start(kept.db_id)).body).toMatchObject({ status: 'running', volume_kept: false });
      expect((await api.delete(deleted.db_id)).status).toBe(200);
      await eventually(async () => {
        const purged = 'SELECT id FROM containers WHERE purged_at IS NOT NULL';
        expect(await clustered.app.get(Database).manager.query<unknown[]>(purged)).toHaveLength(1);
      });
    } finally {
      expect(await clustered.app.get(ReservedCapacity).recount()).toBe(false);
      await clustered.stop();
      await database.drop();
    }
  });

  it('must know no other machine than those that there are', async () => {
    for (const verb of ['drain', 'activate', 'forget']) {
      const answer = await operator.api.call('POST', `/api/admin/nodes/nowhere/${verb}`);
      expect(answer).toMatchObject({ status: 404, body: { code: 'node_not_found' } });
    }
  });
});
