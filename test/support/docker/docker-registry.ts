import { type ChildProcess, spawn } from 'node:child_process';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { testImage } from '../clients/api-client';
import { eventually } from '../eventually';
import { freePort } from '../free-port';
import { RealDocker } from './real-docker';

/** The registry's user. The password has a colon and a space, which generated ones lack. */
export const REGISTRY_USER = { username: 'berth', password: 'correct:horse battery' } as const;
/** The same user, hashed by bcrypt. */
const HTPASSWD = 'berth:$2b$05$WQ8xk3n0vCkqD1uFz5bX4eCKRwpZ4.S2e/o.YuOTQNGa88jauwKY.\n';

const MOST_ATTEMPTS = 3;

/**
 * The real registry of the Docker distribution, with a password, on loopback, where Docker needs no TLS. Docker
 * reaches it through a {@link RegistryDoor}, which can be slow or closed. Each door has its own port, so Docker sees
 * another registry.
 */
export class DockerRegistry {
  private readonly docker = new RealDocker().docker;
  private readonly doors: RegistryDoor[] = [];
  private child: ChildProcess | null = null;
  private port = 0;
  private output = '';

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
    const child = spawn(command, ['serve', join(this.folder, 'config.yml')], { stdio: ['ignore', 'pipe', 'pipe'] });
    const failed = new Promise<never>((_resolve, reject) => {
      child.once('error', reject);
      child.once('exit', (code) => reject(new Error(`${command} ended with ${String(code)}:\n${this.output}`)));
    });
    failed.catch(() => undefined);
    for (const stream of [child.stdout, child.stderr]) {
      stream.on('data', (chunk: Buffer) => (this.output += chunk.toString()));
    }
    this.child = child;
    const answers = eventually(async () => {
      expect((await fetch(`http://127.0.0.1:${this.port}/v2/`)).status).toBe(401);
    });
    await Promise.race([answers, failed]);
  }

  /** Ends the registry's process. */
  async halt(): Promise<void> {
    const { child } = this;
    this.child = null;
    if (child?.exitCode !== null) return;
    const ended = new Promise((resolve) => child.once('exit', resolve));
    child.kill('SIGKILL');
    await ended;
  }

  async stop(): Promise<void> {
    for (const door of this.doors) await door.close();
    await this.halt();
    await rm(this.folder, { recursive: true, force: true });
  }

  /** Opens another door. */
  async door(): Promise<RegistryDoor> {
    const door = await RegistryDoor.open(this.port);
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
    const lines = this.output.matchAll(/"([A-Z]+ \S+) HTTP\/1\.1" (\d{3}) /g);
    return [...lines].map(([, request, status]) => `${String(request)} ${String(status)}`);
  }

  clearLog(): void {
    this.output = '';
  }
}

/** A proxy in front of the registry, on a port of its own. */
export class RegistryDoor {
  /** Bytes per second; unlimited if null. */
  speed: number | null = null;
  /** While true, connections are closed at once. */
  gone = false;
  /** How many connections were closed at once. */
  turnedAway = 0;
  private readonly connections = new Set<Socket>();
  private readonly server = createServer((client) => this.enter(client));

  private constructor(private readonly target: number) {}

  static async open(target: number): Promise<RegistryDoor> {
    const door = new RegistryDoor(target);
    await new Promise<void>((resolve) => door.server.listen(0, '127.0.0.1', resolve));
    return door;
  }

  get host(): string {
    return `127.0.0.1:${(this.server.address() as AddressInfo).port}`;
  }

  /** How many connections are open. */
  get count(): number {
    return this.connections.size;
  }

  async close(): Promise<void> {
    for (const client of this.connections) client.destroy();
    await new Promise((resolve) => this.server.close(resolve));
  }

  private enter(client: Socket): void {
    client.on('error', () => undefined);
    if (this.gone) {
      this.turnedAway += 1;
      client.destroy();
      return;
    }
    this.connections.add(client);
    const registry = connect(this.target, '127.0.0.1');
    registry.on('error', () => client.destroy());
    client.on('close', () => {
      this.connections.delete(client);
      registry.destroy();
    });
    client.pipe(registry);
    this.answer(registry, client).catch(() => client.destroy());
  }

  private async answer(registry: Socket, client: Socket): Promise<void> {
    for await (const chunk of registry as AsyncIterable<Buffer>) {
      if (this.speed !== null) await delay((chunk.length / this.speed) * 1000);
      client.write(chunk);
    }
    client.end();
  }
}
