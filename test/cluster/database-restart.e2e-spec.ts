import { createServer, connect as connectTo, Server, Socket } from 'node:net';
import { once } from 'node:events';
import { DataSource } from 'typeorm';
import { dataSourceOptions } from '../../ormconfig';
import { connect, Database, ProcessPresence } from '../../src/database';
import type { ApiClient } from '../support/clients/api-client';
import { openTestDatabase, TestDatabase } from '../support/databases/test-database';
import { eventually } from '../support/eventually';
import { sampled } from '../support/extent';
import { TcpProxy } from '../support/faults/tcp-proxy';
import { BerthProcess } from '../support/servers/berth-process';

jest.setTimeout(120_000);

/** How PostgreSQL says that a session is ready for its first query; the protocol's ReadyForQuery. */
const READY = Buffer.from('5a0000000549', 'hex');

/** The protocol's ErrorResponse. */
function refusal(code: string, message: string): Buffer {
  const fields = Buffer.from(['SFATAL', 'VFATAL', `C${code}`, `M${message}`, ''].map((field) => `${field}\0`).join(''));
  const head = Buffer.alloc(5);
  head.write('E');
  head.writeInt32BE(fields.length + 4, 1);
  return Buffer.concat([head, fields]);
}

/** As every session gets it when the server is told to end. */
const TERMINATING = refusal('57P01', 'terminating connection due to administrator command');

const TOO_MANY = 'sorry, too many clients already';

/**
 * Stands before PostgreSQL; while it `ends`, every new session is ended in the same packet that says that it is ready.
 */
class EndingPostgres {
  ends = false;
  private constructor(
    private readonly server: Server,
    readonly url: string,
  ) {}

  static async before(databaseUrl: string): Promise<EndingPostgres> {
    const url = new URL(databaseUrl);
    const [host, port] = [url.hostname, Number(url.port)];
    const server = createServer((client) => postgres.pass(client, connectTo(port, host)));
    await once(server.listen(0, '127.0.0.1'), 'listening');
    const address = server.address();
    url.port = String(typeof address === 'object' ? address?.port : '');
    const postgres: EndingPostgres = new EndingPostgres(server, url.href);
    return postgres;
  }

  close(): void {
    this.server.close();
  }

  private pass(client: Socket, onward: Socket): void {
    client.pipe(onward);
    onward.on('data', (chunk: Buffer) => {
      const isReady = chunk.subarray(-READY.length).equals(READY);
      if (this.ends && isReady) client.end(Buffer.concat([chunk, TERMINATING]));
      else client.write(chunk);
    });
    for (const [one, other] of [
      [client, onward],
      [onward, client],
    ] as const) {
      one.once('close', () => other.destroy()).on('error', () => undefined);
    }
  }
}

describe('a PostgreSQL that ends', () => {
  let database: TestDatabase;
  let postgres: EndingPostgres;
  let dataSource: DataSource;

  beforeAll(async () => {
    database = await openTestDatabase();
    postgres = await EndingPostgres.before(database.url);
    dataSource = await connect(dataSourceOptions(postgres.url));
  });

  afterAll(async () => {
    await dataSource.destroy();
    postgres.close();
    await database.drop();
  });

  it('in the moment in which a connection is made must fail the query and not the process', async () => {
    postgres.ends = true;
    // More at once than there are idle connections.
    const answers = await Promise.allSettled(Array.from({ length: 8 }, () => dataSource.query('SELECT 1')));
    expect(answers.some(({ status }) => status === 'rejected')).toBe(true);
    postgres.ends = false;
    expect(await dataSource.query('SELECT 1 AS one')).toEqual([{ one: 1 }]);
  });
});

describe('a PostgreSQL that is slow to answer', () => {
  it('delays a start that waits longer for a connection than a request may', async () => {
    const database = await openTestDatabase();
    const proxy = await TcpProxy.before(database.url);
    let asked = 0;
    proxy.onRequest = () => (asked += 1);
    // A byte per second: no connection is made in time.
    proxy.speed = 1;
    const options = dataSourceOptions(proxy.url);
    const extra = { ...(options.extra as object), connectionTimeoutMillis: 1_000 };
    const connecting = connect({ ...options, extra });
    connecting.catch(() => undefined);
    await eventually(() => expect(asked).toBeGreaterThan(1));
    proxy.speed = null;
    await (await connecting).destroy();
    await proxy.down();
    await database.drop();
  });
});

