import { Logger } from '@nestjs/common';
import BetterSqlite3 from 'better-sqlite3';
import { Client } from 'pg';
import { DataSource, IsNull } from 'typeorm';
import { Database } from '../../src/database';
import { ProcessEntity } from '../../src/sandbox/processes/process-rows';
import { MAX_TERMINALS, Terminals } from '../../src/sandbox/terminals/terminals';
import { Berth, TestUser } from '../support/servers/berth';
import { eventually } from '../support/eventually';
import { FakeDaemon } from '../support/fakes/fake-daemon';
import { FakeEngine } from '../support/fakes/fake-engine';

const isPostgres = process.env['TEST_DATABASE'] === 'postgres';

describe('a database that takes no writes', () => {
  let berth: Berth;
  let user: TestUser;
  let daemon: FakeDaemon;
  let made = 0;
  /** The lines of the log about outages. */
  let lines: { msg: string; reason?: string }[];

  beforeEach(async () => {
    lines = [];
    for (const level of ['error', 'warn'] as const) {
      jest.spyOn(Logger.prototype, level).mockImplementation((...[line]: (typeof lines)[0][]) => {
        if (line?.msg.startsWith('the database ') === true) lines.push(line);
      });
    }
    daemon = new FakeDaemon();
    berth = await Berth.start({ engine: new FakeEngine(daemon) });
    user = await berth.user();
    await eventually(async () => expect((await ready()).status).toBe(200));
  });

  afterEach(async () => {
    await berth.stop();
    jest.restoreAllMocks();
  });

  /** Waits for the end of an outage that had two lines in the log. */
  const recovered = (reason: string) =>
    eventually(() => {
      // PostgreSQL may end a session before it refuses a write.
      const didNotAnswer = isPostgres && lines[0]?.msg.endsWith('does not answer') === true;
      const [began, ended] = didNotAnswer
        ? ['does not answer', 'answers again']
        : ['takes no writes', 'takes writes again'];
      expect(lines).toEqual([
        { msg: `the database ${began}`, reason: expect.stringContaining(didNotAnswer ? 'terminat' : reason) as string },
        { msg: `the database ${ended}`, after_seconds: expect.any(Number) as number },
      ]);
    });

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
    await recovered(isPostgres ? 'read-only transaction' : 'readonly database');
  });

  it('must not keep the places of what has ended: terminals and processes', async () => {
    user = await berth.user('pro', ['read', 'write', 'exec']);
    const { db_id: id } = await user.api.running();
    const path = `/api/containers/${id}`;
    const caller = { userId: user.id, tier: 'pro', sessionExpiresAt: null, boundTo: null };
    const terminals = berth.app.get(Terminals);
    daemon.onProgram = () => new Promise<number>(() => undefined);
    const shells = await Promise.all(Array.from({ length: MAX_TERMINALS }, () => terminals.open(caller, id)));
    const processes = await Promise.all(
      Array.from({ length: 16 }, () => user.api.call('POST', `${path}/processes`, { command: ['cat'] })),
    );
    expect(processes.map(({ status }) => status)).toEqual(processes.map(() => 201));
    await setReadOnly(true);
    await eventually(async () => expect((await ready()).status).toBe(503));
    killAll();
    await Promise.all(shells.map((shell) => shell.ended));
    await setReadOnly(false);
    await eventually(async () => expect((await ready()).status).toBe(200));
    await eventually(async () => expect(await rowsOf(id)).toBe(0));
    // What has ended is not listed, and there is nothing to delete.
    await eventually(async () => {
      expect((await user.api.call('GET', `${path}/terminals`)).body).toEqual({ terminals: [] });
      const listed = (await user.api.call('GET', `${path}/processes`)).body as { processes: { status: string }[] };
      expect(listed.processes.filter(({ status }) => status === 'running')).toEqual([]);
    });
    const [shell] = shells;
    expect(await user.api.call('DELETE', `${path}/terminals/${shell?.id ?? ''}`)).toMatchObject({
      status: 404,
      body: { code: 'terminal_not_found' },
    });
    const more = await Promise.all(Array.from({ length: MAX_TERMINALS }, () => terminals.open(caller, id)));
    expect((await user.api.call('POST', `${path}/processes`, { command: ['cat'] })).status).toBe(201);
    killAll();
    await Promise.all(more.map(({ ended }) => ended));
    await eventually(async () => expect(await rowsOf(id)).toBe(0));
  });

  const killAll = (): void => {
    for (const running of daemon.programs.values()) for (const program of running) program.kill();
  };

  const rowsOf = (id: string): Promise<number> =>
    berth.app.get(Database).manager.countBy(ProcessEntity, { containerId: id, endedAt: IsNull() });

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
    await recovered('full');
  });

  onSqlite('because another program locks it must say so, and not if that ends within a moment', async () => {
    const other = new BetterSqlite3(berth.database.url.slice('sqlite:'.length));
    const { logger } = berth.app.get(DataSource);
    const refused = jest.spyOn(logger, 'logQueryError');
    other.exec('BEGIN IMMEDIATE');
    const waiting = makeToken();
    await eventually(() => expect(refused).toHaveBeenCalled());
    expect(lines).toEqual([]);
    other.exec('ROLLBACK');
    expect((await waiting).status).toBe(201);
    other.exec('BEGIN IMMEDIATE');
    expect(await makeToken()).toMatchObject({ status: 503, body: { code: 'database_busy' } });
    other.close();
    await recovered('database is locked');
    expect((await makeToken()).status).toBe(201);
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
