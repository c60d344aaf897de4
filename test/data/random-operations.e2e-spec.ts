import { randomInt } from 'node:crypto';
import { Caller, ContainersService } from '../../src/containers';
import { ContainerRepository } from '../../src/containers/rows/container.repository';
import { databaseFault, DomainError } from '../../src/errors';
import { EventLog } from '../../src/events';
import { testImage } from '../support/clients/api-client';
import { Berth } from '../support/servers/berth';
import { eventually } from '../support/eventually';
import { FakeDaemon } from '../support/fakes/fake-daemon';
import { type EngineMethod, FakeEngine } from '../support/fakes/fake-engine';
import { replay } from '../support/clients/replay';
import { SeededRandom } from '../support/seeded-random';
import { openTestDatabase, TestDatabase } from '../support/databases/test-database';

jest.setTimeout(120_000);

const INSTANCE = 'random';
const USERS = 4;
const OPERATIONS = 120;
/** How many operations are under way at once. */
const WORKERS = 8;
const LIMIT = 5;
const SIZES = [
  { memory_mb: 256, cpu_shares: 250, disk_mb: 1024 },
  { memory_mb: 512, cpu_shares: 500, disk_mb: 1024 },
  { memory_mb: 512, cpu_shares: 500, disk_mb: 2048 },
];
const FAULTY: readonly EngineMethod[] = [
  'containers.create',
  'containers.start',
  'containers.stop',
  'containers.remove',
  'containers.rename',
  'containers.inspect',
  'containers.list',
  'images.ensure',
  'images.find',
  'volumes.ensure',
  'volumes.measure',
  'volumes.copy',
  'volumes.remove',
  'volumes.list',
];

/** Puts a mark into the first volume of each container, which then must be in every volume that it moves to. */
class MarkingDaemon extends FakeDaemon {
  private readonly marked = new Set<string>();

  override ensureVolume(volume: Parameters<FakeDaemon['ensureVolume']>[0]): { existed: boolean } {
    const made = super.ensureVolume(volume);
    const { containerId } = volume.owner;
    if (made.existed || volume.name !== `berth-${containerId}`) return made;
    if (this.marked.has(containerId)) this.violations.push(`${volume.name} was lost and recreated`);
    this.marked.add(containerId);
    this.write(volume.name, containerId);
    return made;
  }
}

/**
 * Many users, several processes where the database allows it, everything at once, an engine that fails before and after
 * it acts, and somebody who kills and removes containers behind Berth's back. `BERTH_TEST_SEED` makes a run again.
 */
