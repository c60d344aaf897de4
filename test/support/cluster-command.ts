import { type ChildProcess, spawn } from 'node:child_process';
import { readdir, readFile } from 'node:fs/promises';
import { eventually } from './eventually';

/** One server as the command tells of it. */
export interface ClusterServer {
  readonly url: string;
  readonly pid: number;
}

/** `npm run cluster` as somebody runs it in a terminal, in a folder of its own. Needs the build. */
export class ClusterCommand {
  /** All that it printed. */
  output = '';
  private child: ChildProcess | null = null;
  private ended: Promise<number | null> = Promise.resolve(null);

  constructor(
    /** Where its data and what it knows of its processes lie. */
    private readonly folder: string,
    private readonly environment: Readonly<Record<string, string>> = {},
  ) {}

  /** Starts it and waits until it says how to go on. */
  async start(args: readonly string[] = []): Promise<void> {
    void this.run(args);
    await this.untilSaid(/^ {2}Ctrl-C /m, 120_000);
  }

  /** Starts it. @returns its exit code */
  run(args: readonly string[] = []): Promise<number | null> {
    const own = { DATABASE_URL: undefined, REDIS_URL: undefined, BERTH_FOLDER: this.folder };
    const child = spawn(process.execPath, ['scripts/cluster.mjs', ...args], {
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
