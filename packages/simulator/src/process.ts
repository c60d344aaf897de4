import { randomBytes } from 'node:crypto';
import { posix } from 'node:path';
import { setImmediate as soon, setTimeout as delay } from 'node:timers/promises';
import type { SignalName } from '../../../src/engine';
import { type ContainerFiles, Errno, errnoOf } from './files';
import { Device, type OpenFile, RegularFile, type Waiter, Waiters } from './streams';
import type { Terminal } from './terminal';

/** As `kill -l` numbers them. */
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
  const found = Object.entries(NUMBERS).find(([each, number]) => each === name || String(number) === text);
  return (found?.[0] as Signal | undefined) ?? null;
}

/** Thrown in a process that was killed. */
export class Killed extends Error {
  override readonly name = 'Killed';

  constructor(readonly exitCode: number) {
    super(`exit code ${String(exitCode)}`);
  }
}

/** How many files a process may have open. */
const MOST_FILES = 1024;
/** How long simulated programs run before the server has a turn, in milliseconds. */
const SLICE_MS = 4;
/** A program that ran so long without waiting has to rest, as it shares the server's processor. */
const SPIN_MS = 20;
const REST_MS = 30;

let sliceBegan = 0;
let turns: Promise<void> = Promise.resolve();

/** One program per turn of the event loop, so that the server handles its requests between any two. */
function turn(): Promise<void> {
  turns = turns.then(() => soon());
  return turns;
}

/** A program. @returns the exit code */
export type Program = (process: Process, args: readonly string[]) => Promise<number> | number;

/** What a process begins with. Its files belong to it. */
export interface ProcessStart {
  readonly argv: readonly string[];
  readonly env: ReadonlyMap<string, string>;
  readonly cwd: string;
  readonly uid: number;
  readonly parent: number;
  /** Its own group if absent. */
  readonly group?: number | undefined;
  readonly terminal: Terminal | null;
  readonly files: ReadonlyMap<number, OpenFile>;
  readonly main: Program;
}

/** The processes of one container, from a start to its end. */
export class ProcessTable {
  private readonly running = new Map<number, Process>();
  private readonly ports = new Set<number>();
  private nextPid = 2;
  private spentMs = 0;
  readonly startedMs = Date.now();

  constructor(
    readonly files: ContainerFiles,
    readonly options: {
      /** Maximum number of processes. */
      readonly most: number;
      readonly hostname: string;
      readonly memoryBytes: number;
      /** Factor of the time that simulated work takes. */
      readonly pace: number;
    },
  ) {
    files.writeFileSync('/proc/meminfo', `MemTotal: ${String(Math.round(options.memoryBytes / 1024))} kB\n`);
    this.show(1, { argv: ['sleep', 'infinity'], env: new Map(), parent: 0, group: 1, uid: 0, terminal: null });
    this.setPort(0, false);
  }

  /** Made up: something for each process. */
  get memoryBytes(): number {
    return Math.min(this.options.memoryBytes, 2 ** 20 * (9 + 1.5 * this.running.size));
  }

  /** Of all processes, running and ended. */
  get cpuMs(): number {
    return this.all.reduce((sum, { cpuMs }) => sum + cpuMs, this.spentMs);
  }

  get all(): readonly Process[] {
    return [...this.running.values()];
  }

  get openPorts(): ReadonlySet<number> {
    return this.ports;
  }

  get(pid: number): Process | null {
    return this.running.get(pid) ?? null;
  }

  /** @throws Errno `EAGAIN` */
  start(start: ProcessStart): Process {
    if (this.running.size >= this.options.most) {
      for (const file of start.files.values()) void file.close();
      throw new Errno('EAGAIN');
    }
    const process = new Process(this, this.nextPid, start);
    this.nextPid += 1;
    this.running.set(process.pid, process);
    this.show(process.pid, process);
    void process.ended.then(() => {
      this.spentMs += process.cpuMs;
      this.running.delete(process.pid);
      void this.files.rm(`/proc/${String(process.pid)}`, { recursive: true, force: true });
    });
    process.run(start.main);
    return process;
  }

