import { ExpiryWatcher } from '../../src/containers/expiry/expiry-watcher';
import { expiring } from '../../src/containers/operations/expire';
import { OperationRunner } from '../../src/containers/operations/operation-runner';
import { ContainerRepository } from '../../src/containers/rows/container.repository';
import { type Answer, LARGER, SMALL, testImage } from '../support/clients/api-client';
import { openTestDatabase, type TestDatabase } from '../support/databases/test-database';
import { eventually } from '../support/eventually';
import { FakeDaemon } from '../support/fakes/fake-daemon';
import { FakeEngine } from '../support/fakes/fake-engine';
import { TestClock } from '../support/fakes/test-clock';
import { Berth, type TestUser } from '../support/servers/berth';

const HOUR = 3_600_000;
const OVER = { reason: 'lifetime_over' } as const;

describe('the lifetime of a container', () => {
  const clock = new TestClock();
  let daemon: FakeDaemon;
  let database: TestDatabase;
  let engine: FakeEngine;
  let berth: Berth;
  let user: TestUser;

  beforeAll(async () => {
    daemon = new FakeDaemon();
    database = await openTestDatabase();
    await begin();
  });

  beforeEach(async () => {
    user = await berth.user('enterprise');
  });

  afterEach(async () => {
    engine.forget();
    const { body } = await user.api.call('GET', '/api/containers');
    for (const { db_id } of body['containers'] as { db_id: string }[]) await user.api.delete(db_id);
  });

  afterAll(async () => {
    await berth.stop();
    await database.drop();
    expect(daemon.violations).toEqual([]);
  });

  it.each<[string, unknown]>([
    ['lifetime_seconds', 0],
    ['lifetime_seconds', -1],
    ['lifetime_seconds', 1.5],
    ['lifetime_seconds', 2_592_001],
    ['lifetime_seconds', 1e308],
    ['lifetime_seconds', '60'],
    ['lifetime_seconds', true],
    ['lifetime_seconds', [60]],
    ['lifetime_seconds', { seconds: 60 }],
    ['end_action', 'explode'],
    ['end_action', 'constructor'],
    ['end_action', 5],
    ['end_action', ['stop']],
  ])('is refused with %s %j, which the error names', async (field, value) => {
    const answers = [
      await user.api.create({ [field]: value }),
      await user.api.update('none', { name: 'one', ...SMALL, [field]: value }),
      await user.api.patch('none', { [field]: value }),
    ];
    for (const { status, body } of answers) {
      expect({ status, body }).toMatchObject({ status: 400, body: { details: [{ field }] } });
    }
  });

  it.each([
    ['stop', 'container_stopped'],
    ['pause', 'container_paused'],
    ['delete', 'container_deleted'],
  ] as const)('ends with %s once, with its reason in the event and the audit', async (end_action, type) => {
    const id = await running({ lifetime_seconds: 3_600, end_action });
    expect(await view(id)).toMatchObject({ lifetime_seconds: 3_600, end_action });
    await expectEndIn(id, HOUR);
    const events = await berth.record(user);
    clock.forward(HOUR - 60_000);
    await look();
    expect(await view(id)).toMatchObject({ status: 'running' });
    clock.forward(60_001);
    await Promise.all([look(), look()]);
    await events.next(type, { db_id: id, ...OVER });
    await look();
    expect(events.types()).toEqual([type]);
    const audited = await user.api.call('GET', '/api/audit?action=container.expire');
    expect(audited.body['entries']).toEqual([
      expect.objectContaining({ user_id: null, container_id: id, outcome: 'ok' }),
    ]);
    if (end_action === 'delete') {
      expect((await user.api.get(id)).status).toBe(404);
      expect((await user.api.call('POST', `/api/containers/${id}/restore`)).status).toBe(200);
      expect(await view(id)).toMatchObject({ status: 'stopped', lifetime_seconds: 3_600, ends_at: null });
    } else {
      const status = end_action === 'stop' ? 'stopped' : 'paused';
      expect(await view(id)).toMatchObject({ status, status_reason: 'lifetime_over', ends_at: null });
    }
  });

  it('ends by the timer of a near end, without a check of all limits', async () => {
    const id = await running({ lifetime_seconds: 1 });
    await eventually(async () => expect(await view(id)).toMatchObject({ status: 'stopped' }));
  });

  it('is moved, removed and kept by a change', async () => {
    const id = await running({ lifetime_seconds: 3_600 });
    clock.forward(HOUR / 2);
    await user.api.patch(id, { labels: { a: 'b' } });
    await expectEndIn(id, HOUR / 2);
    await user.api.patch(id, { lifetime_seconds: 3_600, end_action: 'delete' });
    await expectEndIn(id, HOUR);
    clock.forward(HOUR / 2);
    expect((await user.api.patch(id, LARGER)).body).toMatchObject({ restarted: true });
    await expectEndIn(id, HOUR / 2);
    await user.api.patch(id, { lifetime_seconds: null, end_action: null });
    expect(await view(id)).toMatchObject({ lifetime_seconds: null, end_action: 'stop', ends_at: null });
    clock.forward(2 * HOUR);
    await look();
    expect(await view(id)).toMatchObject({ status: 'running' });
  });

  it.each([
    ['lifetime_seconds: 3600', 3_600],
    ['lifetime_seconds: null', null],
  ] as const)('does not end what %s moved between the check and the lease', async (_title, lifetime_seconds) => {
    const id = await running({ lifetime_seconds: 3_600 });
    // So long ago that only a check of all limits finds it, and none is made.
    clock.forward(HOUR + 60_000);
    const read = await berth.app.get(ContainerRepository).findById(id);
    await user.api.patch(id, { lifetime_seconds });
    if (read) await berth.app.get(OperationRunner).run(read, expiring('lifetime'));
    expect(await view(id)).toMatchObject({ status: 'running' });
  });

  it('begins anew with each start and resumption, and does not count in between', async () => {
    const id = await running({ lifetime_seconds: 3_600 });
    clock.forward(HOUR / 2);
    for (const [halt, go] of [
      ['stop', 'start'],
      ['pause', 'resume'],
    ]) {
      await verb(id, halt);
      expect(await view(id)).toMatchObject({ ends_at: null });
      clock.forward(2 * HOUR);
      await look();
      await verb(id, go);
      await expectEndIn(id, HOUR);
    }
    await verb(id, 'pause');
    clock.forward(2 * HOUR);
    expect((await user.api.patch(id, LARGER)).status).toBe(200);
    expect(await view(id)).toMatchObject({ status: 'running' });
    await expectEndIn(id, HOUR);
  });

  it('counts from the next start if it was set without a run', async () => {
    const id = await running();
    await verb(id, 'stop');
    await user.api.patch(id, { lifetime_seconds: 60 });
    expect(await view(id)).toMatchObject({ lifetime_seconds: 60, ends_at: null });
    await verb(id, 'start');
    await expectEndIn(id, 60_000);
  });

  it('of a copy is as long, from its own start', async () => {
    const id = await running({ lifetime_seconds: 7_200, end_action: 'pause' });
    clock.forward(HOUR);
    const forked = await user.api.call('POST', `/api/containers/${id}/fork`, {});
    expect(forked).toMatchObject({ status: 202 });
    const copy = String(forked.body['db_id']);
    await eventually(async () => expect(await view(copy)).toMatchObject({ status: 'running' }));
    expect(await view(copy)).toMatchObject({ lifetime_seconds: 7_200, end_action: 'pause' });
    await expectEndIn(copy, 2 * HOUR);
  });

  it('ends at the next try if the first failed', async () => {
    const id = await running({ lifetime_seconds: 3_600 });
    engine.failOn('containers.stop');
    clock.forward(HOUR + 1);
    await look();
    await eventually(async () => {
      await look();
      expect(await view(id)).toMatchObject({ status: 'stopped', status_reason: 'lifetime_over' });
    });
  });

  it('that was over while the server did not run ends at its start', async () => {
    const id = await running({ lifetime_seconds: 3_600 });
    await berth.stop();
    clock.forward(2 * HOUR);
    await begin();
    user = berth.as(user);
    await eventually(async () => expect(await view(id)).toMatchObject({ status_reason: 'lifetime_over' }));
  });

  async function begin(): Promise<void> {
    engine = new FakeEngine(daemon);
    const environment = {
      INSTANCE_ID: 'lifetimes',
      LIMIT_CHECK_SECONDS: '3600',
      SHUTDOWN_GRACE_SECONDS: '0',
      VOLUME_COPY_IMAGE: testImage(),
    };
    berth = await Berth.start({ engine, clock, database, environment });
  }

  function look(): Promise<void> {
    return berth.app.get(ExpiryWatcher).check();
  }

  async function running(settings: Readonly<Record<string, unknown>> = {}): Promise<string> {
    return (await user.api.running({ ...SMALL, ...settings })).db_id;
  }

  async function verb(id: string, name: string | undefined): Promise<void> {
    expect(await user.api.call('POST', `/api/containers/${id}/${String(name)}`)).toMatchObject({ status: 200 });
  }

  async function view(id: string): Promise<Answer['body']> {
    return (await user.api.get(id)).body;
  }

  async function expectEndIn(id: string, ms: number): Promise<void> {
    const { ends_at } = await view(id);
    expect(Math.abs(Date.parse(String(ends_at)) - clock.now().getTime() - ms)).toBeLessThan(20_000);
  }
});
