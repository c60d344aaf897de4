import { Berth } from '../support/berth';
import { FakeEngine } from '../support/fake-engine';
import { createUnder, newKey } from '../support/keyed-creation';
import { openTestDatabase, TestDatabase } from '../support/test-database';

jest.setTimeout(30_000);

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
});
