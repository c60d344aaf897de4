import { ContainersService } from '../../src/containers';
import type { RunningContainer } from '../../src/containers';
import { HeldPrograms } from '../../src/sandbox/held-programs';
import { Berth, TestUser } from '../support/berth';
import { eventually } from '../support/eventually';
import { FakeDaemon, FakeEngine } from '../support/fake-engine';
import { openTestDatabase, TestDatabase } from '../support/test-database';

const LIMIT = { count: 3, error: 'operation_in_progress' } as const;
const SLEEP = { kind: 'process', command: ['/bin/sleep', '9'], limit: LIMIT } as const;

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
    user = await berth.user();
    const { id } = await user.api.running();
    const caller = { userId: user.id, tier: 'pro', sessionExpiresAt: null };
    container = await berth.app.get(ContainersService).inside(caller, id, (running) => Promise.resolve(running));
  });

  afterAll(async () => {
    await berth.stop();
    await database.drop();
  });

  it('must be as many as the limit allows, however many are entered at once', async () => {
    const held = berth.app.get(HeldPrograms);
    const entered = await Promise.allSettled(Array.from({ length: 12 }, () => held.enter(container, SLEEP)));
    const entries = entered.flatMap((each) => (each.status === 'fulfilled' ? [each.value] : []));
    expect(entries).toHaveLength(LIMIT.count);
    expect(await held.listOf(container.id, 'process')).toHaveLength(LIMIT.count);
    expect(await held.listOf(container.id, 'terminal')).toEqual([]);
    await Promise.all(entries.map((entry) => held.leave(entry)));
    expect(await held.listOf(container.id, 'process')).toEqual([]);
  });

  it('must be ended in their container when the process dies, and nothing else', async () => {
    const held = berth.app.get(HeldPrograms);
    const entry = await held.enter(container, SLEEP);
    expect(held.isOwn(entry)).toBe(true);
    const engine = new FakeEngine(daemon);
    for (const marker of [entry.id, 'bystander']) {
      await engine.startProcess(container.dockerId, { command: ['sleep'], marker });
    }
    const markers = (): unknown[] =>
      [...(daemon.programs.get(container.dockerId) ?? [])].map((one) => one.request.marker);
    await eventually(() => expect(markers()).toEqual([entry.id, 'bystander']));
    await berth.stop();
    berth = await Berth.start({ engine: new FakeEngine(daemon), database, environment });
    await eventually(() => expect(markers()).toEqual(['bystander']));
    await eventually(async () => expect(await berth.app.get(HeldPrograms).find(container.id, entry.id)).toBeNull());
  });
});
