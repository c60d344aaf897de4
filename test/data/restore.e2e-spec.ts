import { ContainerRepository } from '../../src/containers/rows/container.repository';
import { DeletedContainers } from '../../src/containers/rows/deleted-containers';
import { Purge } from '../../src/containers/operations/purge';
import { type Answer, answered } from '../support/clients/api-client';
import { Berth, TestUser } from '../support/servers/berth';
import { EventRecorder } from '../support/clients/socket-client';
import { eventually } from '../support/eventually';
import { FakeDaemon } from '../support/fakes/fake-daemon';
import { FakeEngine } from '../support/fakes/fake-engine';
import { TestClock } from '../support/fakes/test-clock';

const DAY = 24 * 3_600_000;
const ENVIRONMENT = { INSTANCE_ID: 'restore', VOLUME_RETENTION: '7d', SWEEP_INTERVAL_SECONDS: '3600' };

describe('restoring a deleted container', () => {
  const daemon = new FakeDaemon();
  const engine = new FakeEngine(daemon);
  let clock: TestClock;
  let berth: Berth;
  let user: TestUser;
  let events: EventRecorder;

  beforeAll(async () => {
    clock = new TestClock();
    berth = await Berth.start({ engine, clock, environment: ENVIRONMENT });
  });

  beforeEach(async () => {
    user = await berth.user('free');
    events = await berth.record(user);
  });

  afterAll(async () => {
    await berth.stop();
    expect(daemon.violations).toEqual([]);
  });

  it('must bring it back as stopped, by any id that it had, and the next start must find its data', async () => {
    const { id, db_id, name } = await user.api.running({ env: { KEY: 'value' } });
    await user.api.delete(id);
    for (const form of [id.slice(0, 12), id, db_id]) {
      events.clear();
      const restored = await restore(form);
      expect(restored.status).toBe(200);
      expect(restored.body).toEqual({ message: 'container restored', id, db_id, name, status: 'stopped' });
      expect((await events.next('container_restored')).data).toMatchObject({ id, db_id, name, status: 'stopped' });
      const got = await user.api.get(db_id);
      expect(got.body).toMatchObject({
        id,
        db_id,
        name,
        status: 'stopped',
        status_reason: null,
        expires_at: null,
        ip_address: null,
      });
      await user.api.delete(db_id);
    }
    await restore(db_id);
    const started = await user.api.start(id);
    expect(started.body).toMatchObject({ recreated: true, old_id: id, volume_kept: true, status: 'running' });
    const again = String(started.body['id']);
    await user.api.delete(again);
    expect((await restore(id.slice(0, 12))).body).toMatchObject({ id: again, db_id });
    expect(daemon.running(db_id)).toEqual([]);
  });

  it('must find one that another restore brings back while it looks', async () => {
    const { id, db_id } = await user.api.running();
    await user.api.delete(id);
    const deleted = berth.app.get(DeletedContainers);
    const look = deleted.findRestorable.bind(deleted);
    jest.spyOn(deleted, 'findRestorable').mockImplementationOnce(async (reference) => {
      expect((await restore(id)).status).toBe(200);
      return look(reference);
    });
    const second = await restore(id);
    expect([second.status, second.body['db_id']]).toEqual([200, db_id]);
    expect(events.types().filter((type) => type === 'container_restored')).toHaveLength(1);
  });

  it('must do and say nothing for one that is live', async () => {
    const { id, db_id, name } = await user.api.running();
    await user.api.stop(id);
    await user.api.delete(id);
    const clicks = await Promise.all([restore(id), restore(db_id), restore(id)]);
    for (const { status, body } of clicks) {
      expect([status, body]).toEqual([200, { message: 'container restored', id, db_id, name, status: 'stopped' }]);
    }
    const started = await user.api.start(id);
    expect((await restore(id)).body).toEqual({
      message: 'container restored',
      ...pick(started, ['id', 'name', 'status']),
      db_id,
    });
    await user.api.stop(id);
    await eventually(() =>
      expect(events.types().slice(-4)).toEqual([
        'container_deleted',
        'container_restored',
        'container_started',
        'container_stopped',
      ]),
    );
  });

  it('must wait for the deletion that it is to undo', async () => {
    const { id, db_id } = await user.api.running();
    const hold = engine.holdOn('containers.remove');
    const deleting = user.api.delete(id);
    await hold.reached;
    let answered = false;
    const restoring = restore(id).finally(() => (answered = true));
    try {
      for (let others = 0; others < 3; others += 1) expect((await user.api.get(id)).status).toBe(200);
      expect(answered).toBe(false);
    } finally {
      hold.release();
    }
    expect((await deleting).status).toBe(200);
    expect((await restoring).body).toMatchObject({ db_id, status: 'stopped' });
  });

  it('must work for one whose creation failed or was cut short, and let it be started', async () => {
    // A registry that says that it has no such image would have the creation refused.
    engine.failOn('images.isAbsent');
    const failed = String((await user.api.create({ custom_image: 'team/not-yet:1' })).body['db_id']);
    await events.next('container_error', { db_id: failed });
    daemon.registry.add('team/slow:2');
    const hold = engine.holdOn('images.ensure');
    const cancelled = String((await user.api.create({ custom_image: 'team/slow:2' })).body['db_id']);
    await hold.reached;
    for (const id of [failed, cancelled]) expect((await user.api.delete(id)).status).toBe(200);
    hold.release();
    daemon.registry.add('team/not-yet:1');
    for (const id of [failed, cancelled]) {
      expect((await restore(id)).body).toMatchObject({ id, db_id: id, status: 'stopped' });
      expect((await user.api.start(id)).body).toMatchObject({ message: 'container started', status: 'running' });
    }
  });

  it('must list what can be restored, apart from what is live', async () => {
    const [first, second, live] = [await user.api.running(), await user.api.running(), await user.api.running()];
    const purgeAt = String((await user.api.delete(first.id)).body['purge_at']);
    await user.api.delete(second.id);
    const listed = await list('');
    expect(listed).toEqual([second.db_id, first.db_id]);
    expect(await list('&limit=1')).toEqual([second.db_id]);
    const { body } = await user.api.call('GET', '/api/containers?status=deleted&limit=1');
    expect(await list(`&cursor=${String(body['next_cursor'])}`)).toEqual([first.db_id]);
    expect(await list(`&name=${first.name}`)).toEqual([first.db_id]);
    const [shown] = (await user.api.call('GET', `/api/containers?status=deleted&name=${first.name}`)).body[
      'containers'
    ] as Record<string, unknown>[];
    expect(shown).toMatchObject({
      status: 'deleted',
      purge_at: purgeAt,
      deleted_at: expect.any(String),
      name: first.name,
    });
    const normal = await user.api.call('GET', '/api/containers');
    expect(normal.body).toMatchObject({ count: 1, containers: [{ db_id: live.db_id, status: 'running' }] });
    expect(JSON.stringify(normal.body)).not.toContain('purge_at');
    const stranger = await berth.user();
    expect((await stranger.api.call('GET', '/api/containers?status=deleted')).body['containers']).toEqual([]);
    await restore(first.id);
    expect(await list('')).toEqual([second.db_id]);
    clock.forward(8 * DAY);
    expect(await list('')).toEqual([]);
  });

  describe('must be refused, and leave it restorable,', () => {
    let id: string;
    let told: number;

    beforeEach(async () => {
      id = (await user.api.running({ name: 'lost' })).id;
      await user.api.delete(id);
      told = await lastSeq();
    });

    afterEach(async () => {
      for (const { db_id } of await live()) await user.api.delete(db_id);
      expect((await restore(id)).body).toMatchObject({ name: 'lost', status: 'stopped' });
    });

    it('onto the name of a live sibling', async () => {
      await user.api.running({ name: 'lost' });
      told = await lastSeq();
      await expectRefusal(restore(id), 409, { error: 'container with this name already exists', code: 'name_taken' });
    });

    it("over the tier's count", async () => {
      await Promise.all(Array.from({ length: 5 }, () => user.api.running()));
      told = await lastSeq();
      const refused = { error: 'container limit reached', code: 'container_limit_reached' };
      await expectRefusal(restore(id), 403, { ...refused, current: 5, limit: 5, tier: 'free' });
    });

    it('to a stranger', async () => {
      const stranger = await berth.user();
      const refused = stranger.api.call('POST', `/api/containers/${id}/restore`);
      await expectRefusal(refused, 403, { error: 'not authorized', code: 'not_authorized' });
    });

    async function expectRefusal(asked: Promise<Answer>, status: number, body: object): Promise<void> {
      const answer = await asked;
      expect([answer.status, answer.body]).toEqual([status, expect.objectContaining(body)]);
      expect(await list('')).toHaveLength(1);
      expect(await lastSeq()).toBe(told);
    }
  });

  it('must be exact in the count and the name, however many are restored at once', async () => {
    const ids: string[] = [];
    for (let made = 0; made < 8; made += 1) {
      const { db_id } = await user.api.running({ name: made < 4 ? 'same' : `other-${String(made)}` });
      ids.push(db_id);
      await user.api.delete(db_id);
    }
    await user.api.running();
    await user.api.running();
    const answers = await Promise.all(ids.map((id) => answered(() => restore(id))));
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(3);
    for (const { status } of answers) expect([200, 403, 409]).toContain(status);
    const names = (await live()).map(({ name }) => name);
    expect(names).toHaveLength(5);
    expect(new Set(names).size).toBe(5);
  });

  it('must be refused to a guest whose session is over', async () => {
    const guest = await berth.user('guest');
    const { id } = await guest.api.running({ memory_mb: 256, cpu_shares: 250, disk_mb: 1024 });
    await guest.api.delete(id);
    clock.forward(3 * DAY);
    const answer = await guest.api.call('POST', `/api/containers/${id}/restore`);
    expect([answer.status, answer.body]).toEqual([403, expect.objectContaining({ code: 'guest_session_expired' })]);
  });

  it('must not find what never was, what is past its time, or what is purged', async () => {
    const { id, db_id } = await user.api.running();
    await user.api.delete(id);
    for (const odd of ['nonsense', 'a'.repeat(64), 'b'.repeat(12), `agent:${db_id}`]) {
      expect((await restore(odd)).status).toBe(404);
    }
    clock.forward(7 * DAY + 1);
    expect((await restore(id)).body).toMatchObject({ error: 'container not found', code: 'container_not_found' });
    expect(daemon.volumes.has(`berth-${db_id}`)).toBe(true);
    await berth.app.get(Purge).sweep(new AbortController().signal);
    expect(daemon.volumes.has(`berth-${db_id}`)).toBe(false);
    expect((await restore(db_id)).status).toBe(404);
  });

  async function restore(id: string): Promise<Answer> {
    return user.api.call('POST', `/api/containers/${id}/restore`);
  }

  /** Ids of what can be restored. */
  async function list(query: string): Promise<string[]> {
    const { body } = await user.api.call('GET', `/api/containers?status=deleted${query}`);
    return (body['containers'] as { db_id: string }[]).map(({ db_id }) => db_id);
  }

  async function live(): Promise<{ db_id: string; name: string }[]> {
    return (await user.api.call('GET', '/api/containers')).body['containers'] as { db_id: string; name: string }[];
  }

  async function lastSeq(): Promise<number> {
    return Number((await user.api.call('GET', '/api/containers')).body['event_seq']);
  }
});

