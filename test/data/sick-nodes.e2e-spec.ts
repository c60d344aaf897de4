import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ReservedCapacity } from '../../src/containers/rows/reserved-capacity';
import { NodeWatch } from '../../src/containers/nodes/node-watch';
import { Reconciler } from '../../src/containers/reconcile/reconciler';
import { EngineError } from '../../src/engine';
import { type Answer, answered, SMALL, testImage } from '../support/clients/api-client';
import { Berth, TestUser } from '../support/servers/berth';
import { EventRecorder } from '../support/clients/socket-client';
import { eventually } from '../support/eventually';
import { sampled } from '../support/extent';
import { FakeCluster, type FakeNode } from '../support/fakes/fake-cluster';
import type { EngineMethod } from '../support/fakes/fake-engine';
import { openTestDatabase, TestDatabase } from '../support/databases/test-database';
import { TestClock } from '../support/fakes/test-clock';

const NAMES = ['one', 'two', 'three', 'four', 'five'] as const;
const MINUTE = 60_000;
const ALWAYS = 1_000;
const OWN_IMAGE = 'registry.example/user/own:1';
const OWN = { image: 'custom', custom_image: OWN_IMAGE };

const full = (call: string): EngineError =>
  new EngineError('docker_error', `${call}: write /var/lib/docker/tmp: no space left on device`, { isDiskFull: true });
const broken = new EngineError('docker_error', 'create container: the daemon has lost its mind');
const NO_REGISTRY = new EngineError('image_unavailable', 'pull image: connection refused');

interface Avoided {
  readonly reason: string;
  readonly until: string;
}

