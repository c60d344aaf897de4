import type { SignalName } from '../../../src/docker/programs/container-process';
import { Errno } from './errno';
import type { Actor, FileSystem } from './file-system';
import { Device, OpenFile, TreeFile, type Waiter, Waiters } from './streams';
import type { Terminal } from './terminal';
import { Turns } from './turns';

/** As `kill -l` numbers them; beside those of {@link SignalName}, PIPE. */
const NUMBERS: Readonly<Record<SignalName | 'PIPE', number>> = {
  HUP: 1,
  INT: 2,
  QUIT: 3,
  KILL: 9,
  USR1: 10,
  USR2: 12,
  PIPE: 13,
  TERM: 15,
  CONT: 18,
  STOP: 19,
  WINCH: 28,
};
export type Signal = keyof typeof NUMBERS;

/** @param text a name, with or without `SIG`, or a number */
export function signalOf(text: string): Signal | null {
  const name = text.toUpperCase().replace(/^SIG/, '');
  if (name in NUMBERS) return name as Signal;
  const found = Object.entries(NUMBERS).find(([, number]) => String(number) === text);
  return (found?.[0] as Signal | undefined) ?? null;
}

/** A process was killed: nothing in it goes on. */
export class Killed extends Error {
  override readonly name = 'Killed';

  constructor(readonly exitCode: number) {
    super(`exit code ${String(exitCode)}`);
  }
}

/** How many processes a container may have, at most; fewer where its specification says so. */
const MOST_FILES = 1024;

/** What a process begins with. */
export interface ProcessStart {
  readonly argv: readonly string[];
  readonly env: ReadonlyMap<string, string>;
  readonly cwd: string;
  readonly uid: number;
  readonly gid: number;
  readonly parent: number;
  /** Its own group if absent. */
  readonly group?: number | undefined;
  readonly terminal?: Terminal | null | undefined;
  readonly files: ReadonlyMap<number, OpenFile>;
  /** @returns the exit code */
  readonly main: (process: Process) => Promise<number>;
}

interface TableOptions {
  /** How many processes there may be. */
  readonly most: number;
  readonly hostname: string;
  readonly memoryBytes: number;
  readonly pace: number;
}

/** The processes of one container, from one start to its end. */
export class ProcessTable {
  private readonly running = new Map<number, Process>();
  private nextPid = 2;
  private readonly startedMs = Date.now();
  private spentMs = 0;

  constructor(
    private readonly tree: () => FileSystem,
    private readonly options: TableOptions,
  ) {}

  get files(): FileSystem {
    return this.tree();
  }

  /** Of what is listened on, as `/proc/net/tcp` shows it. */
  readonly ports = new Set<number>();

  /** What simulated work takes, times this. */
  get pace(): number {
    return this.options.pace;
  }

  get memoryLimit(): number {
    return this.options.memoryBytes;
  }

  /** Made up: something for each process. */
  get memoryBytes(): number {
    return Math.min(this.memoryLimit, 2 ** 20 * (9 + 1.5 * this.running.size));
  }

  /** Of all that run and have run. */
  get cpuMs(): number {
    return this.all.reduce((sum, { cpuMs }) => sum + cpuMs, this.spentMs);
  }

  get hostname(): string {
    return this.options.hostname;
  }

  get all(): readonly Process[] {
    return [...this.running.values()];
  }

  get uptimeMs(): number {
    return Date.now() - this.startedMs;
  }

  get(pid: number): Process | null {
    return this.running.get(pid) ?? null;
  }

  /** Files given belong to the process. @throws Errno `EAGAIN` */
  start(start: ProcessStart): Process {
    if (this.running.size >= this.options.most) {
      for (const file of start.files.values()) file.close();
      throw new Errno('EAGAIN');
    }
    const process = new Process(this, this.nextPid, start);
    this.nextPid += 1;
    this.running.set(process.pid, process);
    void process.ended.then(() => {
      this.spentMs += process.cpuMs;
      this.running.delete(process.pid);
    });
    process.run(start.main);
    return process;
  }

