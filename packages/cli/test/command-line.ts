import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { eventually } from '../../../test/support/eventually.ts';

const run = promisify(execFile);

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
    return spawn(process.execPath, [join(this.folder, 'berth.cjs'), ...args], { env });
  }

  /** In a terminal of that size, as a person has one. */
  inTerminal(size: string, ...args: readonly string[]): PersonsTerminal {
    const tty = join(this.folder, `tty-${String(Math.random())}`);
    const words = [process.execPath, join(this.folder, 'berth.cjs'), ...args].map((word) => `'${word}'`).join(' ');
    const line = `tty > ${tty}; stty ${size}; ${words}; echo "ended with $?"`;
    const child = spawn('script', ['-qfec', line, '/dev/null'], { env: { ...this.environment, TERM: 'xterm' } });
    return new PersonsTerminal(child, tty);
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
    private readonly ttyFile: string,
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
    const tty = (await readFile(this.ttyFile, 'utf8')).trim();
    await run('stty', ['-F', tty, ...size.split(' ')]);
  }

  close(): void {
    this.child.kill();
  }
}
