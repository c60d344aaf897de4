import { Database } from '../../src/database';
import { type BerthEvent, EventLog } from '../../src/events';
import { EventRetention } from '../../src/events/log';
import { WebhookDeliverer } from '../../src/webhooks/deliverer';
import { DeliveryRepository, DeliveryRetention } from '../../src/webhooks/delivery.repository';
import { openTestDatabase, type TestDatabase } from '../support/databases/test-database';
import { eventually } from '../support/eventually';
import { FakeEngine } from '../support/fakes/fake-engine';
import { TestClock } from '../support/fakes/test-clock';
import { SeededRandom } from '../support/seeded-random';
import { Berth, type NewUser, type TestUser } from '../support/servers/berth';
import { draft, range } from '../support/servers/events-process';
import { isSignedWith, orderOf, type Received, WebhookReceiver } from '../support/servers/webhook-receiver';

const HOUR = 3_600_000;
const DAY = 24 * HOUR;
/** The database id of the container with this name. */
const idOf = (subject: string) => `3f0c8a52-6d1b-4c7e-9b1a-${Buffer.from(subject.padEnd(6)).toString('hex')}`;
const UNKNOWN = '00000000-0000-4000-8000-000000000000';
const ENVIRONMENT = { WEBHOOK_ALLOWED_NETWORKS: 'loopback', WEBHOOK_RETRIES: '20ms,40ms' };

interface Webhook {
  readonly id: string;
  readonly secret: string;
}

