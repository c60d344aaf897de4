import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { eventually } from '../../../test/support/eventually.ts';

const run = promisify(execFile);

/**
 * Node.js compiles the HTTP parser of `fetch` with WebAssembly's optimizing compiler; of the 0.2 s of processor time
 * that a command takes, that is a third. This leaves it to the quick compiler.
 */
const QUICK = '--liftoff-only';

export interface Ended {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** `berth` as it is shipped, and a home for its configuration. */
export class CommandLine {
  private constructor(
    readonly folder: string,
    private readonly environment: Readonly<Record<string, string>>,
  ) {}

  static async build(environment: Readonly<Record<string, string>> = {}): Promise<CommandLine> {
    const folder = await mkdtemp(join(tmpdir(), 'berth-cli-'));
    await run(process.execPath, ['packages/cli/scripts/build.mjs', join(folder, 'berth.cjs')]);
    return new CommandLine(folder, { PATH: process.env['PATH'] ?? '', HOME: folder, ...environment });
  }

  /** The same with more variables in its environment. */
  with(environment: Readonly<Record<string, string>>): CommandLine {
    return new CommandLine(this.folder, { ...this.environment, ...environment });
  }

  /** Runs it to its end. */
  berth(...args: readonly string[]): Promise<Ended> {
    return this.berthWith({}, ...args);
  }

  berthWith(
    { input, environment }: { readonly input?: string; readonly environment?: Readonly<Record<string, string>> },
    ...args: readonly string[]
  ): Promise<Ended> {
    const child = this.begin({ environment }, ...args);
    child.stdin?.end(input ?? '');
    const texts = { stdout: '', stderr: '' };
    child.stdout?.on('data', (chunk: Buffer) => (texts.stdout += chunk.toString()));
    child.stderr?.on('data', (chunk: Buffer) => (texts.stderr += chunk.toString()));
    return new Promise((resolve) => child.once('close', (code) => resolve({ code: code ?? -1, ...texts })));
  }

  begin(
    { environment }: { readonly environment?: Readonly<Record<string, string>> | undefined },
    ...args: readonly string[]
  ): ChildProcess {
    const env = { ...this.environment, ...environment };
    return spawn(process.execPath, [QUICK, join(this.folder, 'berth.cjs'), ...args], { env });
  }

  /** In a terminal of that size, as a person has one. */
  inTerminal(size: string, ...args: readonly string[]): PersonsTerminal {
    const facts = join(this.folder, `tty-${String(Math.random())}`);
    const words = [process.execPath, QUICK, join(this.folder, 'berth.cjs'), ...args]
      .map((word) => `'${word}'`)
      .join(' ');
    const program = `sh -c 'tty > ${facts}; echo $$ >> ${facts}; exec "$@"' sh ${words}`;
    const mode = "$(stty -a | grep -o -e '-*icanon')";
    // Ctrl-C is the program's: without the trap it would end this shell too.
    const line = `trap : INT; stty ${size}; ${program}; echo "ended with $? in ${mode}"`;
    const child = spawn('script', ['-qfec', line, '/dev/null'], { env: { ...this.environment, TERM: 'xterm' } });
    return new PersonsTerminal(child, facts);
  }

  async remove(): Promise<void> {
    await rm(this.folder, { recursive: true });
  }
}

/** A pseudo-terminal, typed into and looked at. */
export class PersonsTerminal {
  shown = '';

  constructor(
    private readonly child: ChildProcess,
    /** Has the terminal's device, and the program's process id. */
    private readonly facts: string,
  ) {
    child.stdout?.on('data', (chunk: Buffer) => (this.shown += chunk.toString()));
  }

  type(text: string): void {
    this.child.stdin?.write(text);
  }

  async shows(text: string | RegExp): Promise<void> {
    await eventually(() => expect(this.shown).toMatch(text));
  }

  /** As when its window is drawn larger. */
  async resize(size: string): Promise<void> {
    const [tty = ''] = (await readFile(this.facts, 'utf8')).split('\n');
    await run('stty', ['-F', tty, ...size.split(' ')]);
  }

  /** Sends a signal to the program, as `kill` does. */
  async signal(name: NodeJS.Signals): Promise<void> {
    const [, pid = ''] = (await readFile(this.facts, 'utf8')).split('\n');
    process.kill(Number(pid), name);
  }

  close(): void {
    this.child.kill();
  }
}
