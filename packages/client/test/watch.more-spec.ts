import { randomUUID } from 'node:crypto';
import { rm } from 'node:fs/promises';
import { SMALL } from '../../../test/support/clients/api-client.ts';
import { BerthProcess } from '../../../test/support/servers/berth-process.ts';
import { eventually } from '../../../test/support/eventually.ts';
import { freePort } from '../../../test/support/free-port.ts';
import { SeededRandom } from '../../../test/support/seeded-random.ts';
import { TcpProxy } from '../../../test/support/faults/tcp-proxy.ts';
import { openTestDatabase, type TestDatabase } from '../../../test/support/databases/test-database.ts';
import { Berth, type ContainerWatch, isBerthError } from '../src/index.ts';
import { told } from './watched-server.ts';

jest.setTimeout(15 * 60_000);

/** 10,000, and fewer where `BERTH_TEST_OPERATIONS` asks for a short run. */
const EVENTS = Math.min(10_000, 40 * Number(process.env['BERTH_TEST_OPERATIONS'] ?? 250));
const CONTAINERS = 6;

describe('a watch', () => {
  let database: TestDatabase;
  let server: BerthProcess;
  let cable: TcpProxy;
  let direct: Berth;
  let watch: ContainerWatch;

  beforeAll(async () => {
    const port = await freePort();
    database = await openTestDatabase();
    server = new BerthProcess({
      DATABASE_URL: database.url,
      PORT: String(port),
      INSTANCE_ID: `test-${randomUUID()}`,
      // What a watch is told of containers does not depend on Docker, which is slower.
      ENGINE: 'simulated',
      SIMULATION_SPEED: '1000',
    });
    await server.start();
    cable = await TcpProxy.before(server.url);
    const token = await server.token(['--user', 'watcher', '--tier', 'enterprise']);
    // Whoever works goes on however often the server dies.
    direct = new Berth({ url: server.url, token, retries: 30 });
    watch = new Berth({ url: `http://${cable.host}`, token }).watch();
  });

  afterAll(async () => {
    watch.close();
    const all = await direct.containers.list().all();
    await Promise.allSettled(all.map((each) => direct.containers.delete('db_id' in each ? each.db_id : each.id)));
    await cable.down();
    await server.stop();
    await rm(`${database.url.replace('sqlite:', '')}.simulated`, { recursive: true, force: true });
    await database.drop();
  });

  const seqNow = async (): Promise<number> => (await direct.containers.list().page()).answer.event_seq;

  /** Through all that breaks. */
  async function work(seed: number, isOver: () => boolean): Promise<void> {
    const random = new SeededRandom(seed);
    while (!isOver()) {
      const all = (await direct.containers.list().all()).flatMap((each) => ('db_id' in each ? [each.db_id] : []));
      for (let index = 0; index < 50 && !isOver(); index++) {
        const id = random.pick(all);
        const name = `w-${randomUUID().slice(0, 8)}`;
        const deed = random.chance(0.5)
          ? direct.containers.setLabels(id, { at: name })
          : random.chance(0.98)
            ? direct.containers.update(id, { name })
            : random.chance(0.5)
              ? direct.containers.stop(id)
              : direct.containers.start(id);
        await deed.catch((error: unknown) => {
          if (!isBerthError(error)) throw error;
        });
      }
    }
  }

  it(`must be the list after ${String(EVENTS)} events, broken connections and a server that was killed again and again`, async () => {
    for (let index = 0; index < CONTAINERS; index++) {
      const { db_id: id } = await direct.containers.create({ image: 'sandbox', ...SMALL });
      await direct.containers.wait(id, 'running');
    }
    let isOver = false;
    const working = [1, 2, 3].map((seed) => work(seed, () => isOver));
    const random = new SeededRandom(4);
    for (let kills = 0, seq = 0; seq < EVENTS; seq = await seqNow()) {
      await cable.down();
      if (seq > ((kills + 1) * EVENTS) / 6) {
        kills += 1;
        await server.kill();
        await server.start();
      }
      await cable.up();
      // Sometimes it comes to the present before the next break, sometimes not.
      const goal = seq + Math.floor(random.next() * 400);
      // Three users make a few events a second where the machine is busy with others.
      await eventually(async () => expect(await seqNow()).toBeGreaterThanOrEqual(goal), { timeoutMs: 400_000 });
      if (random.chance(0.3)) await eventually(() => expect(watch.getSnapshot().seq).toBeGreaterThanOrEqual(goal));
    }
    isOver = true;
    await Promise.all(working);
    await eventually(async () => {
      const { answer, items } = await direct.containers.list().page();
      const { state, seq, containers } = watch.getSnapshot();
      expect({ state, seq }).toEqual({ state: 'live', seq: answer.event_seq });
      const listed = items.flatMap((each) => ('db_id' in each ? [told(each)] : []));
      expect([...containers.values()].map(told)).toEqual(listed);
    });
  });
});