describe.each(['none', 'move'] as const)('random operations under faults (volumeResize: %s)', (volumeResize) => {
  const seed = Number(process.env['BERTH_TEST_SEED'] ?? randomInt(2 ** 31));
  const random = new SeededRandom(seed);
  const daemon = new MarkingDaemon();
  daemon.capabilities = { ...daemon.capabilities, volumeResize };
  const engines: FakeEngine[] = [];
  const processes: Berth[] = [];
  const callers: Caller[] = [];
  let database: TestDatabase;

  beforeAll(async () => {
    database = await openTestDatabase();
    const count = process.env['TEST_DATABASE'] === 'postgres' ? 3 : 1;
    for (let index = 0; index < count; index += 1) {
      const engine = new FakeEngine(daemon);
      engines.push(engine);
      const environment = {
        INSTANCE_ID: INSTANCE,
        SWEEP_INTERVAL_SECONDS: '1',
        ORPHAN_GRACE_SECONDS: '0',
        OPERATION_CLAIM_SECONDS: '3',
        OPERATION_WAIT_SECONDS: '20',
        VOLUME_COPY_IMAGE: testImage(),
      };
      processes.push(await Berth.start({ database, engine, environment }));
    }
    for (let index = 0; index < USERS; index += 1) {
      const user = await first().user('free');
      callers.push({ userId: user.id, tier: 'free', sessionExpiresAt: null, boundTo: null });
    }
  });

  afterAll(async () => {
    for (const berth of processes) await berth.stop();
    await database.drop();
  });

  it(`must end in rows, Docker and events that agree (BERTH_TEST_SEED=${String(seed)})`, async () => {
    let left = OPERATIONS;
    const work = async (): Promise<void> => {
      while (left > 0) {
        left -= 1;
        if (random.chance(0.25)) disturb();
        await operate();
      }
    };
    await Promise.all(Array.from({ length: WORKERS }, work));
    daemon.down = false;
    for (const caller of callers) await eventually(() => expectAgreement(caller), { timeoutMs: 30_000 });
    expect(daemon.violations).toEqual([]);
    await eventually(() => expectNothingLeftOver(), { timeoutMs: 30_000 });
  });

  /** One operation of somebody's, on some process. Only faults that the API may tell of are allowed. */
  async function operate(): Promise<void> {
    const service = random.pick(processes).app.get(ContainersService);
    const caller = random.pick(callers);
    const rows = await repository().list({ userId: caller.userId, limit: 100 });
    const row = rows.length > 0 ? random.pick(rows) : null;
    const former = row?.engineId ?? row?.id ?? '';
    const verb = random.pick(['create', 'start', 'start', 'stop', 'update', 'update', 'delete'] as const);
    try {
      if (!row || verb === 'create') {
        await service.create(caller, { image: 'custom', custom_image: testImage(), ...random.pick(SIZES) });
      } else if (verb === 'update') {
        const name = random.chance(0.2) ? `name-${String(Math.floor(random.next() * 4))}` : row.name;
        await service.update(caller, former, { name, ...random.pick(SIZES) });
      } else {
        await service[verb](caller, former);
      }
    } catch (error) {
      // As the filter has it for HTTP: a slow machine may keep the database from answering in time.
      const refusal = databaseFault(error) ?? error;
      expect(refusal).toBeInstanceOf(DomainError);
      expect((refusal as DomainError).kind).not.toBe('internal_error');
    }
  }

  function disturb(): void {
    const what = random.pick(['fail', 'fail', 'fail', 'kill', 'vanish', 'crash', 'oom', 'down'] as const);
    if (what === 'fail') {
      const when = random.pick(['before', 'after'] as const);
      random.pick(engines).failOn(random.pick(FAULTY), { when });
    } else if (what === 'down') {
      daemon.down = true;
      setTimeout(() => (daemon.down = false), 20);
    } else {
      const running = daemon.running().filter(({ name }) => what === 'vanish' || !name.endsWith('-move'));
      if (running.length > 0) daemon[what](random.pick(running).engineId);
    }
  }

  async function expectAgreement({ userId }: Caller): Promise<void> {
    const rows = await repository().list({ userId, limit: 100 });
    expect(rows.length).toBeLessThanOrEqual(LIMIT);
    for (const row of rows) {
      expect(row).toMatchObject({ operation: null });
      const containers = [...daemon.containers.values()].filter(({ spec }) => spec.owner.containerId === row.id);
      // A creation that failed left nothing, also where the container was stopped since.
      if (row.status === 'error' || row.engineId === null) {
        expect(containers).toEqual([]);
        continue;
      }
      expect(daemon.volumes.get(row.volumeName)).toMatchObject({ content: row.id });
      if (volumeResize === 'move') expect(daemon.volumes.get(row.volumeName)).toMatchObject({ diskMb: row.diskMb });
      expect(daemon.listVolumes({ instance: INSTANCE, containerId: row.id })).toHaveLength(1);
      const current = containers.find(({ engineId }) => engineId === row.engineId);
      expect(containers).toEqual(current ? [current] : []);
      expect(current?.state === 'running').toBe(row.status === 'running');
      if (current) {
        expect(current.name).toBe(`berth-${row.id}`);
        expect(current.spec).toMatchObject({ memoryMb: row.memoryMb, cpuShares: row.cpuShares });
      }
    }
    const events = await first().app.get(EventLog).read({ userId, after: 0, limit: 100_000 });
    expect(events.map(({ seq }) => seq)).toEqual(events.map((_event, index) => index + 1));
    const told = [...replay(events).values()].map(({ db_id, status, name, id }) => ({ db_id, status, name, id }));
    const kept = rows.map((row) => ({ db_id: row.id, status: row.status, name: row.name, id: row.engineId ?? row.id }));
    expect(told.sort(byId)).toEqual(kept.sort(byId));
  }

  async function expectNothingLeftOver(): Promise<void> {
    const live = new Set<string>();
    for await (const rows of repository().sweptRows()) for (const { id } of rows) live.add(id);
    expect([...daemon.containers.values()].filter(({ spec }) => !live.has(spec.owner.containerId))).toEqual([]);
  }

  function first(): Berth {
    const [berth] = processes;
    if (!berth) throw new Error('no process was started');
    return berth;
  }

  function repository(): ContainerRepository {
    return first().app.get(ContainerRepository);
  }
});

function byId(a: { db_id: string }, b: { db_id: string }): number {
  return a.db_id < b.db_id ? -1 : 1;
}
