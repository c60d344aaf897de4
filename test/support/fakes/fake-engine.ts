import { createHash } from 'node:crypto';
import { addAbortSignal, type Readable, type Writable } from 'node:stream';
import { text } from 'node:stream/consumers';
import { setImmediate as soon } from 'node:timers/promises';
import {
  ContainerEngine,
  type ContainerProcess,
  type ContainerSpec,
  type ContainerStats,
  type EngineCapabilities,
  EngineError,
  type EngineImage,
  type EnsureImageOptions,
  type ExecRequest,
  imageNotBuilt,
  isBuiltHere,
  type Listed,
  type ListedContainer,
  type ListedVolume,
  type ListFilter,
  type MachineResources,
  type MarkedProcesses,
  type ObservedContainer,
  type OwnerLabels,
  type ProcessRequest,
  type TransferringEngine,
  type VolumeCopy,
  type VolumeDigest,
  type VolumeMeasurement,
  type VolumeWork,
  type WatchMessage,
} from '../../../src/docker';
import { MessageQueue } from '../../../src/docker/connection/message-queue';
import { FakeDaemon } from './fake-daemon';

export { FakeDaemon } from './fake-daemon';
export type { FakeCommand, FakeContainer, FakeProgram, FakeVolume, StartOutcome } from './fake-daemon';

/** The port's methods that faults can be put on. */
export type EngineMethod = Exclude<keyof TransferringEngine, 'capabilities' | 'resources' | 'nodes' | 'watch'>;

/** Methods that change nothing. */
export const LOOKS: readonly EngineMethod[] = [
  'maintain',
  'identify',
  'inspectContainer',
  'listContainers',
  'listVolumes',
  'ensureImage',
  'findImage',
  'measureVolume',
];

/** Which call of a method, and whether before or after it took effect. */
export interface FaultPoint {
  /** 1 is the next call. */
  readonly call?: number;
  /** `after`: Docker did the work, and the caller does not learn of it. */
  readonly when?: 'before' | 'after';
  /** Only calls with a matching first argument: background work makes calls of its own. */
  readonly on?: (argument: unknown) => boolean;
}

/** A call that waits. */
export interface Hold {
  /** Settles when the call has reached the point. */
  readonly reached: Promise<void>;
  /** Lets the call continue. */
  release(): void;
}

/** The error of a call at the point where its process was killed. */
export class ProcessDeath extends Error {
  override readonly name = 'ProcessDeath';
}

interface Fault {
  readonly method: EngineMethod;
  readonly when: 'before' | 'after';
  readonly on: (argument: unknown) => boolean;
  callsToGo: number;
  times: number;
  readonly strike: () => Promise<unknown> | undefined;
}

/**
 * One process's access to a {@link FakeDaemon}, with faults at chosen calls. A second `FakeEngine` on the same daemon
 * is a second process, or the same one after its death.
 */
export class FakeEngine extends ContainerEngine implements TransferringEngine {
  /** Every call, in order, with its arguments. */
  readonly calls: { readonly method: EngineMethod; readonly arguments: readonly unknown[] }[] = [];

  /** The number of commands that this process waits for now. */
  execsRunning = 0;

  private faults: Fault[] = [];
  private readonly holds: Hold[] = [];
  private death: 'throw' | 'hang' | null = null;
  /** The engines of the same process on other machines, which die with it. */
  others: readonly FakeEngine[] = [];

  constructor(readonly daemon: FakeDaemon = new FakeDaemon()) {
    super();
  }

  /**
   * Makes a call fail: `before` it took effect, or `after`. The caller cannot tell one from the other, as with a
   * timeout.
   */
  failOn(method: EngineMethod, point: FaultPoint & { times?: number; error?: Error } = {}): void {
    const error = point.error ?? new EngineError('docker_unavailable', `injected: ${method} did not answer`);
    this.inject(method, point, () => {
      throw error;
    });
  }

  /** Makes a call wait until it is released. */
  holdOn(method: EngineMethod, point: FaultPoint = {}): Hold {
    const reached = deferred<undefined>();
    const released = deferred<undefined>();
    this.inject(method, point, () => {
      reached.resolve(undefined);
      return released.promise;
    });
    const hold = { reached: reached.promise, release: () => released.resolve(undefined) };
    this.holds.push(hold);
    return hold;
  }

