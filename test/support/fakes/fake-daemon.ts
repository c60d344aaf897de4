import { createHash, randomUUID } from 'node:crypto';
import { type Duplex, PassThrough } from 'node:stream';
import {
  type ContainerProcess,
  type ContainerSpec,
  type ContainerStats,
  type EngineCapabilities,
  EngineError,
  type ExecOutput,
  type LayerCommit,
  type LayerImage,
  type ListedProgram,
  type ListeningPort,
  type MachineResources,
  type OwnerLabels,
  type ProcessRequest,
  type ProgramAttachment,
  type ProgramExit,
  type ProgramSignal,
  type SignalName,
  type TerminalSize,
  type VolumeCopy,
  type VolumeMeasurement,
} from '../../../src/engine';
import {
  isUp,
  type SimulatedContainer,
  SimulatedDaemon,
  type SimulatedLayer,
  SimulatedVolume,
} from '../../../packages/simulator/src/simulated-daemon';
import { Output } from '../../../packages/simulator/src/streams';
import { testImage } from '../clients/api-client';

/** Of every program: it has none. */
const PID = 2;

interface KnownProgram {
  readonly program: FakeProgram;
  readonly output: Output;
  readonly startedAt: number;
  readonly exited: Promise<number>;
  exit: ProgramExit | null;
}

/** A container. Tests may read it; they change it behind Berth's back by the daemon's methods. */
export type FakeContainer = SimulatedContainer;

/** A volume whose content is a string, so that a test can check its data. */
export class FakeVolume extends SimulatedVolume {
  content = '';
  /** The space that the content takes. */
  taken = 0;

  override get bytes(): number {
    return this.taken;
  }

  override get isEmpty(): boolean {
    return this.content === '';
  }
}

/** The result of a start of an image's containers. */
export type StartOutcome = 'runs' | 'refused' | 'crashes';

/** A command that runs in a container. */
export interface FakeCommand {
  readonly container: FakeContainer;
  readonly command: readonly string[];
  /** The variables of the request. */
  readonly env: Readonly<Record<string, string>>;
  write(stream: ExecOutput['stream'], text: string): void;
  /** Aborted when the container ends under the command. What the command does afterwards has no effect. */
  readonly killed: AbortSignal;
}

/** A program that runs in a container, with its streams connected to Berth. */
export interface FakeProgram extends FakeCommand {
  readonly request: ProcessRequest;
  /** Ended at once if the request has no stdin. */
  readonly stdin: Duplex;
  /** The last size that was set; null before. */
  size: TerminalSize | null;
  readonly signals: SignalName[];
  kill(): void;
  onContainerEnd(): void;
}

/**
 * The simulated Docker with additions for tests: scripted programs, a registry, and changes behind Berth's back. It
 * outlives the processes that use it: many `FakeEngine`s can share it, as processes share a daemon.
 */
export class FakeDaemon extends SimulatedDaemon {
  override id = 'docker-1';
  override keepsLayers = true;
  declare readonly volumes: Map<string, FakeVolume>;
  /** The images that a pull finds. */
  readonly registry = new Set<string>();
  /** The newest version of an image in the registry, if it is not the first. */
  readonly registryVersions = new Map<string, number>();
  readonly startOutcomes = new Map<string, StartOutcome>();
  /** Violated promises, such as two containers that ran on one volume. Tests expect it to be empty. */
  readonly violations: string[] = [];
  override capabilities: EngineCapabilities = {
    runtime: 'runsc',
    diskQuota: 'unsupported',
    volumeResize: 'none',
    hostFirewall: 'enforced',
    allowLists: 'enforced',
  };
  /** Unknown sizes by default. */
  machine: Omit<MachineResources, 'diskMb'> & Partial<Pick<MachineResources, 'diskMb'>> = {
    memoryMb: null,
    cpuShares: null,
    freeMemoryMb: null,
    freeDiskMb: null,
  };
  /** After this long without a reader, a program that is not kept is ended. */
  abandonedMs = 10_000;
  /** If true, the socket refuses connections. */
  down = false;

  /** The behaviour of commands in containers; by default they succeed without output. @returns the exit code */
  onExec: (command: FakeCommand) => Promise<number> | number = () => 0;

  /** What listens in containers; by default nothing. */
  onConnect: ((engineId: string, port: number) => Promise<Duplex>) | null = null;
  onListening: ((engineId: string) => Promise<ListeningPort[]>) | null = null;

