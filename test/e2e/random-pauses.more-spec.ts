import { randomInt } from 'node:crypto';
import { type Answer, ApiClient, LARGER, SMALL } from '../support/clients/api-client';
import { expectSettled } from '../support/databases/expect-settled';
import { openTestDatabase, type TestDatabase } from '../support/databases/test-database';
import { RealDocker } from '../support/docker/real-docker';
import { BerthProcess } from '../support/servers/berth-process';
import { SeededRandom } from '../support/seeded-random';

jest.setTimeout(600_000);

const CONTAINERS = 6;
const OPERATIONS = Number(process.env['BERTH_TEST_OPERATIONS'] ?? 1_000);
/** How often each is done, of 1,000. */
const WEIGHTS = {
  pause: 430,
  resume: 350,
  command: 90,
  stop: 25,
  start: 60,
  resize: 15,
  behind: 20,
  killed: 10,
} as const;
/** What operators do to containers with Docker's own commands. */
const BEHIND = ['pause', 'unpause', 'kill', 'restart'] as const;

/** `BERTH_TEST_SEED` makes the same choices again. */
describe('pauses and resumptions at random under gVisor, among stops, resizes, commands and kills', () => {
  const docker = new RealDocker();
  const instance = `test-pauses-${String(process.pid)}`;
  const seed = Number(process.env['BERTH_TEST_SEED'] ?? randomInt(2 ** 31));
  const random = new SeededRandom(seed);
  let database: TestDatabase;
  let berth: BerthProcess;
  let token: string;
  /** Resolves when the server runs again, if it was killed. */
  let restarting: Promise<void> = Promise.resolve();

  beforeAll(async () => {
    database = await openTestDatabase();
    berth = new BerthProcess({
      DATABASE_URL: database.url,
      INSTANCE_ID: instance,
      OPERATION_WAIT_SECONDS: '60',
      OPERATION_CLAIM_SECONDS: '4',
      SWEEP_INTERVAL_SECONDS: '2',
      ORPHAN_GRACE_SECONDS: '0',
      STOP_GRACE_SECONDS: '1',
    });
    await berth.start();
    token = await berth.token(['--user', 'pauser', '--tier', 'enterprise', '--scopes', 'read,write,exec']);
  });

  afterAll(async () => {
    await berth.stop();
    await docker.removeInstance(instance);
    await database.drop();
  });

  it(`must end in rows, Docker and events that agree (BERTH_TEST_SEED=${String(seed)})`, async () => {
    const made = await Promise.all(Array.from({ length: CONTAINERS }, () => api().running()));
    for (const { id, db_id } of made) await docker.writeData(id, db_id);
    let left = OPERATIONS;
    // Each once, however few operations there are.
    const first = Object.keys(WEIGHTS) as (keyof typeof WEIGHTS)[];
    // One user's requests for each container, so that most meet an idle container; kills come at any time.
    const work = async ({ db_id, name }: { db_id: string; name: string }): Promise<void> => {
      while (left > 0) {
        left -= 1;
        const what = first.pop() ?? random.weighted(WEIGHTS);
        if (what === 'killed') await killServer();
        else if (what === 'behind') await disturb(db_id);
        else await expectAnswer(what, await request(what, { db_id, name }));
      }
    };
    await Promise.all([...made, ...made.slice(0, 2)].map(work));
    await restarting;
    for (const { db_id } of made) {
      await expectSettled(api(), docker, db_id);
      expect(await api().start(db_id)).toMatchObject({ status: 200, body: { status: 'running' } });
      const row = await expectSettled(api(), docker, db_id);
      expect(await docker.readData(String(row?.['id']))).toBe(db_id);
    }
  });

  const api = (): ApiClient => new ApiClient(berth.url, token);

  /** @returns null if the server was killed meanwhile */
  async function request(
    what: Exclude<keyof typeof WEIGHTS, 'behind' | 'killed'>,
    { db_id, name }: { db_id: string; name: string },
  ): Promise<Answer | null> {
    await restarting;
    const asked = (): Promise<Answer> => {
      const path = `/api/containers/${db_id}`;
      if (what === 'resize')
        return api().update(db_id, { name, ...random.pick([SMALL, { ...LARGER, disk_mb: 1024 }]) });
      if (what === 'command') return api().call('POST', `${path}/exec`, { command: ['cat', '/home/user/mark'] });
      return api().call('POST', `${path}/${what}`);
    };
    return asked().catch((error: unknown) => {
      if (error instanceof TypeError) return null;
      throw error;
    });
  }

  /** What a client may be told: done, or that the container does not run, was changed meanwhile or past Berth. */
  async function expectAnswer(what: string, answer: Answer | null): Promise<void> {
    if (answer === null || answer.status === 200) return Promise.resolve();
    const { status, body } = answer;
    const said = `${what}: ${String(status)} ${JSON.stringify(body)}`;
    expect([said, [409, 500].includes(status)]).toEqual([said, true]);
    if (status === 409) expect(['container_not_running', 'container_paused']).toContain(body['code']);
  }

  async function killServer(): Promise<void> {
    await restarting;
    restarting = berth.kill().then(() => berth.start());
    await restarting;
  }

  async function disturb(dbId: string): Promise<void> {
    const how = random.pick(BEHIND);
    for (const { id } of await docker.containersOf(dbId)) {
      const container = docker.docker.getContainer(id);
      // Killing a paused one takes Docker 10 s, and restarting one too.
      const isPaused = how !== 'unpause' && (await docker.inspect(id).catch(() => null))?.State.Paused === true;
      if (!isPaused) await (how === 'restart' ? container.restart({ t: 0 }) : container[how]()).catch(() => undefined);
    }
  }
});
