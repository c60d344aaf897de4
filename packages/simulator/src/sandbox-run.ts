import { once } from 'node:events';
import { Writable } from 'node:stream';
import {
  type ContainerProcess,
  type MarkedProcesses,
  type ProcessRequest,
  wasKilled,
} from '../../../src/docker/programs/container-process';
import type { ContainerSpec } from '../../../src/docker/port/engine-containers';
import { EngineError } from '../../../src/docker/engine-error';
import type { ContainerStats } from '../../../src/docker/containers/observed-container';
import { MARKER } from '../../../src/docker/programs/process-marker';
import { DATA_PATH, TERMINAL_MARKER } from '../../../src/docker/containers/supervisor';
import { Errno } from './errno';
import { FileSystem } from './file-system';
import { DirectoryNode, type Space } from './file-tree';
import { imageTree, processTree } from './image-tree';
import { type Process, ProcessTable } from './process';
import { findProgram } from './programs/registry';
import { userId, USERS } from './programs/users';
import { type OpenFile, Output, OUTSIDE, Pipe } from './streams';
import { Terminal } from './terminal';

const PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

/** A text as bytes: one character for each. */
const bytesOf = (text: string): string => Buffer.from(text).toString('latin1');

/** The files of a container, which outlive a stop. */
export class SandboxFiles {
  private made: FileSystem | null = null;
  /** The processes that run now. */
  table: ProcessTable | null = null;

  constructor(
    private readonly spec: ContainerSpec,
    private readonly where: { readonly space: Space; readonly volume: () => DirectoryNode },
  ) {}

  /** Made when it is first needed: most containers are only looked at. */
  get tree(): FileSystem {
    if (this.made) return this.made;
    const root = imageTree(this.where.space, { volume: this.where.volume(), home: DATA_PATH });
    root.set(
      'proc',
      processTree(() => this.table),
    );
    this.made = new FileSystem(root);
    return this.made;
  }

  get user(): string {
    return this.spec.user ?? '0';
  }
}

/** One run of a container: what happens in it from a start to an end. */
export class SandboxRun {
  private readonly table: ProcessTable;
  private readonly startedMs = Date.now();
  private isEnding = false;
  private readonly ended = new AbortController();

  constructor(
    private readonly spec: ContainerSpec,
    private readonly files: SandboxFiles,
    { dockerId, pace }: { dockerId: string; pace: number },
  ) {
    this.table = new ProcessTable(() => files.tree, {
      most: Math.min(spec.processes || 64, MOST_PROCESSES),
      hostname: dockerId.slice(0, 12),
      memoryBytes: spec.memoryMb * 2 ** 20,
      pace,
    });
    files.table = this.table;
  }

  /** Everything in it is told to end, and killed if it does not. To be followed by {@link over}. */
  async end(graceMs: number): Promise<void> {
    this.isEnding = true;
    await this.table.end(graceMs);
  }

  /** The container has ended. */
  over(): void {
    this.ended.abort();
    this.table.kill();
    if (this.files.table === this.table) this.files.table = null;
  }

  private get isOver(): boolean {
    return this.ended.signal.aborted;
  }

  /** @throws EngineError `command_not_started` */
  start(request: ProcessRequest): ContainerProcess {
    const { process, output, stdin, terminal } = this.prepare(request);
    let isGone = false;
    void process.ended.then(() => {
      isGone = true;
      output.end();
      terminal?.hangUp();
      stdin?.destroy();
    });
    return {
      output,
      stdin,
      hasStarted: () => Promise.resolve(true),
      resize: (size) => {
        if (this.isOver) return Promise.reject(ended());
        terminal?.resize(size);
        return Promise.resolve();
      },
      exit: async () => {
        const exitCode = await process.ended;
        if (this.isEnding && !this.isOver && wasKilled(exitCode)) await once(this.ended.signal, 'abort');
        if (this.isOver) throw ended();
        return { exitCode };
      },
      isGone: () => Promise.resolve(isGone || this.isOver),
      close: () => output.close(),
    };
  }

  private prepare({
    command,
    env = {},
    without = [],
    user = this.files.user,
    cwd = DATA_PATH,
    marker,
    ...request
  }: ProcessRequest): {
    process: Process;
    output: Output;
    stdin: Writable | null;
    terminal: Terminal | null;
  } {
    const [name = '', group = name] = user.split(':');
    const [uid, gid] = [userId(name), userId(group)];
    if (uid === null || gid === null) throw notStarted(`no user ${user}`);
    const argv = command.map(bytesOf);
    const variables = new Map([
      ['PATH', PATH],
      ['HOSTNAME', this.table.hostname],
      ['HOME', USERS.find(({ id }) => id === uid && id !== 0)?.home ?? DATA_PATH],
    ]);
    const own = Object.entries(this.spec.env).filter(([key]) => !without.includes(key));
    for (const [key, value] of [...own, ...Object.entries(env)]) variables.set(bytesOf(key), bytesOf(value));
    if (marker !== undefined) variables.set(MARKER, marker);
    const output = new Output();
    const isTerminal = request.terminal === true;
    if (isTerminal) variables.set(TERMINAL_MARKER, '1');
    const terminal = isTerminal ? new Terminal(output, (to, signal) => this.table.signalGroup(to, signal)) : null;
    const input = new Pipe();
    const files = terminal
      ? new Map<number, OpenFile>([0, 1, 2].map((descriptor) => [descriptor, terminal.open()]))
      : new Map<number, OpenFile>([
          [0, input.source],
          [1, output.sink('stdout')],
          [2, output.sink('stderr')],
        ]);
    const actor = { uid, gid, cwd: bytesOf(cwd) };
    try {
      this.files.tree.directory(actor, '.');
    } catch (error) {
      throw notStarted(`the working directory ${cwd}: ${error instanceof Error ? error.message : ''}`);
    }
    const process = this.launch(argv, { actor, variables, files, terminal });
    if (terminal) terminal.foreground = process.group;
    const isTyped = request.stdin === true;
    if (!isTyped && !terminal) input.sink.close();
    return { process, output, terminal, stdin: isTyped ? stdinOf(terminal, input.sink) : null };
  }

