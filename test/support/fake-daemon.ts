import { createHash, randomBytes } from 'node:crypto';
import { PassThrough, type Readable } from 'node:stream';
import {
  type ContainerProcess,
  type ContainerSpec,
  type ContainerStats,
  type EngineCapabilities,
  EngineError,
  type EngineEvent,
  type EngineImage,
  type EngineState,
  type ExecOutput,
  type ExecRequest,
  type ListedContainer,
  type ListedVolume,
  type MachineResources,
  type MarkedProcesses,
  type ObservedContainer,
  type OwnerLabels,
  type ProcessRequest,
  type SignalName,
  type TerminalSize,
  type VolumeCopy,
  type WatchMessage,
} from '../../src/docker';
import { testImage } from './api-client';

/**
 * A container as the fake daemon keeps it; tests may read it, and change it behind Berth's back by the daemon's
 * methods.
 */
export interface FakeContainer {
  readonly dockerId: string;
  readonly spec: ContainerSpec;
  readonly imageId: string;
  readonly createdAt: Date;
  readonly ipAddress: string;
  readonly mounts: readonly string[];
  name: string;
  state: EngineState;
  startedAt: string | null;
  exitCode: number | null;
  oomKilled: boolean;
  /** Whether it is in the sandboxes' network. */
  connected: boolean;
}

/** A volume as the fake daemon keeps it. Its content is a word, so that a test sees whether the data is there. */
export interface FakeVolume {
  /** null: held to no size. */
  diskMb: number | null;
  readonly owner: OwnerLabels;
  /** Without labels its owner is known by its name alone. */
  labelled: boolean;
  content: string;
  /** The space that the content takes. */
  bytes: number;
}

/** How containers of an image take a start. */
export type StartOutcome = 'runs' | 'refused' | 'crashes';

/** A command that runs in a container. */
export interface FakeCommand {
  readonly container: FakeContainer;
  readonly command: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  write(stream: ExecOutput['stream'], text: string): void;
  /** Aborted when the container ends under the command; what it then does is nobody's concern. */
  readonly killed: AbortSignal;
}

/** A program that runs in a container, its streams in Berth's hands. */
export interface FakeProgram extends FakeCommand, RunningProgram {}

interface RunningProgram {
  readonly request: ProcessRequest;
  /** Empty where it was not asked for. */
  readonly stdin: Readable;
  /** As last set; null before. */
  size: TerminalSize | null;
  readonly signals: SignalName[];
  kill(): void;
}

interface Watcher {
  readonly instance: string;
  readonly send: (message: WatchMessage) => void;
}

/**
 * Docker in memory: what survives the death of the processes that use it. One of it can serve many `FakeEngine`s, as
 * one daemon serves many processes.
 */
export class FakeDaemon {
  /** Of its data: a daemon on other data has another. */
  id = 'docker-1';
  readonly containers = new Map<string, FakeContainer>();
  readonly volumes = new Map<string, FakeVolume>();
  readonly images = new Set<string>([testImage()]);
  /** What a pull finds. */
  readonly registry = new Set<string>();
  /** The newest versions there, where it is not the first. */
  readonly registryVersions = new Map<string, number>();
  /** Ids of versions that no reference names any more. */
  readonly unnamedImages = new Set<string>();
  readonly startOutcomes = new Map<string, StartOutcome>();
  /** Promises that were broken, such as two containers that ran on one volume; a test expects it to be empty. */
  readonly violations: string[] = [];
  capabilities: EngineCapabilities = {
    runtime: 'runsc',
    diskQuota: 'unsupported',
    volumeResize: 'none',
    hostFirewall: 'enforced',
    allowLists: 'enforced',
  };
  /** As large as nobody's. */
  machine: Omit<MachineResources, 'diskMb'> & Partial<Pick<MachineResources, 'diskMb'>> = {
    memoryMb: null,
    cpuShares: null,
    freeMemoryMb: null,
    freeDiskMb: null,
  };
  /** As if nobody listened on the socket. */
  down = false;

