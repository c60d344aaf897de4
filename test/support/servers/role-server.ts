import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { io } from 'socket.io-client';
import { ApiClient, NewContainer } from '../clients/api-client';
import { BerthProcess } from './berth-process';
import { EventRecorder } from '../clients/event-recorder';
import { eventually } from '../eventually';
import { RealDocker } from '../docker/real-docker';
import { openTestDatabase, TestDatabase } from '../databases/test-database';

/** Packages come from Debian's own mirrors, and are installed under gVisor. */
export const INSTALLED_WITHIN_MS = 280_000;

const RESOURCES = { memory_mb: 512, cpu_shares: 2000, disk_mb: 1024 };
const none: string[] = [];
/** A smaller Python than the catalogue's, to save time; the other role cannot be installed. */
const ROLES = [
  { name: 'python', packages: { apt: ['python3-minimal'] }, probe: ['python3'] },
  { name: 'broken', packages: { apt: ['berth-no-such-package'], apk: none }, probe: ['berth-no-such-program'] },
];

/** A server process that installs real packages, with a recorder of its user's events. */
export class RoleServer {
  readonly docker = new RealDocker();
  recorder!: EventRecorder;

  private constructor(
    readonly berth: BerthProcess,
    private readonly token: string,
    private readonly instance: string,
    private readonly database: TestDatabase,
    private readonly folder: string,
  ) {}

  static async start(): Promise<RoleServer> {
    const instance = `test-roles-${String(process.pid)}`;
    const folder = await mkdtemp(join(tmpdir(), 'berth-roles-'));
    await writeFile(join(folder, 'roles.json'), JSON.stringify({ roles: ROLES }));
    const database = await openTestDatabase();
    const berth = new BerthProcess({
      DATABASE_URL: database.url,
      INSTANCE_ID: instance,
      ROLES_FILE: join(folder, 'roles.json'),
      SWEEP_INTERVAL_SECONDS: '1',
    });
    await berth.start();
    const token = await berth.token(['--user', 'installer', '--tier', 'enterprise']);
    const server = new RoleServer(berth, token, instance, database, folder);
    await server.record();
    return server;
  }

  get api(): ApiClient {
    return new ApiClient(this.berth.url, this.token);
  }

  create(role: string): Promise<NewContainer> {
    const custom_image = process.env['TEST_SANDBOX_IMAGE'] ?? 'berth/sandbox:latest';
    return this.api.running({ custom_image, role, ...RESOURCES, env: { PASSWORD: 'do-not-tell' } });
  }

  /** Kills the process, and starts it again. */
  async restart(): Promise<void> {
    await this.berth.kill();
    this.recorder.close();
    await this.berth.start();
    await this.record();
  }

  /** The progress events of the role's installation, in order. */
  progressOf(id: string): number[] {
    return this.recorder.events.flatMap(({ data }) =>
      'stage' in data && data.stage === 'role' && data.id === id ? data.progress : [],
    );
  }

  /** Waits for the end of the installation. @returns the container's id in Docker */
  async installed(dbId: string): Promise<string> {
    const row = async () => (await this.api.get(dbId)).body;
    await eventually(async () => expect(await row()).toMatchObject({ role_status: 'installed', status: 'running' }), {
      timeoutMs: INSTALLED_WITHIN_MS,
      what: () => this.lastEvents(),
    });
    return String((await row())['id']);
  }

  async expectPython(dockerId: string): Promise<void> {
    const script = 'python3 -c "print(6 * 7)" && dpkg --audit';
    expect(await this.docker.exec(dockerId, ['sh', '-c', script])).toBe('42\n');
  }

  lastEvents(): string {
    return JSON.stringify(this.recorder.events.slice(-3));
  }

  /** Leaves nothing in Docker. */
  async stop(): Promise<void> {
    this.recorder.close();
    await this.berth.stop();
    await this.docker.removeInstance(this.instance);
    await this.database.drop();
    await rm(this.folder, { recursive: true });
  }

  /** Records from the beginning of the history. */
  private async record(): Promise<void> {
    const auth = { token: this.token, after: 0 };
    this.recorder = new EventRecorder(io(this.berth.url, { auth, transports: ['websocket'], forceNew: true }));
    await this.recorder.connected();
  }
}
