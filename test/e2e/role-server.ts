import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ApiClient, NewContainer } from '../support/clients/api-client';
import type { EventRecorder } from '../support/clients/socket-client';
import type { RealDocker } from '../support/docker/real-docker';
import { eventually } from '../support/eventually';
import { Cluster } from '../support/servers/cluster';

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
  private constructor(
    private readonly cluster: Cluster,
    private readonly token: string,
    /** Records from the beginning of the history. */
    public recorder: EventRecorder,
    private readonly folder: string,
  ) {}

  static async start(): Promise<RoleServer> {
    const folder = await mkdtemp(join(tmpdir(), 'berth-roles-'));
    const ROLES_FILE = join(folder, 'roles.json');
    await writeFile(ROLES_FILE, JSON.stringify({ roles: ROLES }));
    const cluster = await Cluster.start('roles', {
      processes: 1,
      // Installations are proved under gVisor.
      environment: { ROLES_FILE, SWEEP_INTERVAL_SECONDS: '1', SANDBOX_RUNTIME: 'runsc' },
    });
    const [api] = await cluster.user();
    return new RoleServer(cluster, api.token, await cluster.record(api, 0), folder);
  }

  get docker(): RealDocker {
    return this.cluster.docker;
  }

  get api(): ApiClient {
    return this.cluster.clients(this.token)[0];
  }

  create(role: string): Promise<NewContainer> {
    const custom_image = process.env['TEST_SANDBOX_IMAGE'] ?? 'berth/sandbox:latest';
    return this.api.running({ custom_image, role, ...RESOURCES, env: { PASSWORD: 'do-not-tell' } });
  }

  /** Kills the process, and starts it again. */
  async restart(): Promise<void> {
    const [server] = this.cluster.servers;
    await server.kill();
    this.recorder.close();
    await server.start();
    this.recorder = await this.cluster.record(this.api, 0);
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

  async expectPython(engineId: string): Promise<void> {
    const script = 'python3 -c "print(6 * 7)" && dpkg --audit';
    expect(await this.docker.exec(engineId, ['sh', '-c', script])).toBe('42\n');
  }

  lastEvents(): string {
    return JSON.stringify(this.recorder.events.slice(-3));
  }

  /** Leaves nothing in Docker. */
  async stop(): Promise<void> {
    await this.cluster.stop();
    await rm(this.folder, { recursive: true });
  }
}