  /** Makes the files of a process in `/proc`. */
  show(pid: number, process: Pick<Process, 'argv' | 'env' | 'parent' | 'group' | 'uid' | 'terminal'>): void {
    const { argv, env, parent, group, uid, terminal } = process;
    const name = posix.basename(argv[0] ?? '');
    const ids = `${String(parent)} ${String(group)} ${String(group)} ${terminal ? '34816' : '0'} -1`;
    const texts = {
      cmdline: () => argv.map((each) => `${each}\0`).join(''),
      comm: () => `${name}\n`,
      environ: () => [...env].map(([key, value]) => `${key}=${value}\0`).join(''),
      stat: () => `${String(pid)} (${name}) S ${ids}\n`,
      status: () => `Name:\t${name}\nPid:\t${String(pid)}\nPPid:\t${String(parent)}\nUid:\t${String(uid)}\n`,
    };
    for (const [file, text] of Object.entries(texts)) this.files.writeFileLazy(`/proc/${String(pid)}/${file}`, text);
  }

  /** Opens or closes a port, which a readiness check sees. @returns false if it is open already */
  setPort(port: number, isOpen: boolean): boolean {
    if (isOpen && this.ports.has(port)) return false;
    if (isOpen) this.ports.add(port);
    else this.ports.delete(port);
    const zero = '00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1 0';
    const lines = [...this.ports].map((each, index) => {
      const hex = each.toString(16).toUpperCase().padStart(4, '0');
      return `   ${String(index)}: 00000000:${hex} ${zero}\n`;
    });
    const head = '  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n';
    this.files.writeFileSync('/proc/net/tcp', head + lines.join(''));
    this.files.writeFileSync('/proc/net/tcp6', head);
    return true;
  }

  signalGroup(group: number, signal: Signal): void {
    for (const process of this.all) if (process.group === group) process.signal(signal);
  }

  /** Ends all processes: TERM (and HUP, where they have a terminal), then KILL after the grace period. */
  async end(graceMs: number): Promise<void> {
    for (const process of this.all) {
      process.signal('TERM');
      if (process.terminal) process.signal('HUP');
      process.signal('CONT');
    }
    const late = setTimeout(() => this.kill(), graceMs);
    await Promise.all(this.all.map(({ ended }) => ended));
    clearTimeout(late);
    this.kill();
  }

  kill(): void {
    for (const process of this.all) process.signal('KILL');
  }
}

/** A process. */
export class Process implements Waiter {
  argv: readonly string[];
  env: ReadonlyMap<string, string>;
  readonly uid: number;
  readonly parent: number;
  group: number;
  readonly terminal: Terminal | null;
  cwd: string;
  readonly files: Map<number, OpenFile>;
  readonly startedMs = Date.now();
  /** What a signal does instead of killing it. */
  readonly handlers = new Map<Signal, 'ignore' | (() => void)>();
  /** Settles with the exit code. */
  readonly ended: Promise<number>;
  cpuMs = 0;
  /** Aborted when it is killed. */
  readonly killed = new AbortController();

  private settle: (exitCode: number) => void = () => undefined;
  private killedWith: number | null = null;
  private hasEnded = false;
  private isStopped = false;
  private spunMs = 0;
  private readonly blocked = new Set<() => void>();
  private readonly continued = new Waiters();

  constructor(
    readonly table: ProcessTable,
    readonly pid: number,
    { argv, env, cwd, uid, parent, group = pid, terminal, files }: ProcessStart,
  ) {
    [this.argv, this.env, this.cwd] = [argv, env, cwd];
    [this.uid, this.parent, this.group] = [uid, parent, group];
    this.terminal = terminal;
    this.files = new Map(files);
    this.ended = new Promise((resolve) => (this.settle = resolve));
  }

  /** Continues as another program. */
  become(argv: readonly string[], env: ReadonlyMap<string, string>): void {
    this.argv = argv;
    this.env = env;
    this.table.show(this.pid, this);
  }

  get fs(): ContainerFiles {
    return this.table.files;
  }

  get state(): 'R' | 'S' | 'T' {
    return this.isStopped ? 'T' : this.blocked.size > 0 ? 'S' : 'R';
  }

  /** Called once, by the table. */
  run(main: Program): void {
    const work = async (): Promise<number> => {
      // Afterwards, so that the starter has the process before it does anything.
      await Promise.resolve();
      this.check();
      return main(this, this.argv.slice(1));
    };
    const end = async (exitCode: number): Promise<void> => {
      this.hasEnded = true;
      for (const file of this.files.values()) await file.close();
      this.files.clear();
      this.settle(this.killedWith ?? exitCode & 255);
    };
    // Any other error is a crash of the program.
    void work().then(end, (error: unknown) => end(error instanceof Killed ? error.exitCode : 1));
  }

