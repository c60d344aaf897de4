import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { SMALL, testImage } from '../support/clients/api-client';
import { eventually } from '../support/eventually';
import { IS_SAMPLE } from '../support/extent';
import type { Fault } from '../support/faults/docker-proxy';
import { MortalServer } from '../support/servers/mortal-server';

jest.setTimeout(900_000);

const COUNT = 1;
/** In a sample, each database has one of the two. */
const SAMPLED: readonly Fault[] = [process.env['TEST_DATABASE'] === 'sqlite' ? 'kill_after' : 'kill_before'];
const FAULTS: readonly Fault[] = IS_SAMPLE ? SAMPLED : ['kill_before', 'kill_after'];
type Listed = readonly { readonly db_id: string; readonly id: string; readonly status: string }[];

describe('the death of the process while warm slots', () => {
  const folder = mkdtempSync(join(tmpdir(), 'berth-warm-'));
  let server: MortalServer;

  beforeAll(async () => {
    const file = join(folder, 'slots.json');
    const slot = { image: testImage(), tier: 'enterprise', ...SMALL, count: COUNT };
    writeFileSync(file, JSON.stringify({ slots: [slot] }));
    server = await MortalServer.start('warm-crash', {
      environment: { WARM_POOL: file, VOLUME_RETENTION: '0' },
      scopes: 'read,write,admin',
    });
  });

  afterAll(async () => {
    await server.stop();
    rmSync(folder, { recursive: true });
  });

  const owned = async (): Promise<Listed> =>
    (await server.api.call('GET', '/api/containers')).body['containers'] as Listed;

  /** Every container in Docker is a slot or has its row, and the other way round; nothing is left over. */
  async function settled(): Promise<void> {
    const label = `berth.instance=${server.instance}`;
    await eventually(
      async () => {
        const { body } = await server.api.call('GET', '/api/admin/warm');
        expect(body['slots']).toMatchObject([{ ready: COUNT, making: 0, releasing: 0 }]);
        const rows = await owned();
        expect(rows.map(({ status }) => status)).toEqual(rows.map(() => 'running'));
        const listed = await server.docker.containers(label);
        expect(listed).toHaveLength(COUNT + rows.length);
        const ids = listed.map(({ id }) => id);
        for (const { id } of rows) expect(ids).toContain(id);
        expect(await server.docker.volumes(label)).toHaveLength(COUNT + rows.length);
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
        await server.api.create();
        await settled();
      },
      calls: [/^POST \/(volumes|containers)\/(create$|:id\/start)/],
      steps: [/^POST \/volumes\/create/, /^POST \/containers\/create/, /^POST \/containers\/:id\/start/],
    },
    'are taken': {
      act: () => server.api.create(),
      calls: [/^GET \/images\//, /^GET \/containers\/:id\/json/],
      steps: [/^GET \/images\//, /^GET \/containers\/:id\/json/],
    },
    // What follows a release is a slot that is made.
    'are released': {
      act: () => server.api.call('DELETE', '/api/admin/warm'),
      calls: [/^DELETE |unpause$/],
      steps: [/^DELETE \/containers\/:id/, /^DELETE \/volumes\//],
    },
  };

  describe.each(FAULTS)('(%s)', (fault) => {
    it.each(Object.keys(ACTIONS))(
      '%s must leave no container without an owner, lose none, and give none twice',
      async (what) => {
        const { act, calls, steps } = ACTIONS[what] ?? { act: settled, calls: [], steps: [] };
        const struck: string[] = [];
        for (const call of calls) {
          for (let nth = 1, at: string | null = ''; at !== null; nth += 1) {
            await settled();
            at = await server.dies({ fault, nth, call }, act);
            if (at !== null) struck.push(at);
            await settled();
            for (const { db_id } of await owned()) expect((await server.api.delete(db_id)).status).toBe(200);
          }
        }
        for (const step of steps) expect(struck).toContainEqual(expect.stringMatching(step));
      },
    );
  });
});
