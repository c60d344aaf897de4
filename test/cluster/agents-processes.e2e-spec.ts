import { AgentEntity } from '../../src/agents/agent.entity';
import { Database } from '../../src/database';
import { AgentClient, agentsOf, NewAgent, newAgent } from '../support/clients/agent-client';
import { Berth, TestUser } from '../support/servers/berth';
import { BerthProcess } from '../support/servers/berth-process';
import { eventually } from '../support/eventually';
import { FakeDaemon } from '../support/fakes/fake-daemon';
import { FakeEngine } from '../support/fakes/fake-engine';
import { openTestDatabase, TestDatabase, testRedisUrl } from '../support/databases/test-database';

jest.setTimeout(180_000);

describe('agents of several processes', () => {
  let database: TestDatabase;
  let clients: AgentClient[] = [];

  beforeAll(async () => {
    database = await openTestDatabase();
  });

  afterEach(() => {
    for (const { socket } of clients) socket.close();
    clients = [];
  });

  afterAll(() => database.drop());

  async function connect(berth: { url: string }, agent: NewAgent): Promise<AgentClient> {
    const client = new AgentClient(berth.url, agent);
    clients.push(client);
    return client.connected();
  }

  // Without Redis the process that holds a connection learns at its next heartbeat that it is over.
  describe.each<[string, () => Record<string, string>, (holder: AgentClient) => Promise<unknown>]>([
    ['with Redis', () => ({ REDIS_URL: testRedisUrl() }), () => Promise.resolve()],
    ['without Redis', () => ({}), (holder) => holder.heartbeat({}).catch(() => undefined)],
  ])('%s', (_what, environment, beat) => {
    let here: Berth;
    let there: Berth;
    let user: TestUser;
    let agent: NewAgent;

    beforeAll(async () => {
      const daemon = new FakeDaemon();
      const options = () => ({ database, engine: new FakeEngine(daemon), environment: environment() });
      [here, there] = await Promise.all([Berth.start(options()), Berth.start(options())]);
    });

    beforeEach(async () => {
      user = await here.user();
      agent = await newAgent(user);
    });

    afterAll(() => Promise.all([here.stop(), there.stop()]));

    it('must be stopped through any of them, and come back by themselves', async () => {
      const client = await connect(here, agent);
      const events = await here.record(user, 0);
      expect((await there.as(user).api.stop(agent.id)).body).toMatchObject({ message: 'agent disconnected' });
      await beat(client);
      await client.connectedAgain(2);
      expect(client.disconnects).toEqual(['transport close']);
      await events.next('agent_disconnected', { reason: 'stopped' });
      await eventually(() =>
        expect(events.types()).toEqual(['agent_connected', 'agent_disconnected', 'agent_connected']),
      );
    });

    it('must be deleted through any of them, and stay away', async () => {
      const client = await connect(here, agent);
      expect((await there.as(user).api.delete(agent.id)).status).toBe(200);
      await beat(client);
      await eventually(() => expect(client.disconnects).toEqual(['io server disconnect']));
    });

    it('must have one connection: a newer one elsewhere closes the older, whose end changes nothing', async () => {
      const older = await connect(here, agent);
      const newer = await connect(there, agent);
      await beat(older);
      await eventually(() => expect(older.disconnects).toEqual(['io server disconnect']));
      expect(await newer.heartbeat({ load: [1] })).toEqual({ ok: true });
      expect(await agentsOf(user)).toEqual([expect.objectContaining({ status: 'online', load: [1] })]);
      const events = await here.record(user, 0);
      newer.socket.close();
      await events.next('agent_disconnected');
      expect(events.types()).toEqual(['agent_connected', 'agent_disconnected']);
    });

    it('must have one connection left of many made at once everywhere', async () => {
      const racing = Array.from({ length: 8 }, (_, index) => new AgentClient((index % 2 ? here : there).url, agent));
      clients.push(...racing);
      await eventually(async () => {
        const alive = racing.filter(({ socket }) => socket.connected);
        await Promise.all(alive.map(beat));
        expect(alive).toHaveLength(1);
        expect(racing.flatMap(({ refusals }) => refusals)).toEqual([]);
        expect(racing.filter(({ disconnects }) => disconnects.length > 0)).toHaveLength(7);
      });
      expect(await agentsOf(user)).toEqual([expect.objectContaining({ status: 'online' })]);
      const events = await here.record(user, 0);
      await eventually(() => expect(events.types()).toEqual(['agent_connected']));
    });
  });

  it('must be found silent by the others when the process that they were connected to is killed', async () => {
    const survivors = await Promise.all([1, 2].map(() => Berth.start({ database, engine: new FakeEngine() })));
    const [berth] = survivors as [Berth, Berth];
    const killed = new BerthProcess({ DATABASE_URL: database.url, INSTANCE_ID: 'test-agents-killed' });
    try {
      await killed.start();
      const user = await berth.user();
      const events = await berth.record(user);
      const [lost, kept] = [await newAgent(user), await newAgent(user, { name: 'kept' })];
      await connect(killed, lost);
      await connect(berth, kept);
      await killed.kill();
      // So time passes without a sign of life.
      const { affected } = await berth.app
        .get(Database)
        .manager.update(AgentEntity, { id: lost.id.replace('agent:', '') }, { seenAt: new Date(0) });
      expect(affected).toBe(1);
      const told = await events.next('agent_disconnected');
      expect(told.data).toMatchObject({ id: lost.id, reason: 'silent', status: 'offline' });
      expect((await berth.as(user).api.get(kept.id)).body).toMatchObject({ status: 'online' });
      await connect(berth, lost);
      await events.next('agent_connected', { id: lost.id });
      expect(events.types().filter((type) => type === 'agent_disconnected')).toHaveLength(1);
    } finally {
      await killed.kill();
      await Promise.all(survivors.map((each) => each.stop()));
    }
  });
});
