import { randomInt } from 'node:crypto';
import { ReservedCapacity } from '../../src/containers/rows/reserved-capacity';
import { ContainerEntity, type ContainerRow } from '../../src/containers/model/container.entity';
import { ContainerRepository } from '../../src/containers/rows/container.repository';
import { NodeWatch } from '../../src/containers/nodes/node-watch';
import { Reconciler } from '../../src/containers/reconcile/reconciler';
import { Database } from '../../src/database';
import { EngineError } from '../../src/engine';
import { type Answer, SMALL, testImage } from '../support/clients/api-client';
import { Berth, type TestUser } from '../support/servers/berth';
import { eventually } from '../support/eventually';
import { beforeAndAfter, inMore, inWhole, sampled } from '../support/extent';
import { FakeCluster, type FakeNode } from '../support/fakes/fake-cluster';
import { type EngineMethod, FakeEngine, LOOKS } from '../support/fakes/fake-engine';
import { holdSweeps } from '../support/servers/hold-sweeps';
import { leaseAsDead } from '../support/databases/lease-as-dead';
import { SeededRandom } from '../support/seeded-random';
import { TestClock } from '../support/fakes/test-clock';
import { openTestDatabase, type TestDatabase } from '../support/databases/test-database';

jest.setTimeout(300_000);

const MIB = 2 ** 20;
const NAMES = ['one', 'two', 'three'] as const;
const ENVIRONMENT = {
  INSTANCE_ID: 'moves',
  VOLUME_COPY_IMAGE: testImage(),
  MEMORY_OVERCOMMIT: '1',
  CPU_OVERCOMMIT: '1',
  ORPHAN_GRACE_SECONDS: '0',
  OPERATION_CLAIM_SECONDS: '4',
  SWEEP_INTERVAL_SECONDS: '1',
  SHUTDOWN_GRACE_SECONDS: '0',
};

/** A call of one machine's that a move makes; the first is 1. */
interface Point {
  readonly node: string;
  readonly method: EngineMethod;
  readonly call: number;
}

/** How many processes die in a row, and at which calls. */
const DEATHS = 10;
const MORTAL: readonly EngineMethod[] = [
  'volumes.ensure',
  'containers.create',
  'containers.stop',
  'volumes.send',
  'volumes.receive',
  'volumes.digest',
  'containers.start',
  'containers.remove',
  'volumes.remove',
  'volumes.list',
  'containers.inspect',
  'layers.commit',
  'layers.send',
  'layers.receive',
];

/** What is outside the home of a container that is moved; the first needs the most calls. */
const OUTSIDE = ['what was just written', 'nothing', 'what it was created with'] as const;

