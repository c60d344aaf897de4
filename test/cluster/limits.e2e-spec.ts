import { AuditRetention } from '../../src/audit/audit-log';
import { TokenService } from '../../src/auth';
import { TokenRetention } from '../../src/auth/token.service';
import { ContainersService } from '../../src/containers';
import { ContainerUsage } from '../../src/containers/access/container-usage';
import { ExpiryWatcher } from '../../src/containers/expiry/expiry-watcher';
import { Database, type Retention } from '../../src/database';
import { EventLog } from '../../src/events';
import { EventRetention } from '../../src/events/log';
import { ApiClient } from '../support/clients/api-client';
import { Berth, TestUser } from '../support/servers/berth';
import { eventually } from '../support/eventually';
import { FakeDaemon } from '../support/fakes/fake-daemon';
import { FakeEngine } from '../support/fakes/fake-engine';
import { TestClock } from '../support/fakes/test-clock';
import { openTestDatabase, TestDatabase } from '../support/databases/test-database';

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
  ])(
    'must be warned of, made and emitted once for each of $many on $tier',
    async ({ tier, many, reason, warnings }) => {
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
    },
  );

  it('must not come for what is idle but for a command, whichever process runs it', async () => {
    const [first, second] = servers;
    if (!first || !second || !engines[0]) throw new Error('no server');
    user = await first.user('enterprise');
    const { db_id } = await user.api.running();
    const hold = engines[0].holdOn('programs.run');
    const caller = { userId: user.id, tier: 'enterprise', sessionExpiresAt: null, boundTo: null };
    const request = { command: ['true'], timeoutMs: HOUR, maxOutputBytes: 1024 };
    const running = first.app.get(ContainersService).exec(caller, db_id, request);
    await hold.reached;
    for (let times = 0; times < 3; times += 1) {
      clock.forward(40 * MINUTE);
      // As its timer does in the process that runs the command.
      await first.app.get(ContainerUsage).noteInProgress();
      await second.app.get(ExpiryWatcher).check();
    }
    hold.release();
    expect(await running).toEqual({ exitCode: 0 });
    expect((await user.api.get(db_id)).body).toMatchObject({ status: 'running' });
    expect(await told('container_stopped')).toEqual([]);
  });

  it("must stop once what is a suspended user's, whose tokens every process refuses at once", async () => {
    const [first, second] = servers;
    if (!first || !second) throw new Error('no server');
    user = await first.user('pro');
    const admin = await second.user('pro', ['admin']);
    const { db_id } = await user.api.running();
    const path = `/api/admin/users/${user.id}`;
    expect((await admin.api.call('PATCH', path, { suspended: true })).status).toBe(200);
    for (const server of servers) expect((await server.as(user).api.get(db_id)).status).toBe(403);
    await lookAtOnce();
    await eventually(async () => {
      expect(await told('container_stopped')).toMatchObject([{ db_id, reason: 'user_suspended' }]);
    });
    // One deletes the user while the other ends the suspension: in either order the user is gone.
    await Promise.all([
      second.as(admin).api.call('DELETE', path),
      first.as(admin).api.call('PATCH', path, { suspended: false }),
    ]);
    for (const server of servers) expect((await server.as(user).api.get(db_id)).status).toBe(401);
    await lookAtOnce();
    await eventually(async () => expect(await told('container_deleted')).toMatchObject([{ reason: 'user_deleted' }]));
  });

  it('must let in one of all guests who come at once under one name in any case, whichever process they come to', async () => {
    const names = ['visitor_1', 'VISITOR_1', 'Visitor_1', 'vISITOR_1'];
    for (const turn of ['a new name', 'the name of a guest whose session is over']) {
      const answers = await Promise.all(
        servers.flatMap(({ url }) =>
          names.map((username) => new ApiClient(url, '').call('POST', '/api/auth/guest', { username })),
        ),
      );
      const outcome = answers.map(({ status }) => status).sort();
      expect([turn, ...outcome]).toEqual([turn, 201, ...Array.from({ length: 11 }, () => 409)]);
      clock.forward(51 * HOUR);
    }
  });

  it('must leave a user no token whose tokens are revoked by one process while others make some', async () => {
    const [first, second, third] = servers;
    if (!first || !second || !third) throw new Error('no server');
    const admin = await second.user('pro', ['admin']);
    for (let turn = 0; turn < 3; turn += 1) {
      user = await first.user('pro');
      const make = (server: Berth): Promise<unknown> =>
        server.as(user).api.call('POST', '/api/tokens', { name: 'late', scopes: ['read'] });
      const revoked = admin.api.call('POST', `/api/admin/users/${user.id}/revoke-tokens`);
      await Promise.all([revoked, ...servers.flatMap((server) => Array.from({ length: 5 }, () => make(server)))]);
      expect((await revoked).status).toBe(200);
      expect(await third.app.get(TokenService).list(user.id)).toEqual([]);
    }
  });

  it.each([
    { what: 'event', of: EventRetention, rows: 'events' },
    { what: 'entry of the audit', of: AuditRetention, rows: 'audit_entries' },
    {
      what: 'token that ended',
      of: TokenRetention,
      rows: 'tokens WHERE COALESCE(revoked_at, expires_at) IS NOT NULL',
    },
  ])('must let them forget each $what once', async ({ of, rows }) => {
    const [first] = servers;
    if (!first) throw new Error('no server');
    const { api } = await first.user('enterprise');
    await api.running();
    const token = await api.call('POST', '/api/tokens', { name: 'brief', scopes: ['read'] });
    expect((await api.call('DELETE', `/api/tokens/${String(token.body['id'])}`)).status).toBe(200);
    const count = async (): Promise<number> => {
      const [row] = await first.app
        .get(Database)
        .manager.query<{ found: string }[]>(`SELECT count(*) AS found FROM ${rows}`);
      return Number(row?.found);
    };
    const due = await count();
    expect(due).toBeGreaterThan(0);
    const pruned = await Promise.all(servers.map(({ app }) => app.get<Retention>(of).prune(clock.now())));
    expect(pruned.reduce((sum, each) => sum + each, 0)).toBe(due);
    expect(await count()).toBe(0);
  });

  async function lookAtOnce(): Promise<void> {
    await Promise.all(servers.map((server) => server.app.get(ExpiryWatcher).check()));
  }

  function stopsAsked(): number {
    return engines.reduce((sum, engine) => sum + engine.callsOf('containers.stop'), 0);
  }

  async function told(type: string): Promise<object[]> {
    const events = await servers[0]?.app.get(EventLog).read({ userId: user.id, after: 0, limit: 10_000 });
    return (events ?? []).filter((event) => event.type === type).map(({ data }) => data);
  }
});

