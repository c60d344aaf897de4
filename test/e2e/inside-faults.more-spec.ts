import Database from 'better-sqlite3';
import { ApiClient, LARGER, type NewContainer } from '../support/clients/api-client';
import { BerthProcess } from '../support/servers/berth-process';
import { eventually } from '../support/eventually';
import { InsideClients } from '../support/clients/inside-clients';
import { RealDocker } from '../support/docker/real-docker';
import { TerminalClient } from '../support/clients/terminal-client';
import { openTestDatabase, type TestDatabase } from '../support/databases/test-database';

jest.setTimeout(180_000);

/** How long a client may be left without a word. */
const TOLD_WITHIN_MS = 10_000;
/** An idle shell must not hold up a stop: half of the grace that a program which does not end has. */
const STOPPED_WITHIN_MS = 5_000;
/** Of a program that does not end at once: longer than the end of a container is waited for that nobody ends. */
const SLOW_END_SECONDS = 5;
const GUEST_SESSION_SECONDS = 30;
/** Which of them depends on how far the deletion is by then. */
const ENDED: unknown = expect.stringMatching(/^container_not_(running|found)$/);

/** What each client is told of a container that was stopped, by whomever. */
const TOLD_OF_STOP = {
  terminal: { reason: 'container_stopped' },
  websocket: { code: 4003, reason: 'container_stopped' },
  command: { status: 409, code: 'container_not_running' },
  'command stream': { name: 'failed', code: 'container_not_running' },
  process: { name: 'exit', reason: 'container_stopped' },
  statistics: { name: 'end', reason: 'container_stopped' },
  upload: { status: 409, code: 'container_not_running' },
  download: { by: 'cut' },
};

