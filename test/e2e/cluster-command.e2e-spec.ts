import { mkdtemp, rm } from 'node:fs/promises';
import { type AddressInfo, createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { io } from 'socket.io-client';
import { ApiClient } from '../support/api-client';
import { ClusterCommand } from '../support/cluster-command';
import { EventRecorder } from '../support/event-recorder';
import { eventually } from '../support/eventually';
import { portsInARow } from '../support/free-port';
import { RealDocker } from '../support/real-docker';

jest.setTimeout(300_000);

/** For what is running when a server is told to end: much longer than the end takes where somebody hurries it. */
const SHUTDOWN_GRACE_SECONDS = '120';
const HURRIED_MS = 60_000;

describe('npm run cluster', () => {
  const docker = new RealDocker();
  const instance = `test-cluster-${String(process.pid)}`;
  const silent: Server = createServer((socket) => socket.unref());
  let folder: string;
  let command: ClusterCommand;
  let kept: string;

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'berth-cluster-'));
    const PORT = String(await portsInARow(3));
    const settings = { LOG_LEVEL: 'info', SANDBOX_PROOF: 'off', CUSTOM_IMAGE_REGISTRIES: 'docker.io,127.0.0.1:*' };
    command = new ClusterCommand(folder, { PORT, INSTANCE_ID: instance, SHUTDOWN_GRACE_SECONDS, ...settings });
    await command.start();
  });

  afterAll(async () => {
    await command.interrupt();
    silent.close();
    expect(await command.processes()).toEqual([]);
    await docker.removeInstance(instance);
    await rm(folder, { recursive: true });
  });

  /** Each server, as the one user that the command made. */
  function apis(): [ApiClient, ApiClient, ApiClient] {
    const clients = command.servers.map(({ url }) => new ApiClient(url, command.token));
    expect(clients).toHaveLength(3);
    return clients as [ApiClient, ApiClient, ApiClient];
  }

  /** Starts it again, with one server, which is enough where servers are not what it is about. */
  async function startAgain(): Promise<ApiClient> {
    await command.start(['--processes', '1']);
    const [server] = command.servers;
    return new ApiClient(server?.url ?? '', command.token);
  }

  it('must start three servers on ports in a row that are one Berth, and say which line is whose', async () => {
    const [first, second, third] = apis();
    const ports = command.servers.map(({ url }) => Number(new URL(url).port));
    expect(ports).toEqual([ports[0], (ports[0] ?? 0) + 1, (ports[0] ?? 0) + 2]);
    const socket = io(third.url, { auth: { token: third.token }, transports: ['websocket'], forceNew: true });
    const events = new EventRecorder(socket);
    await events.connected();
    const made = await first.running({ name: 'kept' });
    kept = made.db_id;
    await events.next('container_started', { db_id: kept });
    events.close();
    expect((await second.stop(kept)).status).toBe(200);
    expect((await third.get(kept)).body).toMatchObject({ name: 'kept', status: 'stopped' });
    for (const name of ['1', '2', '3']) expect(command.output).toMatch(new RegExp(`^\\[${name}\\] \\{"level"`, 'm'));
  });

  it('must start again what dies, and say so', async () => {
    const [first, second] = apis();
    process.kill(command.servers[1]?.pid ?? NaN, 'SIGKILL');
    await command.untilSaid(/server 2 ended by itself \(SIGKILL\); it is started again in 1 s/);
    expect((await first.get(kept)).status).toBe(200);
    await command.untilSaid(/✓ server 2 is back: http/);
    expect((await second.get(kept)).status).toBe(200);
    const postgres = (await command.processes()).find((each) => each.includes('bin/postgres -D'));
    process.kill(parseInt(postgres ?? '', 10), 'SIGKILL');
    await command.untilSaid(/✓ PostgreSQL is back/);
    for (const api of apis()) await eventually(async () => expect((await api.get(kept)).status).toBe(200));
  });

  it('must refuse a second one beside it, and what cannot be started, in a line that says why', async () => {
    const beside = new ClusterCommand(folder);
    expect(await beside.run()).toBe(1);
    expect(beside.output).toMatch(/^✗ .* is already running in this folder \(process \d+\)\.$/m);
    expect(await beside.run(['--processes', '0'])).toBe(1);
    expect(beside.output).toMatch(/^✗ --processes 0 .*\n {2}Usage: npm run cluster -- --processes N, from 1 to 20/);
  });

  it('must leave no process at Ctrl-C, and have everything again at the next start', async () => {
    const { token } = command;
    expect(await command.interrupt()).toBe(0);
    const order = ['stopping the servers', 'stopping Redis', 'stopping PostgreSQL'].map((each) =>
      command.output.indexOf(`✓ ${each}`),
    );
    expect(Math.min(...order)).toBeGreaterThan(0);
    expect(order).toEqual([...order].sort((a, b) => a - b));
    expect(await command.processes()).toEqual([]);
    const again = await startAgain();
    expect(again.token).toBe(token);
    expect((await again.get(kept)).body).toMatchObject({ name: 'kept', status: 'stopped' });
  });

  it('must clean up after a run that was killed, and hurry at a second Ctrl-C', async () => {
    await command.kill();
    expect((await command.processes()).length).toBeGreaterThan(0);
    const again = await startAgain();
    expect((await again.start(kept)).status).toBe(200);
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
