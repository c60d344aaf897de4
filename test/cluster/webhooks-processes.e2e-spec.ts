import { Database } from '../../src/database';
import { EventLog } from '../../src/events';
import { LocalSignals } from '../../src/signals';
import { openTestDatabase, type TestDatabase, testRedisUrl } from '../support/databases/test-database';
import { eventually } from '../support/eventually';
import { FakeDaemon, FakeEngine } from '../support/fakes/fake-engine';
import { Berth, type TestUser } from '../support/servers/berth';
import { BerthProcess } from '../support/servers/berth-process';
import { draft, EventsProcess, range } from '../support/servers/events-process';
import { type Received, WebhookReceiver } from '../support/servers/webhook-receiver';

jest.setTimeout(180_000);

const ALLOWED = { WEBHOOK_ALLOWED_NETWORKS: 'loopback', WEBHOOK_RETRIES: '50ms' };

/** A few seconds are what is promised; the machine may be busy. */
const TAKEN_OVER_WITHIN_MS = 15_000;

describe('webhooks of several processes', () => {
  let database: TestDatabase;
  let receiver: WebhookReceiver;

  beforeAll(async () => {
    database = await openTestDatabase();
  });

  beforeEach(async () => {
    receiver = await WebhookReceiver.start();
  });

  afterEach(() => receiver.stop());

  afterAll(() => database.drop());

  const messages = (): unknown[] => receiver.accepted.map(({ data }) => data['message']);

  async function make(user: TestUser): Promise<string> {
    const { status, body } = await user.api.call('POST', '/api/webhooks', { url: receiver.url });
    expect(status).toBe(201);
    return String(body['id']);
  }

  /** Commits events of one container by a process. */
  function emit(berth: Berth, user: TestUser, which: readonly number[]): Promise<unknown> {
    const drafts = which.map(String).map(draft);
    return berth.app.get(Database).runInTx(() => berth.app.get(EventLog).append({ userId: user.id, drafts }));
  }

  describe.each<[string, () => Record<string, string>]>([
    ['with Redis', () => ({ REDIS_URL: testRedisUrl() })],
    ['without Redis', () => ({})],
  ])('%s', (_what, environment) => {
    let here: Berth;
    let there: Berth;

    beforeAll(async () => {
      const daemon = new FakeDaemon();
      const options = () => ({
        database,
        engine: new FakeEngine(daemon),
        environment: { ...ALLOWED, ...environment() },
      });
      [here, there] = await Promise.all([Berth.start(options()), Berth.start(options())]);
    });

    afterAll(() => Promise.all([here.stop(), there.stop()]));

    it('must get each event once and in order, whichever process commits it', async () => {
      const user = await here.user();
      await make(user);
      for (const n of range(1, 20)) await emit(n % 2 ? here : there, user, [n]);
      await eventually(() => expect(messages()).toEqual(range(1, 20).map(String)));
      expect(receiver.got).toHaveLength(20);
    });

    it('must be paused and go on through any of them', async () => {
      const user = await here.user();
      const id = await make(user);
      await emit(here, user, [1]);
      await eventually(() => expect(messages()).toEqual(['1']));
      for (const berth of [here, there]) {
        receiver.got.length = 0;
        const { api } = berth.as(user);
        receiver.answer = () => 500;
        await emit(here, user, [2]);
        await eventually(() => expect(receiver.got.length).toBeGreaterThan(0));
        await api.call('PATCH', `/api/webhooks/${id}`, { status: 'paused' });
        let before = -1;
        await eventually(() => {
          const isQuiet = receiver.got.length === before;
          before = receiver.got.length;
          expect(isQuiet).toBe(true);
        });
        receiver.answer = () => 204;
        await api.call('PATCH', `/api/webhooks/${id}`, { status: 'active' });
        await eventually(() => expect(messages()).toEqual(['2']));
      }
    });

    it('must be taken over from a process that ends', async () => {
      const options = { database, engine: new FakeEngine(), environment: { ...ALLOWED, ...environment() } };
      const user = await here.user();
      const others = [await Berth.start(options), await Berth.start(options)];
      const ids = await Promise.all(range(1, 5).map(() => make(user)));
      await emit(here, user, [1]);
      await eventually(() => expect(receiver.accepted).toHaveLength(ids.length));
      await Promise.all(others.map((each) => each.stop()));
      await emit(there, user, [2]);
      await eventually(() => expect(receiver.accepted).toHaveLength(2 * ids.length));
    });
  });

  it('must be taken over within seconds from a process that is killed, and an attempt be repeated', async () => {
    const killed = new BerthProcess({ DATABASE_URL: database.url, INSTANCE_ID: 'test-webhooks-killed', ...ALLOWED });
    const events = await EventsProcess.start({ url: database.url, signals: new LocalSignals() });
    let survivor: Berth | undefined;
    try {
      await killed.start();
      const api = await killed.user();
      const { user } = (await api.call('GET', '/api/me')).body as { user: { id: string } };
      expect((await api.call('POST', '/api/webhooks', { url: receiver.url })).status).toBe(201);
      receiver.answer = () => new Promise(() => undefined);
      await events.commit(user.id, '1', '2');
      await eventually(() => expect(receiver.got).toHaveLength(1));
      survivor = await Berth.start({ database, engine: new FakeEngine(), environment: ALLOWED });
      receiver.answer = () => 204;
      const since = Date.now();
      await killed.kill();
      await eventually(() => expect(messages()).toEqual(['1', '2']));
      expect(Date.now() - since).toBeLessThan(TAKEN_OVER_WITHIN_MS);
      const [before, after] = receiver.got as [Received, Received];
      expect(after.id).toBe(before.id);
    } finally {
      await killed.kill();
      await survivor?.stop();
      await events.stop();
    }
  });
});
