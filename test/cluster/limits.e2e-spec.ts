import { ExpiryWatcher } from '../../src/containers/expiry/expiry-watcher';
import { EventLog } from '../../src/events';
import { Berth, TestUser } from '../support/berth';
import { eventually } from '../support/eventually';
import { FakeDaemon } from '../support/fake-daemon';
import { FakeEngine } from '../support/fake-engine';
import { TestClock } from '../support/test-clock';
import { openTestDatabase, TestDatabase } from '../support/test-database';

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;

describe('the end of runs with several processes', () => {
  const clock = new TestClock();
  const daemon = new FakeDaemon();
  let database: TestDatabase;
  let engines: FakeEngine[];
  let servers: Berth[];
  let user: TestUser;

  beforeAll(async () => {
    database = await openTestDatabase();
    engines = [new FakeEngine(daemon), new FakeEngine(daemon), new FakeEngine(daemon)];
    const environment = { INSTANCE_ID: 'limits', LIMIT_CHECK_SECONDS: '3600', IDLE_STOP_AFTER: 'enterprise=1h' };
    servers = await Promise.all(engines.map((engine) => Berth.start({ database, engine, clock, environment })));
  });

  afterAll(async () => {
    for (const server of servers) await server.stop();
    await database.drop();
  });

  it.each([
    { tier: 'free', many: 5, reason: 'session_expired', warnings: 5 },
    { tier: 'enterprise', many: 20, reason: 'idle', warnings: 0 },
  ])('must be warned of, made and told once for each of $many on $tier', async ({ tier, many, reason, warnings }) => {
    const [first] = servers;
    if (!first) throw new Error('no server');
    user = await first.user(tier);
    const made = await Promise.all(Array.from({ length: many }, () => user.api.running()));
    const before = stopsAsked();
    clock.forward(50 * HOUR - MINUTE);
    await lookAtOnce();
    clock.forward(MINUTE);
    await lookAtOnce();
    await eventually(async () => expect(await told('container_stopped')).toHaveLength(many));
    await lookAtOnce();
    expect(daemon.running()).toEqual([]);
    expect(await told('container_expiring')).toHaveLength(warnings);
    expect((await told('container_stopped')).map((data) => 'reason' in data && data.reason)).toEqual(
      made.map(() => reason),
    );
    expect(stopsAsked() - before).toBe(many);
  });

  async function lookAtOnce(): Promise<void> {
    await Promise.all(servers.map((server) => server.app.get(ExpiryWatcher).check()));
  }

  function stopsAsked(): number {
    return engines.reduce((sum, engine) => sum + engine.callsOf('stopContainer'), 0);
  }

  async function told(type: string): Promise<object[]> {
    const events = await servers[0]?.app.get(EventLog).read({ userId: user.id, after: 0, limit: 10_000 });
    return (events ?? []).filter((event) => event.type === type).map(({ data }) => data);
  }
});