describe('a node on which creations fail', () => {
  let folder: string;
  let database: TestDatabase;
  let cluster: FakeCluster;
  let clock: TestClock;
  let berth: Berth;
  let operator: TestUser;
  let user: TestUser;
  let events: EventRecorder;

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'berth-sick-'));
    const images = [{ name: 'sandbox', reference: testImage(), pull: 'missing', default: true }];
    await writeFile(join(folder, 'images.json'), JSON.stringify({ images }));
    database = await openTestDatabase();
    clock = new TestClock();
    cluster = new FakeCluster(NAMES);
    await begin();
    operator = await berth.user('pro', ['admin', 'read', 'write']);
  });

  beforeEach(async () => {
    for (const node of cluster.nodes) {
      node.facts = { ...node.facts, memoryMb: 8192, cpuShares: 64_000 };
      node.daemon.images.delete(OWN_IMAGE);
      node.daemon.startOutcomes.clear();
      node.engine.calls.splice(0);
    }
    await only(...NAMES);
    expect(await avoided()).toEqual({});
    ({ user, events } = await berth.newcomer('enterprise'));
  });

  /** Nothing is left of a test. */
  afterEach(async () => {
    for (const { engine } of cluster.nodes) engine.forget();
    const { body } = await user.api.call('GET', '/api/containers');
    for (const { db_id } of body['containers'] as { db_id: string }[])
      expect((await user.api.delete(db_id)).status).toBe(200);
    await eventually(async () => {
      await berth.app.get(Reconciler).sweep();
      for (const { daemon } of cluster.nodes) {
        expect(daemon.violations).toEqual([]);
        expect([daemon.containers.size, daemon.volumes.size]).toEqual([0, 0]);
      }
    });
    expect(await berth.app.get(ReservedCapacity).recount()).toBe(false);
    events.close();
  });

  afterAll(async () => {
    await berth.stop();
    await database.drop();
    await rm(folder, { recursive: true });
  });

  const begin = async (): Promise<void> => {
    berth = await Berth.start({
      database,
      engine: cluster.engine(),
      clock,
      environment: {
        INSTANCE_ID: 'sick',
        MEMORY_OVERCOMMIT: '1',
        CPU_OVERCOMMIT: '1',
        SWEEP_INTERVAL_SECONDS: '3600',
        VOLUME_RETENTION: '0s',
        SHUTDOWN_GRACE_SECONDS: '0',
        OPERATION_CLAIM_SECONDS: '4',
        IMAGES_FILE: join(folder, 'images.json'),
        VOLUME_COPY_IMAGE: testImage(),
      },
    });
  };

  const sick = (
    name: string,
    method: EngineMethod,
    error: EngineError,
    when: 'before' | 'after' = 'before',
  ): FakeNode => {
    const node = cluster.named(name);
    node.engine.failOn(method, { error, when, times: ALWAYS });
    return node;
  };

  /** Only there something new may be placed. */
  const only = async (...names: readonly string[]): Promise<void> => {
    for (const { name } of cluster.nodes) await verb(name, names.includes(name) ? 'activate' : 'drain');
  };

  const verb = (node: string, name: string): Promise<Answer> =>
    operator.api.call('POST', `/api/admin/nodes/${node}/${name}`);

  const avoided = async (): Promise<Record<string, Avoided>> => {
    const { body } = await operator.api.call('GET', '/api/admin/nodes');
    const listed = body['nodes'] as { name: string; avoided: Avoided | null }[];
    return Object.fromEntries(listed.flatMap((node) => (node.avoided ? [[node.name, node.avoided]] : [])));
  };

  const create = async (body: Readonly<Record<string, unknown>> = {}): Promise<string> => {
    const wanted = { image: 'sandbox', custom_image: undefined, ...body };
    const { status, body: made } = await answered(() => user.api.create(wanted));
    // With the code of a refusal.
    expect([status, made['code']]).toEqual([202, undefined]);
    return String(made['db_id']);
  };

  const running = async (body: Readonly<Record<string, unknown>> = {}): Promise<string> => {
    const id = await create(body);
    await events.next('container_started', { db_id: id });
    return id;
  };

  const nodeOf = async (id: string): Promise<string> => {
    const { body } = await operator.api.call('GET', '/api/admin/containers');
    const found = (body['containers'] as { db_id: string; node?: string }[]).find(({ db_id }) => db_id === id);
    return found?.node ?? 'none';
  };

  const tried = (): string[] =>
    cluster.nodes.filter(({ engine }) => engine.callsOf('images.ensure') > 0).map(({ name }) => name);

  const CREATION: readonly [EngineMethod, 'before' | 'after'][] = [
    ['volumes.ensure', 'before'],
    ['containers.create', 'before'],
    ['containers.start', 'before'],
    ['containers.inspect', 'before'],
    ['containers.start', 'after'],
  ];
  describe.each(sampled(CREATION, 4))('at %s (%s its effect)', (method, when) => {
    it('must lose none of many creations to its full disk, and get no more of them', async () => {
      await only('one', 'two');
      const { daemon, engine } = sick('one', method, full(method), when);
      const ids = await Promise.all(Array.from({ length: 8 }, () => create()));
      for (const id of ids) await events.next('container_started', { db_id: id });
      expect(new Set(await Promise.all(ids.map(nodeOf)))).toEqual(new Set(['two']));
      expect(await avoided()).toEqual({ one: { reason: 'no_space', until: expect.any(String) as unknown } });
      const calls = engine.callsOf(method);
      expect(await nodeOf(await running())).toBe('two');
      expect(engine.callsOf(method)).toBe(calls);
      expect(events.events.filter(({ type }) => type === 'container_error')).toEqual([]);
      engine.forget();
      // Nothing is left of them.
      await eventually(async () => {
        await berth.app.get(Reconciler).sweep();
        expect([daemon.containers.size, daemon.volumes.size]).toEqual([0, 0]);
      });
    });
  });

  const FAULTS: readonly [string, EngineMethod, EngineError][] = [
    ['whose Docker refuses', 'containers.create', broken],
    ['that lacks the image, and whose registry does not answer', 'images.ensure', NO_REGISTRY],
    [
      'that lacks the image, which no registry has',
      'images.ensure',
      new EngineError('image_not_found', 'pull image: manifest unknown'),
    ],
    [
      'that may not pull the image',
      'images.ensure',
      new EngineError('image_access_denied', 'pull image: no basic auth credentials'),
    ],
    ['whose networks are full', 'containers.start', new EngineError('no_capacity', 'no network has room')],
    ['whose runtime is broken', 'containers.start', new EngineError('start_refused', 'OCI runtime create failed')],
  ];
  it.each(sampled(FAULTS, 4))('must be avoided once another one does what it did not: one %s', async (...fault) => {
    const [, method, error] = fault;
    await only('one', 'two');
    const { engine } = sick('one', method, error);
    const first = await running();
    expect(await nodeOf(first)).toBe('two');
    expect(await avoided()).toMatchObject({ one: { reason: error.code } });
    const calls = engine.callsOf(method);
    expect(await nodeOf(await running())).toBe('two');
    expect(engine.callsOf(method)).toBe(calls);
  });

  it('must run nothing of a creation that goes on elsewhere', async () => {
    await only('one', 'two');
    const { daemon } = sick('one', 'containers.start', broken, 'after');
    const id = await running();
    expect(await nodeOf(id)).toBe('two');
    expect(daemon.containers.size).toBe(0);
  });

  it('must keep a creation that it may run, as it does not remove it', async () => {
    await only('one', 'two');
    const { daemon, engine } = sick('one', 'containers.start', broken, 'after');
    engine.failOn('containers.remove', { error: broken, times: ALWAYS });
    const id = await create();
    await events.next('container_error', { db_id: id, reason: 'docker_error' });
    expect(await nodeOf(id)).toBe('one');
    expect(daemon.containers.size).toBe(1);
    expect(await avoided()).toEqual({});
  });

  it("must not be avoided for a user's own image that there is nowhere", async () => {
    // The registry says so only when the image is pulled.
    for (const { engine } of cluster.nodes) engine.failOn('images.isAbsent', { error: NO_REGISTRY, times: ALWAYS });
    const id = await create(OWN);
    await events.next('container_error', { db_id: id, reason: 'image_not_found' });
    expect(tried()).toHaveLength(4);
    expect(await avoided()).toEqual({});
  });

  it("must not be avoided for a user's own image that only another one gets, or may start", async () => {
    await only('one', 'two');
    const { daemon } = cluster.named('two');
    daemon.images.add(OWN_IMAGE);
    expect(await nodeOf(await running(OWN))).toBe('two');
    cluster.named('one').daemon.images.add(OWN_IMAGE);
    sick('one', 'containers.start', new EngineError('start_refused', 'OCI runtime create failed'));
    for (let made = 0; made < 2; made += 1) expect(await nodeOf(await running(OWN))).toBe('two');
    sick('one', 'images.ensure', full('pull image'));
    expect(await nodeOf(await running(OWN))).toBe('two');
    expect(await avoided()).toEqual({});
  });

  it('must not be avoided for what fails everywhere', async () => {
    for (const { daemon } of cluster.nodes) daemon.startOutcomes.set(testImage(), 'refused');
    const id = await create();
    await events.next('container_error', { db_id: id, reason: 'start_refused' });
    expect(tried()).toHaveLength(4);
    expect(await avoided()).toEqual({});
    for (const { daemon } of cluster.nodes) expect(daemon.containers.size).toBe(0);
  });

  it('must not be left, nor avoided, for an image that does not stay up', async () => {
    for (const { daemon } of cluster.nodes) daemon.startOutcomes.set(testImage(), 'crashes');
    const id = await create();
    await events.next('container_error', { db_id: id, reason: 'start_refused' });
    expect(tried()).toHaveLength(1);
    expect(await avoided()).toEqual({});
  });

  it('must tell the user what the image lacks, rather than what the last node lacked', async () => {
    await only('one', 'two');
    sick('two', 'containers.create', broken);
    sick('one', 'images.ensure', NO_REGISTRY);
    const id = await create();
    await events.next('container_error', { db_id: id, reason: 'image_unavailable' });
  });

  it('must take what no other node has room for, and be avoided no more once that succeeds', async () => {
    await only('one', 'two');
    cluster.named('two').facts = { ...cluster.named('two').facts, memoryMb: SMALL.memory_mb };
    const { engine } = sick('one', 'containers.create', full('create container'));
    expect(await nodeOf(await running())).toBe('two');
    const failed = await create();
    await events.next('container_error', { db_id: failed, reason: 'docker_error' });
    expect(await avoided()).toMatchObject({ one: { reason: 'no_space' } });
    engine.forget();
    expect(await nodeOf(await running())).toBe('one');
    expect(await avoided()).toEqual({});
    expect(await berth.app.get(ReservedCapacity).recount()).toBe(false);
  });

  it('must be avoided for a while, and each time for longer, until it is activated', async () => {
    await only('one', 'two');
    const { engine } = sick('one', 'containers.create', full('create container'));
    const untilOf = async (): Promise<number> => {
      await running();
      return (Date.parse((await avoided())['one']?.until ?? '') - clock.now().getTime()) / MINUTE;
    };
    for (const minutes of [5, 10, 20, 40, 60, 60]) {
      const until = await untilOf();
      expect(until).toBeLessThanOrEqual(minutes);
      expect(until).toBeGreaterThan(minutes - 2);
      clock.forward(minutes * MINUTE);
      expect(await avoided()).toEqual({});
      await berth.app.get(NodeWatch).look();
    }
    await running();
    expect(Object.keys(await avoided())).toEqual(['one']);
    engine.forget();
    expect((await verb('one', 'activate')).body).toMatchObject({ avoided: null });
    const calls = engine.callsOf('containers.create');
    await running();
    expect(engine.callsOf('containers.create')).toBe(calls + 1);
  });

  it('must be known to the next process, and to others', async () => {
    await only('one', 'two');
    const { engine } = sick('one', 'containers.create', full('create container'));
    await running();
    const calls = engine.callsOf('containers.create');
    const isPostgres = process.env['TEST_DATABASE'] === 'postgres';
    const first = berth;
    if (!isPostgres) {
      await berth.stop();
      cluster.reconnect();
    }
    await begin();
    [operator, user] = [berth.as(operator), berth.as(user)];
    events = await berth.record(user);
    const again = cluster.named('one').engine;
    expect(Object.keys(await avoided())).toEqual(['one']);
    expect(await nodeOf(await running())).toBe('two');
    expect(again.callsOf('containers.create')).toBe(isPostgres ? calls : 0);
    if (isPostgres) await first.stop();
  });

  it('must be told to operators: in readiness, metrics and the list of nodes', async () => {
    await only('one', 'two');
    const ready = async (): Promise<Record<string, unknown>> =>
      (await fetch(`${berth.url}/health/ready`)).json() as Promise<Record<string, unknown>>;
    const metrics = async (): Promise<string> => (await fetch(`${berth.url}/metrics`)).text();
    expect(await ready()).toMatchObject({ status: 'ok', notices: [] });
    sick('one', 'containers.create', full('create container'));
    await running();
    expect(await ready()).toMatchObject({
      status: 'degraded',
      notices: [expect.stringMatching(/^Creations fail on the node one \(no_space\).*nodes\/one\/activate/)],
    });
    // What is sampled stands for some seconds, so it is asked for once.
    const told = await metrics();
    expect(told).toContain('berth_node_avoided{node="one"} 1');
    expect(told).toContain('berth_node_avoided{node="two"} 0');
    clock.forward(6 * MINUTE);
    await berth.app.get(NodeWatch).look();
    expect(await ready()).toMatchObject({ status: 'ok', notices: [] });
  });

  it('must not get what is moved without a wish where', async () => {
    await only('one', 'two', 'three');
    sick('one', 'containers.create', full('create container'));
    const ids = await Promise.all([running(), running()]);
    expect((await Promise.all(ids.map(nodeOf))).sort()).toEqual(['three', 'two']);
    for (const id of ids) {
      const { body } = await operator.api.call('POST', `/api/admin/containers/${id}/move`);
      expect(['two', 'three']).toContain(body['node']);
    }
  });

  it('must not keep a creation that failed there and is started again', async () => {
    await only('one');
    const { daemon } = sick('one', 'containers.create', full('create container'));
    const id = await create();
    await events.next('container_error', { db_id: id, reason: 'docker_error' });
    await only('one', 'two');
    expect((await user.api.start(id)).body).toMatchObject({ status: 'running' });
    expect(await nodeOf(id)).toBe('two');
    expect(daemon.containers.size).toBe(0);
  });

  it('must not keep a creation that another process goes on with', async () => {
    await only('one', 'two');
    const { engine } = cluster.named('one');
    const died = engine.dieOn('containers.create');
    const id = await create();
    await died;
    await berth.stop();
    cluster.reconnect();
    sick('one', 'containers.create', full('create container'));
    await begin();
    [operator, user] = [berth.as(operator), berth.as(user)];
    await eventually(async () => expect((await user.api.get(id)).body).toMatchObject({ status: 'running' }));
    expect(await nodeOf(id)).toBe('two');
  });
});