  signalGroup(group: number, signal: Signal): void {
    for (const process of this.all) if (process.group === group) process.signal(signal);
  }

  /** Ends all: each is sent TERM, those with a terminal HUP too, and KILL if they do not end in time. */
  async end(graceMs: number): Promise<void> {
    for (const process of this.all) {
      process.signal('TERM');
      if (process.terminal) process.signal('HUP');
      process.signal('CONT');
    }
    const ended = Promise.all(this.all.map((process) => process.ended));
    const late = setTimeout(() => this.kill(), graceMs);
    await ended;
    clearTimeout(late);
    this.kill();
  }

  kill(): void {
    for (const process of this.all) process.signal('KILL');
  }
}

/** A process: what a program runs as, with what it can be stopped by. */
export class Process implements Actor, Waiter {
  argv: readonly string[];
  env: Map<string, string>;
  readonly uid: number;
  readonly gid: number;
  readonly parent: number;
  group: number;
  readonly terminal: Terminal | null;
  cwd: string;
  umask = 0o022;
  readonly files: Map<number, OpenFile>;
  readonly startedMs = Date.now();
  /** What a signal does instead of ending it. */
  readonly handlers = new Map<Signal, 'ignore' | (() => void)>();
  /** Settles with the exit code. */
  readonly ended: Promise<number>;
  /** Of the time that it ran, in milliseconds. */
  cpuMs = 0;

  private readonly settle: (exitCode: number) => void;
  private killedWith: number | null = null;
  private hasEnded = false;
  private isStopped = false;
  private readonly blocked = new Set<() => void>();
  private readonly changed = new Waiters();
  private readonly turns = new Turns((ms) => (this.cpuMs += ms));

  constructor(
    readonly table: ProcessTable,
    readonly pid: number,
    start: ProcessStart,
  ) {
    this.argv = start.argv;
    this.env = new Map(start.env);
    this.cwd = start.cwd;
    this.uid = start.uid;
    this.gid = start.gid;
    this.parent = start.parent;
    this.group = start.group ?? pid;
    this.terminal = start.terminal ?? null;
    this.files = new Map(start.files);
    let settle: (exitCode: number) => void = () => undefined;
    this.ended = new Promise((resolve) => (settle = resolve));
    this.settle = settle;
  }

  /** It goes on as another program. */
  rename(argv: readonly string[], env: ReadonlyMap<string, string>): void {
    this.argv = argv;
    this.env = new Map(env);
  }

  get fs(): FileSystem {
    return this.table.files;
  }

  get state(): 'R' | 'S' | 'T' {
    return this.isStopped ? 'T' : this.blocked.size > 0 ? 'S' : 'R';
  }

  /** Called once, by its table. */
  run(main: (process: Process) => Promise<number>): void {
    const work = async (): Promise<number> => {
      // Whoever starts it is told of it first.
      await Promise.resolve();
      this.check();
      return main(this);
    };
    const end = (exitCode: number): void => {
      this.hasEnded = true;
      for (const file of this.files.values()) file.close();
      this.files.clear();
      this.settle(this.killedWith ?? exitCode & 255);
    };
    // What else a program fails of is its own affair, as a crash is.
    work().then(end, (error: unknown) => end(error instanceof Killed ? error.exitCode : 1));
  }

  signal(signal: Signal): void {
    if (this.hasEnded || this.killedWith !== null) return;
    if (signal === 'KILL') {
      this.die(signal);
      return;
    }
    if (signal === 'CONT' && this.isStopped) {
      this.isStopped = false;
      this.changed.wake();
    }
    if (signal === 'STOP') {
      this.isStopped = true;
      return;
    }
    const handler = this.handlers.get(signal);
    if (handler === 'ignore') return;
    if (handler) handler();
    else if (signal !== 'CONT' && signal !== 'WINCH') this.die(signal);
  }

