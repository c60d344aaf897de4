import { AsyncLocalStorage } from 'node:async_hooks';
import { randomInt } from 'node:crypto';
import { ContainersService } from '../../src/containers';
import { ContainerEntity } from '../../src/containers/model/container.entity';
import { Purge, Purged } from '../../src/containers/operations/purge';
import { Database } from '../../src/database';
import { Clock } from '../../src/scheduling/clock';
import { type Answer, type NewContainer } from '../support/clients/api-client';
import { Berth, BerthOptions, TestUser } from '../support/servers/berth';
import { eventually } from '../support/eventually';
import { FakeDaemon } from '../support/fakes/fake-daemon';
import { FakeEngine } from '../support/fakes/fake-engine';
import { SeededRandom } from '../support/seeded-random';
import { TestClock } from '../support/fakes/test-clock';
import { openTestDatabase, TestDatabase } from '../support/databases/test-database';
import { smallestSpec } from '../support/docker/smallest-spec';

const DAY = 24 * 3_600_000;
const SERVERS = process.env['TEST_DATABASE'] === 'postgres' ? 2 : 1;

/** Nobody sweeps but the test, where it does not ask for more. */
const ENVIRONMENT = {
  INSTANCE_ID: 'purge',
  VOLUME_RETENTION: '1d',
  SWEEP_INTERVAL_SECONDS: '3600',
  SHUTDOWN_GRACE_SECONDS: '0',
};

/** What a dead process was at is soon for the next. */
const SHORT_LEASES = { OPERATION_CLAIM_SECONDS: '2' } as const;

/** The moment at which a container's time is over, for as long as a test wants: now it is, now it is not. */
class WaveringClock extends Clock {
  is: 'before' | 'after' | 'wavering' = 'before';

  /** Called each time that somebody asks. */
  onAsked: (() => void) | null = null;

  override now(): Date {
    this.onAsked?.();
    const after = this.is === 'wavering' ? Math.random() < 0.25 : this.is === 'after';
    return new Date(Date.now() + (after ? 2 * DAY : 0));
  }
}

