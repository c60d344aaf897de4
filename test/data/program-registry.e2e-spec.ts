import type { Logger } from 'pino';
import { ContainersService } from '../../src/containers';
import type { RunningContainer } from '../../src/containers';
import { NodeWatch } from '../../src/containers/nodes/node-watch';
import { LOGGER } from '../../src/logging';
import { ProgramRegistry } from '../../src/sandbox/program-registry';
import { TerminalClient } from '../support/clients/terminal-client';
import { Berth, TestUser } from '../support/servers/berth';
import { eventually } from '../support/eventually';
import { FakeCluster } from '../support/fakes/fake-cluster';
import { FakeDaemon, FakeEngine } from '../support/fakes/fake-engine';
import { TestClock } from '../support/fakes/test-clock';
import { openTestDatabase, TestDatabase } from '../support/databases/test-database';

const LIMIT = { count: 3, error: 'operation_in_progress' } as const;
const SLEEP = { kind: 'process', command: ['/bin/sleep', '9'], limit: LIMIT } as const;

describe('the programs that a process has left on a machine', () => {
  const cluster = new FakeCluster(['one']);
  const [node] = cluster.nodes;
  let database: TestDatabase;
  let berth: Berth;

  beforeAll(async () => {
    database = await openTestDatabase();
  });
  afterAll(async () => {
    await berth.stop();
    await database.drop();
  });

  it('must be tried to be ended ever more seldom while it is silent, said once, until it is given up', async () => {
    if (!node) throw new Error('no node');
    const clock = new TestClock();
    berth = await Berth.start({ engine: cluster.engine(), clock, database, environment: { INSTANCE_ID: 'left' } });
    const operator = await berth.user('pro', ['admin', 'read', 'write']);
    const user = await berth.user('pro', ['read', 'write', 'exec']);
    const events = await berth.record(user);
    const { id, db_id } = await user.api.running();
    const held = berth.app.get(ProgramRegistry);
    const caller = { userId: user.id, tier: 'pro', sessionExpiresAt: null };
    const container = await berth.app.get(ContainersService).inside(caller, id, (one) => Promise.resolve(one));
    const logger = berth.app.get<Logger>(LOGGER);
    const said = [jest.spyOn(logger, 'warn'), jest.spyOn(logger, 'info')];
    const lines = (): string[] =>
      said
        .flatMap(({ mock }) => mock.calls.map((call) => JSON.stringify(call)))
        .filter((line) => line.includes('left behind'));
    const tries = (): number => node.engine.callsOf('programs.end');

    // Its Docker fails, though the machine answers.
    node.engine.failOn('programs.end', { times: 1_000 });
    const left = await Promise.all([1, 2, 3].map(() => held.enter(container, SLEEP)));
    for (const entry of left) held.abandon(entry);
    const began = performance.now();
    await eventually(() => expect(tries()).toBeGreaterThanOrEqual(9));
    // Each at once, after one second and after two more; not every second.
    expect(performance.now() - began).toBeGreaterThan(2_500);
    expect(lines()).toHaveLength(1);
    expect(lines()[0]).not.toMatch(/"stack"|\bat /);

    node.cut();
    clock.forward(20_000);
    await berth.app.get(NodeWatch).look();
    node.engine.forget();
    node.heal();
    await eventually(async () => expect(await held.listOf(db_id, 'process')).toEqual([]));
    await eventually(() => expect(lines()).toHaveLength(2));

    const again = await held.enter(container, SLEEP);
    node.cut();
    const before = tries();
    held.abandon(again);
    await eventually(() => expect(lines()).toHaveLength(3));
    expect(await held.find(db_id, again.id)).not.toBeNull();
    clock.forward(20_000);
    await berth.app.get(NodeWatch).look();
    expect((await operator.api.call('POST', '/api/admin/nodes/one/forget')).status).toBe(200);
    await events.next('process_lost', { id: again.id });
    expect(await held.find(db_id, again.id)).toBeNull();
    expect(held.isAbandoned(again)).toBe(false);
    expect(tries()).toBe(before);
  });
});

describe('the programs that a process holds in containers', () => {
  const daemon = new FakeDaemon();
  const environment = { INSTANCE_ID: 'held-programs' };
  let database: TestDatabase;
  let berth: Berth;
  let user: TestUser;
  let container: RunningContainer;

  beforeAll(async () => {
    database = await openTestDatabase();
    berth = await Berth.start({ engine: new FakeEngine(daemon), database, environment });
    user = await berth.user('pro', ['read', 'write', 'exec']);
    const { id } = await user.api.running();
    const caller = { userId: user.id, tier: 'pro', sessionExpiresAt: null };
    container = await berth.app.get(ContainersService).inside(caller, id, (running) => Promise.resolve(running));
  });

  afterAll(async () => {
    await berth.stop();
    await database.drop();
  });

  it('must be as many as the limit allows, however many are entered at once', async () => {
    const held = berth.app.get(ProgramRegistry);
    const entered = await Promise.allSettled(Array.from({ length: 12 }, () => held.enter(container, SLEEP)));
    const entries = entered.flatMap((each) => (each.status === 'fulfilled' ? [each.value] : []));
    expect(entries).toHaveLength(LIMIT.count);
    expect(await held.listOf(container.id, 'process')).toHaveLength(LIMIT.count);
    expect(await held.listOf(container.id, 'terminal')).toEqual([]);
    await Promise.all(entries.map((entry) => held.leave(entry)));
    expect(await held.listOf(container.id, 'process')).toEqual([]);
  });

  it('must be ended in their container when the process dies, and nothing else', async () => {
    const held = berth.app.get(ProgramRegistry);
    const entry = await held.enter(container, SLEEP);
    expect(held.isOwn(entry)).toBe(true);
    const engine = new FakeEngine(daemon);
    for (const id of [entry.id, 'bystander']) {
      await engine.programs.start(container.dockerId, { command: ['sleep'], id });
    }
    const markers = (): unknown[] => [...(daemon.programs.get(container.dockerId) ?? [])].map((one) => one.request.id);
    await eventually(() => expect(markers()).toEqual([entry.id, 'bystander']));
    await berth.stop();
    berth = await Berth.start({ engine: new FakeEngine(daemon), database, environment });
    await eventually(() => expect(markers()).toEqual(['bystander']));
    await eventually(async () => expect(await berth.app.get(ProgramRegistry).find(container.id, entry.id)).toBeNull());
  });

  it('must be gone for clients of a terminal as soon as its process is dead, and not held by another one', async () => {
    const limit = { count: 8, error: 'too_many_terminals' } as const;
    const entry = await berth.app.get(ProgramRegistry).enter(container, { kind: 'terminal', command: ['sh'], limit });
    await berth.stop();
    // The client comes back before the new process looks for the programs of dead ones.
    const looking = jest.spyOn(ProgramRegistry.prototype, 'onApplicationBootstrap').mockReturnValue(undefined);
    berth = await Berth.start({ engine: new FakeEngine(daemon), database, environment });
    looking.mockRestore();
    await eventually(async () => {
      const client = new TerminalClient(berth.url, { token: user.token, container: container.id, session: entry.id });
      await eventually(() => expect(client.refusal).not.toBeNull());
      expect(client.refusal?.data).toMatchObject({ code: 'terminal_not_found' });
    });
  });
});
