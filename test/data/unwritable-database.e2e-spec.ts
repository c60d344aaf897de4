import { Client } from 'pg';
import { DataSource } from 'typeorm';
import { Berth, TestUser } from '../support/berth';
import { eventually } from '../support/eventually';
import { FakeDaemon } from '../support/fake-daemon';
import { FakeEngine } from '../support/fake-engine';

const isPostgres = process.env['TEST_DATABASE'] === 'postgres';

describe('a database that takes no writes', () => {
  let berth: Berth;
  let user: TestUser;
  let made = 0;

  beforeEach(async () => {
    berth = await Berth.start({ engine: new FakeEngine(new FakeDaemon()) });
    user = await berth.user();
    await eventually(async () => expect((await ready()).status).toBe(200));
  });

  afterEach(() => berth.stop());

  it('because it is read-only must be shown to readiness and to whoever writes, until it takes them again', async () => {
    await setReadOnly(true);
    await eventually(async () => {
      expect(await ready()).toMatchObject({
        status: 503,
        body: { checks: { database: 'down' }, reasons: { database: 'database_read_only' } },
      });
    });
    expect(await makeToken()).toMatchObject({
      status: 503,
      body: { error: 'database is read-only', code: 'database_read_only' },
    });
    expect((await user.api.create()).body).toMatchObject({ code: 'database_read_only' });
    expect((await user.api.call('GET', '/api/containers')).status).toBe(200);
    await setReadOnly(false);
    await eventually(async () => expect((await ready()).status).toBe(200));
    expect((await makeToken()).status).toBe(201);
  });

  // PostgreSQL has no limit that could be set for a test; that its code is understood is src/errors' own test.
  const onSqlite = isPostgres ? it.skip : it;

  onSqlite('because its storage is full must say so, and go on when there is room', async () => {
    const dataSource = berth.app.get(DataSource);
    const pages = await dataSource.query<{ page_count: number }[]>('PRAGMA page_count');
    await dataSource.query(`PRAGMA max_page_count = ${Number(pages[0]?.page_count)}`);
    await eventually(async () => expect((await makeToken()).body).toMatchObject({ code: 'storage_full' }));
    const answer = await makeToken();
    expect(answer).toMatchObject({ status: 503, body: { error: 'storage is full', code: 'storage_full' } });
    expect((await user.api.call('GET', '/api/tokens')).status).toBe(200);
    await dataSource.query('PRAGMA max_page_count = 1000000');
    expect((await makeToken()).status).toBe(201);
    expect((await user.api.create()).status).toBe(202);
  });

  const ready = () => user.api.call('GET', '/health/ready');

  function makeToken() {
    made += 1;
    return user.api.call('POST', '/api/tokens', { name: `token-${made}` });
  }

  /** As a setting of the server, a failover to a standby, or a file system that was remounted. */
  async function setReadOnly(readOnly: boolean): Promise<void> {
    if (!isPostgres) {
      await berth.app.get(DataSource).query(`PRAGMA query_only = ${readOnly ? 1 : 0}`);
      return;
    }
    const client = new Client({ connectionString: berth.database.url });
    await client.connect();
    try {
      const { rows } = await client.query<{ name: string }>('SELECT current_database() AS name');
      await client.query('SET default_transaction_read_only = off');
      await client.query(
        `ALTER DATABASE ${String(rows[0]?.name)} SET default_transaction_read_only = ${String(readOnly)}`,
      );
      await client.query(
        'SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()',
      );
    } finally {
      await client.end();
    }
  }
});