  /**
   * The behaviour of programs: by default `cat` copies its input, `sleep` waits until it is killed, and the rest is
   * {@link onExec}.
   */
  onProgram: (program: FakeProgram) => Promise<number> | number = async (program) => {
    if (program.command[0] === 'sleep') return new Promise<number>(() => undefined);
    if (program.command[0] !== 'cat') return this.onExec(program);
    for await (const chunk of program.stdin) program.write('stdout', String(chunk));
    return 0;
  };
  /** The running programs, by their containers' Docker ids. */
  readonly programs = new Map<string, Set<FakeProgram>>();
  /** Those that run, and those that have ended and are kept. */
  private readonly knownPrograms = new Map<string, Map<string, KnownProgram>>();

  /** The usage of containers: by default half of their CPU since the start, and all of their memory. */
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

  constructor() {
    super();
    this.images.clear();
    this.images.add(testImage());
  }

  override begin(container: FakeContainer): void {
    const outcome = this.startOutcomeOf(container);
    if (outcome === 'refused') throw new EngineError('start_refused', 'OCI runtime create failed');
    super.begin(container);
    // With an init, Docker reports that a container started even if its program does not exist.
    if (outcome === 'crashes') {
      container.state = 'restarting';
      container.exitCode = 127;
      this.tell(container, 'die', 127);
    }
  }

  protected override onMissingVolume({ name, volumeName }: ContainerSpec): void {
    this.violations.push(`${name} was created before its volume ${volumeName}`);
  }

  /** Starts a program. */
  startProcess(engineId: string, request: ProcessRequest): ContainerProcess {
    const container = this.runningOne(engineId, 'exec');
    const { command, env = {}, id = randomUUID(), kept } = request;
    // Tests write at once what a program would write as it is read.
    const { ring = kept ? 2 ** 20 : Infinity } = request;
    if (this.known(engineId).has(id)) throw new EngineError('program_exists', `there is a program ${id}`);
    const output = new Output({ ring, waits: false, isTerminal: false });
    const stdin = new PassThrough();
    const hasInput = request.stdin === true || request.terminal !== undefined;
    if (!hasInput) stdin.end();
    const [containerEnd, kill] = [new AbortController(), new AbortController()];
    const either = AbortSignal.any([containerEnd.signal, kill.signal]);
    const program: FakeProgram = {
      container,
      command,
      env,
      write: (stream, text) => output.push({ stream, data: Buffer.from(text) }),
      killed: containerEnd.signal,
      request: { ...request, id },
      stdin,
      size: request.terminal ?? null,
      signals: [],
      kill: () => kill.abort(),
      onContainerEnd: () => containerEnd.abort(),
    };
    const running = this.programs.get(engineId) ?? new Set();
    this.programs.set(engineId, running.add(program));
    const byKill = new Promise<number>((resolve) => either.addEventListener('abort', () => resolve(137)));
    const known: KnownProgram = {
      program,
      output,
      startedAt: Date.now(),
      exit: null,
      exited: Promise.race([byKill, (async () => this.onProgram(program))()]).finally(() => {
        running.delete(program);
        if (kept !== true || containerEnd.signal.aborted) this.known(engineId).delete(id);
        output.end();
      }),
    };
    this.known(engineId).set(id, known);
    known.exited.then(
      (exitCode) => (known.exit = { exitCode, bytes: output.to, endedAt: Date.now() }),
      () => undefined,
    );
    return this.readerOf(known, { after: 0, input: hasInput });
  }

  /** Becomes a reader of a program. */
  attachTo(engineId: string, { id, after = 0, input, watch }: ProgramAttachment): ContainerProcess {
    this.runningOne(engineId, 'exec');
    const known = this.known(engineId).get(id);
    if (!known) throw new EngineError('program_not_found', `no program ${id}`);
    return this.readerOf(known, { after, input: input === true, watches: watch });
  }

  listPrograms(engineId: string): ListedProgram[] {
    this.runningOne(engineId, 'exec');
    return [...this.known(engineId)].map(([id, { program, output, startedAt, exit }]) => ({
      id,
      owner: program.request.owner ?? '',
      program: program.command[0] ?? '',
      pid: PID,
      startedAt,
      isKept: program.request.kept === true,
      hasTerminal: program.request.terminal !== undefined,
      from: output.from,
      to: output.to,
      readers: output.readerCount,
      exit,
    }));
  }

  forgetProgram(engineId: string, id: string): void {
    this.runningOne(engineId, 'exec');
    if (this.known(engineId).get(id)?.exit === null) throw new EngineError('program_running', `${id} runs`);
    this.known(engineId).delete(id);
  }

  private known(engineId: string): Map<string, KnownProgram> {
    const known = this.knownPrograms.get(engineId) ?? new Map<string, KnownProgram>();
    this.knownPrograms.set(engineId, known);
    return known;
  }

