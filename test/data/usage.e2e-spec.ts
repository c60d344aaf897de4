import { ContainerRepository } from '../../src/containers/rows/container.repository';
import { Reconciler } from '../../src/containers/reconcile/reconciler';
import { Database } from '../../src/database';
import { Clock } from '../../src/scheduling';
import { DailyUsageEntity, UsageLedger, UsageRetention } from '../../src/usage/usage-ledger';
import { SMALL, testImage } from '../support/clients/api-client';
import { Berth, TestUser } from '../support/servers/berth';
import { eventually } from '../support/eventually';
import { FakeDaemon } from '../support/fakes/fake-daemon';
import { FakeEngine } from '../support/fakes/fake-engine';
import { leaseAsDead } from '../support/databases/lease-as-dead';
import { openTestDatabase, TestDatabase } from '../support/databases/test-database';

const HOUR = 3_600_000;
const DAY = 24 * HOUR;
const MIB = 2 ** 20;
const LARGER = { memory_mb: 512, cpu_shares: 750, disk_mb: 2048 } as const;
const SERVERS = process.env['TEST_DATABASE'] === 'postgres' ? 2 : 1;

const ENVIRONMENT = {
  INSTANCE_ID: 'usage',
  VOLUME_RETENTION: '30d',
  VOLUME_COPY_IMAGE: testImage(),
  SWEEP_INTERVAL_SECONDS: '3600',
  LIMIT_CHECK_SECONDS: '3600',
};

/** Stands still between what a test does, so that every second that is counted is the test's own. */
class StandingClock extends Clock {
  private at = Date.UTC(2031, 0, 1, 22);

  override now(): Date {
    return new Date(this.at);
  }

  forward(ms: number): void {
    this.at += ms;
  }

  /** To 22:00 of a day on which no test before was. */
  toNewDay(): void {
    this.at = Math.floor(this.at / DAY) * DAY + DAY + 22 * HOUR;
  }
}

type Limits = Readonly<Record<keyof typeof SMALL, number>>;
type Entry = Readonly<Record<string, unknown>>;

/** The same sum in another way: an hour at a time. */
class Expected {
  private readonly days = new Map<string, Record<string, number>>();

  constructor(private readonly clock: StandingClock) {}

  /**
   * Lets so many hours pass, in which these run, these are paused, and the data of these is kept.
   *
   * @param snapshots sizes in MiB
   */
  pass(
    hours: number,
    {
      runs = [],
      paused = [],
      kept = [],
      snapshots = [],
    }: Partial<Record<'runs' | 'paused' | 'kept', readonly Limits[]>> & { snapshots?: readonly number[] },
  ): void {
    for (let hour = 0; hour < hours; hour += 1) {
      const name = this.clock.now().toISOString().slice(0, 10);
      const day = this.days.get(name) ?? { running: 0, memory: 0, cpu: 0, disk: 0, snapshots: 0 };
      this.days.set(name, day);
      for (const { memory_mb, cpu_shares } of runs) {
        day['running'] = (day['running'] ?? 0) + 3600;
        day['memory'] = (day['memory'] ?? 0) + memory_mb * 3600;
        day['cpu'] = (day['cpu'] ?? 0) + cpu_shares * 3600;
      }
      for (const { memory_mb } of paused) day['memory'] = (day['memory'] ?? 0) + memory_mb * 3600;
      for (const { disk_mb } of [...runs, ...paused, ...kept]) day['disk'] = (day['disk'] ?? 0) + disk_mb * 3600;
      for (const mb of snapshots) day['snapshots'] = (day['snapshots'] ?? 0) + mb * 3600;
      this.clock.forward(HOUR);
    }
  }

  get usage(): Entry[] {
    const used = [...this.days].filter(([, { disk, snapshots }]) => disk !== 0 || snapshots !== 0);
    return used.reverse().map(([day, { running, memory, cpu, disk, snapshots }]) => ({
      day,
      running_seconds: running,
      memory_mb_seconds: memory,
      cpu_share_seconds: cpu,
      disk_mb_seconds: disk,
      snapshot_mb_seconds: snapshots,
      preview_bytes: 0,
    }));
  }
}

