import { createServer, connect as connectTo, Server, Socket } from 'node:net';
import { once } from 'node:events';
import { DataSource } from 'typeorm';
import { dataSourceOptions } from '../../ormconfig';
import { connect } from '../../src/database';
import { eventually } from '../support/eventually';
import { TcpProxy } from '../support/faults/tcp-proxy';
import { openTestDatabase, TestDatabase } from '../support/databases/test-database';

/** How PostgreSQL says that a session is ready for its first query; the protocol's ReadyForQuery. */
const READY = Buffer.from('5a0000000549', 'hex');

const FIELDS = ['SFATAL', 'VFATAL', 'C57P01', 'Mterminating connection due to administrator command', ''];

/** The protocol's ErrorResponse, as every session gets it when the server is told to end. */
function terminating(): Buffer {
  const fields = Buffer.from(FIELDS.map((field) => `${field}\0`).join(''));
  const head = Buffer.alloc(5);
  head.write('E');
  head.writeInt32BE(fields.length + 4, 1);
  return Buffer.concat([head, fields]);
}

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
      if (this.ends && isReady) client.end(Buffer.concat([chunk, terminating()]));
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
