import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { connect, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { io } from 'socket.io-client';
import { BerthProcess } from '../support/berth-process';
import { DockerProxy } from '../support/docker-proxy';
import { eventually } from '../support/eventually';
import { expectSettled } from '../support/expect-settled';
import { RealDocker } from '../support/real-docker';
import { openTestDatabase, TestDatabase } from '../support/test-database';

jest.setTimeout(180_000);

describe('a server as a process', () => {
  const docker = new RealDocker();
  const instance = `test-process-${String(process.pid)}`;
  const sizes = { name: 'sized', memory_mb: 512, cpu_shares: 500, disk_mb: 1024 };
  let database: TestDatabase;
  let proxy: DockerProxy;
  let berth: BerthProcess;

  beforeAll(async () => {
    proxy = await DockerProxy.open();
  });

  beforeEach(async () => {
    database = await openTestDatabase();
    berth = new BerthProcess({
      DATABASE_URL: database.url,
      INSTANCE_ID: instance,
      DOCKER_HOST: proxy.dockerHost,
      SHUTDOWN_GRACE_SECONDS: '60',
    });
    await berth.start();
  });

  afterEach(async () => {
    await berth.stop();
    proxy.onCall = () => null;
    await database.drop();
  });

  afterAll(async () => {
    await proxy.close();
    await docker.removeInstance(instance);
  });

  it('must finish what is running when it is told to end, and let clients reconnect elsewhere', async () => {
    const api = await berth.user();
    const { db_id } = await api.running();
    const socket = io(api.url, { auth: { token: api.token }, transports: ['websocket'], forceNew: true });
    const closed = new Promise<string>((resolve) => socket.once('disconnect', resolve));
    await new Promise<void>((resolve) => socket.once('connect', resolve));
    let created = 0;
    proxy.onCall = (call) => {
      if (!call.endsWith('/containers/create')) return null;
      created += 1;
      // Until long after the server is told to end.
      return { fault: 'delay', delayMs: 3_000 };
    };
    const asked = api.update(db_id, sizes);
    await eventually(() => expect(created).toBe(1));
    const ended = berth.stop();
    expect((await asked).body).toMatchObject({ message: 'settings updated', restarted: true });
    expect(await closed).toBe('transport close');
    socket.close();
    expect(await ended).toBe(0);
    expect((await docker.containersOf(db_id)).filter(({ state }) => state === 'running')).toHaveLength(1);
  });

  it.each<['stop' | 'orphan', string]>([
    ['stop', 'when it is told to end'],
    ['orphan', 'when the program that started it is gone'],
  ])('must end (%s) %s, though nobody reads its log any more', async (way) => {
    const unread = new BerthProcess({ DATABASE_URL: 'sqlite::memory:', INSTANCE_ID: instance, LOG_LEVEL: 'info' });
    await unread.start({ onOutput: () => undefined });
    unread.stopReading();
    try {
      const codes: unknown[] = [];
      void unread[way]().then((code) => codes.push(code));
      await eventually(() => expect(codes).toEqual([0]));
    } finally {
      await unread.kill();
    }
  });

  it('must end though clients send half a request, or none', async () => {
    const asked = new BerthProcess({
      DATABASE_URL: 'sqlite::memory:',
      INSTANCE_ID: instance,
      SHUTDOWN_GRACE_SECONDS: '0',
    });
    await asked.start();
    const { hostname, port } = new URL(asked.url);
    const sockets = ['', 'POST /api/agents HTTP/1.1\r\nhost: berth\r\ncontent-length: 100\r\n\r\n{"name":'].map(
      (text) =>
        connect(Number(port), hostname, function (this: Socket) {
          this.write(text);
        }).on('error', () => undefined),
    );
    try {
      await Promise.all(sockets.map((socket) => once(socket, 'connect')));
      // The last connection is accepted, so those before it are.
      expect((await fetch(`${asked.url}/health/live`)).status).toBe(200);
      // A process that takes too long ends itself, with another code.
      expect(await asked.stop()).toBe(0);
    } finally {
      for (const socket of sockets) socket.destroy();
      await asked.kill();
    }
  });

  it('must find containers, data and events again after its end', async () => {
    const before = await berth.user();
    const { id, db_id } = await before.running();
    await docker.writeData(id, 'patient');
    await berth.stop();
    await docker.docker.getContainer(id).kill();
    await berth.start();
    const after = Object.assign(Object.create(before) as typeof before, { url: berth.url });
    await eventually(async () =>
      expect((await after.get(db_id)).body).toMatchObject({ status: 'stopped', status_reason: 'exited' }),
    );
    await after.start(db_id);
    expect(await docker.readData(id)).toBe('patient');
    await expectSettled(after, docker, db_id);
  });

  it('must refuse a second process on the same SQLite database', async () => {
    const second = await run({ DATABASE_URL: database.url, INSTANCE_ID: instance });
    expect(second).toEqual({ code: 1, stderr: expect.stringMatching(/another Berth process uses the database/) });
  });

  it.each<[string, Record<string, string>, RegExp]>([
    [
      'several faults, all at once',
      { PORT: 'http', DATABASE_URL: 'mysql://x', LOG_LEVEL: 'loud' },
      /^(?=[^]*PORT)(?=[^]*DATABASE_URL)(?=[^]*LOG_LEVEL)/,
    ],
    ['SANDBOX_RUNTIME=auto', { NODE_ENV: 'production', SANDBOX_RUNTIME: 'auto' }, /SANDBOX_RUNTIME/],
    ['CORS_ORIGINS=*', { NODE_ENV: 'production', CORS_ORIGINS: '*' }, /CORS_ORIGINS/],
  ])('must refuse a wrong configuration: %s', async (_what, environment, message) => {
    const { code, stderr } = await run(environment);
    expect(code).toBe(2);
    expect(stderr).toMatch(message);
    expect(stderr).not.toMatch(/ at .*\.js/);
  });

  it('must print no token and log none', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'berth-log-'));
    try {
      const port = new BerthProcess({ DATABASE_URL: `sqlite:${join(folder, 'log.sqlite')}`, INSTANCE_ID: instance });
      const { output, token } = await port.recorded(async (api) => {
        await api.call('GET', '/api/me');
        await api.call('GET', `/api/me?access_token=${api.token}`);
        await api.call('POST', '/api/containers', { image: api.token });
        await api.call('GET', `/api/containers/${api.token}`);
      });
      expect(output).toContain('"request_id"');
      expect(output).not.toContain(token);
      expect(output).not.toContain(token.slice(6));
    } finally {
      await rm(folder, { recursive: true });
    }
  });

  async function run(environment: Record<string, string>): Promise<{ code: number | null; stderr: string }> {
    const env = { ...process.env, PORT: '0', LOG_LEVEL: 'silent', DATABASE_URL: 'sqlite::memory:', ...environment };
    const child = spawn(process.execPath, ['dist/src/main.js'], { env, stdio: ['ignore', 'ignore', 'pipe'] });
    const chunks: Buffer[] = [];
    child.stderr.on('data', (chunk: Buffer) => chunks.push(chunk));
    const code = await new Promise<number | null>((resolve) => child.once('close', resolve));
    return { code, stderr: Buffer.concat(chunks).toString() };
  }
});
