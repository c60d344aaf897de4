import { once } from 'node:events';
import { Writable } from 'node:stream';
import type { ContainerSpec } from '../../../src/docker/port/engine-containers';
import type { ContainerStats } from '../../../src/docker/port/observed-container';
import { DATA_PATH, TERMINAL_MARKER } from '../../../src/docker/containers/supervisor';
import { EngineError } from '../../../src/docker/engine-error';
import {
  type ContainerProcess,
  type MarkedProcesses,
  type ProcessRequest,
  wasKilled,
} from '../../../src/docker/port/container-process';
import { MARKER } from '../../../src/docker/programs/process-marker';
import { type ContainerFiles, Errno } from './files';
import { findProgram } from './library';
import { type Process, ProcessTable, type Signal } from './process';
import { PROGRAM_NAMES } from './programs';
import { type OpenFile, Output, OUTSIDE, Pipe } from './streams';
import { Terminal } from './terminal';
import { userId, USERS } from './users';

const PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';
/** Maximum processes of a container: all containers share the memory of this process. */
const MOST_PROCESSES = 256;

/** One run of a container, from a start to its end. */
export class SandboxRun {
  private readonly startedMs = Date.now();
  private table: ProcessTable | null = null;
  private opening: Promise<ProcessTable> | null = null;
  private isEnding = false;
  private readonly ended = new AbortController();

  constructor(
    private readonly spec: ContainerSpec,
    private readonly options: { dockerId: string; layer: string; pace: number; files: () => ContainerFiles },
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

  private get isOver(): boolean {
    return this.ended.signal.aborted;
  }

  /** Lays out the files at the first use: most containers are only looked at. */
  private open(): Promise<ProcessTable> {
    const open = async (): Promise<ProcessTable> => {
      const { dockerId, layer, pace } = this.options;
      const files = this.options.files();
      await files.begin(dockerId, { programs: PROGRAM_NAMES, layer });
      const { processes, memoryMb } = this.spec;
      return (this.table = new ProcessTable(files, {
        most: Math.min(processes || 64, MOST_PROCESSES),
        hostname: this.spec.hostname ?? dockerId.slice(0, 12),
        memoryBytes: memoryMb * 2 ** 20,
        pace,
      }));
    };
    return (this.opening ??= open());
  }

  /** @throws EngineError `command_not_started` */
  async start(request: ProcessRequest): Promise<ContainerProcess> {
    const table = await this.open();
    const output = new Output();
    const terminal = request.terminal ? new Terminal(output, (to, signal) => table.signalGroup(to, signal)) : null;
    const input = new Pipe();
    const process = await this.launch(request, { table, terminal, output, input: input.source });
    if (terminal) terminal.foreground = process.group;
    const isTyped = request.stdin === true;
    if (!isTyped && !terminal) await input.sink.close();
    const stdin = isTyped ? stdinOf(terminal, input.sink) : null;
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

  private async launch(
    { command, env = {}, user = this.spec.user ?? '0', cwd = DATA_PATH, marker }: ProcessRequest,
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
      ...(marker === undefined ? [] : [[MARKER, marker] as const]),
      ...(terminal ? [[TERMINAL_MARKER, '1'] as const] : []),
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

  /** The processes that were started with a marker, and all their descendants. */
  private marked(marker: string): Process[] {
    const all = this.table?.all ?? [];
    const found = new Set(all.filter(({ env }) => env.get(MARKER)?.startsWith(marker) === true));
    for (let before = -1; before !== found.size;) {
      before = found.size;
      const pids = new Set([...found].map(({ pid }) => pid));
      for (const process of all) if (pids.has(process.parent)) found.add(process);
    }
    return [...found];
  }

  /** @returns the number of processes */
  signal({ marker, signal }: { marker: string; signal: Signal }): number {
    const marked = this.marked(marker);
    for (const process of marked) process.signal(signal);
    return marked.length;
  }

  /** @returns whether all have ended */
  async endMarked({ marker, signal, graceMs }: MarkedProcesses & { graceMs: number }): Promise<boolean> {
    for (const [each, withinMs] of [
      [signal, graceMs],
      ['KILL', 1_000],
    ] as const) {
      const marked = this.marked(marker);
      for (const process of marked) process.signal(each);
      if (each !== 'KILL') this.signal({ marker, signal: 'CONT' });
      let timer: NodeJS.Timeout | undefined;
      const late = new Promise<void>((resolve) => (timer = setTimeout(resolve, withinMs)));
      await Promise.race([late, Promise.all(marked.map((process) => process.ended))]);
      clearTimeout(timer);
    }
    return this.marked(marker).length === 0;
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
