import { ChildProcess, spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { runTokenCommand } from '../../../src/cli/token-command';
import { parseConfig } from '../../../src/config';
import { ApiClient } from '../clients/api-client';
import { NO_LIMITS } from './no-limits';

/** A server's resource usage at one moment. */
export interface Vitals {
  /** Resident memory, in MiB. */
  readonly memoryMb: number;
  /** Open file descriptors. */
  readonly descriptors: number;
  /** Processor time since its start, in milliseconds. */
  readonly cpuMs: number;
}

/** The unit of times in `/proc`: USER_HZ, which is 100 on every machine that Node.js runs on. */
const TICK_MS = 10;

export interface StartListeners {
  readonly onOutput?: (chunk: Buffer) => void;
  readonly onDeath?: (how: string) => void;
}

/** A server as a process of its own, so that it can be killed. Needs the build. */
export class BerthProcess {
  private child: ChildProcess | null = null;
  /** A process that was asked to end, which may take its time. */
  private ending: ChildProcess | null = null;
  private readonly environment: NodeJS.ProcessEnv;
  url = '';

  /** @param nodeArgs options of Node.js */
  constructor(
    environment: Readonly<Record<string, string>>,
    private readonly nodeArgs: readonly string[] = [],
  ) {
    const runtime = process.env['SANDBOX_RUNTIME'] ?? 'runsc';
    this.environment = {
      ...process.env,
      NODE_ENV: 'test',
      PORT: '0',
      HOST: '127.0.0.1',
      LOG_LEVEL: process.env['TEST_LOG_LEVEL'] ?? 'fatal',
      SANDBOX_RUNTIME: runtime,
      SANDBOX_PROOF: 'off',
      WARM_POOL: 'off',
      ...NO_LIMITS,
      ...environment,
    };
  }

  /**
   * Starts the process and waits until it listens.
   *
   * @param onDeath called if it ends later without having been asked to
   */
  async start({ onOutput, onDeath }: StartListeners = {}): Promise<void> {
    const child = spawn(process.execPath, [...this.nodeArgs, 'dist/src/main.js'], {
      env: this.environment,
      stdio: onOutput ? ['ignore', 'pipe', 'pipe', 'ipc'] : ['ignore', 'inherit', 'inherit', 'ipc'],
    });
    if (onOutput) for (const stream of [child.stdout, child.stderr]) stream?.on('data', onOutput);
    this.child = child;
    this.url = await new Promise<string>((resolve, reject) => {
      child.once('exit', (code) => reject(new Error(`the server ended with ${String(code)} before it listened`)));
      child.on('message', (message: { type: string; url: string }) => {
        if (message.type === 'ready') resolve(message.url);
      });
    });
    child.once('exit', (code, signal) => {
      if (this.ending !== child) onDeath?.(`with ${String(code ?? signal)}`);
    });
  }

  /** Sends SIGKILL: no handler runs, nothing is cleaned up. Resolves when the process is gone. */
  async kill(): Promise<void> {
    await this.end((child) => child.kill('SIGKILL'));
  }

  /** Sends SIGSTOP: the process stands still, and its connections stay open. */
  pause(): void {
    this.child?.kill('SIGSTOP');
  }

  /** Sends SIGCONT. */
  resume(): void {
    this.child?.kill('SIGCONT');
  }

  /** Sends SIGTERM; resolves with the exit code. */
  async stop(): Promise<number | null> {
    return this.end((child) => child.kill('SIGTERM'));
  }

  /** Stops reading the output, if it was read before. */
  stopReading(): void {
    this.child?.stdout?.destroy();
    this.child?.stderr?.destroy();
  }

  /**
   * Simulates the death of the program that started it: only the closed IPC channel tells it to end. Resolves with the
   * exit code.
   */
  async orphan(): Promise<number | null> {
    return this.end((child) => child.disconnect());
  }

  /** Peak memory so far, in MiB. */
  async peakMemoryMb(): Promise<number> {
    const status = await readFile(`/proc/${String(this.child?.pid)}/status`, 'utf8');
    return Number(/^VmHWM:\s+(\d+) kB$/m.exec(status)?.[1]) / 1024;
  }

  async vitals(): Promise<Vitals> {
    const folder = `/proc/${String(this.child?.pid)}`;
    const [status, stat, descriptors] = await Promise.all([
      readFile(`${folder}/status`, 'utf8'),
      readFile(`${folder}/stat`, 'utf8'),
      readdir(`${folder}/fd`),
    ]);
    // After the name, which may have spaces. User and system time are fields 14 and 15 of the whole line.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return {
      memoryMb: Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1]) / 1024,
      descriptors: descriptors.length,
      cpuMs: (Number(fields[11]) + Number(fields[12])) * TICK_MS,
    };
  }

  /** What the server does meanwhile, if `count-work.mjs` is loaded into it; `begin bytes` counts bytes alone. */
  async counted<T>(how: 'begin' | 'begin bytes', work: () => Promise<T>): Promise<Record<string, number>> {
    const { child } = this;
    if (!child) throw new Error('the server does not run');
    child.send({ count: how });
    await work();
    const answer = new Promise<Record<string, number>>((resolve) => {
      child.on('message', function take({ counted }: { counted?: Record<string, number> }) {
        if (!counted) return;
        child.off('message', take);
        resolve(counted);
      });
    });
    child.send({ count: 'end' });
    return answer;
  }

  get isRunning(): boolean {
    return this.child !== null;
  }

  /** A client with a token of a new user. */
  async user(tier = 'enterprise'): Promise<ApiClient> {
    const token = await this.token(['--user', `user-${randomUUID().slice(0, 8)}`, '--tier', tier]);
    return new ApiClient(this.url, token);
  }

  /** The output of `npm run token`, in this process, as another one takes more than a second of processor time. */
  async token(args: readonly string[]): Promise<string> {
    const { stdout, stderr } = await runTokenCommand(args, parseConfig(this.environment));
    if (stdout === '') throw new Error(stderr);
    return stdout.trim();
  }

  /**
   * Runs a server from start to end at the most verbose log level.
   *
   * @returns its whole output, and the token that was used
   */
  async recorded(use: (api: ApiClient) => Promise<void>): Promise<{ output: string; token: string }> {
    const chunks: Buffer[] = [];
    this.environment['LOG_LEVEL'] = 'trace';
    await this.start({ onOutput: (chunk) => chunks.push(chunk) });
    const api = await this.user();
    try {
      await use(api);
    } finally {
      await this.stop();
    }
    return { output: Buffer.concat(chunks).toString(), token: api.token };
  }

  private async end(by: (child: ChildProcess) => unknown): Promise<number | null> {
    const { child } = this;
    if (!child) return null;
    this.ending = child;
    if (child.exitCode === null && child.signalCode === null) {
      const ended = new Promise((resolve) => child.once('exit', resolve));
      by(child);
      await ended;
    }
    // Not before: a process that does not end can still be killed.
    if (this.child === child) this.child = null;
    return child.exitCode;
  }
}
