import { type ChildProcess, spawn, type SpawnOptions } from 'node:child_process';
import { eventually } from '../eventually';

/** A program as a child process, whose output is kept. */
export class Program {
  /** What it has printed so far, on both streams. */
  output = '';
  /** Resolves with the exit code once its streams are closed too; null if a signal killed it. */
  readonly ended: Promise<number | null>;
  readonly child: ChildProcess;

  constructor(
    private readonly command: string,
    args: readonly string[],
    options: SpawnOptions = {},
  ) {
    this.child = spawn(command, [...args], { stdio: ['ignore', 'pipe', 'pipe'], ...options });
    for (const stream of [this.child.stdout, this.child.stderr]) {
      stream?.on('data', (chunk: Buffer) => (this.output += chunk.toString()));
    }
    this.ended = new Promise((resolve, reject) => this.child.once('close', resolve).once('error', reject));
    this.ended.catch(() => undefined);
  }

  get isRunning(): boolean {
    return this.child.exitCode === null && this.child.signalCode === null;
  }

  /** Waits until the program is `ready`. @throws its output, if it ends before */
  async started<T>(ready: Promise<T>): Promise<T> {
    const failed = this.ended.then((code) => {
      throw new Error(`${this.command} ended with ${String(code)}:\n${this.output}`);
    });
    failed.catch(() => undefined);
    return Promise.race([ready, failed]);
  }

  /** Waits until it has printed this, so many times. */
  async untilSaid(what: RegExp | string, { times = 1, timeoutMs = 60_000 } = {}): Promise<void> {
    const said = (): number => this.output.split(what).length - 1;
    await eventually(() => expect(said()).toBeGreaterThanOrEqual(times), { timeoutMs, what: () => this.output });
  }

  /** Sends a signal, if it runs. Resolves with the exit code. */
  async end(signal: NodeJS.Signals = 'SIGTERM'): Promise<number | null> {
    if (this.isRunning) this.child.kill(signal);
    return this.ended;
  }
}