  private die(signal: Signal): void {
    this.killedWith = 128 + NUMBERS[signal];
    this.isStopped = false;
    for (const interrupt of this.blocked) interrupt();
    this.blocked.clear();
  }

  /** @throws Killed */
  check(): void {
    if (this.killedWith !== null) throw new Killed(this.killedWith);
  }

  block(start: (done: () => void) => () => void): Promise<void> {
    this.check();
    this.turns.rested();
    return new Promise<void>((resolve, reject) => {
      const holder = { cancel: (): void => undefined };
      const interrupt = (): void => {
        holder.cancel();
        reject(new Killed(this.killedWith ?? 0));
      };
      this.blocked.add(interrupt);
      holder.cancel = start(() => {
        if (this.blocked.delete(interrupt)) resolve();
      });
    });
  }

  onBrokenPipe(): void {
    this.signal('PIPE');
    this.check();
  }

  /** To be awaited where a program may go on for long: others run too, it waits while it is stopped, and may end. */
  async point(): Promise<void> {
    this.check();
    while (this.isStopped) await this.changed.wait(this);
    await this.turns.take();
    this.check();
  }

  async sleep(ms: number): Promise<void> {
    if (ms >= 2 ** 31) return this.block(() => () => undefined);
    await this.block((done) => {
      const timer = setTimeout(done, ms).unref();
      return () => clearTimeout(timer);
    });
    await this.point();
  }

  /** Waits for another to end. @param wake is called where the wait is to end before, with a way to end it */
  async waitFor(child: Process, onWait?: (wake: () => void) => void): Promise<number | null> {
    let exitCode: number | null = null;
    await this.block((done) => {
      void child.ended.then((each) => {
        exitCode = each;
        done();
      });
      onWait?.(done);
      return () => undefined;
    });
    return exitCode;
  }

  file(descriptor: number): OpenFile {
    const file = this.files.get(descriptor);
    if (!file) throw new Errno('EBADF');
    return file;
  }

  /** @throws Errno `EMFILE` */
  setFile(descriptor: number, file: OpenFile | null): void {
    if (file && this.files.size >= MOST_FILES) throw new Errno('EMFILE');
    const former = this.files.get(descriptor);
    if (file) this.files.set(descriptor, file);
    else this.files.delete(descriptor);
    former?.close();
  }

  /** @throws Errno */
  open(
    path: string,
    {
      read = false,
      append = false,
      create = false,
      truncate = false,
    }: Partial<Record<'read' | 'append' | 'create' | 'truncate', boolean>> = {},
  ): OpenFile {
    const node = this.fs.open(this, path, { create, truncate, write: !read || create });
    if (node.kind === 'made' && node.device) return this.device(path.split('/').at(-1) ?? '');
    return new TreeFile(node, { append });
  }

  private device(name: string): OpenFile {
    switch (name) {
      case 'zero':
        return new Device((most) => Buffer.alloc(most));
      case 'random':
      case 'urandom':
        return new Device((most) => Buffer.from(Array.from({ length: most }, () => Math.floor(Math.random() * 256))));
      case 'tty':
        if (!this.terminal) throw new Errno('ENOENT');
        return this.terminal.open();
      case 'stdin':
      case 'stdout':
      case 'stderr':
        return this.file(['stdin', 'stdout', 'stderr'].indexOf(name)).dup();
      default:
        return new Device(null);
    }
  }

  async write(descriptor: number, text: string | Buffer): Promise<void> {
    await this.point();
    const data = typeof text === 'string' ? Buffer.from(text, 'latin1') : text;
    await this.file(descriptor).write(this, data);
  }

  async read(descriptor: number, most = 64 * 1024): Promise<Buffer | null> {
    await this.point();
    return this.file(descriptor).read(this, most);
  }
}
