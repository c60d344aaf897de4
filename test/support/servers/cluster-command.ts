import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ApiClient } from '../clients/api-client';
import { eventually } from '../eventually';
import { portsInARow } from '../free-port';
import { RealDocker } from '../docker/real-docker';

/** For what is running when a server is told to end: much longer than the end takes where somebody hurries it. */
const SHUTDOWN_GRACE_SECONDS = '120';

const INSTANCE = `test-cluster-${String(process.pid)}`;

/** One server as the command tells of it. */
export interface ClusterServer {
  readonly url: string;
  readonly pid: number;
}

/** `npm run cluster`, or another of the commands that run servers, in a folder of its own. Needs the build. */
export class ClusterCommand {
  /** All that it printed. */
  output = '';
  private child: ChildProcess | null = null;
  private ended: Promise<number | null> = Promise.resolve(null);

  constructor(
    /** Where its data and what it knows of its processes lie. */
    readonly folder: string,
    private readonly environment: Readonly<Record<string, string>> = {},
    private readonly script = 'scripts/cluster.mjs',
  ) {}

  /** `npm run cluster` in a new folder, on free ports, as an instance of its own. */
  static async prepare(): Promise<ClusterCommand> {
    const settings = {
      PORT: String(await portsInARow(3)),
      INSTANCE_ID: INSTANCE,
      SHUTDOWN_GRACE_SECONDS,
      LOG_LEVEL: 'info',
      SANDBOX_PROOF: 'off',
      CUSTOM_IMAGE_REGISTRIES: 'docker.io,127.0.0.1:*',
    };
    return new ClusterCommand(await mkdtemp(join(tmpdir(), 'berth-cluster-')), settings);
  }

  /** Another one in the same folder, without settings. */
  beside(): ClusterCommand {
    return new ClusterCommand(this.folder);
  }

  /** Starts it and waits until it says how to go on. */
  async start(args: readonly string[] = [], timeoutMs = 120_000): Promise<void> {
    void this.run(args);
    await this.untilSaid(/^ {2}Ctrl-C /m, timeoutMs);
  }

  /** Starts it with one server, which is enough where servers are not what it is about. */
  async startOne(): Promise<ApiClient> {
    await this.start(['--processes', '1']);
    const [api] = this.apis;
    if (!api) throw new Error('there is no server');
    return api;
  }

  /** Starts it. @returns its exit code */
  run(args: readonly string[] = []): Promise<number | null> {
    const own = { DATABASE_URL: undefined, REDIS_URL: undefined, BERTH_FOLDER: this.folder };
    const child = spawn(process.execPath, [this.script, ...args], {
      env: { ...process.env, NODE_ENV: 'development', ...own, ...this.environment },
      stdio: ['ignore', 'pipe', 'pipe'],
      // A group of its own, as a terminal gives it.
      detached: true,
    });
    this.output = '';
    for (const stream of [child.stdout, child.stderr])
      stream.on('data', (chunk: Buffer) => (this.output += chunk.toString()));
    this.child = child;
    this.ended = new Promise((resolve) => child.once('close', resolve));
    return this.ended;
  }

  async untilSaid(what: RegExp, timeoutMs = 90_000): Promise<void> {
    await eventually(() => expect(this.output).toMatch(what), { timeoutMs });
  }

  /** Those of the last start, in order. */
  get servers(): ClusterServer[] {
    const lines = this.output.matchAll(/(http:\S+)\/api {2}\(server \d+, process (\d+)\)/g);
    return [...lines].map(([, url = '', pid]) => ({ url, pid: Number(pid) }));
  }

  /** Each server, as the one user that the command made. */
  get apis(): ApiClient[] {
    return this.servers.map(({ url }) => new ApiClient(url, this.token));
  }

  get token(): string {
    return /berth_[0-9a-f]{64}/.exec(this.output)?.[0] ?? '';
  }

  /** Ctrl-C: the terminal signals the whole foreground group. */
  press(): void {
    if (this.child?.pid !== undefined && this.child.exitCode === null) process.kill(-this.child.pid, 'SIGINT');
  }

  /** Presses Ctrl-C once. @returns the exit code */
  async interrupt(): Promise<number | null> {
    this.press();
    return this.ended;
  }

  /** SIGKILL to the command alone: it cleans nothing up. */
  async kill(): Promise<void> {
    this.child?.kill('SIGKILL');
    await this.ended;
  }

  /** Ends it; it must have left no process. Leaves nothing in Docker and no data. */
  async remove(): Promise<void> {
    await this.interrupt();
    expect(await this.processes()).toEqual([]);
    await new RealDocker().removeInstance(INSTANCE);
    await rm(this.folder, { recursive: true });
  }

  /** Every process that was started for this folder and is alive, by what it is. */
  async processes(): Promise<string[]> {
    const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name));
    const found = await Promise.all(
      pids.map(async (pid) => {
        const environ = await read(`/proc/${pid}/environ`);
        if (!environ.split('\0').includes(`BERTH_FOLDER=${this.folder}`)) return [];
        return [`${pid} ${(await read(`/proc/${pid}/cmdline`)).replaceAll('\0', ' ')}`];
      }),
    );
    return found.flat();
  }
}

/** Empty where the process is gone. */
function read(path: string): Promise<string> {
  return readFile(path, 'utf8').catch(() => '');
}
