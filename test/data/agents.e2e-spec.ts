import { AgentConnections } from '../../src/agents/agent-connections';
import { SilenceSweep } from '../../src/agents/silence-sweep';
import { TokenService } from '../../src/auth';
import { DomainError } from '../../src/errors';
import { Database } from '../../src/database';
import { AgentClient, agentsOf, NewAgent, newAgent } from '../support/clients/agent-client';
import { answered } from '../support/clients/api-client';
import { Berth, TestUser } from '../support/servers/berth';
import type { EventRecorder } from '../support/clients/socket-client';
import { eventually } from '../support/eventually';
import { FakeEngine } from '../support/fakes/fake-engine';
import { range } from '../support/servers/events-process';
import { TestClock } from '../support/fakes/test-clock';
import { openTestDatabase, TestDatabase } from '../support/databases/test-database';

const SECOND = 1_000;
const UNKNOWN = 'agent:00000000-0000-4000-8000-000000000000';
const SETTINGS = { name: 'renamed', memory_mb: 256, cpu_shares: 500, disk_mb: 1024 };
const STATS = { load: [0.5, 0.25, 0], memory_total_mb: 8000, memory_used_mb: 1234.5, uptime_seconds: 60 };

describe('agents', () => {
  const clock = new TestClock();
  let berth: Berth;
  let user: TestUser;
  let events: EventRecorder;
  let clients: AgentClient[] = [];

  beforeAll(async () => {
    berth = await Berth.start({ engine: new FakeEngine(), clock });
  });

  beforeEach(async () => {
    user = await berth.user();
    events = await berth.record(user);
  });

  afterEach(() => {
    for (const { socket } of clients) socket.close();
    clients = [];
  });

  afterAll(() => berth.stop());

  function open(agent: Pick<NewAgent, 'token'>, auth: Readonly<Record<string, unknown>> = {}): AgentClient {
    const client = new AgentClient(berth.url, agent, auth);
    clients.push(client);
    return client;
  }

  const connect = (agent: NewAgent, auth?: Readonly<Record<string, unknown>>) => open(agent, auth).connected();

  const listed = async (query = '', of = user) =>
    (await of.api.call('GET', `/api/containers${query}`)).body['containers'] as Record<string, unknown>[];

  describe('as their owner makes and finds them', () => {
    it('must not be made with a token that was revoked after the request was let in', async () => {
      const database = berth.app.get(Database);
      const lock = database.runInTxLocking.bind(database);
      let isRevoked = false;
      const spy = jest.spyOn(database, 'runInTxLocking').mockImplementation(async (key, work) => {
        if (key === user.id && !isRevoked) {
          isRevoked = true;
          await berth.app.get(TokenService).revokeAll(user.id);
        }
        return lock(key, work);
      });
      const answer = await user.api.call('POST', '/api/agents', { name: 'late' });
      spy.mockRestore();
      expect([isRevoked, answer.status]).toEqual([true, 401]);
      expect(await berth.app.get(TokenService).list(user.id)).toEqual([]);
    });

    it('must be as described, with a token that is shown once and an id beside those of containers', async () => {
      const facts = { description: 'under the desk', os: 'linux', arch: 'x64', tags: ['gpu', 'site:home'] };
      const answer = await user.api.call('POST', '/api/agents', { name: 'workstation', ...facts });
      expect([answer.status, answer.body]).toEqual([
        201,
        {
          id: expect.stringMatching(/^agent:[0-9a-f-]{36}$/),
          name: 'workstation',
          token: expect.stringMatching(/^berth_[0-9a-f]{64}$/),
        },
      ]);
      const view = {
        id: answer.body['id'],
        type: 'agent',
        name: 'workstation',
        status: 'offline',
        ...facts,
        version: null,
        created_at: expect.any(String),
        connected_at: null,
        last_seen_at: null,
        load: null,
        memory_total_mb: null,
        memory_used_mb: null,
        uptime_seconds: null,
      };
      const all = await user.api.call('GET', '/api/agents');
      expect([all.status, all.body]).toEqual([200, { agents: [view], count: 1, limit: 10 }]);
      expect((await user.api.get(String(answer.body['id']))).body).toEqual(view);
      expect((await user.api.call('GET', '/api/me')).body['usage']).toEqual({ containers: 0, agents: 1 });
      expect(await agentsOf(await berth.user())).toEqual([]);
    });

    it('must be exactly as many as the tier allows, however many are made at once, and make room when deleted', async () => {
      const free = await berth.user('free');
      const make = (n: number) => answered(() => free.api.call('POST', '/api/agents', { name: `agent-${String(n)}` }));
      const answers = await Promise.all(range(1, 10).map(make));
      const refused = answers.filter(({ status }) => status === 403);
      expect(answers.filter(({ status }) => status === 201)).toHaveLength(5);
      expect(refused).toHaveLength(5);
      for (const { body } of refused) {
        const told = { code: 'agent_limit_reached', error: 'agent limit reached', current: 5, limit: 5, tier: 'free' };
        expect(body).toMatchObject(told);
      }
      const tokens = await free.api.call('GET', '/api/tokens');
      expect(tokens.body['count']).toBe(6);
      const [first] = await agentsOf(free);
      await free.api.delete(first?.id ?? '');
      expect((await make(11)).status).toBe(201);
    });

    it('must not share a live name, also when made at once', async () => {
      const make = (of: TestUser) => of.api.call('POST', '/api/agents', { name: 'twin' });
      const answers = await Promise.all([make(user), make(user)]);
      expect(answers.map(({ status }) => status).sort()).toEqual([201, 409]);
      expect(answers.find(({ status }) => status === 409)?.body).toMatchObject({ code: 'agent_name_taken' });
      expect((await make(await berth.user())).status).toBe(201);
      await user.api.delete((await agentsOf(user))[0]?.id ?? '');
      expect((await make(user)).status).toBe(201);
    });

    it('must not be made by guests', async () => {
      const guest = await berth.user('guest');
      const make = () => guest.api.call('POST', '/api/agents', { name: 'mine' });
      expect((await make()).body).toMatchObject({ code: 'agent_limit_reached', limit: 0, tier: 'guest' });
      const session = { sessionExpiresAt: new Date(Date.now() - SECOND) };
      await berth.app.get(Database).manager.update('users', { id: guest.id }, session);
      expect((await make()).body).toMatchObject({ error: 'guest session expired' });
    });
  });

  describe('a connection', () => {
    it('must make the agent online, answer who it is and what is expected of it, and be emitted once', async () => {
      const agent = await newAgent(user, { os: 'plan9', tags: ['gpu'] });
      const client = await connect(agent, { os: 'linux', arch: 'x64', version: '1.0' });
      // At once: connected means online.
      const online = { id: agent.id, type: 'agent', name: agent.name, status: 'online', os: 'linux', arch: 'x64' };
      expect(await listed()).toEqual([expect.objectContaining({ ...online, version: '1.0', tags: ['gpu'] })]);
      await eventually(() => expect(client.told).toHaveLength(1));
      const payloads = [{ id: agent.id, name: agent.name, heartbeat_seconds: 15 }];
      expect(client.told[0]).toEqual({ name: 'welcome', payloads });
      expect((await events.next('agent_connected')).data).toEqual({ ...online, tags: ['gpu'] });
      client.socket.close();
      const told = await events.next('agent_disconnected');
      expect(told.data).toEqual({ ...online, status: 'offline', tags: ['gpu'], reason: 'closed' });
      expect(await listed()).toEqual([]);
      expect(events.events.map(({ type, seq }) => [type, seq])).toEqual([
        ['agent_connected', 1],
        ['agent_disconnected', 2],
      ]);
    });

    it('must be found beside the containers, on the first page, by its name, and not by a status of theirs', async () => {
      const agent = await newAgent(user, { name: 'here' });
      await newAgent(user, { name: 'away' });
      await connect(agent);
      const created = [await user.api.create({ name: 'one' }), await user.api.create({ name: 'two' })];
      const ids = created.map(({ body }) => String(body['db_id'])).reverse();
      const first = (await user.api.call('GET', '/api/containers?limit=1')).body;
      const second = (await user.api.call('GET', `/api/containers?limit=1&cursor=${String(first['next_cursor'])}`))
        .body;
      const idsOf = (containers: unknown) =>
        (containers as Record<string, unknown>[]).map((each) => each['db_id'] ?? each['id']);
      expect(idsOf(first['containers'])).toEqual([ids[0], agent.id]);
      expect(idsOf(second['containers'])).toEqual([ids[1]]);
      const usage = { containers: 2, limit: 10 };
      expect(first).toMatchObject({ count: 2, usage, limit: 10 });
      expect(second).toMatchObject({ count: 1, usage, limit: 10 });
      const named = (await user.api.call('GET', '/api/containers?name=here')).body;
      expect(named).toMatchObject({ count: 1, usage, limit: 10 });
      expect(idsOf(await listed('?name=here'))).toEqual([agent.id]);
      expect(await listed('?name=away')).toEqual([]);
      expect(idsOf(await listed('?status=error'))).toEqual([]);
      expect(await listed('', await berth.user())).toEqual([]);
    });

    it('must be refused before it exists to whoever is no agent', async () => {
      const agent = await newAgent(user);
      const { text: bare } = await berth.app
        .get(TokenService)
        .issue({ userId: user.id, name: 'bare', scopes: ['agent'], expiresAt: null });
      for (const [token, message] of [
        ['', 'unauthorized'],
        [`berth_${'0'.repeat(64)}`, 'unauthorized'],
        [user.token, 'insufficient permissions'],
        [bare, 'insufficient permissions'],
      ] as const) {
        const client = open({ token });
        expect(await client.refused()).toBe(message);
        expect(client.refusals[0]?.data).toEqual({ error: message, code: message.replace(' ', '_') });
      }
      for (const os of ['', 1, null, {}, 'a\nb', 'x'.repeat(65), '<script>']) {
        expect(await open(agent, { os }).refused()).toBe('invalid parameters');
      }
      expect(events.events).toEqual([]);
    });

    it('must be possible with a token that opens nothing else', async () => {
      const agent = await newAgent(user);
      const { api } = berth.as({ ...user, token: agent.token });
      for (const [method, path] of [
        ['GET', '/api/me'],
        ['GET', `/api/containers/${agent.id}`],
        ['POST', `/api/containers/${agent.id}/stop`],
        ['POST', '/api/agents'],
      ] as const) {
        expect((await api.call(method, path)).body).toMatchObject({ code: 'insufficient_permissions' });
      }
      expect(await berth.refusal(agent)).toBe('insufficient permissions');
    });

    it.each([new Error('no database'), new DomainError('database_busy')])(
      'must be retried by a standard client when the server could not decide (%s)',
      async (fault) => {
        const agent = await newAgent(user);
        jest.spyOn(berth.app.get(TokenService), 'verify').mockRejectedValueOnce(fault);
        expect((await connect(agent)).refusals).toEqual([]);
      },
    );

    it('must survive what a hostile agent sends', async () => {
      const client = await connect(await newAgent(user));
      client.socket.emit('heartbeat');
      client.socket.emit('heartbeat', null, null, null);
      client.socket.emit('agent_connected', { seq: 1 }, () => undefined);
      client.socket.emit('[object Object]', JSON.parse('{"__proto__":{"a":1}}'));
      for (const wrong of [
        1,
        'text',
        [],
        { load: 'high' },
        { load: [-1] },
        { load: range(1, 9) },
        { memory_total_mb: '1' },
        { memory_used_mb: -1 },
        { uptime_seconds: 1e300 },
        { load: [null] },
      ]) {
        const told = { error: 'invalid parameters', code: 'invalid_parameters' };
        expect([wrong, await client.heartbeat(wrong)]).toEqual([wrong, told]);
      }
      expect(client.disconnects).toEqual([]);
      client.socket.emit('heartbeat', { long: 'x'.repeat(70_000) });
      await eventually(() => expect(client.disconnects).not.toEqual([]));
      await client.connectedAgain(2);
      expect((await agentsOf(user))[0]).toMatchObject({ status: 'online', load: null });
    });
  });

  describe('a newer connection', () => {
    it('must replace the older, whose end must not make the agent offline', async () => {
      const agent = await newAgent(user);
      const older = await connect(agent);
      const newer = await connect(agent);
      await eventually(() => expect(older.disconnects).toEqual(['io server disconnect']));
      expect(older.told.map(({ name }) => name)).toEqual(['welcome', 'replaced']);
      expect(await newer.heartbeat(STATS)).toEqual({ ok: true });
      expect((await agentsOf(user))[0]).toMatchObject({ status: 'online', load: STATS.load });
      expect(events.types()).toEqual(['agent_connected']);
      newer.socket.close();
      await events.next('agent_disconnected');
      expect(events.types()).toEqual(['agent_connected', 'agent_disconnected']);
    });

    it('must end though that was asked for before it was made', async () => {
      const connections = berth.app.get(AgentConnections);
      const add = jest.spyOn(connections, 'add').mockImplementationOnce((connection) => connection.dismiss());
      const client = open(await newAgent(user));
      await eventually(() => expect(client.disconnects).toEqual(['io server disconnect']));
      expect(add).toHaveBeenCalledTimes(1);
      add.mockRestore();
    });

    it('must be the only one that is left of many made at once', async () => {
      const agent = await newAgent(user);
      const racing = range(1, 8).map(() => open(agent));
      const alive = () => racing.filter(({ socket }) => socket.connected);
      await eventually(() => {
        expect(racing.filter(({ disconnects }) => disconnects.length > 0)).toHaveLength(7);
        expect(alive()).toHaveLength(1);
      });
      expect(await alive()[0]?.heartbeat(STATS)).toEqual({ ok: true });
      expect((await agentsOf(user))[0]).toMatchObject({ status: 'online' });
      expect(events.types()).toEqual(['agent_connected']);
    });
  });

  describe('signs of life', () => {
    it('must be kept as last reported, also when the agent is gone', async () => {
      const agent = await newAgent(user);
      const client = await connect(agent);
      const before = Date.parse((await agentsOf(user))[0]?.last_seen_at ?? '');
      clock.forward(7 * SECOND);
      expect(await client.heartbeat({ ...STATS, of_a_newer_agent: 1 })).toEqual({ ok: true });
      // Sooner than it is worth a write.
      expect(await client.heartbeat({})).toEqual({ ok: true });
      const told = { ...STATS, status: 'online', last_seen_at: expect.any(String) };
      const [view] = await agentsOf(user);
      expect(view).toMatchObject(told);
      expect(Date.parse(view?.last_seen_at ?? '') - before).toBeGreaterThanOrEqual(7 * SECOND);
      client.socket.close();
      await events.next('agent_disconnected');
      expect((await user.api.get(agent.id)).body).toMatchObject({ ...told, status: 'offline' });
    });

    it('must be missed after their time, once, and be possible again', async () => {
      const [silent, lively] = [await newAgent(user), await newAgent(user, { name: 'lively' })];
      const client = await connect(silent);
      const other = await connect(lively);
      await eventually(() => expect(events.types()).toEqual(['agent_connected', 'agent_connected']));
      clock.forward(30 * SECOND);
      await other.heartbeat({});
      await berth.app.get(SilenceSweep).sweep();
      expect(events.types()).toEqual(['agent_connected', 'agent_connected']);
      clock.forward(16 * SECOND);
      await Promise.all(range(1, 3).map(() => berth.app.get(SilenceSweep).sweep()));
      const told = await events.next('agent_disconnected', { id: silent.id });
      expect(told.data).toMatchObject({ reason: 'silent', status: 'offline' });
      // Whoever is there after all comes back by itself.
      await client.connectedAgain(2);
      expect(client.disconnects).toEqual(['transport close']);
      expect(other.disconnects).toEqual([]);
      await eventually(() => expect(events.types().slice(2)).toEqual(['agent_disconnected', 'agent_connected']));
    });

    it('must be missed after their time where the clock was set back since the last one', async () => {
      const [silent, lively] = [await newAgent(user), await newAgent(user, { name: 'lively' })];
      await connect(silent);
      const other = await connect(lively);
      await eventually(() => expect(events.types()).toEqual(['agent_connected', 'agent_connected']));
      clock.forward(-3600 * SECOND);
      const silence = berth.app.get(SilenceSweep);
      await silence.sweep();
      // The next one that is worth a write.
      const start = performance.now();
      const time = jest.spyOn(performance, 'now').mockImplementation(() => start + 46 * SECOND);
      try {
        expect(await other.heartbeat({})).toEqual({ ok: true });
        await silence.sweep();
      } finally {
        time.mockRestore();
      }
      await events.next('agent_disconnected', { id: silent.id });
      expect(other.disconnects).toEqual([]);
      expect(events.types().filter((type) => type === 'agent_disconnected')).toHaveLength(1);
    });
  });

  describe('stop', () => {
    it('must close the connection so that a standard client comes back by itself', async () => {
      const agent = await newAgent(user);
      const client = await connect(agent);
      const answer = await user.api.stop(agent.id);
      const told = { id: agent.id, name: agent.name, status: 'offline' };
      expect([answer.status, answer.body]).toEqual([200, { message: 'agent disconnected', ...told }]);
      await client.connectedAgain(2);
      expect(client.disconnects).toEqual(['transport close']);
      await eventually(() => expect(events.types()).toHaveLength(3));
      expect(events.types()).toEqual(['agent_connected', 'agent_disconnected', 'agent_connected']);
      expect(events.events[1]?.data).toMatchObject({ ...told, reason: 'stopped' });
      client.socket.close();
      await eventually(() => expect(events.types()).toHaveLength(4));
      expect((await user.api.stop(agent.id)).body).toEqual({ message: 'agent was already offline', ...told });
      expect(events.types()).toHaveLength(4);
    });
  });

  describe('delete', () => {
    it('must close the connection so that a standard client stays away, and open nothing to it any more', async () => {
      const agent = await newAgent(user);
      const client = await connect(agent);
      const answer = await user.api.delete(agent.id);
      const told = { id: agent.id, name: agent.name };
      expect([answer.status, answer.body]).toEqual([200, { message: 'agent deleted', ...told }]);
      await eventually(() => expect(client.disconnects).toEqual(['io server disconnect']));
      expect((await events.next('agent_disconnected')).data).toMatchObject({ ...told, reason: 'deleted' });
      client.socket.connect();
      expect(await client.refused()).toBe('unauthorized');
      for (const gone of [user.api.get(agent.id), user.api.stop(agent.id), user.api.delete(agent.id)]) {
        expect((await gone).body).toMatchObject({ code: 'agent_not_found', error: 'agent not found' });
      }
      expect(await agentsOf(user)).toEqual([]);
      const { tokens } = (await user.api.call('GET', '/api/tokens')).body as { tokens: { name: string }[] };
      expect(tokens.map(({ name }) => name)).toEqual(['test']);
      expect(events.types()).toEqual(['agent_connected', 'agent_disconnected']);
    });

    it('must be emitted once of two, and not for an agent that was offline', async () => {
      const agent = await newAgent(user);
      const answers = await Promise.all([user.api.delete(agent.id), user.api.delete(agent.id)]);
      expect(answers.map(({ status }) => status).sort()).toEqual([200, 404]);
      expect(events.types()).toEqual([]);
    });

    it('must work also after the token was revoked by hand, which closes the connection for good', async () => {
      const agent = await newAgent(user);
      const client = await connect(agent);
      const { tokens } = (await user.api.call('GET', '/api/tokens')).body as { tokens: { id: string; name: string }[] };
      const token = tokens.find(({ name }) => name === agent.name);
      expect(token).toMatchObject({ scopes: ['agent'] });
      expect((await user.api.call('DELETE', `/api/tokens/${token?.id ?? ''}`)).status).toBe(200);
      await eventually(() => expect(client.disconnects).toEqual(['io server disconnect']));
      expect((await events.next('agent_disconnected')).data).toMatchObject({ reason: 'closed' });
      expect((await user.api.delete(agent.id)).status).toBe(200);
    });
  });

  it('must not be started, changed, waited for or restored: they are on a machine of their own', async () => {
    const agent = await newAgent(user);
    const stranger = await berth.user();
    for (const [method, path, body] of [
      ['POST', '/start'],
      ['POST', '/restore'],
      ['GET', '/wait?status=running&timeout=0'],
      ['PATCH', '', SETTINGS],
      ['PATCH', '/settings', SETTINGS],
    ] as const) {
      const call = (id: string, of = user) => of.api.call(method, `/api/containers/${id}${path}`, body);
      const answer = await call(agent.id);
      expect([answer.status, answer.body]).toEqual([
        400,
        {
          error: 'invalid parameters',
          code: 'invalid_parameters',
          request_id: expect.any(String),
          details: [{ field: 'id', message: expect.stringContaining('started and configured on its own machine') }],
        },
      ]);
      expect((await call(UNKNOWN)).body).toMatchObject({ code: 'agent_not_found' });
      expect((await call(agent.id, stranger)).body).toMatchObject({ code: 'not_authorized' });
    }
  });
});

