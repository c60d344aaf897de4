import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ApiClient, SMALL, testImage } from '../support/clients/api-client';
import { openTestDatabase, type TestDatabase } from '../support/databases/test-database';
import { RealDocker } from '../support/docker/real-docker';
import { eventually } from '../support/eventually';
import { IS_SAMPLE } from '../support/extent';
import { DockerProxy, type Fault } from '../support/faults/docker-proxy';
import { BerthProcess } from '../support/servers/berth-process';

jest.setTimeout(900_000);

const COUNT = 1;
const FAULTS: readonly Fault[] = ['kill_before', 'kill_after'];
/** In a sample, each database has one of the two. */
const faults = IS_SAMPLE ? FAULTS.slice(...(process.env['TEST_DATABASE'] === 'sqlite' ? [1] : [0, 1])) : FAULTS;
type Listed = readonly { readonly db_id: string; readonly id: string; readonly status: string }[];

describe('the death of the process while warm slots', () => {
  const docker = new RealDocker();
  const instance = `test-warm-crash-${String(process.pid)}-${process.env['TEST_DATABASE'] ?? ''}`;
  const folder = mkdtempSync(join(tmpdir(), 'berth-warm-'));
  let database: TestDatabase;
  let proxy: DockerProxy;
  let berth: BerthProcess;
  let token: string;

  beforeAll(async () => {
    const file = join(folder, 'slots.json');
    const slot = { image: testImage(), tier: 'enterprise', ...SMALL, count: COUNT };
    writeFileSync(file, JSON.stringify({ slots: [slot] }));
    database = await openTestDatabase();
    proxy = await DockerProxy.open();
    berth = new BerthProcess({
      DATABASE_URL: database.url,
      INSTANCE_ID: instance,
      DOCKER_HOST: proxy.dockerHost,
      WARM_POOL: file,
      OPERATION_CLAIM_SECONDS: '4',
      SWEEP_INTERVAL_SECONDS: '1',
      ORPHAN_GRACE_SECONDS: '0',
      VOLUME_RETENTION: '0',
      STOP_GRACE_SECONDS: '1',
    });
    await berth.start();
    token = await berth.token(['--user', 'survivor', '--tier', 'enterprise', '--scopes', 'read,write,admin']);
  });

  afterAll(async () => {
    await berth.stop();
    await proxy.close();
    await docker.removeInstance(instance);
    await database.drop();
    rmSync(folder, { recursive: true });
  });

  const api = (): ApiClient => new ApiClient(berth.url, token);
  const owned = async (): Promise<Listed> => (await api().call('GET', '/api/containers')).body['containers'] as Listed;

  /** Every container in Docker is a slot or has its row, and the other way round; nothing is left over. */
  async function settled(): Promise<void> {
    await eventually(
      async () => {
        const { body } = await api().call('GET', '/api/admin/warm');
        expect(body['slots']).toMatchObject([{ ready: COUNT, making: 0, releasing: 0 }]);
        const rows = await owned();
        expect(rows.map(({ status }) => status)).toEqual(rows.map(() => 'running'));
        const listed = await docker.containers(`berth.instance=${instance}`);
        expect(listed).toHaveLength(COUNT + rows.length);
        const ids = listed.map(({ id }) => id);
        for (const { id } of rows) expect(ids).toContain(id);
        expect(await docker.volumes(`berth.instance=${instance}`)).toHaveLength(COUNT + rows.length);
      },
      { timeoutMs: 90_000 },
    );
  }

  /**
   * The calls at which the process dies one after the other, and those that must be among them. Where the pool's own
   * checks make such calls too, each kind is counted by itself.
   */
  const ACTIONS: Readonly<
    Record<
      string,
      { readonly act: () => Promise<unknown>; readonly calls: readonly RegExp[]; readonly steps: readonly RegExp[] }
    >
  > = {
    'are made': {
      act: async () => {
        await api().create();
        await settled();
      },
      calls: [/^POST \/(volumes|containers)\/(create$|:id\/start)/],
      steps: [/^POST \/volumes\/create/, /^POST \/containers\/create/, /^POST \/containers\/:id\/start/],
    },
    'are taken': {
      act: () => api().create(),
      calls: [/^GET \/images\//, /^GET \/containers\/:id\/json/],
      steps: [/^GET \/images\//, /^GET \/containers\/:id\/json/],
    },
    // What follows a release is a slot that is made.
    'are released': {
      act: () => api().call('DELETE', '/api/admin/warm'),
      calls: [/^DELETE |unpause$/],
      steps: [/^DELETE \/containers\/:id/, /^DELETE \/volumes\//],
    },
  };

  describe.each(faults)('(%s)', (fault) => {
    it.each(Object.keys(ACTIONS))(
      '%s must leave no container without an owner, lose none, and give none twice',
      async (what) => {
        const { act, calls, steps } = ACTIONS[what] ?? { act: settled, calls: [], steps: [] };
        const struck: string[] = [];
        for (const call of calls) {
          for (let nth = 1, at: string | null = ''; at !== null; nth += 1) {
            await settled();
            at = await dies({ fault, nth, call }, act);
            if (at !== null) struck.push(at);
            await settled();
            for (const { db_id } of await owned()) expect((await api().delete(db_id)).status).toBe(200);
          }
        }
        for (const step of steps) expect(struck).toContainEqual(expect.stringMatching(step));
      },
    );
  });

  /** @returns the call at which the process was killed; null if the action makes no call of this number */
  async function dies(
    armed: { fault: Fault; nth: number; call: RegExp },
    act: () => Promise<unknown>,
  ): Promise<string | null> {
    const killed = new Promise<void>((resolve) => {
      proxy.arm({ ...armed, onKill: () => void berth.kill().then(resolve) });
    });
    const acted = act().catch(() => undefined);
    await Promise.race([killed, acted]);
    const { struck } = proxy;
    if (struck !== null) await killed;
    proxy.arm(null);
    if (struck !== null) await berth.start();
    return struck;
  }
});
