import { LocalSignals } from '../../src/signals';
import { openTestDatabase, type TestDatabase } from '../support/databases/test-database';
import { IS_SAMPLE } from '../support/extent';
import { eventually } from '../support/eventually';
import { RealDocker } from '../support/docker/real-docker';
import { SeededRandom } from '../support/seeded-random';
import { ApiClient } from '../support/clients/api-client';
import { BerthProcess } from '../support/servers/berth-process';
import { draft, EventsProcess, range } from '../support/servers/events-process';
import { orderOf, WebhookReceiver } from '../support/servers/webhook-receiver';

jest.setTimeout(1_800_000);

const CONTAINERS = 100;
/** A sample has 2,000 events. */
const ROUNDS = IS_SAMPLE ? 4 : 20;
/** Events of each container in each round. */
const EVENTS = 5;

describe('thousands of events for a webhook, while processes are killed', () => {
  const instance = `test-webhooks-${String(process.pid)}-${process.env['TEST_DATABASE'] ?? ''}`;
  const random = new SeededRandom(11);
  let database: TestDatabase;
  let events: EventsProcess;
  let receiver: WebhookReceiver;
  let servers: BerthProcess[];

  beforeAll(async () => {
    database = await openTestDatabase();
    const environment = {
      DATABASE_URL: database.url,
      INSTANCE_ID: instance,
      WEBHOOK_ALLOWED_NETWORKS: 'loopback',
      WEBHOOK_RETRIES: '10ms,20ms,100ms',
    };
    // SQLite belongs to one process.
    const processes = process.env['TEST_DATABASE'] === 'sqlite' ? 1 : 2;
    servers = range(1, processes).map(() => new BerthProcess(environment));
    for (const server of servers) await server.start();
    events = await EventsProcess.start({ url: database.url, signals: new LocalSignals() });
    receiver = await WebhookReceiver.start();
    receiver.answer = () => (random.chance(1 / 3) ? 500 : 200);
  });

  afterAll(async () => {
    for (const server of servers) await server.stop();
    await receiver.stop();
    await events.stop();
    await new RealDocker().removeInstance(instance);
    await database.drop();
  });

  /** Commits the next events of every container, in batches that mix them. */
  async function emit(userId: string, round: number): Promise<void> {
    for (const at of range(0, EVENTS - 1)) {
      const drafts = range(1, CONTAINERS).map((container) => {
        const { data, ...event } = draft(String(round * EVENTS + at));
        return { ...event, data: { ...data, db_id: `container-${String(container)}` } } as ReturnType<typeof draft>;
      });
      await events.database.runInTx(() => events.log.append({ userId, drafts }));
    }
  }

  it('must each be delivered at least once, in order for each container', async () => {
    const [first] = servers as [BerthProcess];
    const token = await first.token(['--user', 'survivor', '--tier', 'pro']);
    const api = new ApiClient(first.url, token);
    const { user } = (await api.call('GET', '/api/me')).body as { user: { id: string } };
    const made = await api.call('POST', '/api/webhooks', { url: receiver.url });
    expect(made.status).toBe(201);
    for (const round of range(0, ROUNDS - 1)) {
      const before = receiver.got.length;
      await emit(user.id, round);
      await eventually(() => expect(receiver.got.length).toBeGreaterThan(before + 100 + random.next() * 300));
      const victim = servers[round % servers.length];
      await victim?.kill();
      if (round % 4 === 3) {
        await receiver.stop();
        await receiver.restart();
      }
      await victim?.start();
    }
    const ids = (): Set<string> => new Set(receiver.accepted.map(({ id }) => id));
    const all = CONTAINERS * ROUNDS * EVENTS;
    await eventually(() => expect(ids().size).toBe(all), { timeoutMs: 900_000 });
    const orders = orderOf(receiver.got);
    const expected = range(0, ROUNDS * EVENTS - 1).map(String);
    expect([...orders.values()].filter((order) => order.join() !== expected.join())).toEqual([]);
    expect(orders.size).toBe(CONTAINERS);
    const view = new ApiClient(first.url, token);
    await eventually(async () =>
      expect((await view.call('GET', `/api/webhooks/${String(made.body['id'])}`)).body['waiting']).toBe(0),
    );
  });
});
