import { IdempotencyKeyEntity, IdempotencyRetention } from '../../src/idempotency/idempotency-keys';
import { Database } from '../../src/database';
import { Berth } from '../support/servers/berth';
import { FakeEngine } from '../support/fakes/fake-engine';
import { createUnder, newKey } from '../support/clients/keyed-creation';
import { openTestDatabase, TestDatabase } from '../support/databases/test-database';

describe('creations under one Idempotency-Key, asked of two servers', () => {
  const environment = { INSTANCE_ID: 'test-idempotency' };
  const { daemon } = new FakeEngine();
  let database: TestDatabase;
  let servers: Berth[];

  beforeAll(async () => {
    database = await openTestDatabase();
    servers = [
      await Berth.start({ database, environment, engine: new FakeEngine(daemon) }),
      await Berth.start({ database, environment, engine: new FakeEngine(daemon) }),
    ];
  });

  afterAll(async () => {
    await Promise.all(servers.map((server) => server.stop()));
    await database.drop();
  });

  it('must make one container of 40 at once, and give 40 equal answers', async () => {
    const [here, there] = servers as [Berth, Berth];
    const user = await here.user('guest');
    const elsewhere = there.as(user);
    const key = newKey();
    const answers = await Promise.all(
      Array.from({ length: 40 }, (_none, index) => createUnder(key, index % 2 ? user : elsewhere, { name: 'once' })),
    );
    expect(answers.map(({ status }) => status)).toEqual(answers.map(() => 202));
    expect(new Set(answers.map(({ text }) => text)).size).toBe(1);
    expect(answers.filter(({ replayed }) => replayed === null)).toHaveLength(1);
    expect((await user.api.call('GET', '/api/containers')).body['count']).toBe(1);
  });

  it('must let one of two bodies win, and refuse the other one everywhere', async () => {
    const [here, there] = servers as [Berth, Berth];
    const user = await here.user();
    const elsewhere = there.as(user);
    const key = newKey();
    const answers = await Promise.all(
      Array.from({ length: 20 }, (_none, index) =>
        createUnder(key, index % 2 ? user : elsewhere, { name: index % 4 < 2 ? 'one' : 'two' }),
      ),
    );
    expect(answers.filter(({ status }) => status === 202)).toHaveLength(10);
    expect(answers.filter(({ body }) => body['code'] === 'idempotency_key_reused')).toHaveLength(10);
    expect((await user.api.call('GET', '/api/containers')).body['count']).toBe(1);
  });

  it('must each be forgotten once when their time is over, however many servers are at it', async () => {
    const [here, there] = servers as [Berth, Berth];
    const user = await here.user();
    const { manager } = here.app.get(Database);
    const old = { requestHash: 'x', madeId: 'x', answer: {} as never, createdAt: new Date(0) };
    for (let from = 0; from < 3_000; from += 500) {
      const keys = Array.from({ length: 500 }, (_none, index) => ({
        ...old,
        userId: user.id,
        key: `old-${from + index}`,
      }));
      await manager.insert(IdempotencyKeyEntity, keys);
    }
    const prune = ({ app }: Berth) => app.get(IdempotencyRetention).prune(new Date(0));
    const prunes = [here, there, here, there].map(prune);
    const counts = await Promise.all(prunes);
    counts.push(await prune(here));
    expect(counts.reduce((sum, count) => sum + count, 0)).toBe(3_000);
    expect(await manager.countBy(IdempotencyKeyEntity, { userId: user.id })).toBe(0);
  });
});