  private readerOf(
    { program, output, exited, startedAt, ...known }: KnownProgram,
    { after, input, watches = false }: { after: number; input: boolean; watches?: boolean | undefined },
  ): ContainerProcess {
    const reader = output.read(after, { watches });
    return {
      id: program.request.id ?? '',
      pid: PID,
      startedAt,
      from: reader.offset,
      to: output.to,
      output: reader,
      stdin: input ? program.stdin : null,
      resize: (size) => {
        program.size = size;
        return Promise.resolve();
      },
      exit: async () => {
        const exitCode = await exited;
        if (!program.killed.aborted) return known.exit ?? { exitCode };
        throw new EngineError('container_not_running', 'the container ended under the command');
      },
      close: () => {
        reader.close();
        if (program.request.kept === true || output.readerCount > 0) return;
        setTimeout(() => output.readerCount === 0 && program.kill(), this.abandonedMs).unref();
      },
    };
  }

  /** Sends a signal to a program; TERM, HUP, INT, QUIT and KILL end it. @returns how many got it */
  signal(engineId: string, { id, signal }: ProgramSignal): number {
    this.existing(engineId, 'exec');
    const meant = [...(this.programs.get(engineId) ?? [])].filter(({ request }) => request.id === id);
    for (const program of meant) {
      program.signals.push(signal);
      if (['TERM', 'HUP', 'INT', 'QUIT', 'KILL'].includes(signal)) program.kill();
    }
    return meant.length;
  }

  stats(engineId: string): ContainerStats {
    const container = this.existing(engineId, 'stats');
    if (!isUp(container.state)) throw new EngineError('container_not_running', `${container.name} does not run`);
    return this.onStats(container);
  }

  /** What listens in a running container, by {@link onListening}; null if no test says that. */
  listening(engineId: string): Promise<ListeningPort[]> | null {
    const container = this.existing(engineId, 'ports');
    if (!isUp(container.state)) throw new EngineError('container_not_running', `${container.name} does not run`);
    return this.onListening?.(engineId) ?? null;
  }

  protected override newVolume(diskMb: number | null, owner: OwnerLabels): FakeVolume {
    return new FakeVolume(diskMb, owner);
  }

  /** Leaves the volume as after a crash of Docker before its labels and options were written. */
  forgetLabels(name: string): void {
    Object.assign(this.volume(name), { labelled: false, diskMb: null });
  }

  /** Sets the content of a volume. */
  write(volumeName: string, content: string, bytes = content.length): void {
    Object.assign(this.volume(volumeName), { content, taken: bytes });
  }

  override beginCopy(copy: VolumeCopy): FakeContainer {
    const worker = super.beginCopy(copy);
    for (const volume of [copy.from, copy.to]) {
      // A suspended container does not write, and helpers may read one volume at once.
      const rival = this.running().find(
        (each) =>
          each.state === 'running' &&
          each.spec.generation > 0 &&
          each.mounts.includes(volume) &&
          !(volume === copy.to && awaitsData(each)),
      );
      if (rival) this.violations.push(`${volume} was copied while ${rival.name} ran on it`);
    }
    this.write(copy.to, 'half of a copy');
    return worker;
  }

  /** Begins the work at one end of a copy to another machine: creates the helper container. */
  beginWork({ name: volume, image, owner }: VolumeMeasurement, as: 'send' | 'move' | 'check'): FakeContainer {
    this.volume(volume);
    const worker = this.beginHelper({ image, owner, purpose: as, mounts: [volume] });
    const rival = this.running().find(
      (each) => each.spec.generation > 0 && each.spec.volumeName === volume && !(as !== 'send' && awaitsData(each)),
    );
    if (rival) this.violations.push(`${volume} was copied while ${rival.name} ran on it`);
    return worker;
  }

  /** Ends the work. @returns the volume */
  endWork(worker: FakeContainer): FakeVolume {
    if (!this.containers.delete(worker.engineId)) throw new EngineError('copy_failed', 'the copying was cut off');
    return this.volume(worker.spec.volumeName);
  }

  /** As in Docker, the id follows from the content, and an image that loses its name stays. */
  override commit(layer: LayerCommit): LayerImage {
    const { reference } = layer;
    const [former, id] = [this.layers.get(reference), this.imageId(reference)];
    const made = super.commit(layer);
    if (former) this.nameLayer(id, { ...former, id });
    const imageId = `sha256:${createHash('sha256').update(randomUUID()).digest('hex')}`;
    this.tags.set(reference, imageId);
    return { ...made, imageId };
  }

  /** @returns the archive of an image of a writable layer */
  saveLayer(reference: string): string {
    const found = this.layers.get(reference);
    if (!found || !this.images.has(reference)) throw new EngineError('docker_error', `no such image: ${reference}`);
    return JSON.stringify({ reference, ...found, id: this.imageId(reference) });
  }

