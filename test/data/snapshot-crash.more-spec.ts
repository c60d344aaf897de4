import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { LARGER } from '../support/clients/api-client';
import { eventually } from '../support/eventually';
import { atEveryCall, IS_SAMPLE } from '../support/extent';
import { MovingClock } from '../support/fakes/moving-clock';
import {
  clear,
  expectWhole,
  layers,
  SNAPSHOT_SCENARIOS,
  type SnapshotScenario,
  type SnapshotWorld,
  take,
  writeMarks,
} from '../support/faults/snapshot-scenarios';
import { MortalServer } from '../support/servers/mortal-server';

jest.setTimeout(900_000);

/**
 * On PostgreSQL a dead process's lease has to run out first; one scenario stands for the rest there, and in a sample
 * those with the most to lose. `test/data/snapshot-copies.e2e-spec.ts` has deaths and errors before and after each
 * step, with a fake of Docker.
 */
const isSqlite = process.env['TEST_DATABASE'] === 'sqlite';
const MOST_TO_LOSE = ['fork of two', 'return to a snapshot', 'resize that keeps the layer'];
const SCENARIOS = SNAPSHOT_SCENARIOS.filter(({ name }) => {
  if (!isSqlite) return name === 'snapshot of a running container';
  return !IS_SAMPLE || MOST_TO_LOSE.includes(name);
});
/** Longer than the image of a layer is kept for a container that may still be created from it. */
const LATER_MS = 2 * 3_600_000;

/** A wait for a helper's end changes nothing, and its output comes only when it ends. */
const CHANGE = /^(?!(GET|HEAD) |.*\/(wait|attach)$)/;

describe('with snapshots', () => {
  const folder = mkdtempSync(join(tmpdir(), 'berth-snapshots-'));
  const clock = new MovingClock(join(folder, 'clock'));
  let server: MortalServer;
  let known: Pick<SnapshotWorld, 'origin' | 'base'>;

  const world = (): SnapshotWorld => ({ api: server.api, docker: server.docker, instance: server.instance, ...known });

  beforeAll(async () => {
    const VOLUME_COPY_IMAGE = process.env['TEST_SANDBOX_IMAGE'] ?? 'berth/sandbox:latest';
    const environment = { VOLUME_COPY_IMAGE, VOLUME_RETENTION: '0', ...clock.environment };
    server = await MortalServer.start('snapshot-crash', { environment });
    known = { origin: (await server.api.running()).db_id, base: '' };
    await writeMarks(world());
    known = { ...known, base: await take(world()) };
  });

  afterAll(async () => {
    await server.stop();
    rmSync(folder, { recursive: true });
  });

  it.each(SCENARIOS)(
    'the death of the process after any call of a $name must leave every container and snapshot whole, and nothing else',
    async (scenario) => {
      await atEveryCall((nth) => survives(scenario, nth));
      await expectBaseServes(scenario);
    },
  );

  // The times of PostgreSQL are its own.
  const itOnSqlite = isSqlite ? it : () => undefined;
  itOnSqlite('must leave no image of a layer that no container needs any more', async () => {
    const { origin, base } = known;
    const { docker, instance } = server;
    await clear(world());
    clock.set(LATER_MS);
    const { Image } = await docker.inspect(String((await world().api.get(origin)).body['id']));
    const { Id } = await docker.docker.getImage(`berth/layer:${base}`).inspect();
    await eventually(async () => {
      const left = await docker.docker.listImages({ filters: { label: [`berth.layer=${instance}`] } });
      expect(left.filter((image) => image.Id !== Image && image.Id !== Id)).toEqual([]);
      expect((await layers({ docker, instance })).length).toBeLessThanOrEqual(2);
    });
    clock.set(0);
  });

  /** @returns whether the fault struck; if not, the work has no call of this number */
  async function survives(scenario: SnapshotScenario, nth: number): Promise<boolean> {
    await clear(world(), scenario.status);
    await scenario.prepare?.(world());
    const act = (): Promise<unknown> => scenario.act(world());
    const settled = (): Promise<void> => expectWhole(world(), scenario, 0);
    const struck = await server.dies({ fault: 'kill_after', nth, call: CHANGE }, act, settled);
    try {
      await expectWhole(world(), scenario);
      // Each is made after all, or removed: a copy whose fork was cut off.
      const { body } = await world().api.call('GET', '/api/containers');
      expect((body['containers'] as { status: string }[]).map(({ status }) => status)).not.toContain('error');
    } catch (error) {
      if (error instanceof Error) error.message = `after ${struck ?? 'nothing'} of ${scenario.name}\n${error.message}`;
      throw error;
    }
    return struck !== null;
  }

  /** The newest snapshot, and the base, can be used, undisturbed. */
  async function expectBaseServes(scenario: SnapshotScenario): Promise<void> {
    await clear(world());
    const { api, base } = world();
    for (const snapshot of [await take(world()), base]) {
      const { status, body } = await api.call('POST', '/api/containers', { ...LARGER, snapshot });
      expect([scenario.name, status, body]).toEqual([scenario.name, 202, expect.anything()]);
      const waited = await api.call('GET', `/api/containers/${String(body['db_id'])}/wait?status=running&timeout=60`);
      expect([scenario.name, waited.status]).toEqual([scenario.name, 200]);
    }
    await expectWhole(world(), { status: 'running' });
  }
});