  /** What commands do in containers; by default they succeed without a word. @returns the exit code */
  onExec: (command: FakeCommand) => Promise<number> | number = () => 0;

  /** What programs do: by default `cat` copies its input, `sleep` waits to be ended, the rest is {@link onExec}. */
  onProgram: (program: FakeProgram) => Promise<number> | number = async (program) => {
    if (program.command[0] === 'sleep') return new Promise<number>(() => undefined);
    if (program.command[0] !== 'cat') return this.onExec(program);
    for await (const chunk of program.stdin) program.write('stdout', String(chunk));
    return 0;
  };
  /** The programs that run, by their containers' Docker ids. */
  readonly programs = new Map<string, Set<RunningProgram>>();

  /** What containers use: by default half of their CPU, whenever one looks, and all of their memory. */
  onStats: (container: FakeContainer) => ContainerStats = ({ spec, startedAt }) => {
    const at = new Date();
    const ranMs = at.getTime() - Date.parse(startedAt ?? at.toISOString());
    return {
      at,
      startedAt: startedAt ?? '',
      cpu: { usedMs: (ranMs * spec.cpuShares) / 2000, limitShares: spec.cpuShares, periods: 0, throttledPeriods: 0 },
      memory: { usedBytes: spec.memoryMb * 2 ** 20, limitBytes: spec.memoryMb * 2 ** 20 },
      pids: null,
      network: { rxBytes: 0, txBytes: 0 },
    };
  };

  private readonly imageVersions = new Map<string, number>();
  private readonly commands = new Map<string, Set<() => void>>();
  private readonly watchers = new Set<Watcher>();
  private clock = Date.now();
  private created = 0;

  /** What runs, of one container of Berth's or of all. */
  running(containerId?: string): FakeContainer[] {
    return [...this.containers.values()].filter(
      (container) =>
        isUp(container.state) && (containerId === undefined || container.spec.owner.containerId === containerId),
    );
  }

  create(spec: ContainerSpec): string {
    if (!this.findImage(spec.image)) throw new EngineError('image_not_found', `no such image: ${spec.image}`);
    if (this.named(spec.name)) throw new EngineError('name_in_use', `the name ${spec.name} is in use`);
    // Docker makes a volume that is missing, without labels.
    if (!this.volumes.has(spec.volumeName)) {
      this.violations.push(`${spec.name} was created before its volume ${spec.volumeName}`);
      this.ensureVolume({ name: spec.volumeName, diskMb: spec.diskMb, owner: spec.owner });
    }
    return this.add(spec, [spec.volumeName]).dockerId;
  }

  start(dockerId: string, { isNew = false }: { isNew?: boolean } = {}): 'started' | 'already_running' {
    const container = this.existing(dockerId, 'start');
    if (container.state === 'paused') throw new EngineError('container_paused', 'cannot start a paused container');
    if (!isNew) container.connected = true;
    if (isUp(container.state)) return 'already_running';
    const outcome = this.startOutcomeOf(container);
    if (outcome === 'refused') throw new EngineError('start_refused', 'OCI runtime create failed');
    this.run(container);
    // Under an init, Docker says that a container started whose program is not even there.
    if (outcome === 'crashes') {
      container.state = 'restarting';
      container.exitCode = 127;
      this.tell(container, 'die', 127);
    }
    return 'started';
  }

  unpause(dockerId: string): void {
    const container = this.existing(dockerId, 'unpause');
    if (container.state !== 'paused') return;
    container.state = 'running';
    this.tell(container, 'unpause');
  }

  stop(dockerId: string): 'stopped' | 'already_stopped' {
    const container = this.existing(dockerId, 'stop');
    if (!isUp(container.state) && container.state !== 'restarting') return 'already_stopped';
    this.exit(container, 0);
    return 'stopped';
  }

  remove(dockerId: string): void {
    const container = this.containers.get(dockerId);
    if (!container) return;
    if (isUp(container.state)) this.exit(container, 137);
    this.containers.delete(dockerId);
    this.tell(container, 'destroy');
  }

