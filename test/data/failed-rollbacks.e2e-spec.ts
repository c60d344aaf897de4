import { ContainerEntity } from '../../src/containers/model/container.entity';
import { ContainerRepository } from '../../src/containers/rows/container.repository';
import { LeaseStore } from '../../src/containers/leases/lease-store';
import { PendingRemovals } from '../../src/containers/reconcile/pending-removals';
import { Purge } from '../../src/containers/operations/purge';
import { Database } from '../../src/database';
import { EngineError } from '../../src/engine';
import { Answer, SMALL } from '../support/clients/api-client';
import { Berth, TestUser } from '../support/servers/berth';
import { leaseAsDead } from '../support/databases/lease-as-dead';
import { EventRecorder } from '../support/clients/socket-client';
import { eventually } from '../support/eventually';
import { FakeDaemon } from '../support/fakes/fake-daemon';
import { FakeEngine } from '../support/fakes/fake-engine';

const LARGER = { memory_mb: 512, cpu_shares: 750, disk_mb: 2048 } as const;
const EVERY_TIME = { times: 1_000_000 } as const;

describe('an operation that fails and cannot be rolled back', () => {
  let daemon: FakeDaemon;
  let engine: FakeEngine;
  let berth: Berth;
  let user: TestUser;
  let events: EventRecorder;
  let dbId: string;
  let engineId: string;

  beforeAll(async () => {
    daemon = new FakeDaemon();
    engine = new FakeEngine(daemon);
    // No sweep but the one at the start: what the row follows must not wait for one.
    const environment = { INSTANCE_ID: 'failed-rollbacks', SWEEP_INTERVAL_SECONDS: '3600' };
    berth = await Berth.start({ engine, environment });
  });

  beforeEach(async () => {
    user = await berth.user();
    ({ db_id: dbId, id: engineId } = await user.api.running({ name: 'one' }));
    events = await berth.record(user);
  });

  afterEach(async () => {
    engine.forget();
    await user.api.delete(dbId);
    await eventually(() => expect(daemon.containers.size).toBe(0));
    expect(daemon.violations).toEqual([]);
  });

  afterAll(() => berth.stop());

  const resize = (): Promise<Answer> => user.api.update(dbId, { name: 'one', ...LARGER });

  it('must show at once that the container of a resize does not run, and start it as soon as that works', async () => {
    engine.failOn('containers.start', EVERY_TIME);
    expect(await resize()).toMatchObject({ status: 500, body: { error: 'failed to update settings' } });
    expect((await user.api.get(dbId)).body).toMatchObject({ id: engineId, status: 'stopped', resources: SMALL });
    await events.next('container_stopped', { id: engineId, reason: 'exited' });
    engine.forget();
    await expectRunsAgain();
    expect(events.types()).toEqual(['container_stopped', 'container_started']);
  });

  it('must show it of a deletion that stopped the container and could not remove it', async () => {
    engine.failOn('containers.remove', EVERY_TIME);
    engine.failOn('containers.start', EVERY_TIME);
    expect((await user.api.delete(dbId)).status).toBe(500);
    expect((await user.api.get(dbId)).body).toMatchObject({ id: engineId, status: 'stopped' });
    engine.forget();
    await expectRunsAgain();
    expect(events.types()).toEqual(['container_stopped', 'container_started']);
  });

  it.each(['refuses', 'does not answer'])('must be a deletion all the same by force where Docker %s', async (how) => {
    if (how === 'refuses')
      for (const method of ['containers.remove', 'containers.stop'] as const) engine.failOn(method, EVERY_TIME);
    else daemon.down = true;
    // What was abandoned before must not prevent it.
    expect((await user.api.delete(dbId)).status).toBe(500);
    const operator = await berth.user('pro', ['admin']);
    const path = how === 'refuses' ? `/api/containers/${dbId}?force=true` : `/api/admin/containers/${dbId}?force=true`;
    const forced = await (how === 'refuses' ? user : operator).api.call('DELETE', path);
    expect(forced).toMatchObject({ status: 200, body: { db_id: dbId, removal_pending: true } });
    await events.next('container_deleted', { db_id: dbId });
    expect((await user.api.get(dbId)).status).toBe(404);
    // No purge either, whatever the retention.
    const { manager } = berth.app.get(Database);
    await manager.update(ContainerEntity, dbId, { purgeAt: new Date(0) });
    const signal = new AbortController().signal;
    daemon.down = false;
    await berth.app.get(PendingRemovals).sweep(signal);
    expect(await berth.app.get(Purge).sweep(signal)).toMatchObject({ purged: how === 'refuses' ? 0 : 1 });
    engine.forget();
    await berth.app.get(PendingRemovals).sweep(signal);
    await berth.app.get(Purge).sweep(signal);
    expect(daemon.volumes.has(`berth-${dbId}`)).toBe(false);
    expect(daemon.running(dbId)).toEqual([]);
  });

  it('must follow soon after a start or a stop that took effect unseen', async () => {
    engine.failOn('containers.stop', { when: 'after' });
    engine.failOn('containers.list', { times: 2 });
    expect((await user.api.stop(dbId)).status).toBe(500);
    await events.next('container_stopped', { id: engineId });
    await expectFree({ status: 'stopped' });
    engine.failOn('containers.start', { when: 'after' });
    engine.failOn('containers.list', { times: 2 });
    expect((await user.api.start(dbId)).status).toBe(500);
    await events.next('container_started', { id: engineId });
    await expectFree({ status: 'running' });
    expect(events.types()).toEqual(['container_stopped', 'container_started']);
  });

  it('must do the same where it takes over from a process that died', async () => {
    const row = await berth.app.get(ContainerRepository).findById(dbId);
    if (!row) throw new Error('there is no row');
    await leaseAsDead(berth, row, 'update');
    daemon.stop(engineId);
    engine.failOn('containers.start', EVERY_TIME);
    expect((await resize()).status).toBe(500);
    await events.next('container_stopped', { id: engineId });
    engine.forget();
    await expectRunsAgain();
    expect(events.types()).toEqual(['container_stopped', 'container_started']);
  });

  it('must not stand in the way for a whole term where the database failed at its end, or just after its beginning', async () => {
    const repository = berth.app.get(ContainerRepository);
    const store = berth.app.get(LeaseStore);
    const other = await user.api.running({ name: 'two' });
    const lost = new Error('Connection terminated unexpectedly');
    engine.failOn('containers.stop');
    jest.spyOn(repository, 'commit').mockRejectedValueOnce(lost);
    jest.spyOn(repository, 'abandonLease').mockRejectedValueOnce(lost);
    expect((await user.api.stop(dbId)).status).toBe(500);
    const acquire = store.acquireAsRead.bind(store);
    jest.spyOn(store, 'acquireAsRead').mockImplementationOnce(async (grant, read) => {
      await acquire(grant, read);
      throw lost;
    });
    expect((await user.api.stop(other.db_id)).status).toBe(503);
    const operations = async (): Promise<unknown[]> =>
      Promise.all([dbId, other.db_id].map(async (id) => (await repository.findById(id))?.operation));
    expect(await operations()).toEqual(['stop', 'stop']);
    await eventually(async () => expect(await operations()).toEqual([null, null]), { timeoutMs: 20_000 });
    for (const id of [dbId, other.db_id]) expect((await user.api.stop(id)).status).toBe(200);
    await user.api.delete(other.db_id);
  });

  it('must change nothing while Docker is away, and roll back as soon as it is there again', async () => {
    const hold = engine.holdOn('containers.stop', { when: 'after' });
    const resizing = resize();
    await hold.reached;
    daemon.down = true;
    hold.release();
    expect((await resizing).status).toBe(500);
    const calls = engine.callsOf('containers.list');
    await eventually(() => expect(engine.callsOf('containers.list')).toBeGreaterThan(calls));
    expect((await user.api.get(dbId)).body).toMatchObject({ id: engineId, status: 'running' });
    expect(events.types()).toEqual([]);
    daemon.down = false;
    await expectFree({ status: 'running' });
    expect(daemon.running(dbId).map((container) => container.engineId)).toEqual([engineId]);
    await events.next('container_started');
    expect(events.types()).toEqual(['container_stopped', 'container_started']);
  });

  it.each<[string, () => Promise<unknown>, readonly string[]]>([
    ['stop', () => user.api.stop(dbId), ['container_stopped']],
    ['delete', () => user.api.delete(dbId), ['container_stopped', 'container_deleted']],
  ])('must not stand in the way of a %s, which needs no start', async (_verb, act, told) => {
    engine.failOn('containers.start', EVERY_TIME);
    expect((await resize()).status).toBe(500);
    expect(await act()).toMatchObject({ status: 200 });
    engine.forget();
    await events.next(told.at(-1) === 'container_deleted' ? 'container_deleted' : 'container_stopped');
    expect(daemon.running(dbId)).toEqual([]);
    // What was owed is settled: nothing starts the container any more.
    if (told.length === 1) await expectFree({ status: 'stopped' });
    expect(events.types()).toEqual(told);
  });

  it('must not stand in the way of a start, which recreates a container that can never run again', async () => {
    engine.failOn('containers.start', { ...EVERY_TIME, error: new EngineError('container_broken', 'injected') });
    expect((await resize()).status).toBe(500);
    engine.forget();
    engine.failOn('containers.start', { error: new EngineError('container_broken', 'injected') });
    const started = await user.api.start(dbId);
    expect(started).toMatchObject({ status: 200, body: { status: 'running' } });
    await events.next('container_started');
    expect(daemon.running(dbId)).toHaveLength(1);
    expect(events.types()).toEqual(['container_stopped', 'container_started']);
  });

  async function expectFree(expected: Readonly<Record<string, unknown>>): Promise<void> {
    await eventually(async () =>
      expect(await berth.app.get(ContainerRepository).findById(dbId)).toMatchObject({ ...expected, operation: null }),
    );
  }

  async function expectRunsAgain(): Promise<void> {
    await events.next('container_started', { id: engineId });
    await expectFree({ status: 'running', memoryMb: SMALL.memory_mb });
    expect([...daemon.containers.values()].map(({ name, state }) => [name, state])).toEqual([
      [`berth-${dbId}`, 'running'],
    ]);
  }
});
