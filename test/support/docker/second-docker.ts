import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import Docker from 'dockerode';
import { eventually } from '../eventually';
import { Program } from '../servers/program';
import { removeByForce } from './real-docker';

const START_MS = 120_000;

/** The contents of `daemon.json`, such as `live-restore`. */
type DaemonConfig = Readonly<Record<string, unknown>>;

/**
 * A Docker daemon beside that of the tests, without rules in the machine's firewall. It can be restarted, killed and
 * given another data-root without affecting the tests' own Docker.
 */
export class SecondDocker {
  readonly docker: Docker;
  private daemon: Program | null = null;
  /** Its current data-root. */
  private dataRoot = '';

  private constructor(private readonly folder: string) {
    this.docker = new Docker({ socketPath: join(folder, 's') });
  }

  /**
   * @param config in place of the machine's own configuration; gVisor must be configured in it
   * @param above the folder that everything is below
   */
  static async start(dataRoot: string, config: DaemonConfig = {}, above = tmpdir()): Promise<SecondDocker> {
    const second = new SecondDocker(await mkdtemp(join(above, 'berth-test-')));
    await second.startOn(dataRoot, config);
    return second;
  }

  get host(): string {
    return `unix://${join(this.folder, 's')}`;
  }

  /** @param dataRoot the name of a folder, which may not exist yet. @param config the previous one if absent */
  async startOn(dataRoot: string, config?: DaemonConfig): Promise<void> {
    const path = (name: string): string => join(this.folder, name);
    if (config) await writeFile(path('daemon.json'), JSON.stringify(config));
    const args = ['--host', this.host, '--data-root', path(dataRoot), '--exec-root', path(`${dataRoot}-exec`)];
    const apart = ['--bridge', 'none', '--iptables=false', '--ip6tables=false', '--config-file', path('daemon.json')];
    // Without its output: containers that outlive it keep its streams open.
    this.daemon = new Program('dockerd', [...args, ...apart, '--pidfile', path('pid')], { stdio: 'ignore' });
    this.dataRoot = dataRoot;
    await this.daemon.started(eventually(() => this.docker.ping(), { timeoutMs: START_MS }));
  }

  /** Starts the daemon again on the same data-root. */
  async startAgain(config?: DaemonConfig): Promise<void> {
    await this.startOn(this.dataRoot, config);
  }

  /** @param signal after SIGKILL the containers keep running, as with `live-restore`, and the next start finds them */
  async stop(signal: 'SIGTERM' | 'SIGKILL' = 'SIGTERM'): Promise<void> {
    await this.daemon?.end(signal);
    this.daemon = null;
  }

  /** The names of the volumes with data; the supervisor's stay as long as Docker does. */
  async dataVolumes(): Promise<string[]> {
    const { Volumes } = await this.docker.listVolumes();
    return Volumes.map(({ Name }) => Name).filter((name) => !name.startsWith('berth-supervisor-'));
  }

  /** Copies an image from the tests' Docker. */
  async take(image: string, from: Docker): Promise<void> {
    const loading = await this.docker.loadImage(await from.getImage(image).get());
    await new Promise((resolve, reject) => loading.resume().once('end', resolve).once('error', reject));
  }

  /** Removes the contents of each data-root. Networks are removed by the daemon, because their bridges would stay. */
  async discard(dataRoots: readonly string[]): Promise<void> {
    if (!this.daemon) await this.startAgain();
    const isOther = (dataRoot: string): boolean => dataRoot !== this.dataRoot;
    for (const dataRoot of [this.dataRoot, ...dataRoots.filter(isOther)]) {
      if (isOther(dataRoot)) {
        await this.stop();
        await this.startOn(dataRoot);
      }
      for (const container of await this.docker.listContainers({ all: true }))
        await removeByForce(this.docker, container);
      for (const { Id } of await this.docker.listNetworks({ filters: { type: ['custom'] } })) {
        await this.docker.getNetwork(Id).remove();
      }
    }
    await this.stop();
    await this.unmount();
    await rm(this.folder, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 });
  }

  /** A daemon that was killed, or had `live-restore`, leaves its data-root mounted, so that it cannot be removed. */
  private async unmount(): Promise<void> {
    const mounts = (await readFile('/proc/self/mounts', 'utf8')).split('\n').map((line) => line.split(' ')[1] ?? '');
    const below = mounts.filter((path) => path.startsWith(`${this.folder}/`)).reverse();
    for (const path of below) await promisify(execFile)('umount', ['--lazy', path]);
  }
}