  rename(dockerId: string, name: string): void {
    const container = this.containers.get(dockerId);
    if (!container || container.name === name) return;
    if (this.named(name)) throw new EngineError('name_in_use', `the name ${name} is in use`);
    container.name = name;
  }

  reconnect(dockerId: string): 'reconnected' | 'already_connected' {
    const container = this.existing(dockerId, 'reconnect');
    if (container.connected) return 'already_connected';
    container.connected = true;
    return 'reconnected';
  }

  /** Begins a command. @returns its exit code, once it ends: 137 if the container ended under it */
  exec(dockerId: string, request: Pick<ExecRequest, 'command' | 'env' | 'onOutput'>): Promise<number> {
    return this.begin(dockerId, request, this.onExec);
  }

  private begin(
    dockerId: string,
    { command, env = {}, onOutput }: Pick<ExecRequest, 'command' | 'env' | 'onOutput'>,
    run: (command: FakeCommand) => Promise<number> | number,
  ): Promise<number> {
    const container = this.existing(dockerId, 'exec');
    if (container.state === 'paused') throw new EngineError('container_paused', 'cannot exec in a paused container');
    if (container.state !== 'running') throw new EngineError('container_not_running', `${container.name} does not run`);
    const abort = new AbortController();
    const commands = this.commands.get(dockerId) ?? new Set();
    this.commands.set(dockerId, commands);
    const killed = new Promise<number>((resolve) => abort.signal.addEventListener('abort', () => resolve(137)));
    const kill = (): void => abort.abort();
    commands.add(kill);
    const write: FakeCommand['write'] = (stream, text) => onOutput?.({ stream, data: Buffer.from(text) });
    const done = (async () => run({ container, command, env, write, killed: abort.signal }))();
    return Promise.race([killed, done]).finally(() => commands.delete(kill));
  }

  /** Begins a program. */
  startProcess(dockerId: string, request: ProcessRequest): ContainerProcess {
    const output = new PassThrough({ objectMode: true });
    const stdin = new PassThrough();
    if (request.stdin !== true) stdin.end();
    const killed = new AbortController();
    const running = this.programs.get(dockerId) ?? new Set();
    this.programs.set(dockerId, running);
    const program: RunningProgram = { request, stdin, size: null, signals: [], kill: () => killed.abort() };
    let containerEnded = false;
    const exited = this.begin(dockerId, { ...request, onOutput: (each) => void output.write(each) }, (command) => {
      running.add(program);
      command.killed.addEventListener('abort', () => (containerEnded = true));
      const byKill = new Promise<number>((resolve) => killed.signal.addEventListener('abort', () => resolve(137)));
      return Promise.race([byKill, this.onProgram(Object.assign(program, command))]);
    }).finally(() => {
      running.delete(program);
      output.end();
    });
    return {
      output: untilClosed(output),
      stdin: request.stdin === true ? stdin : null,
      resize: (size) => {
        program.size = size;
        return Promise.resolve();
      },
      hasStarted: () => Promise.resolve(true),
      exit: async () => {
        const exitCode = await exited;
        if (containerEnded) throw new EngineError('container_not_running', 'the container ended under the command');
        return { exitCode };
      },
      close: () => void output.destroy(),
    };
  }

  /** Sends a signal to the programs with a marker; TERM, HUP, INT, QUIT and KILL end them. @returns how many */
  signal(dockerId: string, { marker, signal }: MarkedProcesses): number {
    this.existing(dockerId, 'exec');
    const marked = [...(this.programs.get(dockerId) ?? [])].filter(({ request }) => request.marker === marker);
    for (const program of marked) {
      program.signals.push(signal);
      if (['TERM', 'HUP', 'INT', 'QUIT', 'KILL'].includes(signal)) program.kill();
    }
    return marked.length;
  }

  stats(dockerId: string): ContainerStats {
    const container = this.existing(dockerId, 'stats');
    if (!isUp(container.state)) throw new EngineError('container_not_running', `${container.name} does not run`);
    return this.onStats(container);
  }

