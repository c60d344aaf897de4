import { ApiClient, type NewContainer } from '../support/clients/api-client';
import { TerminalClient } from '../support/clients/terminal-client';
import { openTestDatabase, type TestDatabase } from '../support/databases/test-database';
import { RealDocker } from '../support/docker/real-docker';
import { eventually } from '../support/eventually';
import { IS_MORE } from '../support/extent';
import { BerthProcess } from '../support/servers/berth-process';

jest.setTimeout(300_000);

/** Eight terminals may be open in a container. */
const CONTAINERS = IS_MORE ? 7 : 2;
/** Shells, and as many processes. */
const PROGRAMS = IS_MORE ? 50 : 14;
/** How long all shells of an idle or busy machine may take to open. */
const OPENED_WITHIN_MS = 60_000;
/** How long the first prompt may take once the server is ready: on an idle machine it takes less than a second. */
const ANSWERS_WITHIN_MS = 5_000;

/** Counts on, with an exit code of its own. */
const COUNTS = 'i=0; while [ ! -e /tmp/over ]; do i=$((i+1)); echo "line $i"; sleep 2; done; exit 5';

describe('shells and processes, when their server is killed', () => {
  const docker = new RealDocker();
  const instance = `test-inside-survival-${String(process.pid)}`;
  let database: TestDatabase;
  let berth: BerthProcess;
  let user: ApiClient;
  let containers: NewContainer[];

  beforeAll(async () => {
    database = await openTestDatabase();
    berth = new BerthProcess({ DATABASE_URL: database.url, INSTANCE_ID: instance, ORPHAN_GRACE_SECONDS: '0' });
    await berth.start();
    user = await berth.user('enterprise');
    containers = [];
    for (let each = 0; each < CONTAINERS; each += 1) containers.push(await user.running());
  });

  afterAll(async () => {
    await berth.stop();
    await database.drop();
    await docker.removeInstance(instance);
  });

  const placeOf = (index: number): NewContainer => {
    const place = containers[index % CONTAINERS];
    if (!place) throw new Error('no container');
    return place;
  };
  const call = (index: number, method: string, path: string, body?: object) =>
    user.call(method, `/api/containers/${placeOf(index).db_id}${path}`, body);
  const outputOf = async (index: number, id: string): Promise<string> => {
    const { body } = await call(index, 'GET', `/processes/${id}/output?limit=1048576`);
    expect(body).toMatchObject({ gap: false });
    return (body as { output: { data: string }[] }).output.map(({ data }) => data).join('');
  };
  const open = (index: number, more: object = {}): TerminalClient =>
    new TerminalClient(user.url, { token: user.token, container: placeOf(index).db_id, ...more });
  const each = Array.from({ length: PROGRAMS }, (_none, index) => index);

  it('must all be there after its restart, with every byte, and answer at once', async () => {
    const processes = await Promise.all(
      each.map(async (index) => {
        const { status, body } = await call(index, 'POST', '/processes', { command: ['sh', '-c', COUNTS] });
        expect(status).toBe(201);
        return String(body['id']);
      }),
    );
    const shells = await Promise.all(each.map((index) => open(index).opened({ timeoutMs: OPENED_WITHIN_MS })));
    await Promise.all(
      shells.map(async (shell, index) => {
        shell.type(`echo "shell-$((${String(index)}+1000))"\n`);
        await shell.says(`shell-${String(index + 1000)}`);
      }),
    );
    const sessions = shells.map(({ session }) => session);
    await berth.kill();
    for (const shell of shells) shell.socket.disconnect();

    await berth.start();
    const ready = performance.now();
    user = new ApiClient(berth.url, user.token);
    const first = await open(0, { session: sessions[0], takeover: true }).opened();
    first.type('echo "back-$((1+1))"\n');
    await first.says('back-2');
    const tookMs = performance.now() - ready;
    process.stderr.write(`first answer after the server was ready: ${tookMs.toFixed(0)} ms\n`);
    expect(tookMs).toBeLessThan(ANSWERS_WITHIN_MS);
    first.socket.disconnect();

    await Promise.all(
      each.map(async (index) => {
        const shell = await open(index, { session: sessions[index], takeover: true }).opened({
          timeoutMs: OPENED_WITHIN_MS,
        });
        expect(shell.attached).toMatchObject({ offset: 0, gap: false });
        await shell.says(`shell-${String(index + 1000)}`);
        shell.type('echo "still-$((40+2))"\n');
        await shell.says('still-42');
        shell.socket.disconnect();
      }),
    );
    await Promise.all(
      containers.map((_container, index) => call(index, 'POST', '/exec', { command: ['touch', '/tmp/over'] })),
    );
    await Promise.all(
      each.map(async (index) => {
        const id = processes[index] ?? '';
        await eventually(async () => {
          expect((await call(index, 'GET', `/processes/${id}`)).body).toMatchObject({
            status: 'exited',
            exit_code: 5,
            reason: 'exited',
          });
        });
        const lines = (await outputOf(index, id)).trimEnd().split('\n');
        expect(lines).toEqual(lines.map((_line, at) => `line ${String(at + 1)}`));
        expect(lines.length).toBeGreaterThan(2);
      }),
    );
    const told: string[] = [];
    for (let after = 0, isOver = false; !isOver;) {
      const { body } = await user.call('GET', `/api/events?limit=100&after=${String(after)}`);
      const { events } = body as { events: { seq: number; type: string }[] };
      told.push(...events.map(({ type }) => type).filter((type) => /^process_(exited|lost)$/.test(type)));
      isOver = events.length === 0;
      after = events.at(-1)?.seq ?? after;
    }
    expect(told).toEqual(Array.from({ length: PROGRAMS }, () => 'process_exited'));
  });
});