describe('where volumes are kept', () => {
  it.each([
    ['for no time, a deleted container must never be restorable, and its volume must go with it', '0', 404, false],
    ['for good, a deleted container must always be restorable', 'forever', 200, true],
  ])('%s', async (_what, VOLUME_RETENTION, status, kept) => {
    const daemon = new FakeDaemon();
    const clock = new TestClock();
    const berth = await Berth.start({
      engine: new FakeEngine(daemon),
      clock,
      environment: { ...ENVIRONMENT, VOLUME_RETENTION },
    });
    try {
      const user = await berth.user();
      const { db_id } = await user.api.running();
      await user.api.delete(db_id);
      await eventually(() => expect(daemon.volumes.has(`berth-${db_id}`)).toBe(kept));
      clock.forward(10_000 * DAY);
      await berth.app.get(Purge).sweep(new AbortController().signal);
      expect((await user.api.call('POST', `/api/containers/${db_id}/restore`)).status).toBe(status);
      const row = await berth.app.get(ContainerRepository).findById(db_id);
      expect(row === null ? null : row.purgeAt).toBe(null);
    } finally {
      await berth.stop();
    }
  });
});

function pick({ body }: Answer, fields: readonly string[]): Record<string, unknown> {
  return Object.fromEntries(fields.map((field) => [field, body[field]]));
}
