import type { DataSource } from 'typeorm';
import { ContainersService } from '../../src/containers';
import { ContainerEntity, containerFacts } from '../../src/containers/model/container.entity';
import { ContainerRepository } from '../../src/containers/rows/container.repository';
import { LeaseLostError } from '../../src/containers/leases/lease';
import { Reconciler } from '../../src/containers/reconcile/reconciler';
import { Database } from '../../src/database';
import { EngineError } from '../../src/engine';
import { DomainError } from '../../src/errors';
import { EventLog } from '../../src/events';
import { LOGGER, type Logger } from '../../src/logging';
import { SMALL } from '../support/clients/api-client';
import { Berth, TestUser } from '../support/servers/berth';
import { leaseAsDead } from '../support/databases/lease-as-dead';
import { eventually } from '../support/eventually';
import { FakeDaemon } from '../support/fakes/fake-daemon';
import { FakeEngine } from '../support/fakes/fake-engine';
import { holdSweeps } from '../support/servers/hold-sweeps';
import { openTestDatabase } from '../support/databases/test-database';
import { smallestSpec } from '../support/docker/smallest-spec';

const INSTANCE = 'interruptions';
const LARGER = { memory_mb: 512, cpu_shares: 750, disk_mb: 2048 } as const;

it('a sweep ends before the database is closed, without a warning, when the server stops', async () => {
  const engine = new FakeEngine(new FakeDaemon());
  const berth = await Berth.start({ engine, environment: { SWEEP_INTERVAL_SECONDS: '3600' } });
  const [reconciler, logger] = [berth.app.get(Reconciler), berth.app.get<Logger>(LOGGER)];
  const ended: string[] = [];
  const { dataSource } = berth.app.get<{ dataSource: DataSource }>(Database);
  const destroy = dataSource.destroy.bind(dataSource);
  jest.spyOn(dataSource, 'destroy').mockImplementation(() => {
    ended.push('database');
    return destroy();
  });
  const stopped = jest.spyOn(reconciler, 'onModuleDestroy');
  const warned = jest.spyOn(logger, 'warn');
  const hold = engine.holdOn('containers.list');
  const sweeping = reconciler.sweep().then(() => void ended.push('sweep'));
  await hold.reached;
  const stopping = berth.stop();
  await eventually(() => expect(stopped).toHaveBeenCalled());
  hold.release();
  await Promise.all([stopping, sweeping]);
  expect(ended).toEqual(['sweep', 'database']);
  expect(warned).not.toHaveBeenCalled();
});

