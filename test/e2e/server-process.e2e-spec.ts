import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { connect } from 'node:net';
import { promisify } from 'node:util';
import { io } from 'socket.io-client';
import { ApiClient } from '../support/clients/api-client';
import { BerthProcess } from '../support/servers/berth-process';
import { DockerProxy } from '../support/faults/docker-proxy';
import { eventually } from '../support/eventually';
import { expectSettled } from '../support/databases/expect-settled';
import { RealDocker } from '../support/docker/real-docker';
import { openTestDatabase, TestDatabase } from '../support/databases/test-database';

jest.setTimeout(180_000);

describe('a server as a process', () => {
  const docker = new RealDocker();
  const instance = `test-process-${String(process.pid)}`;
  const sizes = { name: 'sized', memory_mb: 512, cpu_shares: 500, disk_mb: 1024 };
  /** All that it has logged, at the most talkative level. */
  const output: Buffer[] = [];
  const onOutput = (chunk: Buffer): unknown => output.push(chunk);
  let database: TestDatabase;
  let proxy: DockerProxy;
  let berth: BerthProcess;
  let api: ApiClient;

  beforeAll(async () => {
    proxy = await DockerProxy.open();
    database = await openTestDatabase();
    berth = new BerthProcess({
      DATABASE_URL: database.url,
      INSTANCE_ID: instance,
      DOCKER_HOST: proxy.dockerHost,
      LOG_LEVEL: 'trace',
      SHUTDOWN_GRACE_SECONDS: '60',
    });
    await berth.start({ onOutput });
    // The program that `npm run token` starts.
    const command = ['dist/src/cli/token.js', '--user', 'first', '--tier', 'enterprise'];
    const env = { ...process.env, DATABASE_URL: database.url };
    const { stdout } = await promisify(execFile)(process.execPath, command, { env });
    api = new ApiClient(berth.url, stdout.trim());
  });

  afterAll(async () => {
    await berth.stop();
    await proxy.close();
    await database.drop();
    await docker.removeInstance(instance);
  });

  it('must refuse a second process on the same SQLite database', async () => {
    const second = await run({ DATABASE_URL: database.url, INSTANCE_ID: instance });
    expect(second).toEqual({ code: 1, stderr: expect.stringMatching(/another Berth process uses the database/) });
  });

  it('must print no token and log none', async () => {
    await api.call('GET', '/api/me');
    await api.call('GET', `/api/me?access_token=${api.token}`);
    await api.call('POST', '/api/containers', { image: api.token });
    await api.call('GET', `/api/containers/${api.token}`);
    const requestId = (await api.call('GET', '/api/me?last')).headers.get('x-request-id') ?? 'none';
    await eventually(() => expect(printed()).toContain(`"request_id":"${requestId}"`));
    expect(printed()).not.toContain(api.token);
    expect(printed()).not.toContain(api.token.slice(6));
  });

  it('must finish what is running when it is asked to end, and let clients reconnect elsewhere', async () => {
    const { db_id } = await api.running();
    const socket = io(api.url, { auth: { token: api.token }, transports: ['websocket'], forceNew: true });
    const closed = new Promise<string>((resolve) => socket.once('disconnect', resolve));
    await new Promise<void>((resolve) => socket.once('connect', resolve));
    let created = 0;
    proxy.onCall = (call) => {
      if (!call.endsWith('/containers/create')) return null;
      created += 1;
      // Until long after the server is told to end.
      return { fault: 'delay', delayMs: 2_000 };
    };
    const asked = api.update(db_id, sizes);
    await eventually(() => expect(created).toBe(1));
    const ended = berth.stop();
    expect((await asked).body).toMatchObject({ message: 'settings updated', restarted: true });
    expect(await closed).toBe('transport close');
    socket.close();
    expect(await ended).toBe(0);
    expect((await docker.containersOf(db_id)).filter(({ state }) => state === 'running')).toHaveLength(1);
    proxy.onCall = () => null;
  });

  it('must find containers, data and events again after its end', async () => {
    const [{ id, db_id } = never()] = (await docker.docker.listContainers(ours())).map(({ Id, Labels }) => ({
      id: Id,
      db_id: Labels['berth.container_id'] ?? '',
    }));
    await docker.writeData(id, 'patient');
    await docker.docker.getContainer(id).kill();
    await berth.start({ onOutput });
    const after = Object.assign(Object.create(api) as ApiClient, { url: berth.url });
    await eventually(async () =>
      expect((await after.get(db_id)).body).toMatchObject({ status: 'stopped', status_reason: 'exited' }),
    );
    await after.start(db_id);
    expect(await docker.readData(id)).toBe('patient');
    await expectSettled(after, docker, db_id);
    // Of its whole life.
    expect(printed()).not.toContain(api.token.slice(6));
  });

  it('must end when the program that started it is gone, though nobody reads its log and clients send half a request', async () => {
    const { hostname, port } = new URL(berth.url);
    const texts = ['', 'POST /api/agents HTTP/1.1\r\nhost: berth\r\ncontent-length: 100\r\n\r\n{"name":'];
    const sockets = texts.map((text) => {
      const socket = connect(Number(port), hostname).on('error', () => undefined);
      socket.write(text);
      return socket;
    });
    await Promise.all(sockets.map((socket) => once(socket, 'connect')));
    // The last connection is accepted, so those before it are.
    expect((await fetch(`${berth.url}/health/live`)).status).toBe(200);
    berth.stopReading();
    // A process that takes too long ends itself, with another code.
    expect(await berth.orphan()).toBe(0);
    for (const socket of sockets) socket.destroy();
  });

  it('must refuse a wrong configuration, and name all faults at once', async () => {
    const { code, stderr } = await run({ PORT: 'http', DATABASE_URL: 'mysql://x', LOG_LEVEL: 'loud' });
    expect(code).toBe(2);
    expect(stderr).toMatch(/^(?=[^]*PORT)(?=[^]*DATABASE_URL)(?=[^]*LOG_LEVEL)/);
    expect(stderr).not.toMatch(/ at .*\.js/);
  });

  const printed = (): string => Buffer.concat(output).toString();
  const ours = (): object => ({ filters: { label: [`berth.instance=${instance}`] } });

  async function run(environment: Record<string, string>): Promise<{ code: number | null; stderr: string }> {
    const env = { ...process.env, PORT: '0', LOG_LEVEL: 'silent', DATABASE_URL: 'sqlite::memory:', ...environment };
    const child = spawn(process.execPath, ['dist/src/main.js'], { env, stdio: ['ignore', 'ignore', 'pipe'] });
    const chunks: Buffer[] = [];
    child.stderr.on('data', (chunk: Buffer) => chunks.push(chunk));
    const code = await new Promise<number | null>((resolve) => child.once('close', resolve));
    return { code, stderr: Buffer.concat(chunks).toString() };
  }
});

function never(): never {
  throw new Error('there is no container');
}
