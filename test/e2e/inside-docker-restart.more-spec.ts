import Database from 'better-sqlite3';
import { ApiClient, type NewContainer, testImage } from '../support/clients/api-client';
import { BerthProcess } from '../support/servers/berth-process';
import { eventually } from '../support/eventually';
import { InsideClients } from '../support/clients/inside-clients';
import { RealDocker } from '../support/docker/real-docker';
import { SecondDocker } from '../support/docker/second-docker';
import { openTestDatabase, type TestDatabase } from '../support/databases/test-database';

jest.setTimeout(240_000);

/** How long a client may be left without a word once Docker has gone. */
const TOLD_WITHIN_MS = 5_000;

/** What each client is told. */
const TOLD = {
  terminal: { code: null, reason: 'lost' },
  websocket: { code: 4003, reason: 'lost' },
  command: { status: 500, code: 'docker_unavailable' },
  'command stream': { name: 'failed', code: 'docker_unavailable' },
  process: { name: 'exit', exit_code: null, reason: 'lost' },
  // It does not know yet whether the container goes on.
  statistics: { late: true },
  upload: { status: 500, code: 'docker_unavailable' },
  download: { by: 'cut' },
};

describe('those who work in containers, when Docker is restarted', () => {
  let second: SecondDocker;
  let gvisor: Readonly<Record<string, unknown>>;
  let database: TestDatabase;
  let berth: BerthProcess;
  let user: ApiClient;
  let container: NewContainer;
  let clients: InsideClients | null = null;

  beforeAll(async () => {
    const { docker } = new RealDocker();
    const { Runtimes } = (await docker.info()) as { Runtimes: Readonly<Record<string, object>> };
    gvisor = { runtimes: { runsc: Runtimes['runsc'] } };
    second = await SecondDocker.start('data', gvisor);
    await second.take(testImage(), docker);
    database = await openTestDatabase();
    berth = new BerthProcess({
      DATABASE_URL: database.url,
      DOCKER_HOST: second.host,
      INSTANCE_ID: 'docker-restart',
      SANDBOX_FIREWALL: 'off',
      DISK_QUOTA: 'off',
      ORPHAN_GRACE_SECONDS: '0',
    });
    await berth.start();
    user = await berth.user();
    container = await user.running();
  });

  afterEach(() => {
    clients?.close();
    clients = null;
  });

  afterAll(async () => {
    await berth.stop();
    await database.drop();
    await second.discard(['data']);
  });

  it.each([
    ['is stopped, with its containers', { signal: 'SIGTERM', liveRestore: false }],
    ['is stopped without them, by live-restore', { signal: 'SIGTERM', liveRestore: true }],
    // The next start stops them.
    ['is killed', { signal: 'SIGKILL', liveRestore: false }],
    ['is killed, and finds its containers running, by live-restore', { signal: 'SIGKILL', liveRestore: true }],
  ] as const)('must be told at once where it %s, and go on afterwards', async (_what, { signal, liveRestore }) => {
    await second.stop();
    await second.startAgain({ ...gvisor, 'live-restore': liveRestore });
    await works();
    clients = await InsideClients.open(user, container);
    await second.stop(signal);
    // Before anybody can ask Docker again.
    expect(await clients.told(TOLD_WITHIN_MS, 'statistics')).toMatchObject(TOLD);

    await second.startAgain();
    const looks = clients.looks();
    await works();
    if (liveRestore) await eventually(() => expect(clients?.looks()).toBeGreaterThan(looks + 1));
    const { statistics } = await clients.told(liveRestore ? 0 : TOLD_WITHIN_MS);
    expect(statistics).toMatchObject(liveRestore ? { late: true } : { name: 'end', reason: 'container_stopped' });
    await eventually(() => expect(programs(database)).toBe(0));
    await eventually(async () =>
      expect(await sh('ps -o args')).not.toMatch(/sleep 700|\/sh -l|LC_ALL=C; export|dd bs=/),
    );
    // Nothing of an upload that was cut off; the file that was downloaded is there if the container is.
    await eventually(async () => expect(await sh('ls -A /tmp')).toBe(liveRestore ? 'large\n' : ''));
    const { process } = clients.ids;
    await eventually(async () => expect(await endsOf(process)).toEqual(['process_lost']));
    await InsideClients.open(user, container).then((again) => again.close());
  });

  it('must have left nothing in their containers by the next start where it is killed together with Docker', async () => {
    await second.stop();
    await second.startAgain({ ...gvisor, 'live-restore': true });
    await works();
    clients = await InsideClients.open(user, container);
    await Promise.all([berth.kill(), second.stop('SIGKILL')]);
    await second.startAgain();
    await berth.start();
    user = new ApiClient(berth.url, user.token);
    await works();
    await eventually(() => expect(programs(database)).toBe(0));
    expect(await sh('ps -o args')).not.toMatch(/sleep 700|\/sh -l|LC_ALL=C; export|dd bs=/);
    expect(await sh('ls -A /tmp')).toBe('large\n');
  });

  it('must have run each of a thousand commands at most once, and lost none, where Docker is killed among them', async () => {
    await second.stop();
    await second.startAgain({ ...gvisor, 'live-restore': true });
    await works();
    const said = new Map<number, unknown>();
    let back = Promise.resolve();
    let next = 0;
    const ask = async (): Promise<void> => {
      while (next < 1_000) {
        const id = next++;
        if (id === 400)
          back = second
            .stop('SIGKILL')
            .then(() => second.startAgain())
            .then(works);
        const { stdout, code } = await run(['sh', '-c', `echo ${String(id)} >>/tmp/ran; echo ${String(id)}`]);
        said.set(id, stdout ?? code);
        if (stdout === undefined) await back;
      }
    };
    await Promise.all(Array.from({ length: 16 }, ask));
    const ran = String(await sh('cat /tmp/ran; rm /tmp/ran'))
      .trim()
      .split('\n')
      .map(Number);
    expect(new Set(ran).size).toBe(ran.length);
    const whole = [...said].flatMap(([id, words]) => (words === `${String(id)}\n` ? [id] : []));
    expect(ran).toEqual(expect.arrayContaining(whole));
    // Those that were running when Docker was killed, or asked for before the others knew.
    const failed = [...said].filter(([id]) => !whole.includes(id));
    expect(failed.length > 32 ? failed : []).toEqual([]);
    await eventually(() => expect(programs(database)).toBe(0));
    // Those that were in use a moment ago are still ending.
    await eventually(async () => {
      const lines = String(await sh('ps -o args')).split('\n');
      expect(lines.filter((line) => line.includes('BERTH_AHEAD')).length).toBeLessThanOrEqual(3);
    });
  });

  /** Of the events about a process, those that tell of its end. */
  async function endsOf(process: string): Promise<unknown[]> {
    const { body } = await user.call('GET', '/api/events?limit=200');
    const events = body['events'] as { type: string; data: { id?: unknown } }[];
    return events.flatMap(({ type, data }) => (data.id === process && type !== 'process_started' ? [type] : []));
  }

  /** Starts the container if it was stopped, and runs something in it. */
  async function works(): Promise<void> {
    await eventually(
      async () => {
        const { body } = await user.get(container.db_id);
        if (body['status'] === 'stopped') await user.start(container.db_id);
        expect(await run(['echo', 'works'])).toMatchObject({ stdout: 'works\n' });
      },
      { timeoutMs: 60_000 },
    );
  }

  async function run(command: readonly string[]): Promise<Readonly<Record<string, unknown>>> {
    return (await user.call('POST', `/api/containers/${container.db_id}/exec`, { command })).body;
  }

  const sh = async (script: string): Promise<unknown> => (await run(['sh', '-c', script]))['stdout'];
});

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
