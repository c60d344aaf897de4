import { randomUUID } from 'node:crypto';
import { Database } from '../../../src/database/index.ts';
import { EventEntity, EventRetention } from '../../../src/events/log.ts';
import { Berth as Server, type TestUser } from '../../../test/support/servers/berth.ts';
import { eventually } from '../../../test/support/eventually.ts';
import { FakeDaemon, FakeEngine } from '../../../test/support/fakes/fake-engine.ts';
import { freePort } from '../../../test/support/free-port.ts';
import type { SeededRandom } from '../../../test/support/seeded-random.ts';
import { TcpProxy } from '../../../test/support/faults/tcp-proxy.ts';
import { openTestDatabase, type TestDatabase } from '../../../test/support/databases/test-database.ts';
import {
  Berth,
  type ContainerWatch,
  isBerthError,
  type ListedContainerView,
  type WatchedContainer,
} from '../src/index.ts';

/** Change without an event, so no watch can have them; progress is in no list. */
const UNTOLD: ReadonlySet<string> = new Set(['idle_seconds', 'last_used_at', 'ip_address', 'progress']);

/** What must be the same in the map and in the list. */
export function told(container: WatchedContainer | ListedContainerView): Record<string, unknown> {
  return Object.fromEntries(Object.entries(container).filter(([name]) => !UNTOLD.has(name)));
}

/** A server that can be ended and started again on its port, and a cable to it that can be pulled. */
export class WatchedServer {
  private constructor(
    private server: Server,
    private readonly database: TestDatabase,
    private readonly daemon: FakeDaemon,
    private readonly cable: TcpProxy,
    private readonly user: TestUser,
  ) {}

  static async start(): Promise<WatchedServer> {
    const [database, port] = [await openTestDatabase(), await freePort()];
    const daemon = new FakeDaemon();
    const server = await startServer({ database, daemon, port });
    const cable = await TcpProxy.before(server.url);
    return new WatchedServer(server, database, daemon, cable, await server.user('enterprise'));
  }

  /** The user's client, at the end of the cable. */
  client(token = this.user.token): Berth {
    return new Berth({ url: `http://${this.cable.host}`, token });
  }

  /** Another one of the same user, beside the cable. */
  direct(): Berth {
    return new Berth({ url: this.server.url, token: this.user.token });
  }

  pull(): Promise<void> {
    return this.cable.down();
  }

  plug(): Promise<void> {
    return this.cable.up();
  }

  async restart(): Promise<void> {
    const port = Number(new URL(this.server.url).port);
    await this.server.stop();
    this.server = await startServer({ database: this.database, daemon: this.daemon, port });
  }

  /** Forgets all events but the last, as it does with old ones. */
  async forgetEvents(): Promise<void> {
    const { event_seq: last } = (await this.direct().containers.list().page()).answer;
    const old = new Date(Date.now() - 3_600_000);
    const update = this.server.app
      .get(Database)
      .manager.createQueryBuilder()
      .update(EventEntity)
      .set({ createdAt: old });
    await update.where('user_id = :id AND seq < :last', { id: this.user.id, last }).execute();
    await this.server.app.get(EventRetention).prune(new Date(Date.now() - 1_800_000));
  }

  /** Waits until the map is what the list is, order and details included. */
  async untilSame(watch: ContainerWatch): Promise<void> {
    await eventually(async () => {
      const list = this.direct().containers.list();
      const { answer } = await list.page();
      const containers = (await list.all()).flatMap((each) => ('db_id' in each ? [told(each)] : []));
      const snapshot = watch.getSnapshot();
      expect({ state: snapshot.state, seq: snapshot.seq }).toEqual({ state: 'live', seq: answer.event_seq });
      expect([...snapshot.containers.values()].map(told)).toEqual(containers);
    });
  }

  async stop(): Promise<void> {
    await this.cable.down();
    await this.server.stop();
    await this.database.drop();
  }
}

function startServer(options: { database: TestDatabase; daemon: FakeDaemon; port: number }): Promise<Server> {
  const { database, daemon, port } = options;
  return Server.start({
    database,
    engine: new FakeEngine(daemon),
    environment: { PORT: String(port), INSTANCE_ID: 'watched' },
  });
}

/** Does one thing to one of the user's containers, whatever comes of it. */
export async function doSomething({ containers }: Berth, random: SeededRandom): Promise<void> {
  const live = (await containers.list().all()).flatMap((each) => ('db_id' in each ? [each] : []));
  const deleted = (await containers.list({ status: 'deleted', limit: 5 }).page()).items;
  const name = `c-${randomUUID().slice(0, 8)}`;
  const create = (): Promise<unknown> =>
    containers.create({ image: 'custom', custom_image: process.env['TEST_IMAGE'] ?? 'berth/test:latest', name });
  const one = live[Math.floor(random.next() * live.length)];
  const lost = deleted[Math.floor(random.next() * deleted.length)];
  if (!one || random.chance(0.15)) return ignoringRefusal(create());
  const { db_id: id } = one;
  const deeds = [
    () => containers.update(id, { name }),
    () => containers.setLabels(id, { team: name }),
    () => containers.setLabels(id, { stage: name }),
    () => containers.stop(id),
    () => containers.start(id),
    () => containers.update(id, { memory_mb: 256 + Math.floor(random.next() * 256) }),
    () => containers.delete(id),
    () => containers.restore(lost && 'db_id' in lost ? lost.db_id : id),
  ];
  return ignoringRefusal(random.pick(deeds)());
}

async function ignoringRefusal(doing: Promise<unknown>): Promise<void> {
  await doing.catch((error: unknown) => {
    if (!isBerthError(error)) throw error;
  });
}
