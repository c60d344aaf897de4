import { IdempotencyKeyEntity, IdempotencyRetention } from '../../src/containers/idempotency';
import { Database } from '../../src/database';
import { SMALL, testImage } from '../support/api-client';
import { Berth, TestUser } from '../support/berth';
import { FakeEngine } from '../support/fake-engine';
import { createUnder, newKey } from '../support/keyed-creation';
import { TestClock } from '../support/test-clock';
import { openTestDatabase } from '../support/test-database';

const DAY = 24 * 3_600_000;

describe('a creation under an Idempotency-Key', () => {
  const clock = new TestClock();
  let berth: Berth;
  let user: TestUser;

  beforeAll(async () => {
    berth = await Berth.start({ engine: new FakeEngine(), clock });
  });

  afterAll(() => berth.stop());

  beforeEach(async () => {
    user = await berth.user('guest');
  });

  const names = async (): Promise<unknown[]> => {
    const { containers } = (await user.api.call('GET', '/api/containers')).body as { containers: { name: string }[] };
    return containers.map(({ name }) => name);
  };

  it('must be made once, and be answered the same to the letter again, though it took the last place and its own name', async () => {
    const key = newKey();
    const body = { name: 'only', env: { A: '1', B: '2' } };
    const first = await createUnder(key, user, body);
    expect(first).toMatchObject({ status: 202, replayed: null, body: { name: 'only', status: 'creating' } });
    expect(await createUnder(key, user, body)).toEqual({ ...first, replayed: 'true' });
    expect(await names()).toEqual(['only']);
    const { events } = (await user.api.call('GET', '/api/events?after=0&limit=100')).body as {
      events: { type: string }[];
    };
    expect(events.filter(({ type }) => type === 'container_created')).toHaveLength(1);
    // It is the answer that is kept, not the container.
    expect((await user.api.delete(String(first.body['db_id']))).status).toBe(200);
    expect(await createUnder(key, user, body)).toEqual({ ...first, replayed: 'true' });
    expect(await names()).toEqual([]);
  });

  it('must be the same request whatever the order of its fields', async () => {
    const key = newKey();
    const first = await createUnder(key, user, { env: { A: '1', B: '2' } });
    const response = await fetch(`${berth.url}/api/containers`, {
      method: 'POST',
      headers: {
        authorization: `Bearer ${user.token}`,
        'content-type': 'application/json',
        'idempotency-key': key,
      },
      body: JSON.stringify({ env: { B: '2', A: '1' }, ...SMALL, custom_image: testImage(), image: 'custom' }),
    });
    expect(response.headers.get('idempotency-replayed')).toBe('true');
    expect(await response.text()).toBe(first.text);
  });

  it('must be refused with another body, and be another user’s own', async () => {
    const key = newKey();
    await createUnder(key, user, { name: 'one' });
    const other = await createUnder(key, user, { name: 'two' });
    expect(other).toMatchObject({ status: 409, replayed: null });
    expect(other.body).toEqual({
      error: 'idempotency key was used for another request',
      code: 'idempotency_key_reused',
      request_id: expect.any(String),
    });
    expect(await names()).toEqual(['one']);
    expect(await createUnder(key, await berth.user(), { name: 'two' })).toMatchObject({ status: 202, replayed: null });
  });

  it('must keep nothing of what is refused', async () => {
    const { db_id } = await user.api.running();
    const key = newKey();
    expect((await createUnder(key, user, { name: 'later' })).body).toMatchObject({ code: 'container_limit_reached' });
    expect((await createUnder(key, user, { memory_mb: 1 })).body).toMatchObject({ code: 'invalid_parameters' });
    await user.api.delete(db_id);
    expect(await createUnder(key, user, { name: 'later' })).toMatchObject({ status: 202, replayed: null });
  });

  it('must be made once of 20 at once', async () => {
    const key = newKey();
    const answers = await Promise.all(Array.from({ length: 20 }, () => createUnder(key, user, { name: 'once' })));
    expect(answers.map(({ status }) => status)).toEqual(answers.map(() => 202));
    expect(new Set(answers.map(({ text }) => text)).size).toBe(1);
    expect(answers.filter(({ replayed }) => replayed === null)).toHaveLength(1);
    expect(await names()).toEqual(['once']);
  });

  it('must be forgotten after 24 hours, and not before', async () => {
    const key = newKey();
    const first = await createUnder(key, user);
    clock.forward(DAY - 60_000);
    expect(await createUnder(key, user)).toMatchObject({ replayed: 'true', text: first.text });
    const retention = berth.app.get(IdempotencyRetention);
    const { manager } = berth.app.get(Database);
    await retention.prune(retention.newestDue());
    expect(await manager.countBy(IdempotencyKeyEntity, { userId: user.id })).toBe(1);
    clock.forward(60_000);
    // Free at once, though nobody has pruned it, and for any request.
    await user.api.delete(String(first.body['db_id']));
    const second = await createUnder(key, user, { name: 'another' });
    expect(second).toMatchObject({ status: 202, replayed: null, body: { name: 'another' } });
    expect(await createUnder(key, user, { name: 'another' })).toEqual({ ...second, replayed: 'true' });
    clock.forward(DAY);
    const others = Array.from({ length: 1_200 }, (_none, index) => ({
      userId: user.id,
      key: `old-${String(index)}`,
      requestHash: 'x',
      containerId: 'x',
      answer: {} as never,
      createdAt: new Date(clock.now().getTime() - DAY),
    }));
    await manager.insert(IdempotencyKeyEntity, others.slice(0, 600));
    await manager.insert(IdempotencyKeyEntity, others.slice(600));
    expect(await retention.prune(retention.newestDue())).toBeGreaterThan(1_200);
    expect(await manager.countBy(IdempotencyKeyEntity, { userId: user.id })).toBe(0);
  });

  it('must keep no secret of the request', async () => {
    await createUnder(newKey(), user, { env: { PASSWORD: 'hunter2-hunter2' } });
    const kept = await berth.app.get(Database).manager.findBy(IdempotencyKeyEntity, { userId: user.id });
    expect(kept).toHaveLength(1);
    expect(JSON.stringify(kept)).not.toMatch(/hunter2|PASSWORD/);
  });

  it('must be answered again by the process that comes after one that died with the answer on its way', async () => {
    const database = await openTestDatabase();
    const engine = new FakeEngine();
    const before = await Berth.start({ engine, database });
    const key = newKey();
    const owner = await before.user();
    const first = await createUnder(key, owner);
    await before.stop();
    const after = await Berth.start({ engine: new FakeEngine(engine.daemon), database });
    expect(await createUnder(key, after.as(owner))).toEqual({ ...first, replayed: 'true' });
    await after.stop();
    await database.drop();
  });

  it.each([
    ['empty', ''],
    ['blank inside', 'a b'],
    ['not ASCII', 'schl\u00fcssel'],
    ['longer than 255', 'k'.repeat(256)],
  ])('must be refused with a key that is %s', async (_what, key) => {
    const { status, body } = await createUnder(key, user);
    expect([status, body['details']]).toEqual([
      400,
      [{ field: 'Idempotency-Key', message: 'must be 1 to 255 visible ASCII characters' }],
    ]);
  });

  it('must be taken with any visible key of 255', async () => {
    const key = `!~"'\\;--${'k'.repeat(247)}`;
    const first = await createUnder(key, user);
    expect(first.status).toBe(202);
    expect(await createUnder(key, user)).toEqual({ ...first, replayed: 'true' });
  });
});
