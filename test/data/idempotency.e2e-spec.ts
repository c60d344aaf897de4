import { IdempotencyKeyEntity, IdempotencyRetention } from '../../src/idempotency/idempotency-keys';
import { Database } from '../../src/database';
import { SMALL, testImage } from '../support/clients/api-client';
import { Berth, TestUser } from '../support/servers/berth';
import { FakeEngine } from '../support/fakes/fake-engine';
import { described } from '../support/clients/described';
import { createUnder, newKey } from '../support/clients/keyed-creation';
import { TestClock } from '../support/fakes/test-clock';
import { openTestDatabase } from '../support/databases/test-database';

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
      madeId: 'x',
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

describe('what else is made under an Idempotency-Key', () => {
  const clock = new TestClock();
  let berth: Berth;
  let user: TestUser;

  beforeAll(async () => {
    berth = await Berth.start({ engine: new FakeEngine(), clock });
  });
  afterAll(() => berth.stop());
  beforeEach(async () => {
    user = await berth.user('pro', ['read', 'write', 'exec']);
  });

  interface Answer {
    readonly status: number;
    readonly replayed: string | null;
    readonly text: string;
    readonly body: Readonly<Record<string, unknown>>;
  }

  async function post(path: string, key: string, body: object, token = user.token): Promise<Answer> {
    const headers = { authorization: `Bearer ${token}`, 'content-type': 'application/json', 'idempotency-key': key };
    const asked = fetch(`${berth.url}${path}`, { method: 'POST', headers, body: JSON.stringify(body) });
    const response = await described('POST', await asked);
    const text = await response.text();
    const replayed = response.headers.get('idempotency-replayed');
    return { status: response.status, replayed, text, body: JSON.parse(text) as Record<string, unknown> };
  }

  const KINDS = [
    ['a token', '/api/tokens', { name: 'laptop' }, { name: 'desktop' }],
    ['an agent', '/api/agents', { name: 'laptop' }, { name: 'desktop' }],
    ['a sign-in code', '/api/auth/codes', { expires_in: 60 }, { expires_in: 61 }],
  ] as const;

  it.each(KINDS)('must be made once, and be shown again to the letter: %s', async (_what, path, body, other) => {
    const key = newKey();
    const answers = await Promise.all(Array.from({ length: 8 }, () => post(path, key, body)));
    expect(new Set(answers.map(({ status, text }) => `${String(status)} ${text}`)).size).toBe(1);
    expect(answers[0]?.status).toBe(201);
    expect(answers.filter(({ replayed }) => replayed === null)).toHaveLength(1);
    expect(await post(path, key, other)).toMatchObject({ status: 409, body: { code: 'idempotency_key_reused' } });
    expect(await post('/api/containers', key, { image: 'sandbox' })).toMatchObject({ status: 409 });
    if (path === '/api/tokens') expect((await user.api.call('GET', path)).body['count']).toBe(2);
    if (path === '/api/agents') expect((await user.api.call('GET', path)).body['count']).toBe(1);
    clock.forward(DAY);
    const again = await post(path, key, path === '/api/agents' ? other : body);
    expect([again.status, again.replayed]).toEqual([201, null]);
  });

  it.each(KINDS)('must be kept encrypted, and be useless in another row: %s', async (_what, path, body) => {
    const key = newKey();
    const { body: answer } = await post(path, key, body);
    const secret = String(answer['token'] ?? answer['code']);
    const { manager } = berth.app.get(Database);
    const kept = await manager.findOneByOrFail(IdempotencyKeyEntity, { userId: user.id, key });
    expect(JSON.stringify(kept)).not.toContain(secret.slice(6));
    expect(kept.answer).toEqual({ sealed: expect.stringMatching(/^v1:/) });
    const stolen = newKey();
    await manager.insert(IdempotencyKeyEntity, Object.assign({}, kept, { key: stolen }));
    const replayed = await post(path, stolen, body);
    expect([replayed.status, replayed.text.includes(secret)]).toEqual([500, false]);
  });

  it('must keep nothing of what is refused', async () => {
    const key = newKey();
    expect(await post('/api/tokens', key, { name: 'x', scopes: ['admin'] })).toMatchObject({ status: 403 });
    expect(await post('/api/tokens', key, { name: '' })).toMatchObject({ status: 400 });
    expect(await post('/api/tokens', key, { name: 'x' })).toMatchObject({ status: 201, replayed: null });
    const taken = newKey();
    await post('/api/agents', newKey(), { name: 'one' });
    expect(await post('/api/agents', taken, { name: 'one' })).toMatchObject({
      status: 409,
      body: { code: 'agent_name_taken' },
    });
    expect(await post('/api/agents', taken, { name: 'two' })).toMatchObject({ status: 201, replayed: null });
  });

  it('must be shown to the token that asked for it alone, as another one may be allowed less', async () => {
    const key = newKey();
    await post('/api/tokens', key, { name: 'strong' });
    const { body: weak } = await user.api.call('POST', '/api/tokens', { name: 'weak', scopes: ['write'] });
    const answer = await post('/api/tokens', key, { name: 'strong' }, String(weak['token']));
    expect(answer).toMatchObject({ status: 409, body: { code: 'idempotency_key_reused' } });
  });

  it.each([
    ['a command', (id: string) => `/api/containers/${id}/exec`, { command: ['true'] }],
    ['a process', (id: string) => `/api/containers/${id}/processes`, { command: ['true'] }],
    ['a directory', (id: string) => `/api/containers/${id}/files/mkdir`, { path: '/tmp/x' }],
    ['a move', (id: string) => `/api/containers/${id}/files/move`, { from: '/tmp/x', to: '/tmp/y' }],
    ['input of a process', (id: string) => `/api/containers/${id}/processes/x/stdin`, { data: 'y' }],
    ['a signal', (id: string) => `/api/containers/${id}/processes/x/signal`, { signal: 'INT' }],
    ['a guest', () => '/api/auth/guest', { username: 'ada' }],
    ['a session', () => '/api/auth/sign-in', { code: 'x' }],
  ])('must be refused with a key where none is kept: %s', async (_what, path, body) => {
    const { db_id: id } = await user.api.running();
    expect(await post(path(id), newKey(), body)).toMatchObject({
      status: 400,
      body: { details: [{ field: 'Idempotency-Key', message: 'is not supported by this route' }] },
    });
  });
});