  private launch(
    argv: readonly string[],
    {
      actor,
      variables,
      files,
      terminal,
    }: {
      actor: { uid: number; gid: number; cwd: string };
      variables: ReadonlyMap<string, string>;
      files: ReadonlyMap<number, OpenFile>;
      terminal: Terminal | null;
    },
  ): Process {
    try {
      // Looked for before it is started, as what it is started with fails then.
      const looked = { fs: this.files.tree, ...actor };
      const program = findProgram(looked, argv[0] ?? '', variables.get('PATH') ?? PATH);
      return this.table.start({
        argv,
        env: variables,
        ...actor,
        parent: 0,
        terminal,
        files,
        main: async (process) => program(process, argv.slice(1)),
      });
    } catch (error) {
      if (!(error instanceof Errno)) throw error;
      throw notStarted(`${argv[0] ?? ''}: ${error.message}`);
    }
  }

  /** Those that were started with a marker, and all that they started. */
  private marked(marker: string): Process[] {
    const all = this.table.all;
    const found = new Set(all.filter(({ env }) => env.get(MARKER)?.startsWith(marker) === true));
    for (let before = -1; before !== found.size;) {
      before = found.size;
      const pids = new Set([...found].map(({ pid }) => pid));
      for (const process of all) if (pids.has(process.parent)) found.add(process);
    }
    return [...found];
  }

  signal({ marker, signal }: MarkedProcesses): number {
    const marked = this.marked(marker);
    for (const process of marked) process.signal(signal);
    return marked.length;
  }

  /** @returns whether all have ended */
  async endMarked({ marker, signal, graceMs }: MarkedProcesses & { graceMs: number }): Promise<boolean> {
    const rounds = [
      [signal, graceMs],
      ['KILL', 1_000],
    ] as const;
    for (const [each, withinMs] of rounds) {
      const marked = this.marked(marker);
      if (marked.length === 0) return true;
      for (const process of marked) process.signal(each);
      if (each !== 'KILL') for (const process of marked) process.signal('CONT');
      await endedWithin(marked, withinMs);
    }
    return this.marked(marker).length === 0;
  }

  stats(startedAt: string): ContainerStats {
    const at = new Date();
    const ranMs = at.getTime() - this.startedMs;
    const { cpuShares, memoryMb, network } = this.spec;
    // A little for what is always there, in waves, so that a chart has something to show.
    const idleMs = ranMs * 0.004 + 40 * (1 - Math.cos(ranMs / 20_000));
    return {
      at,
      startedAt,
      cpu: {
        usedMs: Math.min(idleMs + this.table.cpuMs, (ranMs * cpuShares) / 1000),
        limitShares: cpuShares,
        periods: Math.floor(ranMs / 100),
        throttledPeriods: 0,
      },
      memory: { usedBytes: this.table.memoryBytes, limitBytes: memoryMb * 2 ** 20 },
      pids: this.table.all.length + 1,
      network: network === 'none' ? null : { rxBytes: 0, txBytes: 0 },
    };
  }
}

/** In one process of Node.js, all containers' share the memory. */
const MOST_PROCESSES = 256;

function stdinOf(terminal: Terminal | null, sink: OpenFile): Writable {
  const write = (data: Buffer): Promise<void> => (terminal ? terminal.type(OUTSIDE, data) : sink.write(OUTSIDE, data));
  return new Writable({
    write: (data: Buffer, _encoding, callback) => void write(data).then(() => callback(), callback),
    final: (callback) => {
      if (terminal) terminal.hangUp();
      else sink.close();
      callback();
    },
    destroy: (error, callback) => {
      if (!terminal) sink.close();
      callback(error);
    },
  });
}

async function endedWithin(processes: readonly Process[], ms: number): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<void>((resolve) => (timer = setTimeout(resolve, ms)));
  await Promise.race([late, Promise.all(processes.map(({ ended: each }) => each))]);
  clearTimeout(timer);
}

function ended(): EngineError {
  return new EngineError('container_not_running', 'the container ended under the command');
}

function notStarted(why: string): EngineError {
  return new EngineError('command_not_started', why);
}
