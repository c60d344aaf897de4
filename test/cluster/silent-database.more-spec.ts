import { DataSource } from 'typeorm';
import { dataSourceOptions } from '../../ormconfig';
import { ProcessPresence } from '../../src/database';
import { Iptables } from '../../src/docker/firewall/iptables';
import type { ApiClient } from '../support/clients/api-client';
import { BerthProcess } from '../support/servers/berth-process';
import { eventually } from '../support/eventually';
import { TcpProxy } from '../support/faults/tcp-proxy';
import { openTestDatabase, TestDatabase } from '../support/databases/test-database';

jest.setTimeout(180_000);

/** As docs/operations.md promises. */
const BACK_WITHIN_MS = 15_000;

/** A cable that is pulled, a firewall that forgot its connections: nothing answers any more, and nothing says so. */
describe('a PostgreSQL whose connections turn silent', () => {
  let database: TestDatabase;
  let proxy: TcpProxy;
  let server: BerthProcess;
  let api: ApiClient;

  beforeAll(async () => {
    database = await openTestDatabase();
    proxy = await TcpProxy.before(database.url);
    server = new BerthProcess({ DATABASE_URL: proxy.url, SHUTDOWN_GRACE_SECONDS: '10', INSTANCE_ID: 'test-silence' });
    await server.start();
    api = await server.user();
  });

  beforeEach(async () => {
    await atOnce(20, () => api.call('GET', '/api/containers'));
    expect(proxy.connections).toBeGreaterThan(5);
  });

  afterAll(async () => {
    await server.kill();
    await proxy.down();
    await database.drop();
  });

  it('must be asked on new connections within 15 s', async () => {
    proxy.freeze();
    const began = Date.now();
    const cutOff = atOnce(14, () => api.call('POST', '/api/agents', { name: `agent-${Math.random()}` }));
    await eventually(async () => expect((await api.call('GET', '/api/containers')).status).toBe(200), {
      timeoutMs: BACK_WITHIN_MS,
    });
    const made = await api.call('POST', '/api/agents', { name: 'made-after-the-silence' });
    expect(made.status).toBe(201);
    expect(Date.now() - began).toBeLessThan(BACK_WITHIN_MS);
    // Whoever was cut off is told, too.
    for (const { status, body, headers } of await cutOff) {
      if (status === 201) continue;
      expect([status, body.code]).toEqual([503, expect.stringMatching(/^database_(busy|unavailable)$/)]);
      expect(Number(headers.get('retry-after'))).toBeGreaterThan(0);
    }
  });

  it('must not keep a process from ending', async () => {
    proxy.freeze({ newcomersToo: true });
    let lookups = 0;
    proxy.onRequest = (chunk) => {
      // What every request asks first, and nothing else does.
      if (chunk.includes('lookup_')) lookups += 1;
    };
    const cutOff = Promise.allSettled([
      atOnce(14, () => api.call('POST', '/api/agents', { name: `agent-${Math.random()}` })),
      api.create({ name: 'cut-off' }),
    ]);
    await eventually(() => expect(lookups).toBeGreaterThan(0));
    // A process that takes too long ends itself, with another code.
    expect(await server.stop()).toBe(0);
    await cutOff;
  });
});

/**
 * A machine that is switched off, or a network that is lost for as long as a process takes to die: PostgreSQL hears no
 * end.
 */
describe('the presence of a process that PostgreSQL hears nothing of any more', () => {
  const filter = new Iptables('iptables');
  let database: TestDatabase;
  let dataSource: DataSource;
  let presence: ProcessPresence;
  let silence: string[] = [];

  beforeAll(async () => {
    database = await openTestDatabase();
    dataSource = await new DataSource(dataSourceOptions(database.url)).initialize();
    presence = await ProcessPresence.establish(dataSource);
  });

  afterAll(async () => {
    await filter.apply(silence.map((rule) => rule.replace('-A', '-D')));
    await presence.onApplicationShutdown();
    await dataSource.destroy();
    await database.drop();
  });

  it('must end within 15 s', async () => {
    const [shown] = await sessions();
    const port = String(shown?.client_port);
    const rules = ['--sport', '--dport'].map((end) => `-A OUTPUT -o lo -p tcp ${end} ${port} -j DROP`);
    await filter.apply(rules);
    silence = rules;
    await eventually(async () => expect((await sessions()).map(({ pid }) => pid)).not.toContain(shown?.pid), {
      timeoutMs: BACK_WITHIN_MS,
    });
  });

  function sessions(): Promise<{ pid: number; client_port: number }[]> {
    return dataSource.query(
      `SELECT pid, client_port FROM pg_stat_activity
       WHERE application_name = 'berth presence' AND datname = current_database()`,
    );
  }
});

function atOnce<T>(count: number, work: () => Promise<T>): Promise<T[]> {
  return Promise.all(Array.from({ length: count }, work));
}