describe('the purge of a deleted container', () => {
  let daemon: FakeDaemon;
  let database: TestDatabase;
  let running: Berth[];

  beforeEach(async () => {
    daemon = new FakeDaemon();
    database = await openTestDatabase();
    running = [];
  });

  afterEach(async () => {
    for (const berth of running) await berth.stop();
    await database.drop();
    expect(daemon.violations).toEqual([]);
  });

  it('must keep the volume until its time is over, and then try until it can be removed', async () => {
    const [clock, engine] = [new TestClock(), new FakeEngine(daemon)];
    const berth = await start({ clock, engine });
    const { api } = await berth.user();
    const { db_id } = await api.running();
    const { db_id: kept } = await api.running();
    await api.delete(db_id);
    expect(await sweep(berth)).toEqual({ purged: 0, failed: 0 });
    clock.forward(DAY + 1000);
    // Somebody's own container has it mounted.
    const owner = { instance: 'foreign', containerId: 'foreign', userId: 'foreign' };
    const guest = daemon.create(
      smallestSpec({
        name: 'foreign',
        volumeName: `berth-${db_id}`,
        owner,
      }),
    );
    expect(await sweep(berth)).toEqual({ purged: 0, failed: 1 });
    engine.failOn('volumes.remove');
    daemon.remove(guest);
    expect(await sweep(berth)).toEqual({ purged: 0, failed: 1 });
    expect(daemon.volumes.has(`berth-${db_id}`)).toBe(true);
    expect(await sweep(berth)).toEqual({ purged: 1, failed: 0 });
    expect(await sweep(berth)).toEqual({ purged: 0, failed: 0 });
    expect([...daemon.volumes.keys()]).toEqual([`berth-${kept}`]);
  });

  it('must be one purge, however many processes are at it', async () => {
    const [clock, engines] = [new TestClock(), [new FakeEngine(daemon), new FakeEngine(daemon)]];
    const servers = await Promise.all(engines.slice(0, SERVERS).map((engine) => start({ clock, engine })));
    const { api } = await first(servers).user('enterprise');
    const made = await Promise.all(Array.from({ length: 6 }, () => api.running()));
    await Promise.all(made.map(({ db_id }) => api.delete(db_id)));
    clock.forward(2 * DAY);
    const sweeps = await Promise.all([...servers, ...servers].map(sweep));
    expect(sweeps.reduce((sum, { purged }) => sum + purged, 0)).toBe(6);
    expect(engines.reduce((sum, engine) => sum + engine.callsOf('volumes.remove'), 0)).toBe(6);
    expect(daemon.volumes.size).toBe(0);
    const { api: operator } = await first(servers).user('pro', ['admin']);
    const { body } = await operator.call('GET', '/api/audit?all=true&action=container.purge');
    const told = (body['entries'] as { container_id: string }[]).map(({ container_id }) => container_id);
    expect(told.sort()).toEqual(made.map(({ db_id }) => db_id).sort());
  });

  it.each(['before', 'after'] as const)(
    'must be finished by the next process where one died %s it removed the volume, and forbid a restore from its first moment',
    async (when) => {
      const [clock, engine] = [new WaveringClock(), new FakeEngine(daemon)];
      const dying = await start({ clock, engine, environment: SHORT_LEASES });
      const user = await dying.user();
      const { db_id } = await user.api.running();
      await user.api.delete(db_id);
      clock.is = 'after';
      const died = engine.dieOn('volumes.remove', { when });
      void sweep(dying);
      await died;
      // Even by a clock that is behind.
      clock.is = 'before';
      expect((await restore(user, db_id)).status).toBe(404);
      await dying.stop();
      running = [];
      const next = await start({ clock, engine: new FakeEngine(daemon), environment: SHORT_LEASES });
      expect((await restore(next.as(user), db_id)).status).toBe(404);
      expect(daemon.volumes.has(`berth-${db_id}`)).toBe(when === 'before');
      clock.is = 'after';
      await eventually(async () => {
        await sweep(next);
        const { manager } = next.app.get(Database);
        const row = await manager.findOneOrFail(ContainerEntity, { where: { id: db_id }, withDeleted: true });
        expect(row.purgedAt).not.toBeNull();
      });
      expect(daemon.volumes.size).toBe(0);
      expect((await restore(next.as(user), db_id)).status).toBe(404);
    },
  );

  it('must end in a container with its data or in none, however it races with a restore', async () => {
    const random = new SeededRandom(randomInt(2 ** 31));
    const clock = new WaveringClock();
    const engines = [new FakeEngine(daemon), new FakeEngine(daemon)].slice(0, SERVERS);
    const servers = await Promise.all(engines.map((engine) => start({ clock, engine })));
    const user = await first(servers).user('enterprise');
    const caller = { userId: user.id, tier: 'enterprise', sessionExpiresAt: null, boundTo: null };
    const outcomes = { restored: 0, purged: 0 };
    const race = async (made: readonly NewContainer[], turn: number): Promise<void> => {
      if (turn % 3 === 0)
        engines[turn % engines.length]?.failOn('volumes.remove', { when: turn % 2 ? 'before' : 'after' });
      // Whoever asks for the time is in the middle of something: so begin the purges, at all points of the restores.
      const purges: Promise<unknown>[] = [];
      // Not as a part of the transaction in which the time is asked for.
      const outside = AsyncLocalStorage.snapshot();
      clock.onAsked = () => {
        if (purges.length >= 8 || random.chance(0.5)) return;
        const { app } = random.pick(servers);
        const { db_id } = random.pick(made);
        // Its place first: it asks for the time, too.
        const place = purges.push(Promise.resolve()) - 1;
        purges[place] = outside(() => app.get(Purge).purge(db_id));
      };
      const restores = made.flatMap(({ db_id, id }) =>
        servers.flatMap(({ app }) =>
          // By the service: what comes through HTTP comes one after the other.
          [db_id, id].map((form) => app.get(ContainersService).restore(caller, form).catch(expectNotFound)),
        ),
      );
      await Promise.all(restores);
      clock.onAsked = null;
      await Promise.all(purges);
    };
    // Each of the outcomes often, or nothing raced.
    for (let round = 0; Math.min(outcomes.restored, outcomes.purged) < 3; round += 1) {
      expect(round).toBeLessThan(20);
      clock.is = 'before';
      const made = await Promise.all(Array.from({ length: 8 }, () => user.api.running()));
      await Promise.all(made.map(({ db_id }) => user.api.delete(db_id)));
      clock.is = 'wavering';
      for (let from = 0; from < made.length; from += 2) await race(made.slice(from, from + 2), from / 2);
      await Promise.all(servers.map(sweep));
      clock.is = 'after';
      for (const server of servers) await eventually(async () => expect((await sweep(server)).failed).toBe(0));
      clock.is = 'before';
      for (const { db_id } of made) {
        const restored = (await user.api.get(db_id)).status === 200;
        expect(daemon.volumes.has(`berth-${db_id}`)).toBe(restored);
        expect((await restore(user, db_id)).status).toBe(restored ? 200 : 404);
        const started = await user.api.start(db_id);
        expect(started.body['volume_kept']).toBe(restored ? true : undefined);
        outcomes[restored ? 'restored' : 'purged'] += 1;
        if (restored) await user.api.delete(db_id);
      }
    }
  }, 300_000);

  async function start({ environment, ...options }: Omit<BerthOptions, 'database'>): Promise<Berth> {
    const berth = await Berth.start({ database, environment: { ...ENVIRONMENT, ...environment }, ...options });
    running.push(berth);
    return berth;
  }
});

function expectNotFound(error: unknown): void {
  expect(error).toMatchObject({ kind: 'container_not_found' });
}

function sweep(berth: Berth): Promise<Purged> {
  return berth.app.get(Purge).sweep(new AbortController().signal);
}

function restore(user: TestUser, id: string): Promise<Answer> {
  return user.api.call('POST', `/api/containers/${id}/restore`);
}

function first(servers: readonly Berth[]): Berth {
  const [berth] = servers;
  if (!berth) throw new Error('no server was started');
  return berth;
}
