import { type AddressInfo, createServer, type Server } from 'node:net';
import type { ApiClient } from '../support/clients/api-client';
import { ClusterCommand } from '../support/servers/cluster-command';
import { EventRecorder } from '../support/clients/socket-client';
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

  it('must start servers on ports in a row that are one Berth, and say which line is whose', async () => {
    await command.start(['--processes', '2']);
    expect(command.apis).toHaveLength(2);
    const [first, second] = command.apis as [ApiClient, ApiClient];
    const ports = command.servers.map(({ url }) => Number(new URL(url).port));
    expect(ports).toEqual([ports[0], (ports[0] ?? 0) + 1]);
    const events = await new EventRecorder(second.url, { token: second.token }).connected();
    const made = await first.running({ name: 'seen-by-both' });
    const kept = made.db_id;
    await events.next('container_started', { db_id: kept });
    events.close();
    expect((await second.stop(kept)).status).toBe(200);
    expect((await first.get(kept)).body).toMatchObject({ name: 'seen-by-both', status: 'stopped' });
    for (const name of ['1', '2']) expect(command.output).toMatch(new RegExp(`^\\[${name}\\] \\{"level"`, 'm'));
  });

  it('must refuse a second one beside it, and what cannot be started, in a line that says why', async () => {
    const beside = command.beside();
    expect(await beside.run()).toBe(1);
    expect(beside.output).toMatch(/^✗ .* is already running in this folder \(process \d+\)\.$/m);
    expect(await beside.run(['--processes', '0'])).toBe(1);
    expect(beside.output).toMatch(/^✗ --processes 0 .*\n {2}Usage: npm run cluster -- --processes N, from 1 to 20/);
  });

  it('must leave no process at Ctrl-C', async () => {
    expect(await command.interrupt()).toBe(0);
    const order = ['stopping the servers', 'stopping Redis', 'stopping PostgreSQL'].map((each) =>
      command.output.indexOf(`✓ ${each}`),
    );
    expect(Math.min(...order)).toBeGreaterThan(0);
    expect(order).toEqual([...order].sort((a, b) => a - b));
    expect(await command.processes()).toEqual([]);
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