  inspect(dockerId: string): ObservedContainer | null {
    const container = this.containers.get(dockerId);
    if (!container) return null;
    const { name, state, startedAt, exitCode, oomKilled, imageId, spec } = container;
    const isReached = isUp(state) && container.connected && spec.network !== 'none';
    const ipAddress = isReached ? container.ipAddress : null;
    const { runtime } = this.capabilities;
    return { dockerId, name, state, startedAt, exitCode, oomKilled, ipAddress, imageId, runtime };
  }

  list(filter: { instance: string; containerId?: string }): ListedContainer[] {
    return [...this.containers.values()]
      .filter(({ spec: { owner } }) => owner.instance === filter.instance)
      .filter(({ spec: { owner } }) => filter.containerId === undefined || owner.containerId === filter.containerId)
      .map(({ dockerId, name, state, createdAt, spec, connected }) => ({
        dockerId,
        name,
        state,
        createdAt,
        containerId: spec.owner.containerId,
        generation: spec.generation,
        connected,
      }));
  }

  ensureVolume({ name, diskMb, owner }: { name: string; diskMb: number; owner: OwnerLabels }): { existed: boolean } {
    const volume = this.volumes.get(name);
    const isUsed = [...this.containers.values()].some(({ mounts }) => mounts.includes(name));
    const existed = volume !== undefined && (volume.labelled || isUsed || volume.content !== '');
    if (!existed) this.volumes.set(name, { diskMb, owner, labelled: true, content: '', bytes: 0 });
    return { existed };
  }

  listVolumes(filter: { instance: string; containerId?: string }): ListedVolume[] {
    return [...this.volumes]
      .filter(([, { owner }]) => owner.instance === filter.instance)
      .filter(([, { owner }]) => filter.containerId === undefined || owner.containerId === filter.containerId)
      .map(([name, { owner, labelled }]) => ({ name, containerId: owner.containerId, labelled }));
  }

  /** A volume as a crash of Docker leaves it that came before its labels and options were written. */
  forgetLabels(name: string): void {
    Object.assign(this.volume(name), { labelled: false, diskMb: null });
  }

  /** What somebody leaves in a volume. */
  write(volumeName: string, content: string, bytes = content.length): void {
    Object.assign(this.volume(volumeName), { content, bytes });
  }

  /** The first half of a copy: the container that copies is there, and the target is of no use. */
  beginCopy({ from, to, image, owner }: VolumeCopy): FakeContainer {
    if (!this.images.has(image)) throw new EngineError('docker_error', `no such image: ${image}`);
    this.volume(from);
    const name = `berth-${owner.containerId}-move`;
    const leftover = [...this.containers.values()].find((container) => container.name === name);
    if (leftover) this.remove(leftover.dockerId);
    for (const volume of [from, to]) {
      const rival = this.running().find(({ mounts }) => mounts.includes(volume));
      if (rival) this.violations.push(`${volume} was copied while ${rival.name} ran on it`);
    }
    const limits = { memoryMb: 0, cpuShares: 0, diskMb: 0, network: 'none', processes: 0 } as const;
    const worker = this.add({ name, image, env: {}, ...limits, volumeName: to, owner, generation: 0 }, [from, to]);
    worker.state = 'running';
    this.write(to, 'half of a copy');
    return worker;
  }

  /** The second half. */
  finishCopy({ from, to }: VolumeCopy, worker: FakeContainer): { bytes: number } {
    if (!this.containers.delete(worker.dockerId)) throw new EngineError('copy_failed', 'the copying was cut off');
    const { content, bytes } = this.volume(from);
    if (bytes > (this.volume(to).diskMb ?? Infinity) * 2 ** 20)
      throw new EngineError('data_too_large', 'the new volume is full');
    this.write(to, content, bytes);
    return { bytes };
  }

  removeVolume(name: string): void {
    const user = [...this.containers.values()].find(({ mounts }) => mounts.includes(name));
    if (user) throw new EngineError('docker_error', `volume ${name} is in use by ${user.name}`);
    this.volumes.delete(name);
  }

