import { setTimeout as delay } from 'node:timers/promises';
import { ContainersService } from '../../src/containers';
import { ContainerEntity } from '../../src/containers/model/container.entity';
import { Database } from '../../src/database';
import { EngineError } from '../../src/engine';
import type { BerthEvent } from '../../src/events';
import { SMALL } from '../support/clients/api-client';
import { Berth, TestUser } from '../support/servers/berth';
import type { EventRecorder } from '../support/clients/socket-client';
import { eventually } from '../support/eventually';
import { type FakeCommand, FakeDaemon } from '../support/fakes/fake-daemon';
import { FakeEngine } from '../support/fakes/fake-engine';
import { FakeRolePrograms } from '../support/fakes/fake-role-programs';
import { openTestDatabase, TestDatabase } from '../support/databases/test-database';

const LARGER = { memory_mb: 512, cpu_shares: 750, disk_mb: 2048 } as const;

describe('the role of a container', () => {
  let daemon: FakeDaemon;
  let engine: FakeEngine;
  let programs: FakeRolePrograms;
  let berth: Berth;
  let user: TestUser;
  let events: EventRecorder;

  // One server for all but those that need another one: each test has a user of its own.
  beforeAll(async () => {
    daemon = new FakeDaemon();
    engine = new FakeEngine(daemon);
    berth = await start();
  });

  beforeEach(async () => {
    programs = new FakeRolePrograms(daemon);
    engine.calls.length = 0;
    user = await berth.user();
    events = await berth.record(user);
  });

  afterAll(async () => {
    await berth.stop();
    expect(daemon.violations).toEqual([]);
  });

  function start(environment: Record<string, string> = {}, database?: TestDatabase): Promise<Berth> {
    return Berth.start({
      ...(database && { database }),
      engine,
      environment: {
        INSTANCE_ID: 'roles',
        OPERATION_CLAIM_SECONDS: '5',
        SWEEP_INTERVAL_SECONDS: '1',
        ROLE_INSTALL_TIMEOUT: '20s',
        ...environment,
      },
    });
  }

  /** Waits until the row says so. */
  async function becomes(dbId: string, roleStatus: string | null): Promise<Readonly<Record<string, unknown>>> {
    await eventually(async () => expect((await user.api.get(dbId)).body).toMatchObject({ role_status: roleStatus }));
    return (await user.api.get(dbId)).body;
  }

  /** An installation that runs until it is let go of. */
  function held(): { release: () => void; released: (exitCode: number) => Promise<number>; calls: FakeCommand[] } {
    const calls: FakeCommand[] = [];
    let release = (): void => undefined;
    const released = new Promise<void>((resolve) => (release = resolve));
    programs.installation = async (command) => {
      calls.push(command);
      await released;
      return 0;
    };
    return { release, calls, released: (exitCode) => released.then(() => exitCode) };
  }

  it('must be one of the catalogue, and barebone is what no role is', async () => {
    const refused = await user.api.create({ role: 'windows' });
    expect(refused.status).toBe(400);
    expect(refused.body['details']).toEqual([
      {
        field: 'role',
        message: 'must be one of barebone, standard, node, python, go, rust, neovim, devops, overemployed',
      },
    ]);
    const { body } = await user.api.call('GET', '/api/roles');
    expect(body['roles']).toContainEqual({
      name: 'python',
      description: expect.any(String),
      packages: { apt: expect.arrayContaining(['python3']), apk: expect.any(Array), dnf: expect.any(Array) },
      default: false,
    });
    for (const role of ['barebone', undefined, null]) {
      const { db_id } = await user.api.running({ role });
      expect((await user.api.get(db_id)).body).toMatchObject({ role: role ?? null, role_status: null });
    }
    expect(engine.callsOf('programs.run')).toBe(0);
  });

  it('must be installed in the background, with its progress, while the container is used', async () => {
    const told = (): BerthEvent[] =>
      events.events.filter(
        ({ type, data }) => type === 'container_progress' && 'stage' in data && data.stage === 'role',
      );
    let goOn = (): void => undefined;
    const renamed = new Promise<void>((resolve) => (goOn = resolve));
    programs.installation = async ({ write }) => {
      await renamed;
      for (const percent of [10, 60, 20, 90]) {
        // It never falls.
        const then = told().length + (percent === 20 ? 0 : 1);
        await delay(520);
        write('stdout', `dlstatus:1:${String(percent)}.0:Retrieving\nand this is no progress\n`);
        // Too soon after the other.
        write('stdout', `dlstatus:1:${String(percent + 1)}.0:Retrieving\n`);
        await eventually(() => expect(told().length).toBeGreaterThanOrEqual(then));
      }
      return 0;
    };
    const created = await user.api.create({ role: 'python', env: { TOKEN: 'x' } });
    expect(created.body).toMatchObject({ role: 'python', status: 'creating' });
    const dbId = String(created.body['db_id']);
    await events.next('container_progress', { stage: 'role', progress: 0 });
    expect((await user.api.get(dbId)).body).toMatchObject({ status: 'running', role_status: 'installing' });
    expect((await user.api.update(dbId, { name: 'renamed', ...SMALL })).status).toBe(200);
    goOn();
    await events.next('container_progress', { stage: 'role', progress: 100, name: 'renamed' });
    expect(await becomes(dbId, 'installed')).toMatchObject({ name: 'renamed', status: 'running' });
    const progress = told().map(({ data }) => ('progress' in data ? data.progress : NaN));
    expect(progress).toEqual([...new Set(progress)].sort((a, b) => a - b));
    expect(progress.length).toBeGreaterThanOrEqual(4);
    const times = told()
      .slice(0, -1)
      .map(({ timestamp }) => Date.parse(timestamp));
    expect(Math.min(...times.slice(1).map((time, index) => time - (times[index] ?? 0)))).toBeGreaterThan(400);
    const [install] = engine.calls.filter(
      ({ method, arguments: [, request] }) => method === 'programs.run' && isInstall(request),
    );
    expect(install?.arguments[1]).toMatchObject({ user: '0', timeoutMs: 20_000 });
  });

  it('must be installed for others while users have installations that do not end, of which each has a share', async () => {
    const greedy = [await berth.user(), await berth.user()];
    const other = await berth.user();
    let release = (): void => undefined;
    const released = new Promise<void>((resolve) => (release = resolve));
    const users = new Map<string, number>();
    programs.installation = async ({ container }) => {
      const { userId } = container.spec.owner;
      if (userId === other.id) return 0;
      users.set(userId, (users.get(userId) ?? 0) + 1);
      await released;
      return 0;
    };
    const ids: string[] = [];
    for (const { api } of greedy) {
      const made = Array.from({ length: 10 }, () => api.running({ role: 'node' }));
      ids.push(...(await Promise.all(made)).map(({ db_id }) => db_id));
    }
    await eventually(() => expect(programs.begun.length).toBeGreaterThanOrEqual(8));
    const { db_id } = await other.api.running({ role: 'node' });
    await eventually(async () => expect((await other.api.get(db_id)).body).toMatchObject({ role_status: 'installed' }));
    expect([...users.values()]).toEqual([4, 4]);
    release();
    for (const { api } of greedy) {
      await eventually(async () => {
        const { containers } = (await api.call('GET', '/api/containers?limit=100')).body as {
          containers: { role_status: string }[];
        };
        expect(containers.map((each) => each.role_status)).toEqual(Array.from({ length: 10 }, () => 'installed'));
      });
    }
    expect(programs.begun).toHaveLength(ids.length + 1);
  });

  it("must be installed without the variables of the container, which are the user's", async () => {
    const seen: Readonly<Record<string, string>>[] = [];
    programs.installation = ({ env }) => {
      seen.push(env);
      return 0;
    };
    const env = { LD_PRELOAD: '/home/user/hook.so', APT_CONFIG: '/home/user/apt.conf', PATH: '/home/user', HOME: '/x' };
    const { db_id } = await user.api.running({ role: 'node', env });
    await becomes(db_id, 'installed');
    expect(seen).toEqual([
      {
        HOME: '/root',
        LC_ALL: 'C',
        TERM: 'dumb',
      },
    ]);
    const requests = engine.calls
      .filter(({ method }) => method === 'programs.run')
      .map((call) => call.arguments[1] as object);
    for (const request of requests) {
      expect(request).toMatchObject({ id: expect.stringMatching(/^role-./) as unknown });
    }
    await user.api.call('POST', `/api/containers/${db_id}/exec`, { command: ['true'] });
  });

  it('must not be installed where it is there already', async () => {
    daemon.onExec = ({ command }) => (command[3] === 'berth-role-probe' ? 0 : 1);
    const { db_id } = await user.api.running({ role: 'node' });
    await becomes(db_id, 'installed');
    expect(engine.callsOf('programs.run')).toBe(1);
    await events.next('container_started', { db_id });
    expect(events.types()).toEqual(['container_created', 'container_started']);
  });

  it('must be installed all the same where an earlier attempt that still runs has put its programs there', async () => {
    const run = daemon.onExec;
    daemon.onExec = (command) => {
      if (command.command[3] !== 'berth-role-probe' || programs.begun.length > 0) return run(command);
      // Of a server that died.
      const earlier = { command: ['sleep', '1000'], id: 'role-earlier' };
      return engine.programs.start(command.container.engineId, earlier).then(() => 0);
    };
    const { id, db_id } = await user.api.running({ role: 'node' });
    await becomes(db_id, 'installed');
    expect(programs.begun).toEqual([id]);
    expect(daemon.programs.get(id)?.size ?? 0).toBe(0);
  });

  it('must leave the container running where it fails, say why without secrets, and be tried again at the next start', async () => {
    programs.installation = ({ write }) => {
      write(
        'stderr',
        'E: Unable to locate package python3 from http://me:geheim@mirror.example/ with hunter2\u001b[0m\n',
      );
      return 1;
    };
    const { db_id } = await user.api.running({ role: 'python', env: { SECRET: 'hunter2' } });
    const { data } = await events.next('container_error', { db_id });
    expect(data).toMatchObject({
      reason: 'role_failed',
      status: 'running',
      message: 'the packages could not be installed',
      output: 'E: Unable to locate package python3 from http://***@mirror.example/ with ***',
    });
    expect(await becomes(db_id, 'failed')).toMatchObject({ status: 'running', status_reason: null });
    programs.installation = () => 0;
    // Nobody started it: a start of what runs is none, and neither is the end of a process in it.
    await user.api.start(db_id);
    daemon.crash(String((await user.api.get(db_id)).body['id']));
    await eventually(() => expect(events.types().filter((type) => type === 'container_started')).toHaveLength(2));
    expect(await becomes(db_id, 'failed')).toMatchObject({ status: 'running' });
    await user.api.stop(db_id);
    await user.api.start(db_id);
    await becomes(db_id, 'installed');
  });

  it.each<[string, number, string]>([
    ['a known package manager', 64, 'the image has none of apt, apk and dnf'],
    ['packages for it', 65, "the role has no packages for the image's distribution"],
  ])('must say that an image is without %s', async (_what, exitCode, message) => {
    programs.installation = () => exitCode;
    await user.api.running({ role: 'go' });
    expect((await events.next('container_error')).data).toMatchObject({ reason: 'role_failed', message });
  });

  it.each<[string, EngineError['code'], string, string]>([
    ['has no shell', 'command_not_started', 'the image has no shell to install with', 'running'],
    ['has a shell that floods', 'output_too_large', "the image's shell produces endless output", 'running'],
    ['has one that only its container ends', 'output_endless', 'the container was stopped', 'stopped'],
  ])('must fail without a word of Docker where the image %s', async (_what, code, message, status) => {
    engine.failOn('programs.run', { error: new EngineError(code, 'OCI runtime exec failed: exec: "sh"') });
    const { db_id } = await user.api.running({ role: 'go' });
    const { data } = await events.next('container_error', { db_id });
    expect(data).toMatchObject({ reason: 'role_failed', message: expect.stringContaining(message) });
    expect(JSON.stringify(data)).not.toMatch(/OCI|exec/);
    await eventually(async () => expect((await user.api.get(db_id)).body).toMatchObject({ status }));
    expect((await user.api.get(db_id)).body).toMatchObject({ role_status: 'failed' });
  });

  it('must be cut off where the installation says too much', async () => {
    programs.installation = async ({ write, killed }) => {
      for (let mebibytes = 0; mebibytes < 20; mebibytes += 1) write('stderr', 'x'.repeat(2 ** 20));
      await new Promise((resolve) => killed.addEventListener('abort', resolve));
      return 137;
    };
    const { db_id, id } = await user.api.running({ role: 'go' });
    const { data } = await events.next('container_error', { db_id });
    expect(data).toMatchObject({ message: 'the installation produced endless output', status: 'running' });
    await eventually(() => expect(programs.runningIn(id)).toBe(0));
  });

  it('must be given up where its shell never answers, and what hangs be ended', async () => {
    const silent = { times: 3, error: new EngineError('timed_out', 'the command did not end') };
    engine.failOn('programs.run', silent);
    const { db_id } = await user.api.running({ role: 'go' });
    const { data } = await events.next('container_error', { db_id });
    expect(data).toMatchObject({ message: "the image's shell does not respond", status: 'running' });
  });

  it('must not fail for what an operation did to its container, but start over', async () => {
    const first = held();
    programs.installation = (command) => (first.calls.push(command), first.released(1));
    const { db_id, id } = await user.api.running({ role: 'node' });
    await eventually(() => expect(first.calls).toHaveLength(1));
    const stopping = engine.holdOn('containers.stop', { when: 'after' });
    programs.installation = () => 0;
    const resized = user.api.update(db_id, { name: 'x', ...LARGER });
    await stopping.reached;
    first.release();
    await eventually(() => expect(engine.execsRunning).toBe(0));
    stopping.release();
    expect((await resized).status).toBe(200);
    const replaced = await becomes(db_id, 'installed');
    expect(replaced['id']).not.toBe(id);
    expect(events.types()).not.toContain('container_error');
  });

  it('must not fail where an operation began when the attempt had just failed', async () => {
    const first = held();
    programs.installation = (command) => (first.calls.push(command), first.released(1));
    const { db_id } = await user.api.running({ role: 'node' });
    await eventually(() => expect(first.calls).toHaveLength(1));
    const creating = engine.holdOn('containers.create');
    programs.installation = () => 0;
    const resized = user.api.update(db_id, { name: 'x', ...LARGER });
    await creating.reached;
    first.release();
    await eventually(async () => expect((await user.api.get(db_id)).body).toMatchObject({ role_status: 'pending' }));
    creating.release();
    expect((await resized).status).toBe(200);
    await becomes(db_id, 'installed');
    expect(events.types()).not.toContain('container_error');
  });

  it('must be given up, and its program ended, when it takes too long', async () => {
    const hasty = await start({ ROLE_INSTALL_TIMEOUT: '1s', INSTANCE_ID: 'hasty' });
    try {
      const someone = await hasty.user();
      const told = await hasty.record(someone);
      held();
      const { db_id, id } = await someone.api.running({ role: 'rust' });
      const { data } = await told.next('container_error', { db_id });
      expect(data).toMatchObject({ message: 'the installation did not finish within 1 s', status: 'running' });
      expect(programs.runningIn(id)).toBe(0);
      expect((await someone.api.get(db_id)).body).toMatchObject({ status: 'running', role_status: 'failed' });
    } finally {
      await hasty.stop();
    }
  });

  it('must be installed again in every new Docker container', async () => {
    const { db_id, id } = await user.api.running({ role: 'node' });
    await becomes(db_id, 'installed');
    const resized = await user.api.update(db_id, { name: 'x', ...LARGER });
    expect(resized.status).toBe(200);
    await eventually(() => expect(programs.begun).toHaveLength(2));
    const second = String((await becomes(db_id, 'installed'))['id']);
    daemon.vanish(second);
    await eventually(async () => expect((await user.api.get(db_id)).body).toMatchObject({ status: 'stopped' }));
    expect((await user.api.start(db_id)).body).toMatchObject({ recreated: true });
    const third = String((await becomes(db_id, 'installed'))['id']);
    expect(programs.begun).toEqual([id, second, third]);
    await user.api.stop(db_id);
    expect((await user.api.update(db_id, { name: 'x', ...SMALL })).body).toMatchObject({ restarted: false });
    expect(await becomes(db_id, 'pending')).toMatchObject({ status: 'stopped' });
    await user.api.start(db_id);
    await becomes(db_id, 'installed');
    // A resize that is taken back leaves what was there.
    engine.failOn('containers.create');
    expect((await user.api.update(db_id, { name: 'x', ...LARGER })).status).toBe(500);
    expect((await user.api.get(db_id)).body).toMatchObject({ role_status: 'installed' });
    expect(programs.begun).toHaveLength(4);
  });

  it('must go on when the container runs next, where it was stopped in the middle', async () => {
    const first = held();
    const { db_id } = await user.api.running({ role: 'devops' });
    await eventually(() => expect(first.calls).toHaveLength(1));
    expect((await user.api.stop(db_id)).status).toBe(200);
    expect((await user.api.get(db_id)).body).toMatchObject({ status: 'stopped', role_status: 'pending' });
    programs.installation = () => 0;
    await user.api.start(db_id);
    await becomes(db_id, 'installed');
    expect(events.types().filter((type) => type === 'container_error')).toEqual([]);
  });

  it('must be for the new container alone, where a resize came in the middle', async () => {
    const first = held();
    const { db_id } = await user.api.running({ role: 'node' });
    await eventually(() => expect(first.calls).toHaveLength(1));
    programs.installation = () => 0;
    const { body } = await user.api.update(db_id, { name: 'x', ...LARGER });
    const { id } = await becomes(db_id, 'installed');
    expect(body).toMatchObject({ restarted: true, container: { id } });
    first.release();
    expect(programs.begun.slice(1)).toEqual([id]);
    await events.next('container_updated', { db_id });
    expect(events.types()).toEqual(['container_created', 'container_started', 'container_updated']);
  });

  it('must not keep a container from being deleted', async () => {
    const { calls, release } = held();
    const { db_id } = await user.api.running({ role: 'node' });
    await eventually(() => expect(calls).toHaveLength(1));
    expect((await user.api.delete(db_id)).status).toBe(200);
    release();
    await events.next('container_deleted');
    expect(daemon.running(db_id)).toEqual([]);
    const after = events.events.length;
    await eventually(async () => expect(await openRoles()).toBe(0));
    expect(events.events.slice(after)).toEqual([]);
  });

  it.each<[string, number | null]>([
    ['that has failed with it', 1],
    ['that was cut off', 137],
    ['that still runs it', null],
  ])('must not be written of by a process %s and that lost it to another', async (_what, exitCode) => {
    const first = held();
    if (exitCode !== null) programs.installation = (command) => (first.calls.push(command), first.released(exitCode));
    const { db_id, id } = await user.api.running({ role: 'node' });
    await eventually(() => expect(first.calls).toHaveLength(1));
    const other = { roleClaimId: 'of-another', roleClaimExpiresAt: new Date(Date.now() + 3_600_000) };
    await database().manager.update(ContainerEntity, { id: db_id }, other);
    if (exitCode !== null) first.release();
    // Its exec has ended, or was given up at the next renewal.
    await eventually(() => expect(engine.execsRunning).toBe(0));
    await user.api.update(db_id, { name: 'a-write-that-comes-later', ...SMALL });
    expect((await user.api.get(db_id)).body).toMatchObject({ role_status: 'installing' });
    expect(events.types().filter((type) => type === 'container_error')).toEqual([]);
    // The other one dies too, and is not heard of any more.
    programs.installation = () => 0;
    await database().manager.update(ContainerEntity, { id: db_id }, { roleClaimExpiresAt: new Date(0) });
    await becomes(db_id, 'installed');
    expect(programs.begun).toEqual([id, id]);
    expect(programs.runningIn(id)).toBe(0);
  });

  it('must be left to the next server by one that ends', async () => {
    const database = await openTestDatabase();
    const first = await start({ INSTANCE_ID: 'ending' }, database);
    const someone = await first.user();
    const { calls } = held();
    const { db_id } = await someone.api.running({ role: 'node' });
    await eventually(() => expect(calls).toHaveLength(1));
    programs.installation = () => 0;
    await first.stop();
    const next = await start({ INSTANCE_ID: 'ending' }, database);
    try {
      const { api } = next.as(someone);
      await eventually(async () => expect((await api.get(db_id)).body).toMatchObject({ role_status: 'installed' }));
      expect(programs.begun).toHaveLength(2);
    } finally {
      await next.stop();
      await database.drop();
    }
  });

  it('must be given up where the container ends under every attempt, and not for one that Docker did not answer', async () => {
    engine.failOn('programs.run', { error: new EngineError('docker_unavailable', 'no answer') });
    let attempts = 0;
    programs.installation = ({ container }) => {
      attempts += 1;
      // The kernel ends the sandbox for its memory; Docker starts it again.
      daemon.oom(container.engineId);
      return 0;
    };
    const { db_id } = await user.api.running({ role: 'rust' });
    const { data } = await events.next('container_error', { db_id });
    expect(data).toMatchObject({ reason: 'role_failed', message: expect.stringContaining('too little memory') });
    expect(await becomes(db_id, 'failed')).toMatchObject({ status: 'running' });
    expect(attempts).toBe(3);
  });

  it('must let other modules run commands in what runs, and of its owner alone', async () => {
    const { db_id } = await user.api.running();
    const service = berth.app.get(ContainersService);
    const caller = { userId: user.id, tier: 'pro', sessionExpiresAt: null, boundTo: null };
    const chunks: string[] = [];
    const request = {
      command: ['echo', 'hello'],
      timeoutMs: 5_000,
      maxOutputBytes: 1_024,
      onOutput: ({ data }: { data: Buffer }) => void chunks.push(data.toString()),
    };
    expect(await service.exec(caller, db_id, request)).toEqual({ exitCode: 0 });
    expect(chunks).toEqual(['echo hello\n']);
    const stranger = { ...caller, userId: (await berth.user()).id };
    await expect(service.exec(stranger, db_id, request)).rejects.toMatchObject({ kind: 'not_authorized' });
    Object.assign(daemon.running(db_id)[0] ?? {}, { state: 'exited' });
    await expect(service.exec(caller, db_id, request)).rejects.toMatchObject({ kind: 'container_not_running' });
    await expect(service.exec({ ...caller, sessionExpiresAt: new Date(0) }, db_id, request)).rejects.toMatchObject({
      kind: 'guest_session_expired',
    });
  });

  function database(): Database {
    return berth.app.get(Database);
  }

  async function openRoles(): Promise<number> {
    return database()
      .manager.createQueryBuilder(ContainerEntity, 'c')
      .where('c.roleClaimId IS NOT NULL')
      .withDeleted()
      .getCount();
  }
});

function isInstall(request: unknown): boolean {
  return (request as { command: string[] }).command[3] === 'berth-role-install';
}
