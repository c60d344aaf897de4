import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Reconciler } from '../../src/containers/reconcile/reconciler';
import { Database } from '../../src/database';
import { ContainerRepository } from '../../src/containers/rows/container.repository';
import { ReservedCapacity } from '../../src/containers/rows/reserved-capacity';
import { WarmSlots } from '../../src/containers/rows/warm-slots';
import { SlotMaker } from '../../src/containers/warm/slot-maker';
import { WarmFiller } from '../../src/containers/warm/warm-filler';
import { WarmPool } from '../../src/containers/warm/warm-pool';
import type { ContainerRow } from '../../src/containers/model/container.entity';
import { type Answer, LARGER, SMALL, testImage } from '../support/clients/api-client';
import { Poll } from '../../src/scheduling';
import { openTestDatabase, type TestDatabase } from '../support/databases/test-database';
import { eventually } from '../support/eventually';
import { itOnAnyDatabase } from '../support/extent';
import { FakeDaemon } from '../support/fakes/fake-daemon';
import { FakeEngine } from '../support/fakes/fake-engine';
import { Berth, type NewUser } from '../support/servers/berth';

const COUNT = 2;

describe('warm slots', () => {
  const folder = mkdtempSync(join(tmpdir(), 'berth-warm-'));
  const file = join(folder, 'slots.json');
  const daemon = new FakeDaemon();
  const { machine } = daemon;
  let engine: FakeEngine;
  let database: TestDatabase;
  let berth: Berth;
  let user: NewUser;

  /** Another process, after the one before has ended. */
  async function restart(environment: Record<string, string> = {}): Promise<void> {
    await berth.stop();
    engine = new FakeEngine(daemon);
    berth = await start(engine, environment);
    user = berth.as(user) as NewUser;
  }

  async function start(own: FakeEngine, environment: Record<string, string> = {}): Promise<Berth> {
    const reserve = { MEMORY_RESERVE_MB: '256', DISK_RESERVE_MB: '1024' };
    const settings = {
      INSTANCE_ID: 'warm',
      WARM_POOL: file,
      SWEEP_INTERVAL_SECONDS: '3600',
      ...reserve,
      ...environment,
    };
    const started = await Berth.start({ engine: own, database, environment: settings });
    // The tests fill the pool themselves, and nothing here fails after its start.
    Object.assign(started.app.get(SlotMaker), { watchMs: 0 });
    started.app.get<{ poll: Poll }>(WarmFiller).poll.stop();
    return started;
  }

  beforeAll(async () => {
    const slot = { image: testImage(), tier: 'enterprise', ...SMALL, count: COUNT };
    writeFileSync(file, JSON.stringify({ slots: [slot] }));
    engine = new FakeEngine(daemon);
    database = await openTestDatabase();
    berth = await start(engine);
  });

  beforeEach(async () => {
    user = await berth.user('enterprise');
    Object.assign(berth.app.get(WarmPool), { hits: 0, misses: new Map() });
    await checked();
    expect(await slots()).toHaveLength(COUNT);
  });

  /** The next test finds no container, and no slot. */
  afterEach(async () => {
    engine.forget();
    jest.restoreAllMocks();
    const { manager } = berth.app.get(Database);
    const busy = 'SELECT id FROM containers WHERE operation IS NOT NULL';
    await eventually(async () => expect(await manager.query(busy)).toEqual([]));
    await manager.query('DELETE FROM containers');
    daemon.containers.clear();
    daemon.volumes.clear();
    daemon.machine = machine;
    await berth.app.get(ReservedCapacity).recount();
    expect(daemon.violations).toEqual([]);
  });

  afterAll(async () => {
    await berth.stop();
    await database.drop();
    rmSync(folder, { recursive: true });
  });

  const slots = async (of = berth): Promise<readonly string[]> =>
    (await of.app.get(WarmSlots).all()).map(({ slot }) => `${slot.state} ${slot.id}`);
  const filled = (of = berth): Promise<void> => of.app.get(WarmFiller).look();
  /** Fills the pool after a look at every slot, which otherwise is made now and then. */
  const checked = async (): Promise<void> => {
    Object.assign(berth.app.get(WarmFiller), { nextCheck: 0 });
    await eventually(async () => expect(await berth.app.get(ContainerRepository).isUserWaiting()).toBe(false));
    await filled();
  };
  const rowOf = async ({ body }: Answer): Promise<ContainerRow | null> =>
    berth.app.get(ContainerRepository).findById(String(body['db_id']));
  const warm = async (): Promise<Readonly<Record<string, unknown>>> => {
    const { api } = await berth.user('pro', ['admin']);
    return (await api.call('GET', '/api/admin/warm')).body;
  };

  describe('for a creation with the settings of one', () => {
    it('must be taken by it: it runs in its answer and in its events, under the id of the slot', async () => {
      const events = await berth.record(user);
      const ids = await slots();
      const made = engine.callsOf('containers.create');
      const created = await user.api.create({ name: 'mine', labels: { team: 'core' }, auto_stop_seconds: 600 });
      const { body } = created;
      expect(created.status).toBe(202);
      expect(body).toMatchObject({ status: 'running', name: 'mine', message: 'container created', async: true });
      expect(ids).toContain(`ready ${String(body['db_id'])}`);
      expect(body['id']).toMatch(/^[0-9a-f]{64}$/);
      await events.next('container_started', { db_id: body['db_id'], id: body['id'], status: 'running' });
      expect(events.types()).toEqual(['container_created', 'container_started']);
      expect(events.events[0]).toMatchObject({ data: { status: 'running', id: body['id'] } });
      expect(engine.callsOf('containers.create')).toBe(made);
      // Then it is a container like any other.
      const row = await rowOf(created);
      expect(row).toMatchObject({ userId: user.id, operation: null, generation: 1, autoStopSeconds: 600 });
      expect(row?.meteredSince).toBeInstanceOf(Date);
      expect(row?.runSince).toBeInstanceOf(Date);
      expect(row?.imageId).toBe(daemon.findImage(testImage())?.id);
      expect((await user.api.get(String(body['id']))).body).toMatchObject({ db_id: body['db_id'] });
      await berth.app.get(Reconciler).sweepNow();
      expect((await user.api.get(String(body['db_id']))).body).toMatchObject({ status: 'running', id: body['id'] });
      expect((await user.api.update(String(body['db_id']), { name: 'mine', ...LARGER })).status).toBe(200);
      expect(daemon.running(String(body['db_id']))[0]?.spec.owner.userId).toBe(user.id);
      expect((await user.api.delete(String(body['db_id']))).status).toBe(200);
    });

    it('must carry no user, and the label that tells operators', () => {
      for (const { spec } of daemon.running()) expect(spec.owner).toMatchObject({ userId: '', isWarm: true });
    });

    itOnAnyDatabase('must get its start command, and its role, from the row', async () => {
      const created = await user.api.create({ role: 'node', start: { command: ['sleep', '1'] } });
      expect(created.body).toMatchObject({ status: 'running', role: 'node' });
      expect((await rowOf(created))?.startRun).not.toBeNull();
      await eventually(async () =>
        expect((await user.api.get(String(created.body['db_id']))).body).toMatchObject({ role_status: 'installed' }),
      );
    });

    it('must be taken once each by a burst, and the rest be created as ever, none refused', async () => {
      const answers = await Promise.all(Array.from({ length: 12 }, () => user.api.create()));
      expect(answers.map(({ status }) => status)).toEqual(Array(12).fill(202));
      const running = answers.filter(({ body }) => body['status'] === 'running');
      expect(running).toHaveLength(COUNT);
      expect(new Set(answers.map(({ body }) => body['db_id'])).size).toBe(12);
      for (const { body } of answers) {
        const path = `/api/containers/${String(body['db_id'])}/wait?status=running&timeout=20`;
        expect((await user.api.call('GET', path)).status).toBe(200);
      }
      expect(daemon.running()).toHaveLength(12);
    });

    it('must be taken once for one idempotency key', async () => {
      const headers = { 'idempotency-key': 'one' };
      const [first, second] = [await user.api.create({}, headers), await user.api.create({}, headers)];
      expect(first.body).toMatchObject({ status: 'running' });
      expect(second.body).toEqual(first.body);
      expect(await slots()).toHaveLength(COUNT - 1);
    });

    it('must be returned if the name is taken, or the tier allows no more', async () => {
      await user.api.create({ name: 'one' });
      expect((await user.api.create({ name: 'one' })).body).toMatchObject({ code: 'name_taken' });
      expect(await slots()).toHaveLength(COUNT - 1);
      const guest = await berth.user('guest');
      await guest.api.create({ name: 'one' });
      expect((await guest.api.create({ name: 'two' })).body).toMatchObject({ code: 'container_limit_reached' });
    });

    itOnAnyDatabase('must be replaced under the same id, without an error, if it does not run', async () => {
      const [slot] = daemon.running();
      for (const { engineId } of daemon.running()) daemon.kill(engineId);
      const { status, body } = await user.api.create();
      expect([status, body['status']]).toEqual([202, 'running']);
      expect(body['id']).not.toBe(slot?.engineId);
      const [container] = daemon.running(String(body['db_id']));
      expect(container?.engineId).toBe(body['id']);
      expect((await user.api.get(String(body['db_id']))).body).toMatchObject({ status: 'running', id: body['id'] });
      expect(await warm()).toMatchObject({ hits: 0, misses: [{ reason: 'not_running', count: 1 }] });
    });
  });

  itOnAnyDatabase('must not be taken by a creation with other settings', async () => {
    for (const other of [{ memory_mb: 512 }, { cpu_shares: 750 }, { disk_mb: 2048 }, { network: 'none' }]) {
      expect((await user.api.create(other)).body).toMatchObject({ status: 'creating' });
    }
    expect(await slots()).toHaveLength(COUNT);
    expect(await warm()).toMatchObject({ hits: 0 });
    // Variables are no part of a container, but of the programs in it.
    expect((await user.api.create({ env: { A: '1' } })).body).toMatchObject({ status: 'running' });
  });

  itOnAnyDatabase('must be no orphans to a sweep, nor their volumes', async () => {
    const before = await slots();
    await berth.app.get(Reconciler).sweepNow();
    expect(daemon.running()).toHaveLength(COUNT);
    expect(daemon.volumes.size).toBe(COUNT);
    expect(await slots()).toEqual(before);
  });

  itOnAnyDatabase('must be replaced when the image is another, and when they stopped', async () => {
    const before = await slots();
    daemon.rebuild(testImage());
    const [one] = daemon.running();
    daemon.kill(String(one?.engineId));
    expect((await user.api.create()).body).toMatchObject({ status: 'creating' });
    await checked();
    const now = await slots();
    expect(now).toHaveLength(COUNT);
    expect(now.filter((slot) => before.includes(slot))).toEqual([]);
    expect((await user.api.create()).body).toMatchObject({ status: 'running' });
  });

  it('must be given up before users are refused for want of memory', async () => {
    daemon.machine = { memoryMb: 8192, cpuShares: 8000, freeMemoryMb: 100, freeDiskMb: null };
    const hold = engine.holdOn('containers.remove', { call: COUNT });
    jest.spyOn(daemon, 'remove').mockImplementation((engineId) => {
      daemon.containers.delete(engineId);
      if (daemon.containers.size === 0) daemon.machine = { ...daemon.machine, freeMemoryMb: 1000 };
    });
    const first = user.api.create();
    await hold.reached;
    const second = user.api.create();
    // Its refusal, if there is one, comes before the slots are gone.
    await eventually(async () => expect(await slots()).toHaveLength(1));
    await user.api.call('GET', '/api/containers');
    hold.release();
    expect([(await first).status, (await second).status]).toEqual([202, 202]);
    expect(await slots()).toEqual([]);
  });

  itOnAnyDatabase('must not be given to a user if another program has run in it, and be replaced', async () => {
    const before = await slots();
    for (const container of daemon.running()) daemon.enter(container.engineId);
    expect((await user.api.create()).body).toMatchObject({ status: 'creating' });
    expect(await warm()).toMatchObject({ hits: 0, misses: [{ reason: 'taken', count: 1 }] });
    await checked();
    expect((await slots()).filter((slot) => before.includes(slot))).toEqual([]);
    expect((await user.api.create()).body).toMatchObject({ status: 'running' });
  });

  itOnAnyDatabase("must be replaced after Docker's events may have been missed", async () => {
    const before = await slots();
    daemon.unwatched(() => undefined);
    await eventually(async () => {
      await checked();
      expect((await slots()).filter((slot) => before.includes(slot))).toEqual([]);
    });
  });

  itOnAnyDatabase.each([
    ['free_memory_mb', { memoryMb: 8192, cpuShares: 8000, freeMemoryMb: 300, freeDiskMb: null }],
    ['free_disk_mb', { memoryMb: 8192, cpuShares: 8000, freeMemoryMb: null, freeDiskMb: 10 }],
    ['capacity', { memoryMb: 8192, cpuShares: 0, freeMemoryMb: null, freeDiskMb: null }],
    ['memory_limit', { memoryMb: 800, cpuShares: 8000, freeMemoryMb: null, freeDiskMb: null }],
  ])('must not be made without room, and say why: %s', async (why, machine) => {
    const operator = await berth.user('pro', ['admin']);
    daemon.machine = machine;
    expect((await operator.api.call('DELETE', '/api/admin/warm')).body).toEqual({
      message: 'warm pool emptied',
      count: COUNT,
    });
    expect(daemon.volumes.size).toBe(0);
    await filled();
    expect(await slots()).toEqual([]);
    expect(await warm()).toMatchObject({ mode: 'file', waiting_for: why, slots: [{ wanted: COUNT, ready: 0 }] });
  });

  itOnAnyDatabase('must not be made while a user waits for Docker', async () => {
    const hold = engine.holdOn('containers.start', { on: (id) => daemon.containers.get(String(id)) !== undefined });
    await user.api.create({ memory_mb: 512 });
    await hold.reached;
    await user.api.create();
    await filled();
    expect(await slots()).toHaveLength(COUNT - 1);
    expect(await warm()).toMatchObject({ waiting_for: 'creations', hits: 1 });
    hold.release();
  });

  itOnAnyDatabase('must be removed with all that is theirs if one cannot be made, and be made later', async () => {
    await user.api.create();
    engine.failOn('containers.start', { when: 'after' });
    await filled();
    expect(await warm()).toMatchObject({ waiting_for: 'failed' });
    expect(await slots()).toHaveLength(COUNT - 1);
    expect(daemon.running()).toHaveLength(COUNT);
    // This process does not try again for a while.
    await restart();
  });

  it('must be of living processes alone: a start releases those of an earlier one', async () => {
    const before = await slots();
    await restart();
    expect((await user.api.create()).body).toMatchObject({ status: 'creating' });
    await eventually(async () => {
      await filled();
      expect((await slots()).filter((slot) => slot.startsWith('ready'))).toHaveLength(COUNT);
    });
    expect((await slots()).filter((slot) => before.includes(slot))).toEqual([]);
    expect(daemon.running()).toHaveLength(COUNT + 1);
  });

  it('must keep its volume if the database is older than the containers', async () => {
    // As after a restore from a backup: nothing tells whether a user has had the slots since.
    await user.api.create({ memory_mb: 512 });
    await eventually(() => expect(daemon.running()).toHaveLength(COUNT + 1));
    const volumes = [...daemon.volumes.keys()];
    await berth.app.get(Database).manager.query('DELETE FROM containers');
    await restart({ WARM_POOL: 'off' });
    await filled();
    await eventually(async () => {
      await berth.app.get(Reconciler).sweepNow();
      expect(daemon.containers.size).toBe(0);
    });
    expect([await slots(), [...daemon.volumes.keys()]]).toEqual([[], volumes]);
    await restart();
  });

  it('must be released by the process whose release failed, whoever fills the pool', async () => {
    engine.failOn('containers.remove', { times: COUNT });
    await expect(berth.app.get(WarmFiller).empty()).rejects.toThrow('injected');
    expect((await slots()).some((slot) => slot.startsWith('releasing'))).toBe(true);
    jest.spyOn(berth.app.get(WarmSlots), 'lead').mockResolvedValue(false);
    await eventually(async () => {
      await filled();
      expect((await slots()).filter((slot) => slot.startsWith('releasing'))).toEqual([]);
    });
  });

  itOnAnyDatabase('must all be released where the pool is off', async () => {
    await restart({ WARM_POOL: 'off' });
    await filled();
    expect([daemon.containers.size, daemon.volumes.size]).toEqual([0, 0]);
    expect(await warm()).toMatchObject({ mode: 'off', waiting_for: null, slots: [] });
    await restart();
  });

  itOnAnyDatabase('must be shown to operators, and in metrics', async () => {
    // With counters of its own.
    await restart();
    await checked();
    await user.api.create();
    await user.api.create({ network: 'none' });
    const view = await warm();
    expect(view).toMatchObject({ mode: 'file', memory_mb: 256, hits: 1, misses: [{ reason: 'other_key', count: 1 }] });
    expect(view['slots']).toMatchObject([{ image: testImage(), memory_mb: 256, wanted: COUNT, ready: COUNT - 1 }]);
    const metrics = await (await fetch(`${berth.url}/metrics`)).text();
    const lines = metrics.split('\n').filter((line) => line.startsWith('berth_warm_'));
    expect(lines.join('\n')).toMatch(/^berth_warm_slots\{state="ready",key=".{1,12}"\} 1$/m);
    expect(lines).toContain('berth_warm_claims_total{result="hit",reason=""} 1');
    expect(lines).toContain('berth_warm_claims_total{result="miss",reason="other_key"} 1');
    expect(lines).toContain('berth_warm_claim_seconds_count 1');
  });

  const onPostgres = process.env['TEST_DATABASE'] === 'postgres' ? describe : describe.skip;
  onPostgres('of several processes', () => {
    it('must never be more than wanted, and each be taken by one creation', async () => {
      const other = await start(new FakeEngine(daemon));
      try {
        await Promise.all([filled(), filled(other), filled(), filled(other)]);
        expect(await slots()).toHaveLength(COUNT);
        const there = other.as(user);
        const answers = await Promise.all(
          [...Array<undefined>(8)].map((_none, at) => (at % 2 ? user : there).api.create()),
        );
        const running = answers.filter(({ body }) => body['status'] === 'running');
        expect(running).toHaveLength(COUNT);
        expect(new Set(running.map(({ body }) => body['id'])).size).toBe(COUNT);
      } finally {
        await other.stop();
      }
    });
  });
});