describe('the end of a server', () => {
  let database: TestDatabase;
  let client: AgentClient | undefined;
  let running: Berth | undefined;

  beforeEach(async () => {
    database = await openTestDatabase();
  });

  afterEach(async () => {
    client?.socket.close();
    await running?.stop();
    await database.drop();
  });

  const start = async (port = '0') =>
    (running = await Berth.start({ database, engine: new FakeEngine(), environment: { PORT: port } }));

  const stop = async () => {
    const stopping = running;
    running = undefined;
    await stopping?.stop();
  };

  it('must make its agents offline, and let them come back to the next', async () => {
    const first = await start();
    const user = await first.user();
    const agent = await newAgent(user);
    client = await new AgentClient(first.url, agent).connected();
    await stop();
    // Perhaps more than once: it comes back at once, and is not let in any more.
    await eventually(() => expect(new Set(client?.disconnects)).toEqual(new Set(['transport close'])));
    const second = await start(new URL(first.url).port);
    await client.connectedAgain(2);
    const events = await second.record(user, 0);
    await eventually(() =>
      expect(events.types()).toEqual(['agent_connected', 'agent_disconnected', 'agent_connected']),
    );
    expect(events.events[1]?.data).toMatchObject({ reason: 'closed' });
    client.socket.close();
    await eventually(() => expect(events.types()).toHaveLength(4));
    // As a process that was killed leaves it; where it is the only one, there is nobody else whose agent it could be.
    const onSqlite = process.env['TEST_DATABASE'] !== 'postgres';
    const left = await second.app.get(Database).manager.update('agents', { online: false }, { online: onSqlite });
    expect(left.affected).toBe(1);
    await stop();
    const third = await start();
    expect(await agentsOf(third.as(user))).toEqual([expect.objectContaining({ status: 'offline' })]);
  });
});