  /** Takes over an image from its archive. */
  loadLayer(archive: string): void {
    const { reference, at, ...layer } = JSON.parse(archive) as SimulatedLayer & { reference: string; id: string };
    this.nameLayer(reference, { ...layer, at: new Date(at) });
  }

  private nameLayer(reference: string, { id, ...layer }: SimulatedLayer & { id: string }): void {
    this.layers.set(reference, layer);
    this.tags.set(reference, id);
    this.images.add(reference);
  }

  protected override copied(from: FakeVolume, to: FakeVolume): number {
    if (from.bytes > (to.diskMb ?? Infinity) * 2 ** 20) {
      throw new EngineError('data_too_large', 'the new volume is full');
    }
    Object.assign(to, { content: from.content, taken: from.bytes });
    return from.bytes;
  }

  /** Simulates an operator who builds the image anew, and removes the former version. */
  rebuild(reference: string): void {
    this.imageVersions.set(reference, (this.imageVersions.get(reference) ?? 1) + 1);
  }

  override pull(reference: string): void {
    if (reference.includes('@')) {
      const isThere = [...this.registry].some((named) => this.versionsOf(named).includes(this.imageId(reference)));
      if (!isThere) throw new EngineError('image_not_found', `manifest of ${reference} unknown`);
    } else {
      if (!this.registry.has(reference)) throw new EngineError('image_not_found', `manifest of ${reference} unknown`);
      const former = this.images.has(reference) ? this.imageId(reference) : null;
      this.imageVersions.set(reference, this.registryVersions.get(reference) ?? 1);
      if (former !== null && former !== this.imageId(reference)) this.unnamedImages.add(former);
    }
    super.pull(reference);
  }

  protected override isInRegistry(reference: string): boolean {
    return this.registry.has(reference);
  }

  private versionsOf(reference: string): string[] {
    const newest = this.registryVersions.get(reference) ?? 1;
    return Array.from({ length: newest }, (_none, index) => this.imageId(reference, index + 1));
  }

  private startOutcomeOf({ imageId }: FakeContainer): StartOutcome {
    for (const [reference, outcome] of this.startOutcomes) if (this.imageId(reference) === imageId) return outcome;
    return 'runs';
  }

  /** Does `docker kill`, which the restart policy treats as intended: the container stays down. */
  kill(engineId: string): void {
    this.exit(this.existing(engineId, 'kill'), 137);
  }

  /** The main process ends by itself; Docker starts it again, by the restart policy. */
  crash(engineId: string, exitCode = 1): void {
    const container = this.existing(engineId, 'crash');
    this.exit(container, exitCode);
    this.run(container);
  }

  /**
   * The kernel kills the container for its memory. Docker starts it again, by the restart policy, and forgets the
   * reason (`oomKilled` is of the present run).
   */
  oom(engineId: string): void {
    this.oomOfProcess(engineId);
    this.crash(engineId, 137);
  }

  /** An operator runs a program in a container, which ends at once. */
  enter(engineId: string): void {
    this.tell(this.runningOne(engineId, 'exec'), 'exec_start');
  }

  /**
   * The kernel kills one process for the container's memory. The container keeps running, and Docker only emits
   * `oom`.
   */
  oomOfProcess(engineId: string): void {
    const container = this.existing(engineId, 'oom');
    container.oomKilled = true;
    this.tell(container, 'oom');
  }

  /** Does `docker network disconnect`. */
  disconnect(engineId: string): void {
    this.existing(engineId, 'disconnect').connected = false;
  }

  /** Does `docker rm -f`. */
  vanish(engineId: string): void {
    this.remove(engineId);
  }

  /**
   * Starts Docker on an empty data-root, which has an id of its own.
   *
   * @returns a function that starts it on the old one again
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

  protected override run(container: FakeContainer): void {
    const { volumeName } = container.spec;
    const rival = this.running().find(
      ({ spec }) => spec.volumeName === volumeName && !(spec.generation === 0 && awaitsData(container)),
    );
    if (rival) this.violations.push(`${container.name} was started on ${volumeName} while ${rival.name} ran on it`);
    super.run(container);
  }

  override exit(container: FakeContainer, exitCode: number): void {
    for (const program of this.programs.get(container.engineId) ?? []) program.onContainerEnd();
    super.exit(container, exitCode);
  }

  override volume(name: string): FakeVolume {
    return super.volume(name) as FakeVolume;
  }
}

/** Whether a container may run while its data is copied into its volume. */
function awaitsData({ spec }: FakeContainer): boolean {
  return spec.isSeeded === true && spec.generation === 1;
}
