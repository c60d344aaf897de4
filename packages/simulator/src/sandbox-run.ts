import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { posix } from 'node:path';
import { Writable } from 'node:stream';
import { setTimeout as delay } from 'node:timers/promises';
import {
  type ContainerProcess,
  type ContainerSpec,
  type ContainerStats,
  DATA_PATH,
  EngineError,
  type ListedProgram,
  type ProcessRequest,
  type ProgramAttachment,
  type ProgramExit,
  type ProgramSignal,
  SESSION_VARIABLE,
  wasKilled,
} from '../../../src/engine';
import { type ContainerFiles, Errno } from './files';
import { findProgram } from './library';
import { type Process, ProcessTable, type Signal } from './process';
import { PROGRAM_NAMES } from './programs';
import { type OpenFile, Output, type OutputReader, OUTSIDE, Pipe } from './streams';
import { Terminal } from './terminal';
import { userId, USERS } from './users';

const PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';
/** Maximum processes of a container: all containers share the memory of this process. */
const MOST_PROCESSES = 256;

/** How much of the output of a program is kept: of those that are kept, and of others. */
const LARGEST_RING = 2 ** 20;
const USUAL_RING = 2 ** 16;
/** After this long without a reader, a program that is not kept is ended. */
const ABANDONED_MS = 10_000;

interface RunningProgram {
  readonly request: ProcessRequest;
  readonly process: Process;
  readonly output: Output;
  readonly terminal: Terminal | null;
  readonly input: OpenFile | null;
  readonly startedAt: number;
  exit: ProgramExit | null;
}

/** One run of a container, from a start to its end. */
export class SandboxRun {
  private readonly startedMs = Date.now();
  private table: ProcessTable | null = null;
  private opening: Promise<ProcessTable> | null = null;
  private isEnding = false;
  private readonly ended = new AbortController();
  /** By id; those that are kept stay after their end. */
  private readonly programs = new Map<string, RunningProgram>();

  constructor(
    private readonly spec: ContainerSpec,
    private readonly options: { engineId: string; layer: string; pace: number; files: () => ContainerFiles },
  ) {}

  /** Terminates all processes, and kills them after the grace period. To be followed by {@link over}. */
  async end(graceMs: number): Promise<void> {
    this.isEnding = true;
    await this.table?.end(graceMs);
  }

  /** The container has ended. */
  over(): void {
    this.ended.abort();
    this.table?.kill();
  }

  async files(): Promise<ContainerFiles> {
    return (await this.open()).files;
  }

  /** Aborts when the container has ended. */
  get whenOver(): AbortSignal {
    return this.ended.signal;
  }

  private get isOver(): boolean {
    return this.ended.signal.aborted;
  }

  /** Lays out the files at the first use: most containers are only looked at. */
  private open(): Promise<ProcessTable> {
    const open = async (): Promise<ProcessTable> => {
      const { engineId, layer, pace } = this.options;
      const files = this.options.files();
      await files.begin(engineId, { programs: PROGRAM_NAMES, layer });
      const { processes, memoryMb } = this.spec;
      return (this.table = new ProcessTable(files, {
        most: Math.min(processes || 64, MOST_PROCESSES),
        hostname: this.spec.hostname ?? engineId.slice(0, 12),
        memoryBytes: memoryMb * 2 ** 20,
        pace,
      }));
    };
    return (this.opening ??= open());
  }

  /** @throws EngineError `command_not_started`, `program_exists` */
  async start(request: ProcessRequest): Promise<ContainerProcess> {
    const table = await this.open();
    const { id = randomUUID(), kept } = request;
    const { ring = kept ? LARGEST_RING : USUAL_RING } = request;
    if (this.programs.has(id)) throw new EngineError('program_exists', `there is a program ${id}`);
    const isTerminal = request.terminal !== undefined;
    const output = new Output({ ring, waits: !kept, isTerminal });
    const terminal = isTerminal ? new Terminal(output, (to, signal) => table.signalGroup(to, signal)) : null;
    if (request.terminal) terminal?.resize(request.terminal);
    const input = new Pipe();
    const process = await this.launch({ ...request, id }, { table, terminal, output, input: input.source });
    if (terminal) terminal.foreground = process.group;
    const isTyped = request.stdin === true || isTerminal;
    if (!isTyped) await input.sink.close();
    const program: RunningProgram = {
      request: { ...request, id },
      process,
      output,
      terminal,
      input: isTyped ? input.sink : null,
      startedAt: Date.now(),
      exit: null,
    };
    this.programs.set(id, program);
    const kill = (): void => void this.signal({ id, signal: 'KILL' });
    const timeout = request.timeoutMs === undefined ? undefined : setTimeout(kill, request.timeoutMs).unref();
    void process.ended.then((exitCode) => {
      clearTimeout(timeout);
      program.exit = { exitCode, bytes: output.to, endedAt: Date.now() };
      output.end();
      terminal?.hangUp();
    });
    return this.reader(program, { input: isTyped });
  }

