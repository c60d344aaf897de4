import BetterSqlite3 from 'better-sqlite3';
import { Berth, TestUser } from '../support/servers/berth';
import { FakeDaemon } from '../support/fakes/fake-daemon';
import { FakeEngine } from '../support/fakes/fake-engine';

/** An operator's `UPDATE` by hand, a backup program, a shell that somebody left open in a transaction. */
describe('an SQLite database whose write lock another program holds', () => {
  let berth: Berth;
  let user: TestUser;
  let program: BetterSqlite3.Database;

  beforeAll(async () => {
    berth = await Berth.start({ engine: new FakeEngine(new FakeDaemon()) });
    user = await berth.user();
    program = new BetterSqlite3(berth.database.url.slice('sqlite:'.length));
  });

  beforeEach(() => program.exec('BEGIN IMMEDIATE'));
  afterEach(() => {
    if (program.inTransaction) program.exec('ROLLBACK');
  });

  afterAll(async () => {
    program.close();
    await berth.stop();
  });

  it('must hold up writes alone, which go on when it is free', async () => {
    const writing = Promise.all([user.api.create(), user.api.call('POST', '/api/tokens', { name: 'one' })]);
    const began = performance.now();
    // No longer than a part of what a write waits, on a machine that is busy with other tests.
    for (let times = 0; times < 20 && performance.now() - began < 500; times += 1) {
      const reads = ['/health/live', '/api/containers'].map((path) => user.api.call('GET', path));
      expect((await Promise.all(reads)).map(({ status }) => status)).toEqual([200, 200]);
    }
    program.exec('COMMIT');
    expect((await writing).map(({ status }) => status)).toEqual([202, 201]);
  });

  it('for long must be a 503 to writes, and the process must not stand still meanwhile', async () => {
    const progress = { isAnswered: false };
    const writing = user.api.call('POST', '/api/tokens', { name: 'two' }).finally(() => (progress.isAnswered = true));
    let alive = 0;
    for (; !progress.isAnswered; alive += 1) expect((await user.api.call('GET', '/health/live')).status).toBe(200);
    // A process that stands still while SQLite waits gives one or two. On a busy machine each takes half a second.
    expect(alive).toBeGreaterThan(5);
    const answer = await writing;
    expect(answer).toMatchObject({ status: 503, body: { error: 'database is busy', code: 'database_busy' } });
    expect(Number(answer.headers.get('retry-after'))).toBeGreaterThan(0);
    program.exec('COMMIT');
    expect((await user.api.call('POST', '/api/tokens', { name: 'two' })).status).toBe(201);
  });
});
