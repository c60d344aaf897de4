import { ChildProcess, spawn } from 'node:child_process';
import { eventually } from '../eventually';

/**
 * The agent's program as a process. Needs the build. Started directly, without the npm script, which installs and
 * builds.
 */
export class AgentProcess {
  private readonly child: ChildProcess;
  private readonly chunks: Buffer[] = [];
  /** Resolves with the exit code. */
  readonly ended: Promise<number | null>;

  constructor(environment: Readonly<Record<string, string>>) {
    const env = { ...process.env, LOG_LEVEL: 'info', ...environment };
    this.child = spawn(process.execPath, ['dist/src/cli/agent.js'], { env, stdio: ['ignore', 'pipe', 'pipe'] });
    for (const stream of [this.child.stdout, this.child.stderr]) {
      stream?.on('data', (chunk: Buffer) => this.chunks.push(chunk));
    }
    this.ended = new Promise((resolve) => this.child.once('close', resolve));
  }

  get output(): string {
    return Buffer.concat(this.chunks).toString();
  }

  /** How often it has printed the message. */
  said(message: string): number {
    return this.output.split('\n').filter((line) => line.includes(`"msg":"${message}"`)).length;
  }

  async untilSaid(message: string, times = 1): Promise<void> {
    await eventually(() => expect(this.said(message)).toBeGreaterThanOrEqual(times), {
      timeoutMs: 60_000,
      what: () => this.output,
    });
  }

  /** Resolves with the exit code. */
  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<number | null> {
    this.child.kill(signal);
    return this.ended;
  }
}