describe('the presence of a process', () => {
  it('reports its errors as all other queries do, so that an outage has one line', async () => {
    const database = await openTestDatabase();
    const proxy = await TcpProxy.before(database.url);
    const dataSource = await connect(dataSourceOptions(proxy.url));
    const reported: unknown[] = [];
    jest.spyOn(dataSource.logger, 'logQueryError').mockImplementation((error) => void reported.push(error));
    const presence = await ProcessPresence.establish(dataSource);
    await proxy.down();
    const failed: unknown = await presence.prove().catch((error: unknown) => error);
    expect(failed).toBeInstanceOf(Error);
    expect(reported).toContain(failed);
    await presence.onApplicationShutdown();
    await dataSource.destroy();
    await database.drop();
  });
});

describe('a transaction whose session PostgreSQL ends', () => {
  let database: TestDatabase;
  let dataSource: DataSource;

  beforeAll(async () => {
    database = await openTestDatabase();
    dataSource = await connect(dataSourceOptions(database.url));
  });

  afterAll(async () => {
    await dataSource.destroy();
    await database.drop();
  });

  it('fails with the reason, and as nothing was done', async () => {
    const transactions = new Database(dataSource);
    const work = async (): Promise<void> => {
      const { manager } = transactions;
      const [{ pid }] = await manager.query<[{ pid: number }]>('SELECT pg_backend_pid() AS pid');
      await dataSource.query('SELECT pg_terminate_backend($1)', [pid]);
      await eventually(() => expect(manager.queryRunner?.isReleased).toBe(true));
      await manager.query('DELETE FROM settings');
    };
    await expect(transactions.runInTx(work)).rejects.toMatchObject({
      kind: 'database_busy',
      options: { cause: { message: 'terminating connection due to administrator command' } },
    });
  });
});

/** A line of a server's log. */
interface LogLine {
  readonly level: string;
  readonly msg: string;
  readonly reason?: string;
}

describe('the log of a server', () => {
  let database: TestDatabase;
  let proxy: TcpProxy;
  let server: BerthProcess;
  let api: ApiClient;
  let output: string;

  const lines = (): LogLine[] =>
    output
      .split('\n')
      .slice(0, -1)
      .map((line) => JSON.parse(line) as LogLine);
  /** Without the line of each request, which has the level of its status. */
  const warnings = (): LogLine[] =>
    lines().filter(({ level, msg }) => level !== 'info' && level !== 'debug' && msg !== 'request');
  const status = async (): Promise<number> => (await api.call('GET', '/api/containers')).status;

  beforeEach(async () => {
    output = '';
    database = await openTestDatabase();
    proxy = await TcpProxy.before(database.url);
    server = new BerthProcess({
      DATABASE_URL: proxy.url,
      INSTANCE_ID: 'test-outage',
      LIMIT_CHECK_SECONDS: '1',
      LOG_LEVEL: 'debug',
      SWEEP_INTERVAL_SECONDS: '1',
    });
    await server.start({ onOutput: (chunk) => void (output += chunk.toString()) });
    api = await server.user();
    expect(warnings()).toEqual([]);
  });

  afterEach(async () => {
    await server.kill();
    await proxy.down();
    await database.drop();
  });

  const OUTAGES: readonly [how: string, fail: () => Promise<void>][] = [
    ['refuses connections', () => proxy.down()],
    [
      'ends each session at once',
      () =>
        proxy
          .down()
          .then(() => proxy.up())
          .then(() => void (proxy.gone = true)),
    ],
    ['does not answer', () => Promise.resolve().then(() => proxy.freeze({ newcomersToo: true }))],
    [
      'has no connection left',
      () =>
        proxy
          .down()
          .then(() => proxy.up())
          .then(() => void (proxy.refusal = refusal('53300', TOO_MANY))),
    ],
  ];
  it.each(sampled(OUTAGES, 3))('has two lines for an outage in which PostgreSQL %s', async (_how, fail) => {
    await fail();
    for (const path of ['/api/containers', '/api/events', '/health/ready']) {
      await eventually(async () => expect((await api.call('GET', path)).status).toBe(503), { timeoutMs: 30_000 });
    }
    // Work in the background fails as well.
    for (const work of ['could not read the database', 'limits could not be checked', 'the sweep was cut short']) {
      await eventually(() => expect(output).toContain(work), { timeoutMs: 30_000 });
    }
    expect(warnings().map(({ msg }) => msg)).toEqual(['the database does not answer']);
    await proxy.down();
    Object.assign(proxy, { gone: false, refusal: null });
    await proxy.up();
    await eventually(async () => expect(await status()).toBe(200), { timeoutMs: 30_000 });
    await eventually(() => expect(warnings().at(-1)?.msg).toBe('the database answers again'), { timeoutMs: 30_000 });
    expect(warnings()).toMatchObject([
      { level: 'error', msg: 'the database does not answer', reason: expect.any(String) },
      { level: 'warn', msg: 'the database answers again' },
    ]);
    expect(await server.stop()).toBe(0);
  });
});