  /** @throws EngineError `program_not_found`, `invalid_parameters` */
  attach({ id, after = 0, input, watch }: ProgramAttachment): ContainerProcess {
    const program = this.programs.get(id);
    if (!program) throw new EngineError('program_not_found', `no program ${id}`);
    return this.reader(program, { after, input: input === true && program.input !== null, watches: watch === true });
  }

  list(): ListedProgram[] {
    return [...this.programs].map(([id, { request, process, output, startedAt, exit }]) => ({
      id,
      owner: request.owner ?? '',
      program: request.command[0] ?? '',
      pid: process.pid,
      startedAt,
      isKept: request.kept === true,
      hasTerminal: request.terminal !== undefined,
      from: output.from,
      to: output.to,
      readers: output.readerCount,
      exit,
    }));
  }

  /** @throws EngineError `program_running` */
  forget(id: string): void {
    if (this.programs.get(id)?.exit === null) throw new EngineError('program_running', `${id} runs`);
    this.programs.delete(id);
  }

  private reader(
    program: RunningProgram,
    { after = 0, input, watches = false }: { after?: number; input: boolean; watches?: boolean },
  ): ContainerProcess {
    const { request, process, output, terminal, startedAt } = program;
    const { id = '' } = request;
    let reader: OutputReader;
    try {
      reader = output.read(after, { watches });
    } catch (error) {
      throw new EngineError('invalid_parameters', 'no such offset', { cause: error });
    }
    const stdin = input && program.input ? stdinOf(terminal, program.input) : null;
    void process.ended.then(() => stdin?.destroy());
    const left = (): void => {
      if (request.kept !== true && output.readerCount === 0) void this.endAbandoned(id, program);
    };
    return {
      id,
      pid: process.pid,
      startedAt,
      from: reader.offset,
      to: output.to,
      output: reader,
      stdin,
      resize: (size) => {
        if (this.isOver) return Promise.reject(ended());
        terminal?.resize(size);
        return Promise.resolve();
      },
      exit: async () => {
        const exitCode = await process.ended;
        if (this.isEnding && !this.isOver && wasKilled(exitCode)) await once(this.ended.signal, 'abort');
        if (this.isOver) throw ended();
        // Its result has been told.
        if (request.kept !== true) this.programs.delete(id);
        return program.exit ?? { exitCode };
      },
      close: () => {
        if (reader.isClosed) return;
        reader.close();
        left();
      },
    };
  }

  /** Ends a program that has had no reader for a while, and is not kept. */
  private async endAbandoned(id: string, { output, exit }: RunningProgram): Promise<void> {
    if (exit !== null) {
      this.programs.delete(id);
      return;
    }
    await delay(ABANDONED_MS, undefined, { ref: false, signal: this.ended.signal }).catch(() => undefined);
    if (this.isOver || output.readerCount > 0) return;
    await this.endProgram({ id, signal: 'TERM', graceMs: 2_000 });
    this.programs.delete(id);
  }

  private async launch(
    { command, env = {}, user = this.spec.user ?? '0', cwd = DATA_PATH, id = '' }: ProcessRequest,
    {
      table,
      terminal,
      output,
      input,
    }: { table: ProcessTable; terminal: Terminal | null; output: Output; input: OpenFile },
  ): Promise<Process> {
    const [name = '', group = name] = user.split(':');
    const uid = userId(name);
    if (uid === null || userId(group) === null) throw notStarted(`no user ${user}`);
    const variables = new Map([
      ['PATH', PATH],
      ['HOSTNAME', table.options.hostname],
      ['HOME', USERS.find(({ id }) => id === uid && id !== 0)?.home ?? DATA_PATH],
      ...Object.entries(env),
      [SESSION_VARIABLE, id],
      ...(terminal ? [['TERM', env['TERM'] ?? 'xterm'] as const] : []),
    ]);
    const { files } = table;
    const directory = await files.stat(cwd).catch(() => null);
    if (directory?.isDirectory !== true) throw notStarted(`no working directory ${cwd}`);
    const streams = terminal
      ? [terminal.open(), terminal.open(), terminal.open()]
      : [input, output.sink('stdout'), output.sink('stderr')];
    try {
      const seeker = { fs: files, resolve: (path: string) => (path.startsWith('/') ? path : `${cwd}/${path}`) };
      const main = await findProgram(seeker, command[0] ?? '', variables.get('PATH') ?? PATH);
      // The container may have ended meanwhile.
      if (this.isOver) throw ended();
      return table.start({
        argv: command,
        env: variables,
        cwd,
        uid,
        parent: 0,
        terminal,
        files: new Map(streams.entries()),
        main,
      });
    } catch (error) {
      if (!(error instanceof Errno)) throw error;
      throw notStarted(`${command[0] ?? ''}: ${error.message}`);
    }
  }

