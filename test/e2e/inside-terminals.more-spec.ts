import type { ApiClient, NewContainer } from '../support/clients/api-client';
import { BerthProcess } from '../support/servers/berth-process';
import { eventually } from '../support/eventually';
import { RealDocker } from '../support/docker/real-docker';
import { PlainTerminal, TerminalClient } from '../support/clients/terminal-client';
import { openTestDatabase, TestDatabase } from '../support/databases/test-database';

jest.setTimeout(300_000);

describe('terminals of a server that ends', () => {
  const docker = new RealDocker();
  const instance = `test-terminals-end-${String(process.pid)}`;
  let database: TestDatabase;
  let berth: BerthProcess;
  let api: ApiClient;
  let container: NewContainer;
  let clients: (TerminalClient | PlainTerminal)[] = [];

  beforeAll(async () => {
    database = await openTestDatabase();
    berth = new BerthProcess({ DATABASE_URL: database.url, INSTANCE_ID: instance });
    await berth.start();
    api = await berth.user();
    container = await api.running({ custom_image: process.env['TEST_SANDBOX_IMAGE'] });
  });

  afterEach(() => {
    for (const client of clients) client.leave();
    clients = [];
  });

  afterAll(async () => {
    await berth.stop();
    await database.drop();
    await docker.removeInstance(instance);
  });

  const processes = (): Promise<string> => docker.exec(container.id, ['ps', '-eo', 'args']);

  async function open(options: { acknowledges?: boolean } = {}): Promise<TerminalClient> {
    const client = new TerminalClient(berth.url, { token: api.token, container: container.id }, options);
    clients.push(client);
    return client.opened();
  }

  async function openPlain(): Promise<PlainTerminal> {
    const headers = { authorization: `Bearer ${api.token}` };
    const client = new PlainTerminal(`${berth.url}/ws/terminal/${container.id}`, { headers });
    clients.push(client);
    return client.opened();
  }

  /** One at rest, a flood that nobody reads, and one over a plain WebSocket that nobody reads. */
  async function three(): Promise<{ idle: TerminalClient; flood: TerminalClient; plain: PlainTerminal }> {
    const idle = await open();
    const flood = await open({ acknowledges: false });
    const plain = await openPlain();
    plain.send('yes 7911\n');
    flood.type('yes 7910\n');
    await eventually(async () => expect(await processes()).toMatch(/yes 791[01][^]*yes 791[01]/));
    await eventually(() => expect(flood.bytes).toBe(256 * 1024));
    plain.socket.pause();
    return { idle, flood, plain };
  }

  it('must be disconnected, hold up nothing, and find their terminals again', async () => {
    const { idle, flood } = await three();
    const before = performance.now();
    expect(await berth.stop()).toBe(0);
    expect(performance.now() - before).toBeLessThan(15_000);
    await eventually(() => expect([idle.disconnects.length, flood.disconnects.length]).toEqual([1, 1]));
    expect([idle.exit, flood.exit]).toEqual([null, null]);
    await berth.start();
    expect(await processes()).toMatch(/yes 791/);
    const back = new TerminalClient(berth.url, {
      token: api.token,
      container: container.id,
      session: idle.session,
      takeover: true,
    });
    clients.push(back);
    await back.opened();
    back.type('echo "again-$((1+1))"\n');
    await back.says('again-2');
  });

  it('must end with their shells, whatever goes on in the background', async () => {
    const client = await open();
    client.type('sleep 7913 & exit\n');
    await eventually(() => expect(client.exit).toEqual({ code: 0, reason: 'exited' }));
  });
});