describe('a container that is moved to another machine', () => {
  const seed = Number(process.env['BERTH_TEST_SEED'] ?? randomInt(2 ** 31));
  let database: TestDatabase;
  let cluster: FakeCluster;
  let clock: TestClock;
  let berth: Berth;
  let operator: TestUser;
  let user: TestUser;
  let dbId: string;
  /** What it has outside its home. */
  let layer: string;
  let written = 0;

  beforeAll(async () => {
    clock = new TestClock();
    database = await openTestDatabase();
    cluster = new FakeCluster(NAMES);
    await begin();
    operator = await berth.user('pro', ['admin', 'read', 'write']);
  });

  beforeEach(async () => {
    await wellAgain();
    user = await berth.user('enterprise');
    ({ db_id: dbId } = await user.api.running(SMALL));
    const { volumeName, nodeId } = await row();
    cluster.named(nodeId ?? '').daemon.write(volumeName, 'precious', 100 * MIB);
    layer = '';
  });

  afterEach(async () => {
    for (const { engine } of cluster.nodes) engine.forget();
    await wellAgain();
    const { body } = await user.api.call('GET', '/api/containers');
    for (const { db_id } of body['containers'] as { db_id: string }[])
      await eventually(async () => expect([200, 404]).toContain((await user.api.delete(db_id)).status));
    await eventually(() => expect(cluster.nodes.map(({ daemon }) => daemon.containers.size)).toEqual([0, 0, 0]));
    for (const { daemon } of cluster.nodes) expect(daemon.violations).toEqual([]);
    expect(await berth.app.get(ReservedCapacity).recount()).toBe(false);
    clock.forward(8 * 24 * 3_600_000);
    await eventually(() => expect(cluster.nodes.map(({ daemon }) => daemon.volumes.size)).toEqual([0, 0, 0]));
    await eventually(() => expect(cluster.nodes.map(({ daemon }) => daemon.layers.size)).toEqual([0, 0, 0]));
  });

  afterAll(async () => {
    await berth.stop();
    await database.drop();
  });

  it('must be there with its data, and nowhere else, and whoever watches be told', async () => {
    const before = await row();
    const events = await berth.record(user);
    const target = await another();
    const hold = target.engine.holdOn('containers.start');
    const answering = move({ node: target.name });
    await hold.reached;
    // It counts on both while it moves.
    expect(await reserved(before.nodeId, target.name)).toEqual([256, 256]);
    expect(await berth.app.get(ReservedCapacity).recount()).toBe(false);
    hold.release();
    const { status, body } = await answering;
    expect(status).toBe(200);
    expect(body).toMatchObject({ message: 'container moved', db_id: dbId, node: target.name, restarted: true });
    await expectAt(target, 'running');
    expect(await reserved(before.nodeId, target.name)).toEqual([0, 256]);
    const { data } = await events.next('container_moved', { db_id: dbId });
    expect(data).toMatchObject({ restarted: true, old_id: before.engineId?.split('/')[1], id: body['id'] });
    const told = events.events.map(({ type, data: each }) =>
      'progress' in each ? `${each.stage} ${each.progress}` : type,
    );
    expect(told.slice(0, -1).every((line) => /^move \d+$/.test(line))).toBe(true);
    expect([told[0], told.at(-2), told.at(-1)]).toEqual(['move 0', 'move 95', 'container_moved']);
    // Whoever has the old id finds it.
    expect((await user.api.get(String(before.engineId?.split('/')[1]))).body).toMatchObject({ db_id: dbId });
    const { body: audit } = await operator.api.call('GET', '/api/audit?action=container.move');
    expect((audit['entries'] as object[])[0]).toMatchObject({ outcome: 'ok', container_id: dbId });
  });

  inMore('must go where there is the most room if nobody says where, and back', async () => {
    const before = await row();
    for (let round = 0; round < 3; round += 1) expect((await move()).status).toBe(200);
    expect((await row()).nodeId).not.toBe(before.nodeId);
    expect((await move({ node: String(before.nodeId) })).status).toBe(200);
    await expectAt(cluster.named(String(before.nodeId)), 'running');
  });

  inMore('must stay stopped if it was, and start there', async () => {
    await user.api.stop(dbId);
    const target = await another();
    expect((await move({ node: target.name })).body).toMatchObject({ restarted: false, status: 'stopped' });
    await expectAt(target, 'stopped');
    expect((await user.api.start(dbId)).body).not.toHaveProperty('recreated');
    await expectAt(target, 'running');
  });

  inMore('must take along what there is of one that could never be made', async () => {
    const [made, unmade] = ['containers.create', 'volumes.ensure'] as const;
    for (const method of [made, unmade]) {
      for (const { engine } of cluster.nodes)
        engine.failOn(method, { error: new EngineError('docker_error', 'injected') });
      const id = String((await user.api.create({ ...SMALL, name: method.replace('.', '-') })).body['db_id']);
      await eventually(async () => expect((await user.api.get(id)).body).toMatchObject({ status: 'error' }));
      for (const { engine } of cluster.nodes) engine.forget();
      const { nodeId } = await row(id);
      if (method === made) cluster.named(String(nodeId)).daemon.write(`berth-${id}`, 'precious');
      expect((await operator.api.call('POST', `/api/admin/containers/${id}/move`)).status).toBe(200);
      const after = await row(id);
      expect(after.nodeId).not.toBe(nodeId);
      expect(volumesOf(id)).toEqual(method === made ? [`${String(after.nodeId)}:${after.volumeName}`] : []);
      expect((await user.api.start(id)).body).toMatchObject({ status: 'running' });
      const { content } = cluster.named(String(after.nodeId)).daemon.volumes.get((await row(id)).volumeName) ?? {};
      expect(content).toBe(method === made ? 'precious' : '');
    }
  });

  it('must be refused with the reason, and be as it was', async () => {
    const before = await row();
    const own = String(before.nodeId);
    const [full, other] = cluster.nodes.filter(({ name }) => name !== own) as [FakeNode, FakeNode];
    const refusals: [string, Record<string, unknown>, number, string][] = [
      ['nowhere', {}, 404, 'node_not_found'],
      [own, {}, 409, 'same_node'],
      [full.name, { pool: 'gpu' }, 422, 'wrong_pool'],
      [full.name, { availability: 'drain' }, 503, 'no_capacity'],
      [full.name, { problem: 'its clock is off' }, 503, 'no_capacity'],
      [full.name, { memoryMb: 100 }, 503, 'no_capacity'],
    ];
    for (const [node, facts, status, code] of refusals) {
      const was = full.facts;
      full.facts = { ...was, ...facts };
      await berth.app.get(NodeWatch).look();
      const refused = await move({ node });
      expect([node, facts, refused.status, refused.body['code']]).toEqual([node, facts, status, code]);
      expect(refused.body['details']).toMatchObject([{ field: 'node' }]);
      full.facts = was;
    }
    await berth.app.get(NodeWatch).look();
    full.cut();
    expect(await move({ node: full.name })).toMatchObject({ status: 503, body: { code: 'no_capacity' } });
    other.cut();
    expect(await move()).toMatchObject({ status: 503, body: { code: 'no_capacity', short: [{ resource: 'nodes' }] } });
    cluster.named(own).cut();
    expect(await move()).toMatchObject({ status: 503, body: { code: 'node_unavailable' } });
    for (const node of cluster.nodes) node.heal();
    expect(await move({ where: 'two' })).toMatchObject({ status: 400, body: { details: [{ field: 'where' }] } });
    expect(await move({ node: 2 })).toMatchObject({ status: 400, body: { details: [{ field: 'node' }] } });
    const path = `/api/admin/containers/${dbId}/move`;
    expect((await user.api.call('POST', path)).status).toBe(403);
    expect((await operator.api.call('POST', path.replace(dbId, user.id))).status).toBe(404);
    expect(await row()).toMatchObject({ engineId: before.engineId, nodeId: own, otherNodeId: null, operation: null });
    await expectAt(cluster.named(own), 'running');
  });

  inMore('must be refused where there is one machine', async () => {
    const alone = await Berth.start({ engine: new FakeEngine(), environment: { INSTANCE_ID: 'alone' } });
    const admin = await alone.user('pro', ['admin', 'read', 'write']);
    const { db_id } = await admin.api.running(SMALL);
    const refused = await admin.api.call('POST', `/api/admin/containers/${db_id}/move`);
    expect(refused).toMatchObject({ status: 409, body: { code: 'not_clustered' } });
    await alone.stop();
  });

  it('must wait for what goes on, and have what comes meanwhile wait', async () => {
    const target = await another();
    const hold = target.engine.holdOn('volumes.receive');
    const moving = move({ node: target.name });
    await hold.reached;
    const stopping = user.api.stop(dbId);
    hold.release();
    expect((await moving).status).toBe(200);
    expect((await stopping).status).toBe(200);
    await expectAt(target, 'stopped');
    await user.api.delete(dbId);
    expect((await move()).status).toBe(404);
  });

  it('must never be more on a machine than it has, however many are moved at once', async () => {
    const ids = [dbId];
    for (let count = 1; count < 4; count += 1) ids.push((await user.api.running(SMALL)).db_id);
    const [target, ...others] = cluster.nodes as [FakeNode, FakeNode, FakeNode];
    for (const id of ids) if ((await row(id)).nodeId === target.name) await move({}, id);
    const was = target.facts;
    target.facts = { ...was, memoryMb: 512 };
    await berth.app.get(NodeWatch).look();
    const answers = await Promise.all(ids.map((id) => move({ node: target.name }, id)));
    expect(answers.map(({ status }) => status).sort()).toEqual([200, 200, 503, 503]);
    expect(await reserved(target.name)).toEqual([512]);
    expect((await reserved(...others.map(({ name }) => name))).reduce((sum, each) => sum + each)).toBe(512);
    target.facts = was;
  });

  it('must run where it was if the other machine falls silent, whose copy is removed when it is back', async () => {
    const { nodeId, engineId } = await row();
    const target = await another();
    const hold = target.engine.holdOn('volumes.receive', { call: 2 });
    const answering = move({ node: target.name });
    await hold.reached;
    target.cut();
    hold.release();
    const failed = await answering;
    expect(failed).toMatchObject({ status: 503, body: { code: 'node_unavailable' } });
    expect((await user.api.get(dbId)).body).toMatchObject({ status: 'running' });
    // What may still be there counts there.
    expect(await row()).toMatchObject({ nodeId, engineId, otherNodeId: target.name });
    expect(await move()).toMatchObject({ status: 503, body: { code: 'node_unavailable' } });
    expect(volumesOf(dbId)).toHaveLength(2);
    target.heal();
    await expectAt(cluster.named(String(nodeId)), 'running');
    expect((await move({ node: target.name })).status).toBe(200);
    await expectAt(target, 'running');
  });

  inMore('must not be waited for on a machine that is given up while it moves there', async () => {
    const target = await another();
    const hold = target.engine.holdOn('volumes.receive', { call: 2 });
    const answering = move({ node: target.name });
    await hold.reached;
    target.cut();
    hold.release();
    expect((await answering).status).toBe(503);
    clock.forward(20_000);
    await berth.app.get(NodeWatch).look();
    const path = `/api/admin/nodes/${target.name}/forget`;
    await eventually(async () => expect((await operator.api.call('POST', path)).status).toBe(200));
    expect(await row()).toMatchObject({ otherNodeId: null });
    expect((await move()).status).toBe(200);
    target.heal();
    await berth.app.get(NodeWatch).look();
    await expectAt(cluster.named(String((await row()).nodeId)), 'running');
  });

  inMore('must run where it was once that machine is back, if that falls silent', async () => {
    const before = await row();
    const source = cluster.named(String(before.nodeId));
    const target = await another();
    const hold = source.engine.holdOn('volumes.send', { call: 2 });
    const answering = move({ node: target.name });
    await hold.reached;
    source.cut();
    hold.release();
    expect(await answering).toMatchObject({ status: 503, body: { code: 'node_unavailable' } });
    expect(await user.api.start(dbId)).toMatchObject({ status: 503, body: { code: 'node_unavailable' } });
    source.heal();
    await expectAt(source, 'running');
    expect(await row()).toMatchObject({ engineId: before.engineId, volumeName: before.volumeName });
  });

  it('must have moved if the machine that it left falls silent, and keep the data there for its purge alone', async () => {
    const source = cluster.named(String((await row()).nodeId));
    const target = await another();
    const hold = source.engine.holdOn('containers.remove');
    const answering = move({ node: target.name });
    await hold.reached;
    source.cut();
    hold.release();
    expect((await answering).status).toBe(200);
    expect(await row()).toMatchObject({ nodeId: target.name, otherNodeId: source.name });
    expect((await user.api.stop(dbId)).status).toBe(200);
    expect((await user.api.start(dbId)).status).toBe(200);
    expect((await user.api.delete(dbId)).status).toBe(200);
    clock.forward(8 * 24 * 3_600_000);
    await berth.app.get(Reconciler).sweep();
    expect(volumesOf(dbId)).toHaveLength(2);
    source.heal();
    await eventually(() => expect(volumesOf(dbId)).toEqual([]));
    const purged = { purgedAt: expect.any(Date) as unknown, otherNodeId: null };
    const withDeleted = { where: { id: dbId }, withDeleted: true };
    await eventually(async () => {
      expect(await berth.app.get(Database).manager.findOne(ContainerEntity, withDeleted)).toMatchObject(purged);
    });
  });

  it('must be moved with all others from a machine that is drained so, and what cannot be be told', async () => {
    const source = cluster.named(String((await row()).nodeId));
    const others = cluster.nodes.filter((node) => node !== source);
    const drain = (body?: object): Promise<Answer> =>
      operator.api.call('POST', `/api/admin/nodes/${source.name}/drain`, body);
    const ids = [dbId];
    while (ids.length < 4) {
      const { db_id: id } = await user.api.running(SMALL);
      if ((await row(id)).nodeId !== source.name) expect((await move({ node: source.name }, id)).status).toBe(200);
      ids.push(id);
    }
    const [stopped = '', deleted = ''] = ids.slice(2);
    await user.api.stop(stopped);
    await user.api.delete(deleted);
    expect(await drain({ move: 1 })).toMatchObject({ status: 400, body: { details: [{ field: 'move' }] } });
    expect((await drain()).body).toMatchObject({ availability: 'drain', evacuation: null });
    const was = others.map(({ facts }) => facts);
    for (const node of others) node.facts = { ...node.facts, memoryMb: 1 };
    await berth.app.get(NodeWatch).look();
    expect((await drain({ move: true })).body).toMatchObject({ evacuation: { left: 3, not_moved: [], deleted: 1 } });
    // Nothing is needed for what is stopped.
    await eventually(async () => expect((await row(stopped)).nodeId).not.toBe(source.name));
    const evacuation = async (): Promise<unknown> => {
      const { body } = await operator.api.call('GET', '/api/admin/nodes');
      return (body['nodes'] as { name: string; evacuation: unknown }[]).find(({ name }) => name === source.name)
        ?.evacuation;
    };
    const full = ids
      .slice(0, 2)
      .sort()
      .map((db_id) => ({ db_id, code: 'no_capacity' }));
    await eventually(async () => expect(await evacuation()).toMatchObject({ left: 2, not_moved: full, deleted: 1 }));
    // Another process goes on with it.
    await rebirth();
    others.forEach((node, index) => (node.facts = was[index] ?? node.facts));
    await berth.app.get(NodeWatch).look();
    await eventually(async () => expect(await evacuation()).toMatchObject({ left: 0, not_moved: [] }), {
      timeoutMs: 60_000,
    });
    for (const id of ids.slice(0, 2))
      expect((await user.api.get(id)).body).toMatchObject({ status: 'running', node_state: 'reachable' });
    const { body: audit } = await operator.api.call('GET', `/api/audit?action=container.move&user_id=${user.id}`);
    const acts = (audit['entries'] as { outcome: string; user_id: string | null; container_id: string }[]).filter(
      (entry) => entry.user_id === null,
    );
    expect(acts.map(({ outcome }) => outcome).sort()).toEqual([...full.map(({ code }) => code), 'ok', 'ok', 'ok']);
    const activated = await operator.api.call('POST', `/api/admin/nodes/${source.name}/activate`);
    expect(activated.body).toMatchObject({ availability: 'active', evacuation: null });
  });

  it('must be taken back where somebody starts the old one while its data is copied', async () => {
    const before = await row();
    const source = cluster.named(String(before.nodeId));
    const target = await another();
    const hold = target.engine.holdOn('volumes.digest', { when: 'after' });
    const answering = move({ node: target.name });
    await hold.reached;
    source.daemon.start(before.engineId?.split('/')[1] ?? '');
    hold.release();
    expect(await answering).toMatchObject({ status: 500, body: { code: 'copy_failed' } });
    await expectAt(source, 'running');
  });

  inMore('must be taken back where the copy differs', async () => {
    const { nodeId } = await row();
    const target = await another();
    const hold = target.engine.holdOn('volumes.digest');
    const answering = move({ node: target.name });
    await hold.reached;
    for (const name of target.daemon.volumes.keys()) target.daemon.write(name, 'precarious');
    hold.release();
    expect(await answering).toMatchObject({ status: 500, body: { code: 'copy_failed' } });
    await expectAt(cluster.named(String(nodeId)), 'running');
  });

  it('must have what was written outside its home, and say so', async () => {
    await write();
    const events = await berth.record(user);
    const target = await another();
    const { keptLayerMb } = await row();
    expect((await move({ node: target.name })).body).toMatchObject({ restarted: true, root_kept: true });
    await expectAt(target, 'running');
    expect(await events.next('container_moved', { db_id: dbId })).toMatchObject({ data: { root_kept: true } });
    expect((await row()).keptLayerMb).toBeGreaterThan(keptLayerMb);
    // Only this machine has the image that it is on now, and no registry: it goes along.
    expect((await move({ node: (await another()).name })).body).toMatchObject({ root_kept: true });
    await user.api.stop(dbId);
    await write();
    const last = await another();
    expect((await move({ node: last.name })).body).toMatchObject({ root_kept: true, restarted: false });
    await expectAt(last, 'stopped');
    clock.forward(3_600_000);
    await berth.app.get(Reconciler).sweep();
    expect(cluster.nodes.map(({ name, daemon }) => [name, daemon.layers.size])).toEqual(
      cluster.nodes.map(({ name }) => [name, name === last.name ? 1 : 0]),
    );
  });

  it('must say that nothing is kept outside its home where its machine does not keep it', async () => {
    await write();
    for (const { daemon } of cluster.nodes) daemon.keepsLayers = false;
    const target = await another();
    expect((await move({ node: target.name })).body).toMatchObject({ root_kept: false });
    for (const { daemon } of cluster.nodes) daemon.keepsLayers = true;
    layer = '';
    await expectAt(target, 'running');
  });

  it('must be taken back where the copy of its image differs', async () => {
    await write();
    const { nodeId } = await row();
    const target = await another();
    const hold = target.engine.holdOn('layers.receive', { when: 'after' });
    const answering = move({ node: target.name });
    await hold.reached;
    for (const name of target.daemon.layers.keys()) target.daemon.tags.set(name, 'sha256:other');
    hold.release();
    expect(await answering).toMatchObject({ status: 500, body: { code: 'copy_failed' } });
    await expectAt(cluster.named(String(nodeId)), 'running');
  });

  it('must be moved though its layers fill its disk', async () => {
    await write();
    const target = await another();
    const { manager } = berth.app.get(Database);
    await manager.update(ContainerEntity, { id: dbId }, { keptLayerMb: SMALL.disk_mb });
    expect((await move({ node: target.name })).body).toMatchObject({ root_kept: true });
    await expectAt(target, 'running');
  });

  it.each(sampled(OUTSIDE, 3))(
    'must be on one machine, with its data and %s outside its home, whichever call fails',
    async (outside) => {
      const points = await pointsOf(outside);
      expect(points.length).toBeGreaterThan(15);
      for (const { when, ...point } of beforeAndAfter(points)) {
        const [from, to] = await placed(outside);
        cluster.named(point.node === 'source' ? from : to).engine.failOn(point.method, { call: point.call, when });
        const answer = await move({ node: to });
        try {
          const isMoved = answer.status === 200;
          if (!isMoved) expect([500, 503]).toContain(answer.status);
          for (const { engine } of cluster.nodes) engine.forget();
          await expectAt(cluster.named(isMoved ? to : from), 'running');
        } catch (error) {
          throw at(error, `${when} ${describe_(point)}`);
        }
      }
    },
  );

  it('must survive the death of the process while its layer is copied', async () => {
    const methods = ['layers.commit', 'images.tag', 'layers.send', 'images.remove'] as const;
    for (const { method, when } of beforeAndAfter(methods.map((method) => ({ method })))) {
      const [from, to] = await placed('what was just written');
      const died = cluster.named(from).engine.dieOn(method, { when, how: 'throw' });
      await move({ node: to });
      await died;
      await rebirth();
      await expectAt(cluster.named(from), 'running');
    }
  });

  for (const outside of OUTSIDE)
    inWhole(`must survive the death of the process at any call, with ${outside} outside its home`, async () => {
      const points = await pointsOf(outside);
      const changes = points.filter(({ method }) => !LOOKS.includes(method));
      const copying = [
        'volumes.send',
        'volumes.receive',
        'volumes.digest',
        'images.tag',
        'layers.send',
        'layers.receive',
      ];
      const others = changes.filter(({ method }) => !copying.includes(method));
      expect(others.map(({ node, method }) => `${node}:${method}`)).toEqual([
        'source:layers.persist',
        ...(outside === 'what was just written'
          ? ['source:containers.stop', 'source:layers.commit', 'source:layers.flatten']
          : []),
        ...(outside === 'nothing' ? [] : ['source:images.remove']),
        ...(outside === 'what was just written' ? [] : ['source:containers.stop']),
        'source:containers.remove',
        'source:volumes.remove',
        'target:volumes.ensure',
        'target:containers.create',
        'target:containers.start',
      ]);
      for (const death of beforeAndAfter(changes)) {
        const [from, to] = await placed(outside);
        const died = cluster
          .named(death.node === 'source' ? from : to)
          .engine.dieOn(death.method, { call: death.call, when: death.when, how: 'throw' });
        await move({ node: to });
        await died;
        await rebirth();
        try {
          const { nodeId } = await settled();
          expect([from, to]).toContain(nodeId);
          await expectAt(cluster.named(String(nodeId)), 'running');
        } catch (error) {
          throw at(error, `${death.when} ${describe_(death)}`);
        }
      }
    });

  inWhole(
    `must survive deaths one after another, of those that come to help too (BERTH_TEST_SEED=${String(seed)})`,
    async () => {
      const random = new SeededRandom(seed);
      await write();
      for (let round = 0; round < DEATHS; round += 1) {
        void cluster.named(random.pick(NAMES)).engine.dieOn(random.pick(MORTAL), {
          call: random.pick([1, 1, 2]),
          when: random.pick(['before', 'after'] as const),
          how: 'throw',
        });
        await move();
        await rebirth();
      }
      const { nodeId } = await settled();
      await expectAt(cluster.named(String(nodeId)), 'running');
      expect((await move()).status).toBe(200);
      await expectAt(cluster.named(String((await row()).nodeId)), 'running');
    },
  );

  async function begin(): Promise<void> {
    berth = await Berth.start({ database, engine: cluster.engine(), clock, environment: ENVIRONMENT });
  }

  /** The process is no more, and another one starts. */
  async function rebirth(): Promise<void> {
    await eventually(async () => {
      const held = await row();
      if (held.operation !== null) await leaseAsDead(berth, held, 'move');
    });
    await berth.stop();
    cluster.reconnect();
    await begin();
    user = berth.as(user);
    operator = berth.as(operator);
  }

  /** All machines answer, are active and have been told so. */
  async function wellAgain(): Promise<void> {
    for (const node of cluster.nodes) if (!node.isReachable) node.heal();
    await berth.app.get(NodeWatch).look();
  }

  function move(body?: Readonly<Record<string, unknown>>, id = dbId): Promise<Answer> {
    return operator.api.call('POST', `/api/admin/containers/${id}/move`, body);
  }

  /** A machine that it is not on. */
  async function another(): Promise<FakeNode> {
    const { nodeId } = await row();
    const found = cluster.nodes.find(({ name }) => name !== nodeId);
    if (!found) throw new Error('there is no other machine');
    return found;
  }

  /** It runs, and nothing is under way. @returns where it is, and where it may be moved to */
  async function placed(outside: (typeof OUTSIDE)[number]): Promise<[string, string]> {
    await settled();
    if (outside !== 'nothing') await write();
    if (outside === 'what it was created with') {
      const { memoryMb } = await row();
      expect((await user.api.patch(dbId, { memory_mb: 768 - memoryMb })).status).toBe(200);
      await settled();
    }
    const { nodeId } = await row();
    return [String(nodeId), (await another()).name];
  }

  /** Its programs write outside its home. */
  async function write(): Promise<void> {
    written += 1;
    layer = `installed ${String(written)}`;
    const [node = '', engineId = ''] = String((await row()).engineId).split('/');
    const container = cluster.named(node).daemon.containers.get(engineId);
    if (!container) throw new Error('there is no container');
    container.layer = layer;
  }

  async function row(id = dbId): Promise<ContainerRow> {
    const found = await berth.app.get(ContainerRepository).findById(id);
    if (!found) throw new Error('there is no row');
    return found;
  }

  async function settled(): Promise<ContainerRow> {
    await eventually(async () => expect(await row()).toMatchObject({ operation: null, otherNodeId: null }));
    return row();
  }

  /** Memory on these machines. */
  async function reserved(...nodes: readonly (string | null)[]): Promise<number[]> {
    const sums = await berth.app.get(ReservedCapacity).sums();
    return nodes.map((node) => sums.get(String(node))?.memoryMb ?? 0);
  }

  /** As `node:name`. */
  function volumesOf(id: string): string[] {
    return cluster.nodes.flatMap(({ name: node, daemon }) =>
      daemon.listVolumes({ instance: 'moves', containerId: id }).map(({ name }) => `${node}:${name}`),
    );
  }

  /** The calls that a move makes, as those of the machine that it leaves and of the other one. */
  async function pointsOf(outside: (typeof OUTSIDE)[number]): Promise<Point[]> {
    const sweepAgain = await holdSweeps(berth);
    const [source, target] = (await placed(outside)).map((name) => cluster.named(name)) as [FakeNode, FakeNode];
    const sides = { source, target };
    const seen = { source: source.engine.calls.length, target: target.engine.calls.length };
    expect((await move({ node: target.name })).status).toBe(200);
    sweepAgain();
    return (['source', 'target'] as const).flatMap((side) => {
      const calls = sides[side].engine.calls.slice(seen[side]).map(({ method }) => method);
      return calls.map((method, index) => ({
        node: side,
        method,
        call: calls.slice(0, index + 1).filter((other) => other === method).length,
      }));
    });
  }

  /** One container and one volume, which the row knows, with the data. */
  async function expectAt(node: FakeNode, status: 'running' | 'stopped'): Promise<void> {
    await eventually(async () => {
      const found = await row();
      expect(found).toMatchObject({ nodeId: node.name, status, operation: null, otherNodeId: null });
      const containers = cluster.nodes.flatMap(({ name, daemon }) =>
        [...daemon.containers.values()]
          .filter(({ spec }) => spec.owner.containerId === dbId)
          .map((container) => ({
            id: `${name}/${container.engineId}`,
            name: container.name,
            state: container.state,
            layer: container.layer,
          })),
      );
      const state = expect.anything() as string;
      expect(containers).toEqual([{ id: found.engineId, name: `berth-${dbId}`, state, layer }]);
      expect(containers[0]?.state === 'running').toBe(status === 'running');
      expect(volumesOf(dbId)).toEqual([`${node.name}:${found.volumeName}`]);
      expect(node.daemon.volumes.get(found.volumeName)?.content).toBe('precious');
    });
  }
});

function describe_({ node, method, call }: Point): string {
  return `${node} ${method} ${String(call)}`;
}

function at(error: unknown, where: string): unknown {
  if (error instanceof Error) error.message = `${where}: ${error.message}`;
  return error;
}