describe('webhooks', () => {
  const clock = new TestClock();
  let database: TestDatabase;
  let berth: Berth;
  let user: NewUser;
  let receivers: WebhookReceiver[] = [];

  const start = () => Berth.start({ engine: new FakeEngine(), clock, database, environment: ENVIRONMENT });

  beforeAll(async () => {
    database = await openTestDatabase();
    berth = await start();
  });

  beforeEach(async () => {
    user = await berth.user('enterprise');
  });

  afterEach(async () => {
    jest.restoreAllMocks();
    // Webhooks of one test must not be tried in the next.
    await berth.app.get(Database).manager.query("UPDATE webhooks SET status = 'paused', revision = revision + 1");
    for (const receiver of receivers) await receiver.stop();
    receivers = [];
  });

  afterAll(async () => {
    await berth.stop();
    await database.drop();
  });

  async function receive(answer?: WebhookReceiver['answer']): Promise<WebhookReceiver> {
    const receiver = await WebhookReceiver.start();
    receivers.push(receiver);
    if (answer) receiver.answer = answer;
    return receiver;
  }

  async function make(receiver: WebhookReceiver, body: object = {}, of: TestUser = user): Promise<Webhook> {
    const answer = await of.api.call('POST', '/api/webhooks', { url: receiver.url, ...body });
    expect([answer.status, answer.body]).toEqual([201, expect.anything()]);
    return answer.body as unknown as Webhook;
  }

  /** Commits an event of a container with each message, in order. */
  async function emit(messages: readonly unknown[], { of = user, subject = 'a', labels = {} } = {}) {
    const drafts = messages.map((message) => {
      const { data, ...event } = draft(String(message));
      return { ...event, data: { ...data, db_id: idOf(subject), labels } } as ReturnType<typeof draft>;
    });
    const log = berth.app.get(EventLog);
    return berth.app.get(Database).runInTx(() => log.append({ userId: of.id, drafts }));
  }

  const of = ({ id }: Pick<Webhook, 'id'>, rest = '') => `/api/webhooks/${id}${rest}`;
  const shown = async (webhook: Webhook) => (await user.api.call('GET', of(webhook))).body;
  const deliveries = async (webhook: Webhook, query = '') =>
    (await user.api.call('GET', of(webhook, `/deliveries${query}`))).body['deliveries'] as Record<string, unknown>[];
  const messages = (received: readonly Received[]) => received.map(({ data }) => data['message']);
  const bySubject = (received: readonly Received[], subject: string) =>
    received.filter(({ data }) => data['db_id'] === idOf(subject));

  describe('as their owner makes and changes them', () => {
    it('must be as described, with a secret that is shown once', async () => {
      const receiver = await receive();
      const body = { url: receiver.url, description: 'mine', events: ['container_started'], labels: { team: 'core' } };
      const { status, body: made, headers } = await user.api.call('POST', '/api/webhooks', body);
      const view = {
        ...body,
        id: expect.any(String),
        user_id: user.id,
        for_all_users: false,
        status: 'active',
        status_reason: null,
        waiting: 0,
        failing_since: null,
        former_secret_until: null,
        created_at: expect.any(String),
        updated_at: expect.any(String),
      };
      expect([status, made]).toEqual([201, { ...view, secret: expect.stringMatching(/^whsec_[A-Za-z0-9+/]{32}$/) }]);
      expect(headers.get('location')).toBe(`/api/webhooks/${String(made['id'])}`);
      expect(await shown(made as unknown as Webhook)).toEqual(view);
      const all = await user.api.call('GET', '/api/webhooks');
      expect(all.body).toEqual({ webhooks: [view], count: 1, limit: 25, next_cursor: null });
      const [row] = await berth.app.get(Database).manager.query<object[]>('SELECT * FROM webhooks');
      expect(JSON.stringify(row)).not.toContain(String(made['secret']).slice(6));
    });

    it.each([
      [{ url: 'https://10.0.0.1/' }, 'url'],
      [{ url: 'nothing' }, 'url'],
      [{ url: 7 }, 'url'],
      [{}, 'url'],
      [{ url: 'https://hooks.example.com/', events: [] }, 'events'],
      [{ url: 'https://hooks.example.com/', events: ['nonsense'] }, 'events'],
      [{ url: 'https://hooks.example.com/', events: 'container_started' }, 'events'],
      [{ url: 'https://hooks.example.com/', labels: { Team: 'core' } }, 'labels'],
      [{ url: 'https://hooks.example.com/', description: 'x'.repeat(201) }, 'description'],
      [{ url: 'https://hooks.example.com/', secret: 'whsec_mine' }, 'secret'],
    ])('must be refused if they are wrong: %j', async (body, field) => {
      const answer = await user.api.call('POST', '/api/webhooks', body);
      expect([answer.status, answer.body['details']]).toEqual([400, [expect.objectContaining({ field })]]);
    });

    it('must be exactly as many as the tier allows, however many are made at once, and make room when deleted', async () => {
      const free = await berth.user('free');
      const add = () => free.api.call('POST', '/api/webhooks', { url: 'https://hooks.example.com/' });
      const answers = await Promise.all(range(1, 10).map(add));
      const refused = answers.filter(({ status }) => status === 403);
      expect(answers.filter(({ status }) => status === 201)).toHaveLength(5);
      const told = { code: 'webhook_limit_reached', current: 5, limit: 5, tier: 'free' };
      expect(refused).toHaveLength(5);
      for (const { body } of refused) expect(body).toMatchObject(told);
      const made = answers.find(({ status }) => status === 201)?.body as unknown as Webhook;
      expect((await free.api.call('DELETE', of(made))).body).toEqual({ message: 'webhook deleted', id: made.id });
      expect((await add()).status).toBe(201);
    });

    it('must not be made by guests', async () => {
      const guest = await berth.user('guest');
      const answer = await guest.api.call('POST', '/api/webhooks', { url: 'https://hooks.example.com/' });
      expect([answer.status, answer.body]).toEqual([403, expect.objectContaining({ code: 'webhook_limit_reached' })]);
    });

    it('must be made once under one key, with the same secret in both answers', async () => {
      const body = { url: 'https://hooks.example.com/' };
      const add = () => user.api.call('POST', '/api/webhooks', body, { 'idempotency-key': 'once' });
      const [first, second] = [await add(), await add()];
      expect(second.body).toEqual(first.body);
      expect((await user.api.call('GET', '/api/webhooks')).body['count']).toBe(1);
    });

    it('must not be seen, changed or used by others, and be unknown once they are deleted', async () => {
      const webhook = await make(await receive());
      const other = await berth.user();
      const admin = await berth.user('pro', ['read', 'write', 'admin']);
      const calls = [
        ['GET', '', undefined],
        ['PATCH', '', { status: 'paused' }],
        ['DELETE', '', undefined],
        ['GET', '/deliveries', undefined],
        ['POST', `/deliveries/${UNKNOWN}/redeliver`, undefined],
        ['POST', '/test', undefined],
        ['POST', '/rotate-secret', {}],
      ] as const;
      for (const [method, rest, body] of calls) {
        const answer = await other.api.call(method, of(webhook, rest), body);
        expect([method, rest, answer.status, answer.body['code']]).toEqual([method, rest, 403, 'not_authorized']);
        const asAdmin = await admin.api.call(method, `/api/admin${of(webhook, rest).slice(4)}`, body);
        expect([asAdmin.status, asAdmin.body['code']]).toEqual([404, 'webhook_not_found']);
      }
      await user.api.call('DELETE', of(webhook));
      for (const [method, rest, body] of calls) {
        expect((await user.api.call(method, of(webhook, rest), body)).body['code']).toBe('webhook_not_found');
      }
      expect((await user.api.call('GET', of({ id: 'nonsense' }))).status).toBe(404);
    });

    it('must be in the audit, with what Berth did itself', async () => {
      const webhook = await make(await receive(() => 410));
      await user.api.call('POST', of(webhook, '/rotate-secret'), {});
      await emit(['x']);
      await eventually(async () => expect((await shown(webhook))['status']).toBe('disabled'));
      const { entries } = (await user.api.call('GET', '/api/audit')).body as { entries: Record<string, unknown>[] };
      expect(entries.map(({ action, target_id, outcome }) => [action, target_id, outcome])).toEqual([
        ['webhook.disable', webhook.id, 'ok'],
        ['webhook.rotate_secret', webhook.id, 'ok'],
        ['webhook.create', webhook.id, 'ok'],
      ]);
    });
  });

  describe('a delivery', () => {
    it('must be the event, signed as Standard Webhooks says', async () => {
      const receiver = await receive();
      await emit(['before']);
      const webhook = await make(receiver);
      const [event] = await emit(['hello']);
      await eventually(() => expect(receiver.accepted).toHaveLength(1));
      const [received] = receiver.got as [Received];
      const { type, timestamp, data } = event ?? ({} as BerthEvent);
      expect(JSON.parse(received.body)).toEqual({ type, timestamp, data });
      expect(isSignedWith(received, webhook.secret)).toBe(true);
      await eventually(async () => expect((await shown(webhook))['waiting']).toBe(0));
      expect(await deliveries(webhook)).toEqual([
        {
          id: received.id,
          type,
          subject: idOf('a'),
          status: 'delivered',
          attempts: 1,
          created_at: timestamp,
          attempted_at: expect.any(String),
          next_try_at: null,
          request: { type, timestamp, data },
          response_status: 204,
          response_body: '',
          error: null,
          duration_ms: expect.any(Number),
        },
      ]);
    });

    it('must be made at least once for each event, in order for each container, to a receiver that often fails', async () => {
      const random = new SeededRandom(7);
      const receiver = await receive(() => (random.chance(1 / 3) ? 500 : 200));
      const webhook = await make(receiver);
      const subjects = ['a', 'b', 'c', 'd', 'e'];
      for (const batch of range(0, 9)) {
        for (const subject of subjects) await emit(range(batch * 4, batch * 4 + 3), { subject });
      }
      await eventually(async () => expect((await shown(webhook))['waiting']).toBe(0));
      await eventually(() => expect(receiver.accepted).toHaveLength(200));
      const orders = orderOf(receiver.got);
      for (const subject of subjects) expect(orders.get(idOf(subject))).toEqual(range(0, 39).map(String));
      // A repetition has the same id, so that the receiver can tell.
      expect(new Set(receiver.got.map(({ id }) => id)).size).toBe(200);
      expect(receiver.got.length).toBeGreaterThan(200);
    });

    it('must wait neither for another container nor for another receiver', async () => {
      let release: () => void = () => undefined;
      const held = new Promise<void>((resolve) => (release = resolve));
      const receiver = await receive(async ({ data }) => {
        if (data['db_id'] === idOf('slow')) await held;
        return 200;
      });
      const silent = await receive(async () => {
        await held;
        return 200;
      });
      await make(silent);
      await make(receiver);
      await emit([1, 2], { subject: 'slow' });
      await emit([1, 2, 3], { subject: 'fast' });
      await eventually(() => expect(bySubject(receiver.accepted, 'fast')).toHaveLength(3));
      expect(messages(bySubject(receiver.got, 'slow'))).toEqual(['1']);
      release();
      await eventually(() => expect(receiver.accepted).toHaveLength(5));
      await eventually(() => expect(silent.accepted).toHaveLength(5));
    });

    it('must be repeated, with the same id, after a death between the answer and its record', async () => {
      const receiver = await receive();
      const webhook = await make(receiver);
      const repository = berth.app.get(DeliveryRepository);
      jest.spyOn(repository, 'settle').mockRejectedValue(new Error('the process is dead'));
      await emit([1, 2]);
      await eventually(() => expect(receiver.accepted.length).toBeGreaterThan(0));
      await berth.stop();
      const before = receiver.got.length;
      berth = await start();
      user = berth.as(user) as NewUser;
      await eventually(async () => expect((await shown(webhook))['waiting']).toBe(0));
      const after = receiver.got.slice(before);
      expect(messages(after)).toEqual(['1', '2']);
      expect(after[0]?.id).toBe(receiver.got[0]?.id);
    });

    it('must be made for events that were committed while no process was there', async () => {
      const receiver = await receive();
      const webhook = await make(receiver);
      jest.spyOn(berth.app.get(WebhookDeliverer), 'look').mockResolvedValue();
      await emit([1, 2, 3]);
      expect(receiver.got).toEqual([]);
      await berth.stop();
      berth = await start();
      user = berth.as(user) as NewUser;
      await eventually(() => expect(messages(receiver.accepted)).toEqual(['1', '2', '3']));
      await eventually(async () => expect((await shown(webhook))['waiting']).toBe(0));
    });

    it('must be inserted with the move of the cursor, or not at all', async () => {
      const receiver = await receive();
      const webhook = await make(receiver);
      const database = berth.app.get(Database);
      const transact = database.runInTx.bind(database);
      let fails = 2;
      // The transaction that moves the cursor is rolled back after all of its statements.
      jest.spyOn(database, 'runInTx').mockImplementation((work) =>
        transact(async () => {
          const before = await database.manager.query<unknown[]>('SELECT 1 FROM webhook_deliveries WHERE seq = 5');
          const result = await work();
          const after = await database.manager.query<unknown[]>('SELECT 1 FROM webhook_deliveries WHERE seq = 5');
          if (after.length > before.length && (fails -= 1) >= 0) throw new Error('the database failed');
          return result;
        }),
      );
      await emit(range(1, 5));
      await eventually(() => expect(messages(receiver.accepted)).toEqual(['1', '2', '3', '4', '5']));
      expect(fails).toBeLessThan(0);
      expect(await deliveries(webhook)).toHaveLength(5);
    });

    it('must be listed in the reverse order of the events, also of those that were committed together', async () => {
      const webhook = await make(await receive());
      await emit(range(1, 20));
      await eventually(async () => expect(await deliveries(webhook, '?status=delivered')).toHaveLength(20));
      const listed = await deliveries(webhook);
      const sent = listed.map(({ request }) => (request as { data: { message: string } }).data.message);
      expect(sent).toEqual(range(1, 20).map(String).reverse());
    });

    it('must be made only for the wanted types and labels', async () => {
      const [types, labels] = [await receive(), await receive()];
      await make(types, { events: ['webhook_disabled', 'container_started'] });
      const labelled = await make(labels, { labels: { team: 'core' } });
      await emit(['x'], { labels: { team: 'other' } });
      await emit(['z'], { labels: {} });
      // The last one, so that all were taken from the log by the filter before its change.
      await emit(['y'], { labels: { team: 'core', more: '1' } });
      await eventually(() => expect(messages(labels.accepted)).toEqual(['y']));
      expect((await user.api.call('PATCH', of(labelled), { labels: {}, events: null })).body).toMatchObject({
        labels: {},
      });
      await emit(['last']);
      await eventually(() => expect(messages(labels.accepted)).toEqual(['y', 'last']));
      expect(types.got).toEqual([]);
    });

    it('must be missing where its event is no longer kept, say so, and not keep the later ones from going on', async () => {
      const receiver = await receive();
      const webhook = await make(receiver);
      await user.api.call('PATCH', of(webhook), { status: 'paused' });
      await eventually(async () => expect((await shown(webhook))['status']).toBe('paused'));
      await emit([1, 2, 3]);
      await berth.app.get(EventRetention).prune(new Date(Date.now() + HOUR));
      await emit([4]);
      await user.api.call('PATCH', of(webhook), { status: 'active' });
      await eventually(() => expect(messages(receiver.accepted)).toEqual(['4']));
      const [lost] = await deliveries(webhook, '?status=lost');
      expect(lost).toMatchObject({ type: 'events_lost', error: 'events 1 to 3 were no longer stored', request: null });
      const refused = await user.api.call('POST', of(webhook, `/deliveries/${String(lost?.['id'])}/redeliver`));
      expect([refused.status, refused.body['code']]).toEqual([409, 'event_not_kept']);
    });

    it('must be forgotten with its event, once it is over', async () => {
      const receiver = await receive();
      const webhook = await make(receiver);
      await emit([1]);
      await eventually(async () => expect(await deliveries(webhook, '?status=delivered')).toHaveLength(1));
      receiver.answer = () => 500;
      await emit([2]);
      await eventually(() => expect(receiver.got.length).toBeGreaterThan(1));
      await berth.app.get(DeliveryRetention).prune(new Date(clock.now().getTime() + HOUR));
      expect((await deliveries(webhook)).map(({ status }) => status)).toEqual(['pending']);
    });
  });

  describe('a receiver that fails', () => {
    it('must be tried for three days, and then no more, with an event', async () => {
      const receiver = await receive(({ data }) => (data['db_id'] === idOf('bad') ? 500 : 200));
      const other = await receive();
      const webhook = await make(receiver);
      await make(other, { events: ['webhook_disabled'] });
      const events = await berth.record(user);
      await emit([1, 2], { subject: 'bad' });
      await eventually(async () => expect((await shown(webhook))['failing_since']).not.toBeNull());
      clock.forward(3 * DAY - HOUR);
      await emit(['x'], { subject: 'good' });
      await eventually(() => expect(bySubject(receiver.accepted, 'good')).toHaveLength(1));
      expect(await shown(webhook)).toMatchObject({ status: 'active', status_reason: null });
      clock.forward(HOUR);
      await eventually(async () =>
        expect(await shown(webhook)).toMatchObject({ status: 'disabled', status_reason: 'failing', waiting: 2 }),
      );
      const facts = { id: webhook.id, host: new URL(receiver.url).host, for_all_users: false, reason: 'failing' };
      await eventually(() => expect(events.events.at(-1)).toMatchObject({ type: 'webhook_disabled', data: facts }));
      // The user's other webhooks tell it too.
      await eventually(() => expect(other.accepted.map(({ data }) => data)).toEqual([facts]));
      receiver.answer = () => 200;
      await emit([3], { subject: 'bad' });
      const activated = await user.api.call('PATCH', of(webhook), { status: 'active' });
      expect(activated.body).toMatchObject({ status: 'active', status_reason: null, failing_since: null });
      await eventually(() => expect(messages(bySubject(receiver.accepted, 'bad'))).toEqual(['1', '2', '3']));
      // The event about itself comes too, as it was committed after the webhook was made.
      await eventually(() => expect(receiver.accepted.map(({ type }) => type)).toContain('webhook_disabled'));
    });

    it('must get nothing, about no container, for the time that it asks for', async () => {
      const receiver = await receive((_request, response) => {
        response.writeHead(429, { 'retry-after': '3600' }).end();
      });
      const webhook = await make(receiver);
      const before = clock.now().getTime();
      await emit([1], { subject: 'a' });
      await eventually(async () => {
        const [first] = await deliveries(webhook);
        expect(Date.parse(String(first?.['next_try_at']))).toBeGreaterThanOrEqual(before + HOUR);
        expect(Date.parse(String(first?.['next_try_at']))).toBeLessThan(before + HOUR + 60_000);
      });
      receiver.answer = () => 200;
      await emit([2], { subject: 'b' });
      await eventually(async () => expect((await shown(webhook))['waiting']).toBe(2));
      await berth.app.get(WebhookDeliverer).look();
      expect(receiver.accepted).toEqual([]);
      clock.forward(HOUR + 60_000);
      await eventually(() => expect(messages(receiver.accepted).sort()).toEqual(['1', '2']));
    });

    it('must be tried again at once with a new URL', async () => {
      const broken = await receive(() => 500);
      const webhook = await make(broken);
      await emit([1, 2]);
      await eventually(async () => {
        const attempts = (await deliveries(webhook, '?status=pending')).map((each) => Number(each['attempts']));
        expect(Math.max(...attempts)).toBeGreaterThan(2);
      });
      const receiver = await receive();
      await user.api.call('PATCH', of(webhook), { url: receiver.url });
      await eventually(() => expect(messages(receiver.accepted)).toEqual(['1', '2']));
    });

    it('must get nothing while it is paused, and all of it later', async () => {
      const receiver = await receive();
      const webhook = await make(receiver);
      await emit([1]);
      await eventually(() => expect(receiver.accepted).toHaveLength(1));
      await user.api.call('PATCH', of(webhook), { status: 'paused' });
      const look = () => berth.app.get(WebhookDeliverer).look();
      await look();
      await look();
      await emit([2, 3]);
      await look();
      await look();
      expect(receiver.got).toHaveLength(1);
      await user.api.call('PATCH', of(webhook), { status: 'active' });
      await eventually(() => expect(messages(receiver.accepted)).toEqual(['1', '2', '3']));
    });

    it('must get nothing more for a suspended user, and for a deleted one nothing ever', async () => {
      const receiver = await receive();
      const webhook = await make(receiver);
      const admin = await berth.user('pro', ['read', 'write', 'admin']);
      const set = (suspended: boolean) => admin.api.call('PATCH', `/api/admin/users/${user.id}`, { suspended });
      await set(true);
      const look = () => berth.app.get(WebhookDeliverer).look();
      await look();
      await look();
      await emit([1]);
      await look();
      await look();
      expect(receiver.got).toEqual([]);
      await set(false);
      await eventually(() => expect(messages(receiver.accepted)).toEqual(['1']));
      await admin.api.call('DELETE', `/api/admin/users/${user.id}`);
      clock.forward(HOUR);
      const { manager } = berth.app.get(Database);
      await eventually(
        async () => {
          await look();
          expect(await manager.countBy('webhooks', { id: webhook.id })).toBe(0);
          expect(await manager.countBy('webhook_cursors', { webhookId: webhook.id })).toBe(0);
        },
        { timeoutMs: 90_000 },
      );
    });
  });

  describe('what users do with deliveries', () => {
    it('must have both signatures after a rotation, and the new one alone after the overlap', async () => {
      const receiver = await receive();
      const webhook = await make(receiver);
      const rotated = await user.api.call('POST', of(webhook, '/rotate-secret'), { overlap_seconds: 3600 });
      const { secret, former_secret_until: until } = rotated.body;
      expect(rotated.body).toEqual({
        id: webhook.id,
        secret: expect.stringMatching(/^whsec_/),
        former_secret_until: until,
      });
      await emit([1]);
      await eventually(() => expect(receiver.accepted).toHaveLength(1));
      const [during] = receiver.got as [Received];
      expect([webhook.secret, String(secret)].map((each) => isSignedWith(during, each))).toEqual([true, true]);
      clock.forward(HOUR);
      await user.api.call('POST', of(webhook, '/test'));
      const [last] = receiver.got.slice(-1) as [Received];
      expect([webhook.secret, String(secret)].map((each) => isSignedWith(last, each))).toEqual([false, true]);
    });

    it('must be tested at once, also on a paused one, with the outcome in the answer and in the list', async () => {
      const receiver = await receive();
      const webhook = await make(receiver);
      await user.api.call('PATCH', of(webhook), { status: 'paused' });
      const tested = await user.api.call('POST', of(webhook, '/test'));
      expect([tested.status, tested.body]).toEqual([
        200,
        expect.objectContaining({ type: 'webhook_test', status: 'delivered', response_status: 204, attempts: 1 }),
      ]);
      expect(receiver.got[0]).toMatchObject({ id: tested.body['id'], type: 'webhook_test', data: { id: webhook.id } });
      receiver.answer = (_request, response) => void response.writeHead(500).end('y'.repeat(5_000));
      const failed = await user.api.call('POST', of(webhook, '/test'));
      const outcome = { status: 'failed', response_status: 500, error: 'status_refused' };
      expect(failed.body).toMatchObject({ ...outcome, response_body: 'y'.repeat(4_096), next_try_at: null });
      expect(await deliveries(webhook, '?status=failed')).toEqual([failed.body]);
    });

    it('must be repeated on request with the same id', async () => {
      const receiver = await receive();
      const webhook = await make(receiver);
      await emit([1, 2]);
      await eventually(async () => expect(await deliveries(webhook, '?status=delivered')).toHaveLength(2));
      const [first] = receiver.got as [Received];
      const again = await user.api.call('POST', of(webhook, `/deliveries/${first.id}/redeliver`));
      expect([again.status, again.body]).toMatchObject([200, { id: first.id, status: 'delivered', attempts: 2 }]);
      expect(receiver.got).toHaveLength(3);
      expect(receiver.got[2]).toMatchObject({ id: first.id, body: first.body });
      const unknown = await user.api.call('POST', of(webhook, `/deliveries/${UNKNOWN}/redeliver`));
      expect([unknown.status, unknown.body['code']]).toEqual([404, 'delivery_not_found']);
    });

    it('must be tried in their order as soon as possible if they are pending', async () => {
      const receiver = await receive(() => 500);
      const webhook = await make(receiver);
      await emit([1, 2]);
      await eventually(() => expect(receiver.got.length).toBeGreaterThan(0));
      await eventually(async () => expect((await shown(webhook))['failing_since']).not.toBeNull());
      const { manager } = berth.app.get(Database);
      await user.api.call('PATCH', of(webhook), { status: 'paused' });
      // The first call may join a round that began before.
      await berth.app.get(WebhookDeliverer).look();
      await berth.app.get(WebhookDeliverer).look();
      await eventually(async () => {
        const attempted = (await deliveries(webhook)).find(({ id }) => id === receiver.got[0]?.id);
        expect(attempted?.['attempts']).toBe(receiver.got.length);
      });
      receiver.answer = () => 200;
      await manager.update(
        'webhook_deliveries',
        { webhookId: webhook.id },
        { nextTryAt: new Date(clock.now().getTime() + DAY) },
      );
      await user.api.call('PATCH', of(webhook), { status: 'active' });
      const first = (await deliveries(webhook)).find(({ id }) => id === receiver.got[0]?.id);
      const due = await user.api.call('POST', of(webhook, `/deliveries/${String(first?.['id'])}/redeliver`));
      expect(due.body).toMatchObject({ status: 'pending', next_try_at: null });
      await eventually(() => expect(messages(receiver.accepted)).toEqual(['1']));
    });
  });

  describe("for everybody's events", () => {
    it('must be made and seen by administrators alone, and get the events of users, of later ones too', async () => {
      const admin = await berth.user('pro', ['read', 'write', 'admin']);
      const receiver = await receive();
      const body = { url: receiver.url, events: ['container_progress'] };
      expect((await user.api.call('POST', '/api/admin/webhooks', body)).status).toBe(403);
      await emit(['before']);
      const made = await admin.api.call('POST', '/api/admin/webhooks', body);
      expect([made.status, made.body]).toMatchObject([201, { for_all_users: true, user_id: admin.id }]);
      const webhook = made.body as unknown as Webhook;
      const later = await berth.user();
      await emit([1]);
      await emit([2], { of: later, subject: 'b' });
      await eventually(() => expect(receiver.accepted).toHaveLength(2));
      const sent = receiver.accepted.map(({ body: text }) => JSON.parse(text) as Record<string, unknown>);
      expect(sent.map(({ user_id }) => user_id).sort()).toEqual([user.id, later.id].sort());
      expect(receiver.accepted.every((received) => isSignedWith(received, webhook.secret))).toBe(true);
      expect((await admin.api.call('GET', '/api/webhooks')).body['webhooks']).toEqual([]);
      expect((await admin.api.call('GET', of(webhook))).body['code']).toBe('webhook_not_found');
      const second = await berth.user('pro', ['read', 'write', 'admin']);
      const listed = await second.api.call('GET', '/api/admin/webhooks');
      expect(listed.body).toMatchObject({ webhooks: [{ id: webhook.id }], count: 1, limit: 10 });
      expect((await second.api.call('DELETE', `/api/admin/webhooks/${webhook.id}`)).status).toBe(200);
    });
  });
});