  signal(signal: Signal): void {
    if (this.hasEnded || this.killedWith !== null) return;
    if (signal === 'KILL') {
      this.die(signal);
      return;
    }
    if (signal === 'STOP') {
      this.isStopped = true;
      return;
    }
    if (signal === 'CONT') {
      this.isStopped = false;
      this.continued.wake();
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
    this.killed.abort();
  }

  /** @throws Killed */
  check(): void {
    if (this.killedWith !== null) throw new Killed(this.killedWith);
  }

  block(start: (done: () => void) => () => void): Promise<void> {
    this.check();
    this.spunMs = 0;
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

  /** Waits for `work`, unless the process is killed before. @throws Killed */
  async until<T>(work: Promise<T>): Promise<T> {
    await this.block((done) => {
      work.then(done, done);
      return () => undefined;
    });
    return work;
  }

  onBrokenPipe(): void {
    this.signal('PIPE');
    this.check();
  }

  /**
   * To be called often: gives others a turn, waits while the process is stopped, and throws once it is killed.
   *
   * @throws Killed
   */
  async point(): Promise<void> {
    this.check();
    while (this.isStopped) await this.continued.wait(this);
    const ran = performance.now() - sliceBegan;
    if (ran < SLICE_MS) return;
    const counted = Math.min(ran, 2 * SLICE_MS);
    this.cpuMs += counted;
    this.spunMs += counted;
    if (this.spunMs >= SPIN_MS) {
      this.spunMs = 0;
      await delay(REST_MS, undefined, { ref: false });
    }
    await turn();
    sliceBegan = performance.now();
    this.check();
  }

  async sleep(ms: number): Promise<void> {
    await this.block((done) => {
      // A longer timer would fire at once.
      const timer = ms < 2 ** 31 ? setTimeout(done, ms).unref() : undefined;
      return () => clearTimeout(timer);
    });
    await this.point();
  }

  /** @throws Errno */
  file(descriptor: number): OpenFile {
    const file = this.files.get(descriptor);
    if (!file) throw new Errno('EBADF');
    return file;
  }

  /** @throws Errno `EAGAIN` */
  async setFile(descriptor: number, file: OpenFile | null): Promise<void> {
    if (file && this.files.size >= MOST_FILES) throw new Errno('EAGAIN');
    const former = this.files.get(descriptor);
    if (file) this.files.set(descriptor, file);
    else this.files.delete(descriptor);
    await former?.close();
  }

  resolve(path: string): string {
    return posix.resolve(this.cwd, path).replace(/^\/proc\/self(?=\/|$)/, `/proc/${String(this.pid)}`);
  }

  /** @throws Errno */
  async open(path: string, mode: 'read' | 'write' | 'append' | 'update'): Promise<OpenFile> {
    const whole = this.resolve(path);
    const device = this.device(whole);
    if (device) return device;
    const { fs } = this;
    if (!(await fs.exists(whole))) {
      if (mode === 'read' || path === '') throw new Errno('ENOENT');
      const parent = await errnoOf(fs.stat(posix.dirname(whole)));
      if (!parent.isDirectory) throw new Errno('ENOTDIR');
      await errnoOf(fs.writeFile(whole, ''));
    }
    const real = await errnoOf(fs.realpath(whole));
    const { isDirectory, size } = await errnoOf(fs.stat(real));
    if (isDirectory) throw new Errno('EISDIR');
    if (mode === 'write' && size > 0) await errnoOf(fs.writeFile(real, ''));
    return new RegularFile(fs, real, { append: mode === 'append', size: mode === 'write' ? 0 : size });
  }

  private device(path: string): OpenFile | null {
    const descriptor = /^\/(?:dev|proc\/\d+)\/fd\/(\d+)$/.exec(path)?.[1];
    if (descriptor !== undefined) return this.file(Number(descriptor)).dup();
    switch (path) {
      case '/dev/null':
        return new Device(null);
      case '/dev/zero':
        return new Device((most) => Buffer.alloc(most));
      case '/dev/random':
      case '/dev/urandom':
        return new Device(randomBytes);
      case '/dev/tty':
        if (!this.terminal) throw new Errno('ENOENT');
        return this.terminal.open();
      case '/dev/stdin':
      case '/dev/stdout':
      case '/dev/stderr':
        return this.file(['stdin', 'stdout', 'stderr'].indexOf(path.slice(5))).dup();
      default:
        return null;
    }
  }

  async write(descriptor: number, text: string | Buffer): Promise<void> {
    await this.point();
    await this.file(descriptor).write(this, typeof text === 'string' ? Buffer.from(text) : text);
  }

  async read(descriptor: number, most = 64 * 1024): Promise<Buffer | null> {
    await this.point();
    return this.file(descriptor).read(this, most);
  }
}
