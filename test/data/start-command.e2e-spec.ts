import { EngineError } from '../../src/engine';
import { ProcessRows } from '../../src/sandbox/processes/process-rows';
import { type Answer, SMALL } from '../support/clients/api-client';
import { Berth, TestUser } from '../support/servers/berth';
import type { EventRecorder } from '../support/clients/socket-client';
import { eventually } from '../support/eventually';
import { FakeDaemon, FakeEngine } from '../support/fakes/fake-engine';
import { openTestDatabase, TestDatabase } from '../support/databases/test-database';

const SERVER = { command: ['sleep', 'secret-argument'], restart: 'on-failure' } as const;
const OTHER = { command: ['sleep', 'other'] };

describe('a start command', () => {
  const daemon = new FakeDaemon();
  const environment = { INSTANCE_ID: 'start-commands' };
  let database: TestDatabase;
  let berths: Berth[];
  let berth: Berth;
  let user: TestUser;
  let events: EventRecorder;

  const begin = (): Promise<Berth> => Berth.start({ engine: new FakeEngine(daemon), database, environment });

  beforeAll(async () => {
    database = await openTestDatabase();
    berths = [await begin()];
    // One alone may use SQLite.
    if (process.env['TEST_DATABASE'] === 'postgres') berths.push(await begin());
    [berth] = berths as [Berth];
  });

  beforeEach(async () => {
    user = await berth.user('enterprise');
    events = await berth.record(user);
    daemon.onExec = () => 0;
  });

  afterAll(async () => {
    await Promise.all(berths.map((each) => each.stop()));
    await database.drop();
  });

  const running = (engineId: string): unknown[] =>
    [...(daemon.programs.get(engineId) ?? [])].map(({ request }) => request.command.at(-1));
  const runningRows = async (id: string): Promise<unknown[]> =>
    (await berth.app.get(ProcessRows).listOf(id)).filter(({ endedAt }) => endedAt === null);
  const patch = (id: string, body: object): Promise<Answer> =>
    user.api.call('PATCH', `/api/containers/${id}/settings`, { name: 'renamed', ...SMALL, ...body });
  const started = (): number => events.types().filter((type) => type === 'process_started').length;
  const ends = (): unknown[] =>
    events.events.flatMap(({ type, data }) => (type === 'process_exited' && 'reason' in data ? data.reason : []));

  it('must run after each start of its container, once, whoever starts it and however many could run it', async () => {
    const { id, db_id } = await user.api.running({ start: SERVER });
    await eventually(() => expect(running(id)).toEqual(['secret-argument']));
    expect((await user.api.get(db_id)).body).toMatchObject({ start: { ...SERVER, ready: null }, ready: null });
    await eventually(async () =>
      expect((await user.api.call('GET', `/api/containers/${db_id}/processes`)).body).toMatchObject({
        processes: [{ program: 'sleep', start: true, status: 'running' }],
      }),
    );
    await user.api.stop(db_id);
    await eventually(() => expect(ends()).toEqual(['container_stopped']));
    await user.api.start(db_id);
    await eventually(() => expect(running(id)).toEqual(['secret-argument']));
    daemon.crash(id);
    daemon.start(id);
    await eventually(() => expect(ends()).toHaveLength(2));
    await eventually(() => expect(running(id)).toEqual(['secret-argument']));
    const resized = await patch(db_id, { memory_mb: 512 });
    expect(resized).toMatchObject({ status: 200, body: { restarted: true } });
    const { id: successor } = (await user.api.get(db_id)).body;
    expect(successor).not.toBe(id);
    await eventually(() => expect(running(String(successor))).toEqual(['secret-argument']));
    await eventually(() => expect(started()).toBe(4));
    expect(JSON.stringify(events.events)).not.toContain('secret-argument');
    await user.api.delete(db_id);
    await eventually(async () => expect(await runningRows(db_id)).toEqual([]));
  });

  it('must make way for another one, and for none, without a new container', async () => {
    const { id, db_id } = await user.api.running({ start: SERVER });
    await eventually(() => expect(running(id)).toEqual(['secret-argument']));
    expect(await patch(db_id, { start: OTHER })).toMatchObject({ status: 200, body: { restarted: false } });
    await eventually(() => expect(running(id)).toEqual(['other']));
    expect((await user.api.get(db_id)).body).toMatchObject({ start: { ...OTHER, restart: 'on-failure', ready: null } });
    // The same again, and what leaves it out, change nothing.
    for (const body of [{ start: OTHER }, {}]) expect((await patch(db_id, body)).status).toBe(200);
    await eventually(() => expect(started()).toBe(2));
    expect((await patch(db_id, { start: null })).status).toBe(200);
    await eventually(() => expect(running(id)).toEqual([]));
    expect((await user.api.get(db_id)).body).toMatchObject({ start: null, ready: null });
    await eventually(async () => expect(await runningRows(db_id)).toEqual([]));
    expect(started()).toBe(2);
    await user.api.delete(db_id);
  });

  it('must be run again where it fails, with a pause, until it succeeds, and never if it says so', async () => {
    const exits = [3, 0, 9, 0];
    const runs: number[] = [];
    daemon.onExec = () => {
      runs.push(performance.now());
      return exits[runs.length - 1] ?? 0;
    };
    const { db_id } = await user.api.running({ start: { command: ['job'] } });
    await events.next('process_exited', { exit_code: 3, start: true });
    await events.next('process_exited', { exit_code: 0 });
    expect(Number(runs[1]) - Number(runs[0])).toBeGreaterThan(900);
    await patch(db_id, { start: { command: ['job'], restart: 'never' } });
    await events.next('process_exited', { exit_code: 9 });
    await user.api.stop(db_id);
    await user.api.start(db_id);
    await eventually(() => expect(runs).toHaveLength(4));
    await user.api.delete(db_id);
  });

  it('must be ready by the word of its command, or not in its time, which the container and an event say', async () => {
    let answers = 2;
    daemon.onExec = ({ command }) => (command[0] === 'check' && (answers -= 1) >= 0 ? 1 : 0);
    const ready = { command: ['check', 'it'], within_seconds: 30 };
    const { db_id, id } = await user.api.running({ start: { ...SERVER, ready } });
    await events.next('container_ready', { db_id });
    expect((await user.api.get(db_id)).body).toMatchObject({ ready: true, start: { ready } });
    expect(answers).toBe(-1);
    // What runs in its place is not ready before it says so itself.
    answers = Infinity;
    await patch(db_id, { start: { ...OTHER, ready: { ...ready, within_seconds: 1 } } });
    await eventually(() => expect(running(id)).toContain('other'));
    expect((await user.api.get(db_id)).body).toMatchObject({ ready: false });
    await events.next('container_not_ready', { db_id, within_seconds: 1 });
    expect((await user.api.get(db_id)).body).toMatchObject({ ready: false });
    await user.api.delete(db_id);
  });

  it('must be ready once its port is listened on, in an image without any program to ask', async () => {
    let open: number[] = [];
    daemon.onListening = () => Promise.resolve(open.map((port) => ({ port, addresses: ['0.0.0.0'] })));
    const looks: string[] = [];
    daemon.onExec = ({ command: [program = ''] }) => {
      looks.push(program);
      throw new EngineError('command_not_started', 'no such program');
    };
    const ready = { port: 8080, within_seconds: 30 };
    const { db_id } = await user.api.running({ start: { ...SERVER, ready } });
    await events.next('process_started', { container_id: db_id });
    open = [80, 18_080];
    expect((await user.api.get(db_id)).body).toMatchObject({ ready: false });
    open = [80, 8080];
    await events.next('container_ready', { db_id });
    expect(looks).toEqual([]);
    daemon.onListening = null;
    await user.api.delete(db_id);
  });

  it('must run on after the death of the process that started it, and be followed by the next one', async () => {
    const { id, db_id } = await user.api.running({ start: { ...SERVER, restart: 'on-failure' } });
    await events.next('process_started', { container_id: db_id });
    await Promise.all(berths.map((each) => each.stop()));
    const [program] = daemon.programs.get(id) ?? [];
    berths = await Promise.all(berths.map(() => begin()));
    [berth] = berths as [Berth];
    events = await berth.record(user, 0);
    user = berth.as(user);
    const list = async (): Promise<Answer> => user.api.call('GET', `/api/containers/${db_id}/processes`);
    expect((await list()).body).toMatchObject({ processes: [{ status: 'running', command: SERVER.command }] });
    expect([...(daemon.programs.get(id) ?? [])]).toEqual([program]);
    program?.kill();
    await events.next('process_exited', { container_id: db_id, start: true, exit_code: 137 });
    // As its policy says.
    await eventually(() => expect(started()).toBe(2));
    expect(events.types()).not.toContain('process_lost');
    await user.api.delete(db_id);
  });

  it('must be a process like any other, whose end by request is final until the next start', async () => {
    daemon.onExec = (program) => {
      program.write('stdout', 'listening\n');
      return new Promise<number>(() => undefined);
    };
    const { db_id } = await user.api.running({ start: { command: ['server'] } });
    const { data } = await events.next('process_started', { program: 'server', container_id: db_id, start: true });
    // Each server process reaches it.
    const own = async (method: string, rest = ''): Promise<Answer> => {
      const path = `/api/containers/${db_id}/processes/${String('id' in data && data.id)}${rest}`;
      const answers = await Promise.all(berths.map((each) => each.as(user).api.call(method, path)));
      const found = answers.find(({ status }) => status === 200);
      if (!found) throw new Error('no server has it');
      return found;
    };
    await eventually(async () =>
      expect((await own('GET', '/output')).body).toMatchObject({ output: [{ data: 'listening\n' }], is_over: false }),
    );
    if (berths.length === 1) {
      expect((await own('DELETE')).status).toBe(200);
      await events.next('process_exited', { reason: 'ended' });
      expect((await own('GET')).body).toMatchObject({ status: 'exited', reason: 'ended', start: true });
      await user.api.stop(db_id);
      events.clear();
      await user.api.start(db_id);
      await events.next('process_started', { program: 'server' });
    }
    await user.api.delete(db_id);
  });

  it('must not be seen by administrators, as it may hold secrets', async () => {
    const { db_id } = await user.api.running({ start: SERVER });
    const { api } = await berth.user('pro', ['admin']);
    const { status, body } = await api.call('GET', `/api/admin/containers?user_id=${user.id}`);
    expect([status, JSON.stringify(body)]).toEqual([200, expect.stringContaining(db_id)]);
    expect(JSON.stringify(body)).not.toContain('secret-argument');
    await user.api.delete(db_id);
  });

  it('must not be set by a token that may not run commands, nor on a tier that lets nobody', async () => {
    const { api } = await berth.user('pro', ['read', 'write']);
    expect(await api.create({ start: SERVER })).toMatchObject({ status: 403 });
    const { db_id } = await api.running();
    for (const start of [SERVER, null]) {
      const refused = await api.call('PATCH', `/api/containers/${db_id}`, { name: 'x', ...SMALL, start });
      expect(refused).toMatchObject({ status: 403, body: { code: 'insufficient_permissions' } });
    }
    await api.delete(db_id);
  });
});