  /**
   * Kills the process at a call. With `hang` neither it nor any later call of this engine returns, as for a process
   * that no longer exists; otherwise all throw {@link ProcessDeath}.
   *
   * @returns settles when it has died
   */
  dieOn(method: EngineMethod, point: FaultPoint & { how?: 'hang' | 'throw' } = {}): Promise<void> {
    const died = deferred<undefined>();
    this.inject(method, point, () => {
      for (const engine of [this, ...this.others]) engine.death = point.how ?? 'hang';
      died.resolve(undefined);
      return this.pass();
    });
    return died.promise;
  }

  /** Removes the faults that have not struck, and lets waiting calls continue. */
  forget(): void {
    this.faults = [];
    for (const hold of this.holds.splice(0)) hold.release();
  }

  /** How often a method was called. */
  callsOf(method: EngineMethod): number {
    return this.calls.filter((call) => call.method === method).length;
  }

  override get capabilities(): EngineCapabilities {
    return this.daemon.capabilities;
  }

  override prepare(instance: string): Promise<EngineCapabilities> {
    return this.call('prepare', [instance], () => this.daemon.capabilities);
  }

  override maintain(): Promise<void> {
    return this.call('maintain', [], () => undefined);
  }

  override ping(): Promise<void> {
    return this.call('ping', [], () => undefined);
  }

  override identify(): Promise<string | null> {
    return this.call('identify', [], () => this.daemon.id);
  }

  /** Not a call to Docker: it asks the kernel. */
  override resources(): Promise<MachineResources> {
    return Promise.resolve({ diskMb: null, ...this.daemon.machine });
  }

  override createContainer(spec: ContainerSpec): Promise<string> {
    return this.call('createContainer', [spec], () => this.daemon.create(spec));
  }

  override startContainer(dockerId: string, options?: { isNew?: boolean }): Promise<'started' | 'already_running'> {
    return this.call('startContainer', [dockerId, options], () => this.daemon.start(dockerId, options));
  }

  override unpauseContainer(dockerId: string): Promise<void> {
    return this.call('unpauseContainer', [dockerId], () => {
      this.daemon.unpause(dockerId);
    });
  }

  override stopContainer(dockerId: string, graceSeconds: number): Promise<'stopped' | 'already_stopped'> {
    return this.call('stopContainer', [dockerId, graceSeconds], () => this.daemon.stop(dockerId));
  }

  override removeContainer(dockerId: string): Promise<void> {
    return this.call('removeContainer', [dockerId], () => {
      this.daemon.remove(dockerId);
    });
  }

  override renameContainer(dockerId: string, name: string): Promise<void> {
    return this.call('renameContainer', [dockerId, name], () => {
      this.daemon.rename(dockerId, name);
    });
  }

  override reconnectContainer(dockerId: string): Promise<'reconnected' | 'already_connected'> {
    return this.call('reconnectContainer', [dockerId], () => this.daemon.reconnect(dockerId));
  }

  override async exec(dockerId: string, request: ExecRequest): Promise<{ exitCode: number }> {
    const ended = deferred<never>();
    ended.promise.catch(() => undefined);
    const abort = (): void => ended.reject(new EngineError('aborted', 'nobody waits for the command any more'));
    if (request.signal?.aborted) abort();
    request.signal?.addEventListener('abort', abort, { once: true });
    const cut = (error: EngineError): void => {
      ended.reject(error);
      if (request.end) void this.daemon.exec(dockerId, { ...request, ...request.end }).catch(() => undefined);
    };
    const timer = setTimeout(() => {
      cut(new EngineError('timed_out', 'the command did not end in time'));
    }, request.timeoutMs).unref();
    let bytes = 0;
    const onOutput: ExecRequest['onOutput'] = (output) => {
      const before = bytes;
      bytes += output.data.length;
      if (bytes <= request.maxOutputBytes) request.onOutput?.(output);
      else if (before <= request.maxOutputBytes) cut(new EngineError('output_too_large', 'the command said too much'));
    };
    this.execsRunning += 1;
    try {
      // The command begins with the call, and continues when the caller stops waiting.
      const limited = { ...request, onOutput };
      const running = this.call('exec', [dockerId, request], () => ({ exit: this.daemon.exec(dockerId, limited) }));
      const exit = await Promise.race([ended.promise, running.then((command) => command.exit)]);
      await this.pass();
      return { exitCode: exit };
    } finally {
      this.execsRunning -= 1;
      clearTimeout(timer);
      request.signal?.removeEventListener('abort', abort);
    }
  }