describe('those who work in containers, when something dies under them', () => {
  const docker = new RealDocker();
  const instance = `test-inside-faults-${String(process.pid)}`;
  let database: TestDatabase;
  let berth: BerthProcess;
  let user: ApiClient;
  let container: NewContainer;
  let clients: InsideClients | null = null;

  beforeAll(async () => {
    database = await openTestDatabase();
    berth = new BerthProcess({
      DATABASE_URL: database.url,
      INSTANCE_ID: instance,
      LIMIT_CHECK_SECONDS: '1',
      GUEST_SESSION: `${String(GUEST_SESSION_SECONDS)}s`,
      ORPHAN_GRACE_SECONDS: '0',
    });
    await berth.start();
    user = await berth.user();
    container = await user.running();
  });

  // Whatever has become of it in the test before.
  beforeEach(async () => {
    const { State } = await docker.inspect(container.id).catch(() => ({ State: null }));
    if (State === null) {
      container = await user.running();
      return;
    }
    const status = State.Running ? 'running' : 'stopped';
    await eventually(async () => expect((await user.get(container.db_id)).body['status']).toBe(status));
    if (!State.Running) expect((await user.start(container.db_id)).status).toBe(200);
  });

  afterEach(async () => {
    clients?.close();
    clients = null;
    if (berth.isRunning) return;
    await berth.start();
    user = new ApiClient(berth.url, user.token);
  });

  afterAll(async () => {
    await berth.stop();
    await database.drop();
    await docker.removeInstance(instance);
  });

  const seen = (): Promise<string> => docker.exec(container.id, ['ps', '-o', 'args']);

  it('must find commands ended, and all else as it was, where the server is killed', async () => {
    clients = await InsideClients.open(user, container);
    const flood = await new TerminalClient(user.url, { token: user.token, container: container.id }).opened();
    flood.type('setsid sleep 7101 & while :; do echo flood; done\n');
    await eventually(() => expect(flood.bytes).toBeGreaterThan(2 ** 18));
    await berth.kill();
    const told = await clients.told(TOLD_WITHIN_MS);
    expect(JSON.stringify(told)).not.toContain('late');
    await berth.start();
    user = new ApiClient(berth.url, user.token);
    const { ids } = clients;
    const auth = { token: user.token, container: container.id, session: ids.terminal, takeover: true };
    const back = await new TerminalClient(user.url, auth).opened();
    back.type('echo "back-$((1+1))"\n');
    await back.says('back-2');
    expect(await user.call('GET', `/api/containers/${container.db_id}/processes/${ids.process}`)).toMatchObject({
      status: 200,
      body: { status: 'running' },
    });
    expect(await seen()).toContain('sleep 7101');
    const { body } = await user.call('GET', '/api/events?limit=100');
    expect(JSON.stringify(body)).not.toContain('process_lost');
    expect(await run(user, container, ['echo', 'works'])).toMatchObject({ stdout: 'works\n' });
    expect((await user.stop(container.db_id)).status).toBe(200);
    expect((await user.start(container.db_id)).status).toBe(200);
  });

  it('must be told of a resize', async () => {
    clients = await InsideClients.open(user, container);
    const began = performance.now();
    expect((await user.update(container.db_id, { name: container.name, ...LARGER })).status).toBe(200);
    report('resize', began);
    expect(await clients.told(TOLD_WITHIN_MS)).toMatchObject({
      terminal: { reason: 'container_recreated' },
      websocket: { code: 4003, reason: 'container_recreated' },
      command: { status: 409, code: 'container_not_running' },
      'command stream': { name: 'failed', code: 'container_not_running' },
      process: { name: 'exit', reason: 'container_stopped' },
      // Its row may not know of the new one yet.
      statistics: { name: 'end', reason: expect.stringMatching(/^container_(stopped|recreated)$/) },
      upload: { status: 409, code: 'container_not_running' },
      download: { by: 'cut' },
    });
    container = { ...container, id: String((await user.get(container.db_id)).body['id']) };
  });

  it('must be told of a stop, which no idle shell holds up', async () => {
    const idle = await new TerminalClient(user.url, { token: user.token, container: container.id }).opened();
    idle.type('echo "idle-$((1+1))"\n');
    await idle.says('idle-2');
    const quick = performance.now();
    expect((await user.stop(container.db_id)).status).toBe(200);
    expect(report('stop with an idle shell', quick)).toBeLessThan(STOPPED_WITHIN_MS);
    await eventually(() => expect(idle.exit).toMatchObject({ reason: 'container_stopped' }));
    expect((await user.start(container.db_id)).status).toBe(200);

    clients = await InsideClients.open(user, container);
    const began = performance.now();
    expect((await user.stop(container.db_id)).status).toBe(200);
    report('stop with everything', began);
    expect(await clients.told(TOLD_WITHIN_MS)).toMatchObject(TOLD_OF_STOP);
  });

  it.each([
    ['stop', () => user.stop(container.db_id)],
    ['stop behind Berth’s back', (): Promise<unknown> => docker.docker.getContainer(container.id).stop({ t: 60 })],
  ])('must be told of a %s that has to wait for a program', async (_how, stop: () => Promise<unknown>) => {
    const slow = `trap 'sleep ${String(SLOW_END_SECONDS)}; exit' TERM; while :; do sleep 0.1; done`;
    await docker.exec(container.id, ['sh', '-c', `setsid sh -c "${slow}" </dev/null >/dev/null 2>&1 & echo`]);
    clients = await InsideClients.open(user, container);
    const stopped = stop();
    expect(await clients.told(SLOW_END_SECONDS * 1_000 + TOLD_WITHIN_MS)).toMatchObject({
      ...TOLD_OF_STOP,
      // The supervisor goes on until the last program has ended.
      download: { by: expect.stringMatching(/^(cut|complete)$/) },
    });
    await stopped;
  });

  it('must be told of a container that was killed behind Berth’s back', async () => {
    clients = await InsideClients.open(user, container);
    await docker.docker.getContainer(container.id).kill();
    expect(await clients.told(TOLD_WITHIN_MS)).toMatchObject(TOLD_OF_STOP);
    await eventually(async () => expect((await user.get(container.db_id)).body['status']).toBe('stopped'));
  });

  it('must be detached at once where their token is revoked, and leave nothing that waits for them', async () => {
    const { status, body } = await user.call('POST', '/api/tokens', { name: 'brief', scopes: ['read', 'exec'] });
    expect(status).toBe(201);
    const brief = new ApiClient(user.url, String(body['token']));
    clients = await InsideClients.open(brief, container);
    const began = performance.now();
    expect((await user.call('DELETE', `/api/tokens/${String(body['id'])}`)).status).toBe(200);
    const told = await clients.told(TOLD_WITHIN_MS);
    report('token revoked', began);
    expect(told).toMatchObject({
      terminal: { by: 'io server disconnect' },
      websocket: { code: 4001 },
      command: { status: 401, code: 'unauthorized' },
      'command stream': { name: 'failed', code: 'unauthorized' },
      process: { by: 'complete' },
      statistics: { name: 'end', reason: 'token_ended' },
      upload: { status: 401, code: 'unauthorized' },
      download: { by: 'cut' },
    });
    await eventually(async () => expect(await seen()).not.toMatch(/sleep 700[12]|head -c|cat/));
    // What outlives its client does so here too.
    expect(await seen()).toContain('sleep 7003');
  });

  it('must be told of a deletion', async () => {
    clients = await InsideClients.open(user, container);
    expect((await user.delete(container.db_id)).status).toBe(200);
    expect(await clients.told(TOLD_WITHIN_MS)).toMatchObject({
      terminal: { reason: 'container_deleted' },
      websocket: { code: 4003, reason: 'container_deleted' },
      command: { status: expect.any(Number), code: ENDED },
      'command stream': { name: 'failed', code: ENDED },
      process: { name: 'exit', reason: 'container_stopped' },
      statistics: { name: 'end', reason: expect.stringMatching(/^container_(stopped|deleted)$/) },
      upload: { status: expect.any(Number), code: ENDED },
      download: { by: 'cut' },
    });
    await eventually(() => expect(programs(database)).toBe(0));
  });

  it('must be told of the end of a session', async () => {
    const { body } = await new ApiClient(berth.url, '').call('POST', '/api/auth/guest', { username: 'ada' });
    const guest = new ApiClient(berth.url, String(body['token']));
    clients = await InsideClients.open(guest, await guest.running());
    const ends = Date.parse(String(body['expires_at'])) - Date.now();
    expect(ends).toBeGreaterThan(0);
    const { download: _download, ...told } = TOLD_OF_STOP;
    const terminal = { reason: 'container_stopped', detail: 'session_expired' };
    expect(await clients.told(ends + TOLD_WITHIN_MS)).toMatchObject({ ...told, terminal });
  });
});

async function run(api: ApiClient, { db_id }: NewContainer, command: readonly string[]): Promise<unknown> {
  return (await api.call('POST', `/api/containers/${db_id}/exec`, { command })).body;
}

/** How many processes have not been reported to have ended. */
function programs({ url }: TestDatabase): number {
  const database = new Database(url.replace('sqlite:', ''), { readonly: true });
  try {
    return (
      database.prepare('SELECT count(*) AS count FROM processes WHERE ended_at IS NULL').get() as { count: number }
    ).count;
  } finally {
    database.close();
  }
}

/** @returns how long it took, in milliseconds */
function report(what: string, began: number): number {
  const took = Math.round(performance.now() - began);
  process.stdout.write(`  ${what}: ${String(took)} ms\n`);
  return took;
}