  /** The processes of a program: itself, and all its descendants. */
  private tree(id: string): Process[] {
    const all = this.table?.all ?? [];
    const found = new Set(all.filter(({ env }) => env.get(SESSION_VARIABLE) === id));
    for (let before = -1; before !== found.size;) {
      before = found.size;
      const pids = new Set([...found].map(({ pid }) => pid));
      for (const process of all) if (pids.has(process.parent)) found.add(process);
    }
    return [...found];
  }

  /** @returns the names of a program's descendants */
  descendants(id: string): string[] {
    const own = this.programs.get(id)?.process;
    const others = this.tree(id).filter((process) => process !== own);
    return others.slice(0, 16).map(({ argv }) => posix.basename(argv[0] ?? ''));
  }

  /** The ports on which programs listen, ascending. */
  listening(): number[] {
    return [...(this.table?.openPorts ?? [])].sort((one, other) => one - other);
  }

  /** @returns the number of processes */
  signal({ id, signal }: { id: string; signal: Signal }): number {
    const tree = this.tree(id);
    for (const process of tree) process.signal(signal);
    return tree.length;
  }

  /** @returns whether all have ended */
  async endProgram({ id, signal, graceMs }: ProgramSignal & { graceMs: number }): Promise<boolean> {
    for (const [each, withinMs] of [
      [signal, graceMs],
      ['KILL', 1_000],
    ] as const) {
      const tree = this.tree(id);
      for (const process of tree) process.signal(each);
      if (each !== 'KILL') this.signal({ id, signal: 'CONT' });
      let timer: NodeJS.Timeout | undefined;
      const late = new Promise<void>((resolve) => (timer = setTimeout(resolve, withinMs)));
      await Promise.race([late, Promise.all(tree.map((process) => process.ended))]);
      clearTimeout(timer);
    }
    return this.tree(id).length === 0;
  }

  stats(startedAt: string): ContainerStats {
    const at = new Date();
    const ranMs = at.getTime() - this.startedMs;
    const { cpuShares, memoryMb, network } = this.spec;
    // A little for the idle container, in waves, so that a chart shows something.
    const idleMs = ranMs * 0.004 + 40 * (1 - Math.cos(ranMs / 20_000));
    return {
      at,
      startedAt,
      cpu: {
        usedMs: Math.min(idleMs + (this.table?.cpuMs ?? 0), (ranMs * cpuShares) / 1000),
        limitShares: cpuShares,
        periods: Math.floor(ranMs / 100),
        throttledPeriods: 0,
      },
      memory: { usedBytes: this.table?.memoryBytes ?? 9 * 2 ** 20, limitBytes: memoryMb * 2 ** 20 },
      pids: (this.table?.all.length ?? 0) + 1,
      network: network === 'none' ? null : { rxBytes: 0, txBytes: 0 },
    };
  }
}

function stdinOf(terminal: Terminal | null, sink: OpenFile): Writable {
  const end = (): void => {
    if (terminal) terminal.hangUp();
    else void sink.close();
  };
  return new Writable({
    write: (data: Buffer, _encoding, callback) => {
      // A copy: the caller may use the memory again.
      const written = terminal ? terminal.type(OUTSIDE, data) : sink.write(OUTSIDE, Buffer.from(data));
      void written.then(() => callback(), callback);
    },
    final: (callback) => {
      end();
      callback();
    },
    destroy: (error, callback) => {
      if (!terminal) end();
      callback(error);
    },
  });
}

function ended(): EngineError {
  return new EngineError('container_not_running', 'the container ended while the command ran');
}

function notStarted(why: string): EngineError {
  return new EngineError('command_not_started', why);
}