  override startProcess(dockerId: string, request: ProcessRequest): Promise<ContainerProcess> {
    return this.call('startProcess', [dockerId, request], () => this.daemon.startProcess(dockerId, request));
  }

  override endProcesses(
    dockerId: string,
    processes: MarkedProcesses & { graceMs: number },
  ): Promise<'ended' | 'still_running'> {
    return this.call('endProcesses', [dockerId, processes], () => {
      this.daemon.signal(dockerId, processes);
      return 'ended' as const;
    });
  }

  override signalProcesses(dockerId: string, processes: MarkedProcesses): Promise<'sent' | 'none'> {
    return this.call('signalProcesses', [dockerId, processes], () =>
      this.daemon.signal(dockerId, processes) > 0 ? 'sent' : 'none',
    );
  }

  override stats(dockerId: string): Promise<ContainerStats> {
    return this.call('stats', [dockerId], () => this.daemon.stats(dockerId));
  }

  override inspectContainer(dockerId: string): Promise<ObservedContainer | null> {
    return this.call('inspectContainer', [dockerId], () => this.daemon.inspect(dockerId, this.capabilities.runtime));
  }

  override listContainers(filter: ListFilter): Promise<Listed<ListedContainer>> {
    return this.call('listContainers', [filter], () => ({ items: this.daemon.list(filter), silent: [] }));
  }

  override async ensureImage(reference: string, options: EnsureImageOptions = {}): Promise<EngineImage> {
    const aborted = deferred<never>();
    const abort = (): void => {
      aborted.reject(new EngineError('aborted', 'the pull was aborted'));
    };
    if (options.signal?.aborted) abort();
    options.signal?.addEventListener('abort', abort, { once: true });
    aborted.promise.catch(() => undefined);
    const pull = this.call('ensureImage', [reference, options], async () => {
      const present = this.daemon.findImage(reference);
      if (present !== null && (options.refresh !== true || isBuiltHere(reference))) return present;
      if (isBuiltHere(reference)) throw imageNotBuilt(reference);
      await options.beforePull?.(present);
      options.onProgress?.({ percent: 0, message: 'looking for the image' });
      this.daemon.pull(reference);
      options.onProgress?.({ percent: 100, message: 'the image is here' });
      return this.daemon.findImage(reference);
    });
    pull.catch(() => undefined);
    const image = await Promise.race([aborted.promise, pull]);
    if (image === null) throw new Error('a pulled image is there');
    return image;
  }

  override findImage(name: string): Promise<EngineImage | null> {
    return this.call('findImage', [name], () => this.daemon.findImage(name));
  }

  override removeImage(image: { reference: string; id: string }): Promise<'removed' | 'in_use' | 'kept' | 'gone'> {
    return this.call('removeImage', [image], () => this.daemon.removeImage(image));
  }

  override presentImages(references: readonly string[]): Promise<ReadonlySet<string>> {
    return this.call(
      'presentImages',
      [references],
      () => new Set(references.filter((reference) => this.daemon.images.has(reference))),
    );
  }

  override ensureVolume(volume: { name: string; diskMb: number; owner: OwnerLabels }): Promise<{ existed: boolean }> {
    return this.call('ensureVolume', [volume], () => this.daemon.ensureVolume(volume));
  }

  override removeVolume(name: string): Promise<void> {
    return this.call('removeVolume', [name], () => {
      this.daemon.removeVolume(name);
    });
  }

  override listVolumes(filter: ListFilter): Promise<Listed<ListedVolume>> {
    return this.call('listVolumes', [filter], () => ({ items: this.daemon.listVolumes(filter), silent: [] }));
  }

  override measureVolume(volume: VolumeMeasurement): Promise<{ bytes: number } | null> {
    return this.call('measureVolume', [volume], () => {
      const found = this.daemon.volumes.get(volume.name);
      return found ? { bytes: found.bytes } : null;
    });
  }

  /** Two calls, so that a fault can strike in the middle, when the helper container exists. */
  override async copyVolume(copy: VolumeCopy): Promise<{ bytes: number }> {
    const worker = await this.call('copyVolume', [copy], () => this.daemon.beginCopy(copy));
    copy.onProgress?.({ percent: 0, message: 'copying the data' });
    const copied = await this.call('copyVolume', [copy], () => this.daemon.finishCopy(copy, worker));
    copy.onProgress?.({ percent: 100, message: 'the data is copied' });
    return copied;
  }

