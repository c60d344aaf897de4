import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { io } from 'socket.io-client';
import { ApiClient } from '../support/api-client';
import { BerthProcess } from '../support/berth-process';
import { EventRecorder } from '../support/event-recorder';
import { eventually } from '../support/eventually';
import { RealDocker } from '../support/real-docker';
import { openTestDatabase, TestDatabase } from '../support/test-database';

jest.setTimeout(600_000);

const INSTALLED_WITHIN_MS = 280_000;
const RESOURCES = { memory_mb: 512, cpu_shares: 2000, disk_mb: 1024 };
const none: string[] = [];
/** Much less of Python than in the catalogue, for the time that it takes; the other cannot be installed. */
const ROLES = [
  { name: 'python', packages: { apt: ['python3-minimal'] }, probe: ['python3'] },
  { name: 'broken', packages: { apt: ['berth-no-such-package'], apk: none }, probe: ['berth-no-such-program'] },
];

/** From Debian's own mirrors, in gVisor, through the API of a server that is killed in the middle. */
describe('the installation of a role', () => {
  const docker = new RealDocker();
  const instance = `test-roles-${String(process.pid)}`;
  let folder: string;
  let database: TestDatabase;
  let berth: BerthProcess;
  let token: string;
  let recorder: EventRecorder;

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'berth-roles-'));
    await writeFile(join(folder, 'roles.json'), JSON.stringify({ roles: ROLES }));
    database = await openTestDatabase();
    berth = new BerthProcess({
      DATABASE_URL: database.url,
      INSTANCE_ID: instance,
      ROLES_FILE: join(folder, 'roles.json'),
      SWEEP_INTERVAL_SECONDS: '1',
    });
    await berth.start();
    token = await berth.token(['--user', 'installer', '--tier', 'enterprise']);
  });

  afterAll(async () => {
    recorder.close();
    await berth.stop();
    await docker.removeInstance(instance);
    await database.drop();
    await rm(folder, { recursive: true });
  });

  const api = (): ApiClient => new ApiClient(berth.url, token);

  function create(role: string): Promise<{ id: string; db_id: string }> {
    const custom_image = process.env['TEST_SANDBOX_IMAGE'] ?? 'berth/sandbox:latest';
    return api().running({ custom_image, role, ...RESOURCES, env: { PASSWORD: 'do-not-tell' } });
  }

  /** Records from the beginning of the history on. */
  async function record(): Promise<EventRecorder> {
    const socket = io(berth.url, { auth: { token, after: 0 }, transports: ['websocket'], forceNew: true });
    const events = new EventRecorder(socket);
    await events.connected();
    return events;
  }

  /** What was told of the role's installation, in order. */
  function progressOf(id: string): number[] {
    return recorder.events.flatMap(({ data }) =>
      'stage' in data && data.stage === 'role' && data.id === id ? data.progress : [],
    );
  }

  async function installed(dbId: string): Promise<string> {
    const row = async () => (await api().get(dbId)).body;
    await eventually(async () => expect(await row()).toMatchObject({ role_status: 'installed', status: 'running' }), {
      timeoutMs: INSTALLED_WITHIN_MS,
      what: () => JSON.stringify(recorder.events.slice(-3)),
    });
    return String((await row())['id']);
  }

  async function expectPython(dockerId: string): Promise<void> {
    const script = 'python3 -c "print(6 * 7)" && dpkg --audit';
    expect(await docker.exec(dockerId, ['sh', '-c', script])).toBe('42\n');
  }

  it('must be continued by the next process where one was killed in the middle, and leave what works', async () => {
    recorder = await record();
    const { id, db_id } = await create('python');
    // Unpacking has begun: the worst of moments.
    await eventually(() => expect(Math.max(...progressOf(id))).toBeGreaterThanOrEqual(50), {
      timeoutMs: INSTALLED_WITHIN_MS,
      what: () => JSON.stringify(recorder.events.slice(-3)),
    });
    await berth.kill();
    recorder.close();
    await berth.start();
    recorder = await record();
    expect(await installed(db_id)).toBe(id);
    await eventually(() => expect(progressOf(id).at(-1)).toBe(100));
    const told = progressOf(id);
    expect(new Set(told).size).toBeGreaterThan(5);
    expect(told.filter((percent) => percent > 0 && percent < 100).length).toBeGreaterThan(4);
    await expectPython(id);
  });

  it('must be done again in the container that replaces one that vanished from Docker', async () => {
    const { body } = await api().call('GET', '/api/containers');
    const [{ id = '', db_id = '' } = {}] = body['containers'] as { id?: string; db_id?: string }[];
    await docker.docker.getContainer(id).remove({ force: true });
    await eventually(async () => expect((await api().get(db_id)).body).toMatchObject({ status: 'stopped' }));
    expect((await api().start(db_id)).body).toMatchObject({ recreated: true, volume_kept: true });
    const next = await installed(db_id);
    expect(next).not.toBe(id);
    await eventually(() => expect(progressOf(next).at(-1)).toBe(100));
    const told = progressOf(next);
    expect(told).toEqual([...new Set(told)].sort((a, b) => a - b));
    expect(told.filter((percent) => percent > 0 && percent < 100).length).toBeGreaterThan(4);
    await expectPython(next);
  });

  it('must leave the container running where a package does not exist, and say so', async () => {
    const { db_id } = await create('broken');
    const { data } = await recorder.next('container_error', { db_id }, INSTALLED_WITHIN_MS);
    expect(data).toMatchObject({ reason: 'role_failed', status: 'running' });
    expect('output' in data ? data.output : '').toMatch(/E: Unable to locate package berth-no-such-package/);
    expect(JSON.stringify(data)).not.toContain('do-not-tell');
    expect((await api().get(db_id)).body).toMatchObject({ status: 'running', role_status: 'failed' });
  });
});
