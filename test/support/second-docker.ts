import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import Docker from 'dockerode';
import { eventually } from './eventually';

const START_MS = 120_000;

/**
 * A Docker daemon beside that of the tests, without gVisor and without rules of its own in the machine's firewall,
 * whose data-root can be exchanged while nobody notices but those who use it.
 */
export class SecondDocker {
  readonly docker: Docker;
  private daemon: ChildProcess | null = null;
  /** What it runs on. */
  private dataRoot = '';

  private constructor(private readonly folder: string) {
    this.docker = new Docker({ socketPath: join(folder, 's') });
  }

  static async start(dataRoot: string): Promise<SecondDocker> {
    const second = new SecondDocker(await mkdtemp(join(tmpdir(), 'berth-test-')));
    // Not the machine's own configuration.
    await writeFile(join(second.folder, 'daemon.json'), '{}');
    await second.startOn(dataRoot);
    return second;
  }

  get host(): string {
    return `unix://${join(this.folder, 's')}`;
  }

  /** @param dataRoot the name of a folder, which may not be there yet */
  async startOn(dataRoot: string): Promise<void> {
    const path = (name: string): string => join(this.folder, name);
    const args = ['--host', this.host, '--data-root', path(dataRoot), '--exec-root', path(`${dataRoot}-exec`)];
    const apart = ['--bridge', 'none', '--iptables=false', '--ip6tables=false', '--config-file', path('daemon.json')];
    const daemon = spawn('dockerd', [...args, ...apart, '--pidfile', path('pid')], { stdio: 'ignore' });
    this.daemon = daemon;
    this.dataRoot = dataRoot;
    const ended = new Promise<never>((_resolve, reject) => {
      daemon.once('error', reject);
      daemon.once('exit', (code) => reject(new Error(`dockerd ended with ${String(code)}`)));
    });
    ended.catch(() => undefined);
    await Promise.race([ended, eventually(() => this.docker.ping(), { timeoutMs: START_MS })]);
  }

  async stop(): Promise<void> {
    const { daemon } = this;
    this.daemon = null;
    if (daemon?.exitCode !== null) return;
    const ended = new Promise((resolve) => daemon.once('exit', resolve));
    daemon.kill('SIGTERM');
    await ended;
  }

  /** Brings an image of the tests' Docker. */
  async take(image: string, from: Docker): Promise<void> {
    const loading = await this.docker.loadImage(await from.getImage(image).get());
    await new Promise((resolve, reject) => loading.resume().once('end', resolve).once('error', reject));
  }

  /** Removes what is in each of the data-roots; networks through the daemon, as their bridges stay behind otherwise. */
  async discard(dataRoots: readonly string[]): Promise<void> {
    const isOther = (dataRoot: string): boolean => dataRoot !== this.dataRoot;
    for (const dataRoot of [this.dataRoot, ...dataRoots.filter(isOther)]) {
      if (isOther(dataRoot)) {
        await this.stop();
        await this.startOn(dataRoot);
      }
      for (const { Id } of await this.docker.listContainers({ all: true })) {
        await this.docker.getContainer(Id).remove({ force: true, v: true });
      }
      for (const { Id } of await this.docker.listNetworks({ filters: { type: ['custom'] } })) {
        await this.docker.getNetwork(Id).remove();
      }
    }
    await this.stop();
    await rm(this.folder, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 });
  }
}