  /** Two calls, like a copy. */
  async sendVolume(volume: VolumeWork, output: Writable): Promise<void> {
    const worker = await this.call('sendVolume', [volume], () => this.daemon.beginWork(volume, 'send'));
    const { content, taken } = await this.call('sendVolume', [volume], () => this.daemon.endWork(worker));
    output.end(JSON.stringify({ content, taken }));
  }

  /** Two calls, like a copy. */
  async receiveVolume(volume: VolumeWork, input: Readable): Promise<void> {
    const worker = await this.call('receiveVolume', [volume], () => {
      this.daemon.write(volume.name, 'half of a copy');
      return this.daemon.beginWork(volume, 'move');
    });
    const archive = await text(addAbortSignal(volume.signal, input)).catch((cause: unknown) => {
      throw new EngineError('aborted', 'the work on a volume was aborted', { cause });
    });
    await this.call('receiveVolume', [volume], () => {
      const target = this.daemon.endWork(worker);
      const { content, taken } = JSON.parse(archive) as { content: string; taken: number };
      if (taken > (target.diskMb ?? Infinity) * 2 ** 20)
        throw new EngineError('data_too_large', 'the new volume is full');
      this.daemon.write(volume.name, content, taken);
    });
  }

  digestVolume(volume: VolumeWork, { onReport }: { onReport: (line: string) => void }): Promise<VolumeDigest> {
    return this.call('digestVolume', [volume], () => {
      const { content, taken } = this.daemon.endWork(this.daemon.beginWork(volume, 'check'));
      onReport(`total ${String(taken)} ${String(taken)}`);
      const sha256 = createHash('sha256').update(content).digest('hex');
      return { sha256, bytes: taken, size: taken };
    });
  }

  override async *watch(instance: string, signal: AbortSignal): AsyncGenerator<WatchMessage, void> {
    const queue = new MessageQueue<WatchMessage>();
    const detach = this.daemon.attach(instance, (message) => queue.put(message));
    try {
      yield* queue.read(signal);
    } finally {
      detach();
    }
  }

  private inject(
    method: EngineMethod,
    { call = 1, when = 'before', on = () => true, times = 1 }: FaultPoint & { times?: number },
    strike: Fault['strike'],
  ): void {
    this.faults.push({ method, when, on, callsToGo: call, times, strike });
  }

  private async call<T>(method: EngineMethod, args: readonly unknown[], effect: () => T | Promise<T>): Promise<T> {
    await this.pass();
    this.calls.push({ method, arguments: args });
    const struck = this.due(method, args[0]);
    // A real call takes time, in which other work continues.
    await soon();
    for (const fault of struck) if (fault.when === 'before') await fault.strike();
    await this.pass();
    if (this.daemon.down) throw new EngineError('docker_unavailable', 'connect ECONNREFUSED');
    const result = await effect();
    for (const fault of struck) if (fault.when === 'after') await fault.strike();
    return result;
  }

  /** The faults that apply to this call. */
  private due(method: EngineMethod, argument: unknown): Fault[] {
    const due: Fault[] = [];
    for (const fault of this.faults.filter((candidate) => candidate.method === method && candidate.on(argument))) {
      fault.callsToGo -= 1;
      if (fault.callsToGo > 0) continue;
      due.push(fault);
      fault.times -= 1;
    }
    this.faults = this.faults.filter((fault) => fault.times > 0);
    return due;
  }

  private async pass(): Promise<void> {
    if (this.death === 'throw') throw new ProcessDeath('the process was killed');
    if (this.death === 'hang') await new Promise<never>(() => undefined);
  }
}

interface Deferred<T> {
  readonly promise: Promise<T>;
  readonly resolve: (value: T) => void;
  readonly reject: (error: Error) => void;
}

/** `Promise.withResolvers()`, which Node.js 20 lacks. */
function deferred<T>(): Deferred<T> {
  let settle: Pick<Deferred<T>, 'resolve' | 'reject'> | undefined;
  const promise = new Promise<T>((resolve, reject) => (settle = { resolve, reject }));
  if (!settle) throw new Error('a promise runs its executor at once');
  return { promise, ...settle };
}