describe('the room on the machine with several processes', () => {
  const daemon = new FakeDaemon();
  let database: TestDatabase;
  let servers: Berth[];

  beforeAll(async () => {
    database = await openTestDatabase();
    const environment = { INSTANCE_ID: 'room', MEMORY_OVERCOMMIT: '2' };
    const engines = Array.from({ length: 3 }, () => new FakeEngine(daemon));
    servers = await Promise.all(engines.map((engine) => Berth.start({ database, engine, environment })));
  });

  afterAll(async () => {
    for (const server of servers) await server.stop();
    await database.drop();
  });

  it('must be given to exactly as many as fit, whichever process is asked to create or start them', async () => {
    // Five of 256 MiB.
    daemon.machine = { memoryMb: 640, cpuShares: null, freeMemoryMb: null, freeDiskMb: null };
    const users = await Promise.all(servers.map((server) => server.user('enterprise')));
    const created = await Promise.all(
      users.flatMap((user) => Array.from({ length: 8 }, async () => ({ user, answer: await user.api.create() }))),
    );
    const accepted = created.filter(({ answer }) => answer.status === 202);
    expect(accepted).toHaveLength(5);
    for (const { user, answer } of accepted) {
      const id = String(answer.body['db_id']);
      const waited = await user.api.call('GET', `/api/containers/${id}/wait?status=running`);
      expect(waited.status).toBe(200);
      expect((await user.api.stop(id)).status).toBe(200);
    }
    const [first] = users;
    for (let more = 0; more < 3; more += 1) await first?.api.running();
    const started = await Promise.all(
      accepted.flatMap(({ user, answer }) =>
        servers.map((server) => server.as(user).api.start(String(answer.body['db_id']))),
      ),
    );
    expect(new Set(started.map(({ status }) => status))).toEqual(new Set([200, 503]));
    expect(daemon.running()).toHaveLength(5);
    const [sum] = await reserved();
    expect(sum).toEqual({ memory_mb: 1280, cpu_shares: 2500 });
  });

  function reserved(): Promise<unknown[]> {
    const [server] = servers;
    if (!server) throw new Error('no server');
    return server.app.get(Database).manager.query('SELECT memory_mb, cpu_shares FROM reserved_capacity');
  }
});