  pull(reference: string): void {
    if (reference.includes('@')) {
      const isThere = [...this.registry].some((named) => this.versionsOf(named).includes(this.imageId(reference)));
      if (!isThere) throw new EngineError('image_not_found', `manifest of ${reference} unknown`);
    } else {
      if (!this.registry.has(reference)) throw new EngineError('image_not_found', `manifest of ${reference} unknown`);
      const former = this.images.has(reference) ? this.imageId(reference) : null;
      this.imageVersions.set(reference, this.registryVersions.get(reference) ?? 1);
      if (former !== null && former !== this.imageId(reference)) this.unnamedImages.add(former);
    }
    this.images.add(reference);
  }

  /** By a reference or an id. */
  findImage(name: string): EngineImage | null {
    if (name.startsWith('sha256:')) {
      const isNamed = [...this.images].some((reference) => this.imageId(reference) === name);
      return isNamed || this.unnamedImages.has(name) ? { id: name, digest: null } : null;
    }
    if (!this.images.has(name)) return null;
    const id = this.imageId(name);
    return { id, digest: this.registry.has(name) ? id : null };
  }

  /** Of the version that is here. */
  imageId(reference: string, version = this.imageVersions.get(reference) ?? 1): string {
    const [, digest] = reference.split('@');
    return digest ?? `sha256:${createHash('sha256').update(`${reference} ${version}`).digest('hex')}`;
  }

  removeImage({ reference, id }: { reference: string; id: string }): 'removed' | 'in_use' | 'kept' | 'gone' {
    if (!this.findImage(id)) return 'gone';
    if ([...this.containers.values()].some(({ imageId }) => imageId === id)) return 'in_use';
    if (this.images.has(reference) && this.imageId(reference) === id) {
      this.images.delete(reference);
      return 'removed';
    }
    return this.unnamedImages.delete(id) ? 'removed' : 'kept';
  }

  private versionsOf(reference: string): string[] {
    const newest = this.registryVersions.get(reference) ?? 1;
    return Array.from({ length: newest }, (_none, index) => this.imageId(reference, index + 1));
  }

  private startOutcomeOf({ imageId }: FakeContainer): StartOutcome {
    for (const [reference, outcome] of this.startOutcomes) if (this.imageId(reference) === imageId) return outcome;
    return 'runs';
  }

  /** `docker kill`, which the restart policy takes for a wish. */
  kill(dockerId: string): void {
    this.exit(this.existing(dockerId, 'kill'), 137);
  }

  /** The main process ends by itself; Docker starts it again, as the restart policy says. */
  crash(dockerId: string, exitCode = 1): void {
    const container = this.existing(dockerId, 'crash');
    this.exit(container, exitCode);
    this.run(container);
  }

  /**
   * The kernel kills it for its memory; Docker starts it again, as the restart policy says, and has forgotten the
   * reason (`oomKilled` is of the present run).
   */
  oom(dockerId: string): void {
    this.oomOfProcess(dockerId);
    this.crash(dockerId, 137);
  }

  /**
   * The kernel kills one process in it for the container's memory; the container goes on, and Docker says `oom` alone.
   */
  oomOfProcess(dockerId: string): void {
    const container = this.existing(dockerId, 'oom');
    container.oomKilled = true;
    this.tell(container, 'oom');
  }

  pause(dockerId: string): void {
    const container = this.existing(dockerId, 'pause');
    container.state = 'paused';
    this.tell(container, 'pause');
  }

  /** `docker network disconnect`. */
  disconnect(dockerId: string): void {
    this.existing(dockerId, 'disconnect').connected = false;
  }

  /** `docker rm -f`. */
  vanish(dockerId: string): void {
    this.remove(dockerId);
  }

