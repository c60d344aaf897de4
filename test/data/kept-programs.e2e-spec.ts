import { randomUUID } from 'node:crypto';
import { EngineError } from '../../src/engine';
import type { Answer } from '../support/clients/api-client';
import { EventRecorder } from '../support/clients/socket-client';
import { TerminalClient } from '../support/clients/terminal-client';
import { openTestDatabase, TestDatabase } from '../support/databases/test-database';
import { eventually } from '../support/eventually';
import { FakeDaemon, FakeEngine, type FakeProgram } from '../support/fakes/fake-engine';
import { Berth, TestUser } from '../support/servers/berth';

describe('programs that outlive the server', () => {
  const daemon = new FakeDaemon();
  const environment = { INSTANCE_ID: 'kept-programs' };
  let database: TestDatabase;
  let engine: FakeEngine;
  let berth: Berth;
  let user: TestUser;
  let events: EventRecorder;
  let container: { id: string; db_id: string };

  const begin = (): Promise<Berth> => {
    engine = new FakeEngine(daemon);
    return Berth.start({ engine, database, environment });
  };
  const call = (method: string, path: string, body?: object): Promise<Answer> =>
    user.api.call(method, `/api/containers/${container.db_id}${path}`, body);
  const restart = async (meanwhile: () => void = () => undefined): Promise<void> => {
    await berth.stop();
    meanwhile();
    berth = await begin();
    user = berth.as(user);
    events = await berth.record(user, 0);
  };
  const running = (): FakeProgram[] => [...(daemon.programs.get(container.id) ?? [])];
  const started = async (command: readonly string[]): Promise<string> => {
    const { status, body } = await call('POST', '/processes', { command });
    expect(status).toBe(201);
    return String(body['id']);
  };
  const terminal = (more: object = {}): TerminalClient =>
    new TerminalClient(berth.url, { token: user.token, container: container.db_id, ...more });
  const endsOf = (id: string): unknown[] =>
    events.events.filter(({ type, data }) => /^process_(exited|lost)$/.test(type) && 'id' in data && data.id === id);

  beforeAll(async () => {
    database = await openTestDatabase();
    berth = await begin();
  });

  beforeEach(async () => {
    user = await berth.user('pro', ['read', 'write', 'exec']);
    container = await user.api.running();
    events = await berth.record(user);
    daemon.onProgram = async (program) => {
      for await (const chunk of program.stdin) program.write('stdout', `<${String(chunk)}>`);
      return 7;
    };
  });

  afterAll(async () => {
    await berth.stop();
    await database.drop();
  });

  it('must be there after a restart with all of their output, and take input: processes', async () => {
    const id = await started(['job', '--secret']);
    const [program] = running();
    program?.write('stdout', 'before ');
    await restart(() => program?.write('stderr', 'meanwhile '));
    expect((await call('GET', '/processes')).body).toMatchObject({
      processes: [{ id, command: ['job', '--secret'], status: 'running', output_bytes: 17 }],
    });
    expect((await call('POST', `/processes/${id}/stdin`, { data: 'hello', close: true })).status).toBe(200);
    await events.next('process_exited', { id, exit_code: 7, reason: 'exited' });
    expect((await call('GET', `/processes/${id}/output`)).body).toMatchObject({
      output: [
        { stream: 'stdout', offset: 0, data: 'before ' },
        { stream: 'stderr', offset: 7, data: 'meanwhile ' },
        { stream: 'stdout', offset: 17, data: '<hello>' },
      ],
      next: 24,
      gap: false,
      is_over: true,
    });
    await restart();
    await events.next('process_exited', { id });
    expect(endsOf(id)).toHaveLength(1);
    expect((await call('GET', `/processes/${id}`)).body).toMatchObject({ exit_code: 7, reason: 'exited' });
    expect((await call('DELETE', `/processes/${id}`)).status).toBe(200);
    expect((await call('GET', '/processes')).body).toMatchObject({ count: 0 });
    await eventually(() => expect(daemon.listPrograms(container.id)).toEqual([]));
  });

  it('must have their ends reported once, with their codes, where no server saw them', async () => {
    daemon.onProgram = (program) => new Promise((resolve) => program.stdin.once('end', () => resolve(3)).resume());
    const id = await started(['job']);
    const [program] = running();
    await restart(() => program?.stdin.end());
    await events.next('process_exited', { id, exit_code: 3 });
    await restart();
    await events.next('process_exited', { id });
    expect(endsOf(id)).toHaveLength(1);
  });

  it('must be reported as lost, once, only where their container ended and no server saw it', async () => {
    const id = await started(['job']);
    await restart(() => daemon.crash(container.id));
    await events.next('process_lost', { id });
    await restart();
    await events.next('process_lost', { id });
    expect(endsOf(id)).toHaveLength(1);
    expect((await call('GET', `/processes/${id}/output`)).body).toMatchObject({ output: [], gap: true, is_over: true });
  });

  it('must be there after a restart with their last screen: terminals', async () => {
    const first = terminal();
    await eventually(() => expect(first.attached).not.toBeNull());
    const session = String(first.attached?.session);
    const [shell] = running();
    shell?.write('stdout', 'prompt> ');
    await eventually(() => expect(first.text).toBe('prompt> '));
    await restart(() => shell?.write('stdout', 'more '));
    expect([first.exit, first.disconnects]).toEqual([null, ['transport close']]);
    expect((await call('GET', '/terminals')).body).toMatchObject({ terminals: [{ id: session, clients: 0 }] });
    // It comes back by itself.
    const again = terminal({ session, after: first.end, takeover: true });
    await eventually(() => expect(again.attached).not.toBeNull());
    expect(again.attached).toMatchObject({ session, offset: 8, gap: false, role: 'writer' });
    again.socket.emit('input', 'ls');
    await eventually(() => expect(again.text).toBe('more <ls>'));
    // Another one sees the whole screen.
    const other = terminal({ session });
    await eventually(() => expect(other.text).toBe('prompt> more <ls>'));
    expect(other.attached?.role).toBe('watcher');
    shell?.stdin.end();
    await eventually(() =>
      expect([again.exit, other.exit]).toEqual([7, 7].map((code) => ({ code, reason: 'exited' }))),
    );
    await eventually(() => expect(daemon.listPrograms(container.id)).toEqual([]));
  });

  it('must be refused where the sandbox has as many programs as it may have: terminals', async () => {
    engine.failOn('programs.start', { error: new EngineError('too_many', 'too many programs') });
    const refused = terminal();
    await eventually(() => expect(refused.refusal?.data).toMatchObject({ code: 'too_many_terminals' }));
  });

  it('must tell a client how its terminal ended while no server ran', async () => {
    const first = terminal();
    await eventually(() => expect(first.attached).not.toBeNull());
    const session = String(first.attached?.session);
    const [shell] = running();
    await restart(() => {
      shell?.write('stdout', 'bye');
      shell?.stdin.end();
    });
    const again = terminal({ session, after: 0 });
    await eventually(() => expect(again.exit).toEqual({ code: 7, reason: 'exited' }));
    expect(again.text).toBe('bye');
  });

  it('must not be shown, and must be ended, where Berth has not started them', async () => {
    const id = await started(['own']);
    const { owner = '' } = daemon.listPrograms(container.id)[0] ?? {};
    const other = await user.api.running();
    const engine = new FakeEngine(daemon);
    const forged = { command: ['forged'], kept: true } as const;
    for (const claim of ['', '{"kind":"terminal"}', owner, `${owner}x`]) {
      await engine.programs.start(container.id, { ...forged, id: randomUUID(), owner: claim });
    }
    await engine.programs.start(other.id, { ...forged, id, owner });
    expect((await call('GET', '/processes')).body).toMatchObject({ processes: [{ id }], count: 1 });
    expect((await call('GET', '/terminals')).body).toEqual({ terminals: [] });
    expect((await user.api.call('GET', `/api/containers/${other.db_id}/terminals`)).body).toEqual({ terminals: [] });
    await eventually(() => expect(daemon.listPrograms(container.id).map((each) => each.id)).toEqual([id]));
    await eventually(() => expect(daemon.listPrograms(other.id)).toEqual([]));
  });
});
