import BetterSqlite3 from 'better-sqlite3';
import { Client } from 'pg';
import { Capacity } from '../../src/containers/capacity/capacity';
import { CapacityHistory } from '../../src/containers/nodes/capacity-history';
import { ReservedCapacity } from '../../src/containers/rows/reserved-capacity';
import { ContainerRepository } from '../../src/containers/rows/container.repository';
import { ContainerEntity } from '../../src/containers/model/container.entity';
import { Database } from '../../src/database';
import { EngineIdentity } from '../../src/engine';
import { Answer, answered, SMALL, testImage } from '../support/clients/api-client';
import { Berth, TestUser } from '../support/servers/berth';
import { leaseAsDead } from '../support/databases/lease-as-dead';
import { eventually } from '../support/eventually';
import { FakeDaemon } from '../support/fakes/fake-daemon';
import { FakeEngine } from '../support/fakes/fake-engine';

const UNSEEN = { freeMemoryMb: null, freeDiskMb: null } as const;
/** Room for four of `SMALL`, with what the settings of these tests overcommit. */
const FOUR = { memoryMb: 512, cpuShares: 1000, ...UNSEEN } as const;
const LARGER = { memory_mb: 512, cpu_shares: 500, disk_mb: 1024 } as const;

describe('the room on the machine', () => {
  let daemon: FakeDaemon;
  let engine: FakeEngine;
  let berth: Berth;
  let user: TestUser;
  let operator: TestUser;

  beforeAll(async () => {
    daemon = new FakeDaemon();
    engine = new FakeEngine(daemon);
    const environment = {
      INSTANCE_ID: 'capacity',
      MEMORY_OVERCOMMIT: '2',
      CPU_OVERCOMMIT: '2',
      MEMORY_RESERVE_MB: '256',
      DISK_RESERVE_MB: '1024',
      VOLUME_COPY_IMAGE: testImage(),
      SWEEP_INTERVAL_SECONDS: '3600',
    };
    berth = await Berth.start({ engine, environment });
    operator = await berth.user('pro', ['admin']);
  });

  beforeEach(async () => {
    daemon.machine = FOUR;
    user = await berth.user('enterprise');
  });

  afterEach(async () => {
    engine.forget();
    daemon.startOutcomes.clear();
    const { body } = await user.api.call('GET', '/api/containers');
    for (const { db_id } of body['containers'] as { db_id: string }[]) await user.api.delete(db_id);
    // Whatever happened: what rows reserve is what may run, and the sum is theirs.
    expect(await reserved()).toEqual({ memory_mb: 0, cpu_shares: 0 });
    expect(await berth.app.get(ReservedCapacity).recount()).toBe(false);
    expect(daemon.violations).toEqual([]);
  });

  afterAll(() => berth.stop());

  it('must be given to exactly as many as fit, however many are created at once, and whoever by', async () => {
    const others = await Promise.all(Array.from({ length: 4 }, () => berth.user('enterprise')));
    const answers = await Promise.all(
      [user, ...others].flatMap(({ api }) => Array.from({ length: 6 }, () => answered(() => api.create()))),
    );
    expect(answers.filter(({ status }) => status === 202)).toHaveLength(4);
    const refused = answers.filter(({ status }) => status !== 202);
    for (const { status, headers, body } of refused) {
      expect({ status, body }).toMatchObject({
        status: 503,
        body: { code: 'no_capacity', error: 'the machine has no room' },
      });
      expect(headers.get('retry-after')).toBe('30');
    }
    expect(refused[0]?.body['short']).toEqual([
      { resource: 'memory_mb', needed: 256, available: 0 },
      { resource: 'cpu_shares', needed: 500, available: 0 },
    ]);
    expect(await reserved()).toEqual({ memory_mb: 1024, cpu_shares: 2000 });
    for (const { api } of others) await clear(api);
  });

  it('must be needed by a start, which is refused before anything is touched, and be free after a stop', async () => {
    const made = [];
    for (let count = 0; count < 4; count += 1) made.push(await user.api.running());
    const [first, second] = made;
    if (!first || !second) throw new Error('nothing was made');
    await user.api.stop(first.db_id);
    const { db_id: last } = await user.api.running();
    const calls = engine.calls.length;
    const events = await lastSeq();
    expect(await user.api.start(first.db_id)).toMatchObject({ status: 503, body: { code: 'no_capacity' } });
    expect(engine.calls.slice(calls)).toEqual([]);
    expect(await lastSeq()).toBe(events);
    expect(await rowOf(first.db_id)).toMatchObject({ status: 'stopped', operation: null, reservedMemoryMb: 0 });
    await user.api.delete(last);
    expect((await user.api.start(first.db_id)).status).toBe(200);
    // What runs already needs no room, and what ends by itself frees it.
    expect((await user.api.start(first.db_id)).status).toBe(200);
    daemon.stop(second.id);
    await eventually(async () => expect(await reserved()).toEqual({ memory_mb: 768, cpu_shares: 1500 }));
  });

  it('must be freed by a creation that fails; its refused retry leaves the reason as it was', async () => {
    daemon.startOutcomes.set(testImage(), 'refused');
    const failed = await user.api.create();
    const id = String(failed.body['db_id']);
    await eventually(async () => expect((await user.api.get(id)).body).toMatchObject({ status: 'error' }));
    expect(await reserved()).toEqual({ memory_mb: 0, cpu_shares: 0 });
    daemon.startOutcomes.clear();
    daemon.machine = { ...FOUR, memoryMb: 100 };
    expect((await user.api.start(id)).status).toBe(503);
    expect((await user.api.get(id)).body).toMatchObject({ status: 'error', status_reason: 'start_refused' });
    daemon.machine = FOUR;
    expect((await user.api.start(id)).status).toBe(200);
    expect(await reserved()).toEqual({ memory_mb: 256, cpu_shares: 500 });
  });

  it('must be needed by a resize of what runs, which is refused without a trace, and by none of what is stopped', async () => {
    const { db_id: one, id: engineId, name } = await user.api.running();
    for (let count = 0; count < 3; count += 1) await user.api.running();
    const refused = await user.api.update(one, { name, ...LARGER });
    expect(refused).toMatchObject({
      status: 503,
      body: { short: [{ resource: 'memory_mb', needed: 256, available: 0 }] },
    });
    expect((await user.api.get(one)).body).toMatchObject({ id: engineId, status: 'running', resources: SMALL });
    expect([...daemon.containers.values()].filter(({ spec }) => spec.owner.containerId === one)).toHaveLength(1);
    await user.api.stop(one);
    expect((await user.api.update(one, { name, ...LARGER })).status).toBe(200);
    expect((await user.api.start(one)).status).toBe(503);
    // Less of everything is always possible, also where too much is reserved already.
    expect((await user.api.update(one, { name, ...SMALL })).status).toBe(200);
    expect((await user.api.start(one)).status).toBe(200);
    daemon.machine = { ...FOUR, memoryMb: 100, cpuShares: 100 };
    expect((await user.api.update(one, { name, ...SMALL, cpu_shares: 250 })).status).toBe(200);
    expect(await reserved()).toEqual({ memory_mb: 1024, cpu_shares: 1750 });
  });

  it('must be reserved for the larger of both during a resize, and given back where that fails', async () => {
    const { db_id, name } = await user.api.running();
    const hold = engine.holdOn('containers.create');
    const resized = user.api.update(db_id, { name, ...LARGER });
    await hold.reached;
    expect(await reserved()).toEqual({ memory_mb: 512, cpu_shares: 500 });
    engine.failOn('containers.start');
    hold.release();
    expect((await resized).status).toBe(500);
    expect(await reserved()).toEqual({ memory_mb: 256, cpu_shares: 500 });
    expect((await user.api.update(db_id, { name, ...LARGER })).status).toBe(200);
    expect(await reserved()).toEqual({ memory_mb: 512, cpu_shares: 500 });
  });

  it('must stay reserved for what a dead process was starting, and be given to it without a second question', async () => {
    const { db_id } = await user.api.running();
    await user.api.stop(db_id);
    await leaseAsDead(berth, await rowOf(db_id), 'start');
    const leased = await rowOf(db_id);
    await berth.app
      .get(Capacity)
      .within((bounds) => berth.app.get(ContainerRepository).reserve(leased, leased, bounds));
    daemon.machine = { ...FOUR, memoryMb: 100 };
    await operator.api.call('POST', '/api/admin/reconcile');
    await eventually(async () => expect(await rowOf(db_id)).toMatchObject({ status: 'running', operation: null }));
    expect(await reserved()).toEqual({ memory_mb: 256, cpu_shares: 500 });
  });

  it('must be counted for what was started behind the back, though there is none', async () => {
    const { db_id, id } = await user.api.running();
    await user.api.stop(db_id);
    daemon.machine = { ...FOUR, memoryMb: 100 };
    daemon.start(id);
    await eventually(async () => expect(await reserved()).toEqual({ memory_mb: 256, cpu_shares: 500 }));
  });

  it.each([
    ['memory', { freeMemoryMb: 255, freeDiskMb: 5000 }, { resource: 'free_memory_mb', needed: 256, available: 255 }],
    [
      'disk space',
      { freeMemoryMb: 5000, freeDiskMb: 1023 },
      { resource: 'free_disk_mb', needed: 1024, available: 1023 },
    ],
  ])('must be refused to everything new while too little %s is free', async (_what, free, short) => {
    const { db_id, name } = await user.api.running();
    const stopped = await user.api.running();
    await user.api.stop(stopped.db_id);
    daemon.machine = { ...FOUR, ...free };
    const refused = [user.api.create(), user.api.start(stopped.db_id), user.api.update(db_id, { name, ...LARGER })];
    for (const { status, body } of await Promise.all(refused)) {
      expect({ status, body }).toMatchObject({ status: 503, body: { code: 'no_capacity', short: [short] } });
    }
    expect((await user.api.stop(db_id)).status).toBe(200);
  });

  it('must be refused to a snapshot, and to a container from one, that the disk has no room for', async () => {
    const { db_id } = await user.api.running();
    daemon.write(`berth-${db_id}`, 'precious', 100 * 2 ** 20);
    const made = await user.api.call('POST', `/api/containers/${db_id}/snapshots`, {});
    const snapshot = String(made.body['id']);
    await user.api.call('GET', `/api/snapshots/${snapshot}/wait?timeout=20`);
    daemon.machine = { ...FOUR, freeDiskMb: 1123 };
    const short = [{ resource: 'free_disk_mb', needed: 1124, available: 1123 }];
    for (const refused of [
      await user.api.call('POST', `/api/containers/${db_id}/snapshots`, {}),
      await user.api.call('POST', '/api/containers', { ...SMALL, snapshot }),
    ]) {
      expect(refused).toMatchObject({ status: 503, body: { code: 'no_capacity', short } });
    }
    expect((await user.api.call('GET', '/api/snapshots')).body).toMatchObject({ count: 1 });
    daemon.machine = { ...FOUR, freeDiskMb: 1124 };
    expect(await user.api.call('POST', '/api/containers', { ...SMALL, snapshot })).toMatchObject({ status: 202 });
  });

  it.each([
    ['a container that runs', "UPDATE containers SET reserved_memory_mb = 7 WHERE status = 'running'"],
    ['a container that does not', "UPDATE containers SET reserved_memory_mb = 7 WHERE status = 'stopped'"],
    ['the sum', 'UPDATE reserved_capacity SET cpu_shares = 9999'],
  ])('must be counted again where somebody changed by hand what is reserved by %s', async (_what, change) => {
    await user.api.stop((await user.api.running()).db_id);
    await user.api.running();
    await berth.app.get(Database).manager.query(change);
    await operator.api.call('POST', '/api/admin/reconcile');
    expect(await reserved()).toEqual({ memory_mb: 256, cpu_shares: 500 });
    expect(await berth.app.get(ReservedCapacity).recount()).toBe(false);
  });

  it('must be counted without a lock where nothing is wrong', async () => {
    await user.api.running();
    const release = await lockSums(berth.database.url);
    expect(await berth.app.get(ReservedCapacity).recount()).toBe(false);
    await release();
  });

  it('must be kept for a day, a sample in five minutes', async () => {
    daemon.machine = { memoryMb: 512, cpuShares: 1000, freeMemoryMb: 400, freeDiskMb: 3000 };
    await user.api.running();
    const history = berth.app.get(CapacityHistory);
    await history.sample();
    const { body } = await operator.api.call('GET', '/api/admin/capacity/history');
    expect(body['interval_seconds']).toBe(300);
    expect((body['samples'] as object[]).at(-1)).toEqual({
      at: expect.any(String),
      memory_reserved_mb: 256,
      memory_used_mb: 112,
      cpu_reserved_shares: 500,
      cpu_used_shares: expect.any(Number),
      running: 1,
    });
    for (let taken = 0; taken < 300; taken += 1) await history.sample();
    expect(history.view().samples).toHaveLength(288);
    const unknown = await operator.api.call('GET', '/api/admin/nodes/none/history');
    expect([unknown.status, unknown.body['code']]).toEqual([404, 'node_not_found']);
  });

  it('must be shown to operators, and in the metrics', async () => {
    daemon.machine = { memoryMb: 512, cpuShares: 1000, freeMemoryMb: 400, freeDiskMb: 3000 };
    await user.api.running();
    const { status, body } = await operator.api.call('GET', '/api/admin/capacity');
    expect({ status, body }).toEqual({
      status: 200,
      body: {
        memory_mb: { total: 512, limit: 1024, reserved: 256 },
        cpu_shares: { total: 1000, limit: 2000, reserved: 500 },
        free_memory_mb: { free: 400, total: 512, reserve: 256 },
        free_disk_mb: { free: 3000, total: null, reserve: 1024 },
        idle: { containers: 0, cpu_shares: null },
      },
    });
    const metrics = await (await fetch(`${berth.url}/metrics`)).text();
    expect(metrics).toContain(`berth_capacity_memory_bytes{kind="reserved"} ${String(256 * 1024 ** 2)}`);
    expect(metrics).toContain(`berth_capacity_memory_bytes{kind="free"} ${String(400 * 1024 ** 2)}`);
    expect(metrics).toContain('berth_capacity_cpus{kind="limit"} 2');
    expect(metrics).not.toMatch(/^berth_idle_sandbox_cpus/m);
    expect(metrics).toMatch(/berth_capacity_refusals_total\{resource="memory_mb"\} [1-9]/);
  });

  it('must show what runs unused for ten minutes, and what each costs', async () => {
    const [unused, inUse, paused, stopped] = [
      await user.api.running(),
      await user.api.running(),
      await user.api.running(),
      await user.api.running(),
    ];
    await user.api.call('POST', `/api/containers/${paused.db_id}/pause`);
    await user.api.stop(stopped.db_id);
    const ago = (minutes: number): Date => new Date(Date.now() - minutes * 60_000);
    const used = [
      [unused, 11],
      [inUse, 9],
      [paused, 11],
      [stopped, 11],
    ] as const;
    for (const [{ db_id: id }, minutes] of used) {
      await berth.app.get(Database).manager.update(ContainerEntity, { id }, { lastUsedAt: ago(minutes) });
    }
    berth.app.get(EngineIdentity).noteProof({ state: 'proved', faults: {}, untried: [], idleCores: 0.0281 });
    const { body } = await operator.api.call('GET', '/api/admin/capacity');
    expect(body['idle']).toEqual({ containers: 1, cpu_shares: 28 });
  });

  async function reserved(): Promise<object> {
    const { memoryMb, cpuShares } = await berth.app.get(ReservedCapacity).sum();
    return { memory_mb: memoryMb, cpu_shares: cpuShares };
  }

  async function rowOf(id: string): Promise<NonNullable<Awaited<ReturnType<ContainerRepository['findById']>>>> {
    const row = await berth.app.get(ContainerRepository).findById(id);
    if (!row) throw new Error('there is no row');
    return row;
  }

  async function lastSeq(): Promise<unknown> {
    return (await user.api.call('GET', '/api/containers')).body['event_seq'];
  }

  async function clear(api: TestUser['api']): Promise<void> {
    const { body }: Answer = await api.call('GET', '/api/containers');
    for (const { db_id } of body['containers'] as { db_id: string }[]) await api.delete(db_id);
  }
});

/** Locks all sums, as a placement under way does. @returns a function that ends the lock */
async function lockSums(url: string): Promise<() => Promise<void>> {
  const lock = 'UPDATE reserved_capacity SET memory_mb = memory_mb';
  if (url.startsWith('sqlite:')) {
    const database = new BetterSqlite3(url.slice('sqlite:'.length));
    database.exec('BEGIN IMMEDIATE').exec(lock);
    return () => Promise.resolve(void database.exec('ROLLBACK').close());
  }
  const client = new Client({ connectionString: url });
  await client.connect();
  await client.query('BEGIN');
  await client.query(lock);
  return () => client.end();
}
