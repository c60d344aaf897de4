import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { testImage } from '../clients/api-client';
import { eventually } from '../eventually';
import { TcpProxy } from '../faults/tcp-proxy';
import { freePort } from '../free-port';
import { Program } from '../servers/program';
import { RealDocker } from './real-docker';

/** The registry's user. The password has a colon and a space, which generated ones lack. */
export const REGISTRY_USER = { username: 'berth', password: 'correct:horse battery' } as const;
/** The same user, hashed by bcrypt. */
const HTPASSWD = 'berth:$2b$05$WQ8xk3n0vCkqD1uFz5bX4eCKRwpZ4.S2e/o.YuOTQNGa88jauwKY.\n';

const MOST_ATTEMPTS = 3;

/**
 * The real registry of the Docker distribution, with a password, on loopback, where Docker needs no TLS. Docker
 * reaches it through a door, a proxy, which can be slow or closed. Each door has its own port, so Docker sees
 * another registry.
 */
export class DockerRegistry {
  private readonly docker = new RealDocker().docker;
  private readonly doors: TcpProxy[] = [];
  private program: Program | null = null;
  private port = 0;
  /** The output of former processes. */
  private former = '';

  private constructor(private readonly folder: string) {}

  static async start(): Promise<DockerRegistry> {
    const registry = new DockerRegistry(await mkdtemp(join(tmpdir(), 'berth-registry-')));
    await writeFile(join(registry.folder, 'htpasswd'), HTPASSWD);
    await mkdir(join(registry.folder, 'data'));
    for (let attempt = 1; ; attempt += 1) {
      try {
        await registry.configure(await freePort());
        await registry.run();
        return registry;
      } catch (error) {
        // Another program can have taken the port since.
        if (attempt === MOST_ATTEMPTS) throw error;
      }
    }
  }

  private async configure(port: number): Promise<void> {
    this.port = port;
    // JSON is YAML.
    const config = {
      version: '0.1',
      log: { level: 'error' },
      storage: { filesystem: { rootdirectory: join(this.folder, 'data') } },
      http: { addr: `127.0.0.1:${port}` },
      auth: { htpasswd: { realm: 'test', path: join(this.folder, 'htpasswd') } },
    };
    await writeFile(join(this.folder, 'config.yml'), JSON.stringify(config));
  }

  /** Starts the registry's process, with all images that were pushed before. */
  async run(): Promise<void> {
    const command = process.env['TEST_REGISTRY'] ?? 'docker-registry';
    this.program = new Program(command, ['serve', join(this.folder, 'config.yml')]);
    const answers = eventually(async () => {
      expect((await fetch(`http://127.0.0.1:${this.port}/v2/`)).status).toBe(401);
    });
    await this.program.started(answers);
  }

  /** Ends the registry's process. */
  async halt(): Promise<void> {
    await this.program?.end('SIGKILL');
    this.former += this.program?.output ?? '';
    this.program = null;
  }

  async stop(): Promise<void> {
    for (const door of this.doors) await door.down();
    await this.halt();
    await rm(this.folder, { recursive: true, force: true });
  }

  /** Opens another door. */
  async door(): Promise<TcpProxy> {
    const door = await TcpProxy.before(`http://127.0.0.1:${this.port}`);
    this.doors.push(door);
    return door;
  }

  /** Pushes the test image with an additional layer of the given size, and removes it from Docker. */
  async push(reference: string, megabytes: number): Promise<void> {
    const fill = ['dd', 'if=/dev/urandom', 'of=/filling', 'bs=1M', `count=${megabytes}`];
    const container = await this.docker.createContainer({
      Image: testImage(),
      Cmd: fill,
      HostConfig: { NetworkMode: 'none' },
    });
    await container.start();
    await container.wait();
    const [, repo, tag] = /^(.*):([^:]*)$/.exec(reference) ?? [];
    await container.commit({ repo, tag });
    await container.remove();
    const image = this.docker.getImage(reference);
    const stream = await image.push({ authconfig: { ...REGISTRY_USER, serveraddress: reference.split('/')[0] ?? '' } });
    await new Promise<void>((resolve, reject) => {
      this.docker.modem.followProgress(stream, (error) => (error ? reject(error) : resolve()));
    });
    await image.remove();
  }

  /** The registry's responses so far, from its access log: `GET /v2/… 200`. */
  get answered(): string[] {
    const lines = (this.former + (this.program?.output ?? '')).matchAll(/"([A-Z]+ \S+) HTTP\/1\.1" (\d{3}) /g);
    return [...lines].map(([, request, status]) => `${String(request)} ${String(status)}`);
  }

  clearLog(): void {
    this.former = '';
    if (this.program) this.program.output = '';
  }
}