describe('usage', () => {
  const clock = new StandingClock();
  const daemon = new FakeDaemon();
  const engine = new FakeEngine(daemon);
  let database: TestDatabase;
  let servers: Berth[];
  let berth: Berth;
  let admin: TestUser;
  let user: TestUser;
  let expected: Expected;

  beforeAll(async () => {
    database = await openTestDatabase();
    const start = (its: FakeEngine): Promise<Berth> =>
      Berth.start({ engine: its, clock, database, environment: ENVIRONMENT });
    berth = await start(engine);
    servers = [berth];
    for (let more = 1; more < SERVERS; more += 1) servers.push(await start(new FakeEngine(daemon)));
    admin = await berth.user('pro', ['admin']);
  });

  beforeEach(async () => {
    clock.toNewDay();
    user = await berth.user('enterprise');
    expected = new Expected(clock);
  });

  afterAll(async () => {
    for (const server of servers) await server.stop();
    await database.drop();
    expect(daemon.violations).toEqual([]);
  });

  it('must be memory and CPU while it runs, the disk until the purge, and each to its UTC day', async () => {
    expect(await usage()).toEqual([]);
    const { db_id, name } = await user.api.running();
    expected.pass(3, { runs: [SMALL] });
    await user.api.stop(db_id);
    expected.pass(1, { kept: [SMALL] });
    await user.api.start(db_id);
    expected.pass(1, { runs: [SMALL] });
    expect(await usage()).toEqual(expected.usage);
    await user.api.update(db_id, { name, ...LARGER });
    expected.pass(25, { runs: [LARGER] });
    engine.failOn('containers.create');
    expect((await user.api.update(db_id, { name, ...SMALL })).status).toBe(500);
    expected.pass(1, { runs: [LARGER] });
    await user.api.delete(db_id);
    expected.pass(24, { kept: [LARGER] });
    await user.api.call('POST', `/api/containers/${db_id}/restore`);
    expected.pass(1, { kept: [LARGER] });
    await user.api.update(db_id, { name, ...SMALL, memory_mb: 512 });
    expected.pass(1, { kept: [SMALL] });
    await user.api.start(db_id);
    expected.pass(1, { runs: [{ ...SMALL, memory_mb: 512 }] });
    await user.api.delete(db_id);
    expect(await usage()).toEqual(expected.usage);
    expected.pass(30 * 24, { kept: [SMALL] });
    await berth.app.get(Reconciler).sweepNow();
    expect(daemon.volumes.has(`berth-${db_id}`)).toBe(false);
    clock.forward(5 * DAY);
    expect(await usage(`?from=${dayBefore(60)}`)).toEqual(expected.usage);
  });

  it('must not count a creation, nor one that failed', async () => {
    const hold = engine.holdOn('containers.create');
    const { body } = await user.api.create();
    await hold.reached;
    clock.forward(HOUR);
    expect(await usage()).toEqual([]);
    hold.release();
    await reached(String(body['db_id']), 'running');
    expected.pass(1, { runs: [SMALL] });
    expect(await usage()).toEqual(expected.usage);
    await user.api.delete(String(body['db_id']));
    daemon.startOutcomes.set(testImage(), 'refused');
    const failed = String((await user.api.create()).body['db_id']);
    await reached(failed, 'error');
    daemon.startOutcomes.clear();
    expected.pass(2, { kept: [SMALL] });
    expect(await usage()).toEqual(expected.usage);
    await user.api.start(failed);
    expected.pass(2, { runs: [SMALL], kept: [SMALL] });
    expect(await usage()).toEqual(expected.usage);
  });

  it('must be memory and disk, but no CPU, while it is paused', async () => {
    const { db_id } = await user.api.running();
    expected.pass(1, { runs: [SMALL] });
    for (const verb of ['pause', 'resume', 'pause'] as const) {
      await user.api.call('POST', `/api/containers/${db_id}/${verb}`);
      expected.pass(2, verb === 'pause' ? { paused: [SMALL] } : { runs: [SMALL] });
      expect(await usage()).toEqual(expected.usage);
    }
    await user.api.stop(db_id);
    expected.pass(1, { kept: [SMALL] });
    expect(await usage()).toEqual(expected.usage);
  });

  it('must count what dies, or is started, behind the back by what the container shows', async () => {
    const { db_id, id } = await user.api.running();
    expected.pass(1, { runs: [SMALL] });
    daemon.kill(id);
    await reached(db_id, 'stopped');
    expected.pass(1, { kept: [SMALL] });
    daemon.start(id);
    await reached(db_id, 'running');
    expected.pass(1, { runs: [SMALL] });
    daemon.vanish(id);
    await reached(db_id, 'stopped');
    expected.pass(1, { kept: [SMALL] });
    expect(await usage()).toEqual(expected.usage);
  });

  it('must be counted once where a process dies in a stop, and another takes it up', async () => {
    const { db_id, id } = await user.api.running();
    expected.pass(1, { runs: [SMALL] });
    const repository = berth.app.get(ContainerRepository);
    const row = await repository.findById(db_id);
    if (!row) throw new Error('there is no row');
    await leaseAsDead(berth, row, 'stop');
    daemon.unwatched(() => void daemon.stop(id));
    expected.pass(1, { runs: [SMALL] });
    expect(await usage()).toEqual(expected.usage);
    await Promise.all(servers.map(({ app }) => app.get(Reconciler).sweepNow()));
    await eventually(async () =>
      expect(await repository.findById(db_id)).toMatchObject({ status: 'stopped', operation: null }),
    );
    expected.pass(1, { kept: [SMALL] });
    expect(await usage()).toEqual(expected.usage);
  });

  it('must be the sizes of snapshots from ready until their deletion, also after that of their container', async () => {
    const { db_id } = await user.api.running();
    daemon.write(`berth-${db_id}`, 'precious', 3 * MIB + 1);
    const hold = engine.holdOn('volumes.copy', { call: 2 });
    const made = await user.api.call('POST', `/api/containers/${db_id}/snapshots`, {});
    await hold.reached;
    expected.pass(1, { runs: [SMALL] });
    expect(await usage()).toEqual(expected.usage);
    hold.release();
    const snapshot = `/api/snapshots/${String(made.body['id'])}`;
    expect(await user.api.call('GET', `${snapshot}/wait?timeout=20`)).toMatchObject({ status: 200 });
    const lasting = await taken(db_id);
    expected.pass(3, { runs: [SMALL], snapshots: [4, 4] });
    await user.api.call('PATCH', snapshot, { name: 'renamed' });
    expected.pass(1, { runs: [SMALL], snapshots: [4, 4] });
    expect(await usage()).toEqual(expected.usage);
    await user.api.stop(db_id);
    expect(await user.api.call('DELETE', snapshot)).toMatchObject({ status: 200 });
    expected.pass(25, { kept: [SMALL], snapshots: [4] });
    expect(await usage()).toEqual(expected.usage);
    await user.api.delete(db_id);
    expected.pass(30 * 24, { kept: [SMALL], snapshots: [4] });
    await berth.app.get(Reconciler).sweepNow();
    expect(await user.api.call('GET', `/api/snapshots/${lasting}`)).toMatchObject({ status: 404 });
    clock.forward(5 * DAY);
    expect(await usage(`?from=${dayBefore(60)}`)).toEqual(expected.usage);
  });

  it('must not count the snapshot of a fork', async () => {
    const { db_id } = await user.api.running();
    daemon.write(`berth-${db_id}`, 'precious', 3 * MIB);
    const hold = engine.holdOn('containers.create');
    const forked = await user.api.call('POST', `/api/containers/${db_id}/fork`, { count: 2 });
    await hold.reached;
    expected.pass(1, { runs: [SMALL] });
    expect(await usage()).toEqual(expected.usage);
    hold.release();
    const forks = forked.body['containers'] as { db_id: string }[];
    for (const fork of forks) await reached(fork.db_id, 'running');
    expected.pass(1, { runs: [SMALL, SMALL, SMALL] });
    expect(await usage()).toEqual(expected.usage);
  });

  it('must be counted once where two processes delete a snapshot at once, or one dies in it', async () => {
    const { db_id } = await user.api.running();
    daemon.write(`berth-${db_id}`, 'precious', 3 * MIB);
    const snapshots = [await taken(db_id), await taken(db_id)];
    expected.pass(2, { runs: [SMALL], snapshots: [3, 3] });
    const clients = servers.map((server) => server.as(user).api);
    const deletions = snapshots.flatMap((snapshot) =>
      [...clients, ...clients].map((api) => api.call('DELETE', `/api/snapshots/${snapshot}`)),
    );
    const statuses = (await Promise.all(deletions)).map(({ status }) => status);
    expect(statuses.filter((status) => status === 200)).toHaveLength(2);
    expected.pass(1, { runs: [SMALL] });
    expect(await usage()).toEqual(expected.usage);
  });

  it('must be whole at every moment, whatever several processes write meanwhile', async () => {
    const clients = servers.map((server) => server.as(user).api);
    const made = await Promise.all(Array.from({ length: 6 }, () => user.api.running()));
    const asked = { memory_mb: 256, cpu_shares: 500, disk_mb: 1024 };
    for (let round = 0; round < 4; round += 1) {
      const progress = { isOver: false };
      const changes = made.flatMap(({ db_id, name }, at) =>
        clients.flatMap((api) => [
          (at + round) % 2 ? api.stop(db_id) : api.start(db_id),
          api.update(db_id, { name, ...asked, cpu_shares: 500 + 250 * ((at + round) % 3) }),
          (at + round) % 3 ? api.start(db_id) : api.stop(db_id),
        ]),
      );
      const changing = Promise.all(changes).then(() => (progress.isOver = true));
      let reads = 0;
      for (; !progress.isOver || reads < 5; reads += 1) expect(await usage()).toEqual(expected.usage);
      await changing;
      const { body } = await user.api.call('GET', '/api/containers');
      const listed = body['containers'] as { status: string; resources: Limits }[];
      expect(listed).toHaveLength(6);
      const limitsOf = (status: string): Limits[] =>
        listed.flatMap((each) => (each.status === status ? each.resources : []));
      expected.pass(1, { runs: limitsOf('running'), kept: limitsOf('stopped') });
    }
    expect(await usage()).toEqual(expected.usage);
  });

  it('must be everybody’s to administrators, in pages, and outlive the user', async () => {
    const start = clock.now().toISOString().slice(0, 10);
    const users = [user, await berth.user('enterprise'), await berth.user('enterprise')];
    const made = await Promise.all(users.map(({ api }) => api.running()));
    expected.pass(5, { runs: [SMALL] });
    await users[0]?.api.stop(made[0]?.db_id ?? '');
    expected.pass(24, { runs: [SMALL] });
    const mine = async (id: string): Promise<Entry[]> =>
      (await admin.api.call('GET', `/api/admin/usage?user_id=${id}&from=${start}`)).body['usage'] as Entry[];
    const own = await Promise.all(
      users.map(async ({ id, api }) => {
        const { body } = await api.call('GET', `/api/usage?from=${start}`);
        return (body['usage'] as Entry[]).map((entry) => ({ user_id: id, ...entry }));
      }),
    );
    expect(own[1]).toEqual(expected.usage.map((entry) => ({ user_id: users[1]?.id, ...entry })));
    for (const [at, { id }] of users.entries()) expect(await mine(id)).toEqual(own[at]);
    const found: Entry[] = [];
    for (let next: string | null = ''; next !== null;) {
      const asked = `/api/admin/usage?from=${start}&limit=2${next && `&cursor=${next}`}`;
      const { status, body } = await admin.api.call('GET', asked);
      expect(status).toBe(200);
      const page = body['usage'] as Entry[];
      expect(page.length).toBeLessThanOrEqual(2);
      found.push(...page);
      next = body['next_cursor'] as string | null;
    }
    const ids = users.map(({ id }) => id);
    const key = ({ day, user_id }: Entry): string => `${String(day)} ${String(user_id)}`;
    const keys = found.map(key);
    expect(new Set(keys).size).toBe(keys.length);
    expect(found.map(({ day }) => day)).toEqual(
      found
        .map(({ day }) => String(day))
        .sort()
        .reverse(),
    );
    const theirs = found.filter(({ user_id }) => ids.includes(String(user_id)));
    const byKey = (one: Entry, other: Entry): number => key(one).localeCompare(key(other));
    expect(theirs.sort(byKey)).toEqual(own.flat().sort(byKey));
    await admin.api.call('DELETE', `/api/admin/users/${user.id}`);
    expect(await mine(user.id)).toEqual(own[0]);
  });

  it('must be of the last 31 days, or of at most 366 that are asked for', async () => {
    const { db_id } = await user.api.running();
    expected.pass(24 * 400, { runs: [SMALL] });
    await user.api.stop(db_id);
    clock.forward(-HOUR);
    const all = expected.usage;
    expect(await usage()).toEqual(all.slice(0, 31));
    expect(await usage(`?from=${dayBefore(365)}&to=${dayBefore(0)}`)).toEqual(all.slice(0, 366));
    expect(await usage(`?to=${dayBefore(3)}`)).toEqual(all.slice(3, 34));
    expect(await usage(`?from=${dayBefore(3)}&to=${dayBefore(3)}`)).toEqual(all.slice(3, 4));
    for (const never of ['?from=9999-12-30&to=9999-12-31', '?from=0000-01-01&to=0000-01-02']) {
      expect(await usage(never)).toEqual([]);
    }
    for (const [asked, field] of [
      [`from=${dayBefore(366)}`, 'from'],
      [`from=${dayBefore(1)}&to=${dayBefore(2)}`, 'from'],
      ['from=2031-02-29', 'from'],
      ['from=2031-01', 'from'],
      ['from=1', 'from'],
      ['to=tomorrow', 'to'],
      ['to=2031-01-01T00:00:00Z', 'to'],
      ['to=2031-01-01&to=2031-01-02', 'to'],
      ['days=3', 'days'],
    ] as const) {
      for (const [{ api }, path] of [
        [user, '/api/usage'],
        [admin, '/api/admin/usage'],
      ] as const) {
        const refused = await api.call('GET', `${path}?${asked}`);
        expect([asked, refused.status]).toEqual([asked, 400]);
        expect(refused.body['details']).toEqual([expect.objectContaining({ field })]);
      }
    }
    const refused = await admin.api.call('GET', '/api/admin/usage?user_id=x&cursor=AAAA');
    expect(refused.body['details']).toEqual([expect.objectContaining({ field: 'user_id' })]);
  });

  it('must begin with the next start of a process for what an earlier version beside it has started', async () => {
    const { db_id } = await user.api.running();
    const { manager } = berth.app.get(Database);
    await manager.query(`UPDATE containers SET metered_since = NULL WHERE id = '${db_id}'`);
    clock.forward(HOUR);
    expect(await usage()).toEqual([]);
    await berth.app.get(UsageLedger).onApplicationBootstrap();
    expected.pass(1, { runs: [SMALL] });
    await user.api.stop(db_id);
    expect(await usage()).toEqual(expected.usage);
  });

  it('must be forgotten 400 days later', async () => {
    const { db_id } = await user.api.running();
    expected.pass(1, { runs: [SMALL] });
    await user.api.stop(db_id);
    clock.forward(401 * DAY);
    const retention = berth.app.get(UsageRetention);
    await retention.prune(retention.newestDue());
    const { manager } = berth.app.get(Database);
    expect(await manager.countBy(DailyUsageEntity, { userId: user.id })).toBe(0);
    // What is not settled yet is older than that, too.
    await user.api.start(db_id);
    expect(await manager.countBy(DailyUsageEntity, { userId: user.id })).toBe(400);
  });

  async function usage(range = ''): Promise<Entry[]> {
    const { status, body } = await user.api.call('GET', `/api/usage${range}`);
    expect([status, body]).toEqual([200, { usage: expect.anything() }]);
    return body['usage'] as Entry[];
  }

  /** Makes a snapshot and waits for it. @returns its id */
  async function taken(of: string): Promise<string> {
    const { body } = await user.api.call('POST', `/api/containers/${of}/snapshots`, {});
    const id = String(body['id']);
    expect(await user.api.call('GET', `/api/snapshots/${id}/wait?timeout=20`)).toMatchObject({ status: 200 });
    return id;
  }

  async function reached(id: string, status: string): Promise<void> {
    const { body } = await user.api.call('GET', `/api/containers/${id}/wait?status=${status}&timeout=20`);
    expect(body).toMatchObject({ status });
  }

  function dayBefore(days: number): string {
    return new Date(clock.now().getTime() - days * DAY).toISOString().slice(0, 10);
  }
});
