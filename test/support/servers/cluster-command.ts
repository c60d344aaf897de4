import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ApiClient } from '../clients/api-client';
import { portsInARow } from '../free-port';
import { RealDocker } from '../docker/real-docker';
import { Program } from './program';

/** Grace for running work when a server is told to end: much longer than a hurried end takes. */
const SHUTDOWN_GRACE_SECONDS = '120';

/** The instance id of the commands, whose objects in Docker are removed in the end. */
export const INSTANCE = `test-cluster-${String(process.pid)}`;

/** One server as the command prints it. */
export interface ClusterServer {
  readonly url: string;
  readonly pid: number;
}

/** `npm run cluster`, or another command that runs servers, in a folder of its own. Needs the build. */
export class ClusterCommand {
  private program: Program | null = null;

  constructor(
    /** The folder of its data and of its process records. */
    readonly folder: string,
    private readonly environment: Readonly<Record<string, string>> = {},
    private readonly script = 'scripts/cluster.mjs',
  ) {}

  /** Prepares `npm run cluster` in a new folder, on free ports, with an instance id of its own. */
  static async prepare(): Promise<ClusterCommand> {
    const settings = {
      PORT: String(await portsInARow(3)),
      INSTANCE_ID: INSTANCE,
      SHUTDOWN_GRACE_SECONDS,
      LOG_LEVEL: 'info',
      SANDBOX_PROOF: 'off',
      WARM_POOL: 'off',
      CUSTOM_IMAGE_REGISTRIES: 'docker.io,127.0.0.1:*',
    };
    return new ClusterCommand(await mkdtemp(join(tmpdir(), 'berth-cluster-')), settings);
  }

  /** Another command in the same folder, without settings. */
  beside(): ClusterCommand {
    return new ClusterCommand(this.folder);
  }

  /** All output of the last run. */
  get output(): string {
    return this.program?.output ?? '';
  }

  /** Starts the command and waits until it prints the next steps. */
  async start(args: readonly string[] = [], timeoutMs = 120_000): Promise<void> {
    void this.run(args);
    await this.untilSaid(/^ {2}Ctrl-C /m, timeoutMs);
  }

  /** Starts the command with one server, for tests that need no more. */
  async startOne(): Promise<ApiClient> {
    await this.start(['--processes', '1']);
    const [api] = this.apis;
    if (!api) throw new Error('there is no server');
    return api;
  }

  /** Runs the command. @returns its exit code */
  run(args: readonly string[] = []): Promise<number | null> {
    const own = { DATABASE_URL: undefined, REDIS_URL: undefined, BERTH_FOLDER: this.folder };
    this.program = new Program(process.execPath, [this.script, ...args], {
      env: { ...process.env, NODE_ENV: 'development', ...own, ...this.environment },
      // A process group of its own, as in a terminal.
      detached: true,
    });
    return this.program.ended;
  }

  async untilSaid(what: RegExp, timeoutMs = 90_000): Promise<void> {
    await this.program?.untilSaid(what, { timeoutMs });
  }

  /** The servers of the last start, in order. */
  get servers(): ClusterServer[] {
    const lines = this.output.matchAll(/(http:\S+)\/api {2}\(server \d+, process (\d+)\)/g);
    return [...lines].map(([, url = '', pid]) => ({ url, pid: Number(pid) }));
  }

  /** A client of each server, with the one user that the command created. */
  get apis(): ApiClient[] {
    return this.servers.map(({ url }) => new ApiClient(url, this.token));
  }

  get token(): string {
    return /berth_[0-9a-f]{64}/.exec(this.output)?.[0] ?? '';
  }

  /** Presses Ctrl-C: the terminal signals the whole foreground group. */
  press(): void {
    if (this.program?.child.pid !== undefined && this.program.child.exitCode === null)
      process.kill(-this.program.child.pid, 'SIGINT');
  }

  /** Presses Ctrl-C once. @returns the exit code */
  async interrupt(): Promise<number | null> {
    this.press();
    return this.program?.ended ?? null;
  }

  /** Sends SIGKILL to the command only: it cleans nothing up. */
  async kill(): Promise<void> {
    await this.program?.end('SIGKILL');
  }

  /** Ends the command, which must have left no process. Leaves nothing in Docker and no data. */
  async remove(): Promise<void> {
    await this.interrupt();
    expect(await this.processes()).toEqual([]);
    await new RealDocker().removeInstance(INSTANCE);
    await rm(this.folder, { recursive: true });
  }

  /** Every live process that was started for this folder, with its command line. */
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

/** Empty if the process is gone. */
function read(path: string): Promise<string> {
  return readFile(path, 'utf8').catch(() => '');
}
