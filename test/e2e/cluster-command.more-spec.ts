import { type AddressInfo, createServer, type Server } from 'node:net';
import type { ApiClient } from '../support/clients/api-client';
import { ClusterCommand } from '../support/servers/cluster-command';
import { eventually } from '../support/eventually';

jest.setTimeout(300_000);

const HURRIED_MS = 60_000;

describe('npm run cluster', () => {
  const silent: Server = createServer((socket) => socket.unref());
  let command: ClusterCommand;

  beforeAll(async () => {
    command = await ClusterCommand.prepare();
  });

  afterAll(async () => {
    silent.close();
    await command.remove();
  });

  it('must start three servers, start again what dies, and say so', async () => {
    await command.start();
    const { apis } = command;
    expect(apis).toHaveLength(3);
    const [first, second] = apis as [ApiClient, ApiClient, ApiClient];
    const { db_id: kept } = await first.running();
    process.kill(command.servers[1]?.pid ?? NaN, 'SIGKILL');
    await command.untilSaid(/server 2 ended by itself \(SIGKILL\); it is started again in 1 s/);
    expect((await first.get(kept)).status).toBe(200);
    await command.untilSaid(/✓ server 2 is back: http/);
    expect((await second.get(kept)).status).toBe(200);
    const postgres = (await command.processes()).find((each) => each.includes('bin/postgres -D'));
    process.kill(parseInt(postgres ?? '', 10), 'SIGKILL');
    await command.untilSaid(/✓ PostgreSQL is back/);
    for (const api of apis) await eventually(async () => expect((await api.get(kept)).status).toBe(200));
    expect(await command.interrupt()).toBe(0);
  });

  it('must have everything again at the next start, clean up after a run that was killed, and hurry at a second Ctrl-C', async () => {
    const { token } = command;
    const api = await command.startOne();
    expect(api.token).toBe(token);
    const { db_id } = await api.running({ name: 'kept' });
    expect((await api.stop(db_id)).status).toBe(200);
    await command.kill();
    expect((await command.processes()).length).toBeGreaterThan(0);
    const again = await command.startOne();
    expect((await again.start(db_id)).status).toBe(200);
    // A pull from a registry that says nothing, for which the server would wait.
    await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve));
    const asked = new Promise((resolve) => silent.once('connection', resolve));
    const registry = `127.0.0.1:${String((silent.address() as AddressInfo).port)}`;
    expect((await again.create({ custom_image: `${registry}/berth/never:1` })).status).toBe(202);
    await asked;
    let ended = false;
    const exited = command.interrupt().then(() => (ended = true));
    await eventually(
      () => {
        command.press();
        expect(ended).toBe(true);
      },
      { timeoutMs: HURRIED_MS },
    );
    await exited;
    expect(command.output).toMatch(/killed, as not stopped in time: server 1/);
    expect(await command.processes()).toEqual([]);
  });
});