describe('an operation that meets another, or what it did not expect', () => {
  let daemon: FakeDaemon;
  let engine: FakeEngine;
  let berth: Berth;
  let user: TestUser;
  let dbId: string;

  beforeAll(async () => {
    daemon = new FakeDaemon();
    engine = new FakeEngine(daemon);
    const environment = {
      INSTANCE_ID: INSTANCE,
      OPERATION_WAIT_SECONDS: '5',
      OPERATION_CLAIM_SECONDS: '6',
      SWEEP_INTERVAL_SECONDS: '1',
    };
    berth = await Berth.start({ engine, environment });
  });

  beforeEach(async () => {
    user = await berth.user();
    dbId = (await user.api.running({ name: 'one' })).db_id;
  });

  // The next test finds an empty Docker, and no fault that was meant for this one.
  afterEach(async () => {
    engine.forget();
    const { body } = await user.api.call('GET', '/api/containers');
    for (const { db_id } of body['containers'] as { db_id: string }[])
      expect((await user.api.delete(db_id)).status).toBe(200);
    await eventually(() => expect(daemon.containers.size).toBe(0));
    expect(daemon.violations).toEqual([]);
  });

  afterAll(() => berth.stop());

  it('must wait its time, and then answer which operation is in its way', async () => {
    const hold = engine.holdOn('containers.stop');
    const stopping = user.api.stop(dbId);
    await hold.reached;
    const refused = await user.api.start(dbId);
    expect(refused.status).toBe(409);
    expect(refused.headers.get('retry-after')).toMatch(/^\d+$/);
    expect(refused.body).toMatchObject({ error: 'another operation is in progress', operation: 'stop' });
    hold.release();
    expect((await stopping).status).toBe(200);
    expect((await user.api.start(dbId)).status).toBe(200);
  });

  it('must act on the state that it finds after waiting', async () => {
    const hold = engine.holdOn('containers.stop');
    const stopping = user.api.stop(dbId);
    await hold.reached;
    const starting = user.api.start(dbId);
    hold.release();
    expect((await stopping).body).toMatchObject({ status: 'stopped' });
    expect((await starting).body).toMatchObject({ status: 'running' });
    expect(daemon.running(dbId)).toHaveLength(1);
  });

  it('must not find a container that was deleted while it waited', async () => {
    const hold = engine.holdOn('containers.remove');
    const deleting = user.api.delete(dbId);
    await hold.reached;
    const starting = user.api.start(dbId);
    hold.release();
    expect((await deleting).status).toBe(200);
    expect((await starting).status).toBe(404);
  });

  it('must keep its lease for as long as it takes', async () => {
    const hold = engine.holdOn('containers.stop');
    const stopping = user.api.stop(dbId);
    await hold.reached;
    const expiry = async (): Promise<number> => (await row()).operationExpiresAt?.getTime() ?? 0;
    const leaseed = await expiry();
    await eventually(async () => expect(await expiry()).toBeGreaterThan(leaseed));
    hold.release();
    expect((await stopping).status).toBe(200);
    expect(await row()).toMatchObject({ operation: null, operationId: null, status: 'stopped' });
  });

  it('must write nothing once its lease is lost', async () => {
    const hold = engine.holdOn('containers.stop', { when: 'after' });
    const stopping = user.api.stop(dbId);
    await hold.reached;
    const held = await row();
    // As another process does that believes this one dead.
    const repository = berth.app.get(ContainerRepository);
    await repository.abandonLease({ row: held, patch: {}, events: [] }, 'reconcile');
    await eventually(async () => expect(await row()).toMatchObject({ operation: 'reconcile' }));
    hold.release();
    // The queue of this process still has it; the row's new holder is whoever acquires it next.
    const answer = await stopping;
    expect(answer.status).toBe(500);
    expect(answer.body).toMatchObject({ error: 'failed to stop container', code: 'claim_lost' });
    await eventually(async () => expect(await row()).toMatchObject({ operation: null, status: 'stopped' }));
  });

  it('must answer that its lease is lost, though Docker refuses what another has undone first', async () => {
    const hold = engine.holdOn('containers.rename');
    engine.failOn('containers.rename', { error: new EngineError('container_not_found', 'no such container') });
    const updating = user.api.update(dbId, { name: 'one', ...LARGER });
    await hold.reached;
    await takeFromHolder();
    hold.release();
    const answer = await updating;
    expect(answer.status).toBe(500);
    expect(answer.body).toMatchObject({ error: 'failed to update settings', code: 'claim_lost' });
    await eventually(async () => expect(await row()).toMatchObject({ operation: null, status: 'running' }));
  });

  it('must emit no progress once its lease is lost', async () => {
    const events = await berth.record(user);
    const hold = engine.holdOn('volumes.ensure');
    dbId = String((await user.api.create()).body['db_id']);
    await hold.reached;
    // The last that the creation tells before it waits; it is told in the background.
    await events.next('container_progress', { db_id: dbId, stage: 'image' });
    const held = await row();
    const repository = berth.app.get(ContainerRepository);
    await takeFromHolder();
    const log = berth.app.get(EventLog);
    const told = await log.lastSeq(user.id);
    const data = { ...containerFacts(held), stage: 'create', message: 'creating the container', progress: 70 };
    await expect(repository.emit(held, [{ type: 'container_progress', data }])).rejects.toThrow(LeaseLostError);
    expect(await log.lastSeq(user.id)).toBe(told);
    hold.release();
    await eventually(async () => expect(await row()).toMatchObject({ operation: null, status: 'running' }));
  });

  it('must not forget a creation that was cut off if the database fails while it is taken over', async () => {
    const hold = engine.holdOn('volumes.ensure');
    dbId = String((await user.api.create()).body['db_id']);
    await hold.reached;
    const repository = berth.app.get(ContainerRepository);
    // A sweep would take it over before the stop does.
    const sweepAgain = await holdSweeps(berth);
    await takeFromHolder();
    const record = jest
      .spyOn(repository, 'record')
      .mockRejectedValueOnce(new Error('Connection terminated unexpectedly'));
    const stopping = user.api.stop(dbId);
    hold.release();
    expect(await stopping).toMatchObject({ status: 503, body: { code: 'database_unavailable' } });
    expect(record).toHaveBeenCalledTimes(1);
    record.mockRestore();
    sweepAgain();
    await eventually(async () => expect(await row()).toMatchObject({ operation: null, statusReason: 'interrupted' }));
  });

  it('must begin a creation anew whose turn to be written did not come', async () => {
    const busy = new DomainError('database_busy');
    const commit = jest.spyOn(berth.app.get(ContainerRepository), 'commit').mockRejectedValueOnce(busy);
    dbId = (await user.api.running()).db_id;
    expect(commit).toHaveBeenCalled();
    commit.mockRestore();
    expect(await row()).toMatchObject({ operation: null, status: 'running', statusReason: null });
  });

  it('must end a creation that was cut off and taken over by an update that was cut off too', async () => {
    const hold = engine.holdOn('volumes.ensure');
    dbId = String((await user.api.create()).body['db_id']);
    await hold.reached;
    await takeFromHolder('update');
    hold.release();
    await eventually(async () =>
      expect(await row()).toMatchObject({ operation: null, status: 'error', statusReason: 'interrupted' }),
    );
    expect((await user.api.start(dbId)).status).toBe(200);
  });

  describe('a container that ends just after the first look at it', () => {
    const IMAGE = 'team/new:1';

    /** @returns its database id */
    async function endsAfterFirstLook(): Promise<string> {
      // A sweep may look at one that was there before.
      const earlier = new Set(daemon.containers.keys());
      const hold = engine.holdOn('containers.inspect', {
        when: 'after',
        on: (engineId) => !earlier.has(String(engineId)),
      });
      const id = String((await user.api.create({ custom_image: IMAGE })).body['db_id']);
      await hold.reached;
      for (const { engineId } of daemon.running(id)) daemon.kill(engineId);
      hold.release();
      return id;
    }

    beforeEach(() => {
      daemon.images.add(IMAGE);
    });

    it('must be a failed creation where its image has not run here yet', async () => {
      const events = await berth.record(user);
      const id = await endsAfterFirstLook();
      await events.next('container_error', { db_id: id, reason: 'start_refused' });
      expect(events.events.some(({ type }) => type === 'container_started')).toBe(false);
    });

    it("must be emitted as one that ended, by Docker's event, where its image has run here", async () => {
      await user.api.running({ custom_image: IMAGE });
      const sweepAgain = await holdSweeps(berth);
      const events = await berth.record(user);
      const id = await endsAfterFirstLook();
      await events.next('container_started', { db_id: id });
      await events.next('container_stopped', { db_id: id, reason: 'exited' });
      sweepAgain();
    });
  });

  it('must give up on a pull as soon as the volume cannot be had', async () => {
    engine.failOn('volumes.ensure');
    const hold = engine.holdOn('images.ensure');
    dbId = String((await user.api.create()).body['db_id']);
    await hold.reached;
    const failed = { status: 'error', statusReason: 'docker_unavailable', operation: null };
    await eventually(async () => expect(await row()).toMatchObject(failed));
  });

  it('must cancel a creation that is deleted', async () => {
    daemon.registry.add('team/slow:1');
    const hold = engine.holdOn('images.ensure');
    const created = await user.api.create({ custom_image: 'team/slow:1' });
    await hold.reached;
    const deleted = await user.api.delete(String(created.body['db_id']));
    expect(deleted.status).toBe(200);
    hold.release();
    const of = [...daemon.containers.values()].filter(({ spec }) => spec.owner.containerId === created.body['db_id']);
    expect(of).toEqual([]);
  });

  it('must resume a container that somebody paused', async () => {
    daemon.pause(String((await user.api.get(dbId)).body['id']));
    expect((await user.api.start(dbId)).body).toMatchObject({ message: 'container started', status: 'running' });
    expect(daemon.running(dbId)[0]?.state).toBe('running');
  });

  it('must keep a container of an earlier version if its layer cannot be read', async () => {
    const { id } = (await user.api.stop(dbId)).body;
    engine.failOn('containers.start', { error: new EngineError('restart_required', 'of an earlier version') });
    engine.failOn('layers.measure', { error: new EngineError('docker_error', 'input/output error') });
    expect(await user.api.start(dbId)).toMatchObject({ status: 500, body: { code: 'docker_error' } });
    expect((await user.api.start(dbId)).body).toMatchObject({ id, status: 'running' });
    expect(daemon.containers.size).toBe(1);
  });

  it.each([
    ['that can never be started again', 'container_broken'],
    ['of an earlier version', 'restart_required'],
  ] as const)('must recreate a container %s', async (_which, code) => {
    const { id } = (await user.api.stop(dbId)).body;
    engine.failOn('containers.start', { error: new EngineError(code, 'it cannot be used') });
    const started = await user.api.start(dbId);
    expect(started.body).toMatchObject({ recreated: true, old_id: id, volume_kept: true });
    expect(daemon.containers.size).toBe(1);
  });

  it.each(['a creation', 'a start', 'a resize'] as const)(
    'must make another new container where that of %s can never be started',
    async (operation) => {
      const { id } = (await user.api.get(dbId)).body;
      if (operation === 'a start') daemon.vanish(String(id));
      // The first start is that of the container which is gone.
      const call = operation === 'a start' ? 2 : 1;
      engine.failOn('containers.start', {
        call,
        error: new EngineError('container_broken', 'could not delete stale task'),
      });
      if (operation === 'a creation') await user.api.running({ name: 'two' });
      else if (operation === 'a start') expect((await user.api.start(dbId)).body).toMatchObject({ recreated: true });
      else expect((await user.api.update(dbId, { name: 'one', ...LARGER })).body).toMatchObject({ restarted: true });
      const running = [...daemon.containers.values()].filter(({ state }) => state === 'running');
      await eventually(() => expect(daemon.containers.size).toBe(running.length));
      expect(running).toHaveLength(operation === 'a creation' ? 2 : 1);
    },
  );

  it('must look for the volume before a creation goes on that was cut off, or begins again', async () => {
    const looks = (): unknown[] =>
      engine.calls
        .filter(({ method }) => method === 'volumes.ensure')
        .map(({ arguments: [volume] }) => !(volume as { isNew: boolean }).isNew);
    engine.calls.splice(0);
    engine.failOn('containers.start', { error: new EngineError('container_broken', 'could not delete stale task') });
    await user.api.running({ name: 'two' });
    expect(looks()).toEqual([false, true]);
    engine.calls.splice(0);
    const hold = engine.holdOn('volumes.ensure', { when: 'after' });
    dbId = String((await user.api.create()).body['db_id']);
    await hold.reached;
    await takeFromHolder();
    hold.release();
    await eventually(async () => expect(await row()).toMatchObject({ operation: null, status: 'running' }));
    expect(looks()).toEqual([false, true]);
  });

  it('must make way for itself where a stray has the name', async () => {
    const { id } = (await user.api.get(dbId)).body;
    daemon.vanish(String(id));
    const current = await row();
    const owner = { instance: INSTANCE, containerId: dbId, userId: user.id };
    daemon.create(
      smallestSpec({
        name: `berth-${dbId}`,
        image: current.image,
        volumeName: current.volumeName,
        owner,
        generation: 9,
      }),
    );
    expect((await user.api.start(dbId)).body).toMatchObject({ recreated: true, status: 'running' });
    expect([...daemon.containers.values()].map(({ state }) => state)).toEqual(['running']);
  });

  it('must keep a container running through a resize where a stray has the name', async () => {
    const sweepAgain = await holdSweeps(berth);
    const current = daemon.running(dbId)[0];
    if (!current) throw new Error('nothing runs');
    // A server that died after it had replaced a container and before it removed the old one, in an earlier version.
    daemon.rename(current.engineId, `berth-${dbId}-g1`);
    const stray = daemon.create({ ...current.spec, name: `berth-${dbId}` });
    const resized = await user.api.update(dbId, { name: 'one', ...LARGER });
    expect(resized).toMatchObject({ status: 200, body: { restarted: true, container: { status: 'running' } } });
    expect(daemon.containers.has(stray)).toBe(false);
    expect(daemon.running(dbId).map(({ name, spec }) => [name, spec.memoryMb])).toEqual([[`berth-${dbId}`, 512]]);
    sweepAgain();
  });

  it('must give up a resize whose new container does not stay up, and leave the old one running', async () => {
    const before = (await user.api.get(dbId)).body;
    daemon.startOutcomes.set(String(before['image']), 'crashes');
    const answering = user.api.update(dbId, { name: 'one', ...LARGER });
    const hold = engine.holdOn('containers.remove', { when: 'after' });
    await hold.reached;
    daemon.startOutcomes.clear();
    hold.release();
    const answer = await answering;
    expect(answer.status).toBe(500);
    expect(answer.body).toMatchObject({ error: 'failed to update settings', code: 'start_refused' });
    expect((await user.api.get(dbId)).body).toMatchObject({ id: before['id'], status: 'running', resources: SMALL });
    expect(daemon.running(dbId).map(({ engineId }) => engineId)).toEqual([before['id']]);
  });

  it('must take a removal whose answer was lost for what it is', async () => {
    engine.failOn('containers.remove', { when: 'after' });
    expect((await user.api.delete(dbId)).status).toBe(200);
    expect((await user.api.get(dbId)).status).toBe(404);
    expect(daemon.containers.size).toBe(0);
  });

  it('must deal with what a dead holder left even if its own first try at that fails', async () => {
    const { id } = (await user.api.get(dbId)).body;
    // A resize that died after it stopped the old container.
    const sweepAgain = await holdSweeps(berth);
    await leaseAsDead(berth, await row(), 'update');
    daemon.stop(String(id));
    engine.failOn('containers.list', { times: 2 });
    await user.api.stop(dbId);
    sweepAgain();
    await eventually(async () => expect(await row()).toMatchObject({ operation: null, status: 'running' }));
    expect(daemon.running(dbId).map(({ engineId }) => engineId)).toEqual([id]);
  });

  it('resumes a container that a snapshot suspended, while eight other recoveries take long', async () => {
    const rowOf = (id: string): Promise<ContainerEntity> =>
      berth.app.get(Database).manager.findOneByOrFail(ContainerEntity, { id });
    const others = await Promise.all(Array.from({ length: 8 }, async () => (await user.api.running()).db_id));
    const sweepAgain = await holdSweeps(berth);
    const holds = others.map((id) =>
      engine.holdOn('containers.list', { on: (filter) => (filter as { containerId?: string }).containerId === id }),
    );
    for (const id of others) await leaseAsDead(berth, await rowOf(id), 'update');
    sweepAgain();
    await Promise.all(holds.map(({ reached }) => reached));
    const [container] = daemon.running(dbId);
    await leaseAsDead(berth, await rowOf(dbId), 'snapshot');
    if (container) container.state = 'paused';
    await eventually(() => expect(container?.state).toBe('running'), { timeoutMs: 10_000 });
    for (const { release } of holds) release();
    await eventually(async () => expect(await row()).toMatchObject({ operation: null, status: 'running' }));
  });

  it('must emit the stop in a deletion that was cut off as one that was asked for', async () => {
    const { id } = (await user.api.get(dbId)).body;
    const events = await berth.record(user);
    const sweepAgain = await holdSweeps(berth);
    await leaseAsDead(berth, await row(), 'delete');
    daemon.stop(String(id));
    sweepAgain();
    await events.next('container_deleted', { db_id: dbId });
    expect(events.types()).toEqual(['container_stopped', 'container_deleted']);
    expect(events.events[0]?.data).not.toHaveProperty('reason');
  });

  it.each<[string, (id: string) => void]>([
    ['while the event stream was cut', (id) => daemon.unwatched(() => daemon.kill(id))],
    ['without any event', (id) => Object.assign(daemon.containers.get(id) ?? {}, { state: 'exited', exitCode: 9 })],
  ])('must notice what happened %s', async (_when, happens) => {
    const events = await berth.record(user);
    happens(String((await user.api.get(dbId)).body['id']));
    expect((await events.next('container_stopped')).data).toMatchObject({ db_id: dbId, reason: 'exited' });
    expect((await user.api.get(dbId)).body).toMatchObject({ status: 'stopped' });
  });

  it('must emit a run that ended, and the next one that Docker began, while no server was there', async () => {
    const database = await openTestDatabase();
    const others = new FakeDaemon();
    const start = (): Promise<Berth> =>
      Berth.start({ engine: new FakeEngine(others), database, environment: { INSTANCE_ID: 'absent' } });
    let server = await start();
    try {
      const someone = await server.user();
      const { id, db_id } = await someone.api.running();
      const before = (await someone.api.get(db_id)).body;
      const { body } = await someone.api.call('GET', '/api/containers');
      await server.stop();
      others.unwatched(() => others.crash(id));
      server = await start();
      const events = await server.record(server.as(someone), Number(body['event_seq']));
      await events.next('container_started', { db_id });
      expect(events.types()).toEqual(['container_stopped', 'container_started']);
      expect(events.events[0]?.data).toMatchObject({ db_id, reason: 'exited' });
      const after = (await server.as(someone).api.get(db_id)).body;
      expect(after).toMatchObject({ id, status: 'running' });
      expect(after['updated_at']).not.toBe(before['updated_at']);
    } finally {
      await server.stop();
      await database.drop();
    }
  });

  it('must look again where Docker did not answer its look', async () => {
    const events = await berth.record(user);
    engine.failOn('containers.inspect', { times: 3 });
    // Docker's own policy starts it again at once, so that a list shows no difference.
    daemon.crash(String((await user.api.get(dbId)).body['id']));
    expect((await events.next('container_stopped')).data).toMatchObject({ db_id: dbId, reason: 'exited' });
    expect((await events.next('container_started')).data).toMatchObject({ db_id: dbId });
  });

  it('must change nothing when Docker does not answer', async () => {
    const before = await row();
    daemon.down = true;
    daemon.unwatched(() => undefined);
    const listed = engine.callsOf('containers.list');
    await eventually(() => expect(engine.callsOf('containers.list')).toBeGreaterThan(listed + 1));
    expect(await row()).toEqual(before);
    daemon.down = false;
  });

  it('must be possible for other modules without HTTP', async () => {
    const caller = { userId: user.id, tier: 'pro', sessionExpiresAt: null, boundTo: null };
    const service = berth.app.get(ContainersService);
    expect(await service.stop(caller, dbId)).toMatchObject({ status: 'stopped' });
    expect(await service.list(caller)).toMatchObject({ count: 1, containers: [{ db_id: dbId, status: 'stopped' }] });
    await expect(service.start({ ...caller, sessionExpiresAt: new Date(0) }, dbId)).rejects.toThrow(
      'guest session expired',
    );
  });

  /** As another process does that believes this one dead, and then dies itself. */
  /** @param operation what took it over and died, if that is another one */
  async function takeFromHolder(operation?: 'update'): Promise<void> {
    // In one write: between two, its holder could renew it.
    const taken = {
      operationId: 'another',
      operationExpiresAt: new Date(0),
      revision: () => 'revision + 1',
      ...(operation && { operation }),
    };
    const { affected } = await berth.app.get(Database).manager.update(ContainerEntity, { id: dbId }, taken);
    expect(affected).toBe(1);
  }

  async function row(): Promise<NonNullable<Awaited<ReturnType<ContainerRepository['findById']>>>> {
    const found = await berth.app.get(ContainerRepository).findById(dbId);
    if (!found) throw new Error('there is no row');
    return found;
  }
});