  /** Opens a watcher; it is sent `connected` first. @returns the way to close it */
  attach(instance: string, send: (message: WatchMessage) => void): () => void {
    const watcher = { instance, send };
    this.watchers.add(watcher);
    send({ kind: 'connected', node: null });
    return () => {
      this.watchers.delete(watcher);
    };
  }

  /**
   * Docker is started on an empty data-root, which has an id of its own.
   * @returns the way to start it on the old one again
   */
  empty(): () => void {
    const before = { id: this.id, containers: [...this.containers], volumes: [...this.volumes] };
    const exchange = ({ id, containers, volumes }: typeof before): void =>
      this.unwatched(() => {
        this.id = id;
        this.containers.clear();
        this.volumes.clear();
        for (const [key, container] of containers) this.containers.set(key, container);
        for (const [key, volume] of volumes) this.volumes.set(key, volume);
      });
    exchange({ id: `${before.id}-empty`, containers: [], volumes: [] });
    return () => exchange(before);
  }

  /** Runs what happens while no watcher is connected, then connects them again: they have missed it. */
  unwatched(happens: () => void): void {
    const watchers = [...this.watchers];
    this.watchers.clear();
    happens();
    for (const watcher of watchers) {
      this.watchers.add(watcher);
      watcher.send({ kind: 'connected', node: null });
    }
  }

  private add(spec: ContainerSpec, mounts: readonly string[]): FakeContainer {
    this.created += 1;
    const dockerId = randomBytes(32).toString('hex');
    const container: FakeContainer = {
      dockerId,
      spec,
      imageId: this.findImage(spec.image)?.id ?? spec.image,
      createdAt: new Date(this.tick()),
      ipAddress: `172.30.${String(this.created >> 8)}.${String(this.created & 255)}`,
      mounts,
      name: spec.name,
      state: 'created',
      startedAt: null,
      exitCode: null,
      oomKilled: false,
      connected: true,
    };
    this.containers.set(dockerId, container);
    return container;
  }

  private run(container: FakeContainer): void {
    const { volumeName } = container.spec;
    const rival = this.running().find(({ spec }) => spec.volumeName === volumeName);
    if (rival) this.violations.push(`${container.name} was started on ${volumeName} while ${rival.name} ran on it`);
    container.state = 'running';
    // Nanoseconds, as Docker writes them.
    container.startedAt = new Date(this.tick()).toISOString().replace('Z', '000000Z');
    container.exitCode = null;
    container.oomKilled = false;
    this.tell(container, 'start');
  }

  private exit(container: FakeContainer, exitCode: number): void {
    container.state = 'exited';
    container.exitCode = exitCode;
    for (const kill of this.commands.get(container.dockerId) ?? []) kill();
    this.tell(container, 'die', exitCode);
  }

  private tell(container: FakeContainer, action: EngineEvent['action'], exitCode: number | null = null): void {
    const { containerId, instance } = container.spec.owner;
    const event = { dockerId: container.dockerId, containerId, action, exitCode, at: new Date(this.tick()) };
    for (const watcher of this.watchers) if (watcher.instance === instance) watcher.send({ kind: 'event', event });
  }

  private existing(dockerId: string, verb: string): FakeContainer {
    const container = this.containers.get(dockerId);
    if (!container) throw new EngineError('container_not_found', `${verb}: no such container ${dockerId}`);
    return container;
  }

  private volume(name: string): FakeVolume {
    const volume = this.volumes.get(name);
    if (!volume) throw new EngineError('docker_error', `no such volume: ${name}`);
    return volume;
  }

  private named(name: string): boolean {
    return [...this.containers.values()].some((container) => container.name === name);
  }

  /** No two things happen at the same time. */
  private tick(): number {
    this.clock = Math.max(this.clock + 1, Date.now());
    return this.clock;
  }
}

function isUp(state: EngineState): boolean {
  return state === 'running' || state === 'paused';
}

/** As the port has it: a connection that is dropped is an end like any other. */
async function* untilClosed(output: AsyncIterable<ExecOutput>): AsyncGenerator<ExecOutput> {
  try {
    yield* output;
  } catch {
    // It was closed here.
  }
}
