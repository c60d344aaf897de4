import { createHash } from 'node:crypto';
import { addAbortSignal, type Readable, type Writable } from 'node:stream';
import { text } from 'node:stream/consumers';
import { setImmediate as soon } from 'node:timers/promises';
import {
  ContainerEngine,
  type EngineContainers,
  EngineError,
  type EngineFiles,
  type EngineHost,
  type EngineImages,
  type EngineNetworks,
  type EnginePorts,
  type EnginePrograms,
  type ExecRequest,
  runProgram,
  SINGLE_MACHINE,
  type VolumeCopy,
} from '../../../src/engine';
import type { LayerWork, TransferringLayers } from '../../../src/docker/layers/layer-transfer';
import type { VolumeWork } from '../../../src/docker/volumes/volume-copy';
import type { TransferringEngine, TransferringVolumes } from '../../../src/docker/volumes/volume-transfer';
import { SimulatedEngine } from '../../../packages/simulator/src/simulated-engine';
import { untilAborted } from '../../../src/scheduling';
import { FakeDaemon } from './fake-daemon';

export { FakeDaemon } from './fake-daemon';
export type { FakeCommand, FakeContainer, FakeProgram, FakeVolume, StartOutcome } from './fake-daemon';

/** The parts of the port that make calls to Docker. */
type Part = Exclude<keyof TransferringEngine, 'nodes' | 'files' | 'ports'>;

/** The port's methods that faults can be put on, such as `containers.create`. */
export type EngineMethod = Exclude<
  { [P in Part]: `${P}.${keyof TransferringEngine[P] & string}` }[Part],
  'host.capabilities' | 'host.resources' | 'containers.expectStop' | 'containers.watch'
>;

/** Methods of a part of the port, which may also return their results at once. */
type Calls<T> = {
  [K in keyof T]?: T[K] extends (...args: infer A) => Promise<infer R> ? (...args: A) => R | Promise<R> : T[K];
};

/** Methods that change nothing. */
export const LOOKS: readonly EngineMethod[] = [
  'host.maintain',
  'host.identify',
  'containers.inspect',
  'containers.list',
  'volumes.list',
  'layers.measure',
  'layers.list',
  'images.ensure',
  'images.find',
  'volumes.measure',
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
  readonly host: EngineHost;
  readonly nodes = SINGLE_MACHINE;
  readonly containers: EngineContainers;
  readonly networks: EngineNetworks;
  readonly programs: EnginePrograms;
  readonly ports: EnginePorts;
  readonly files: EngineFiles;
  readonly images: EngineImages;
  readonly layers: TransferringLayers;
  readonly volumes: TransferringVolumes;

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
    const simulated = new SimulatedEngine({ folder: null, speed: Infinity }, daemon);
    const { host, containers, files, images, layers, networks, programs, volumes } = simulated;
    this.host = this.part(
      'host',
      { ...host, prepare: () => Promise.resolve(daemon.capabilities) },
      {
        get capabilities() {
          return daemon.capabilities;
        },
        // Not a call to Docker: it asks the kernel.
        resources: () => Promise.resolve({ diskMb: null, ...daemon.machine }),
      },
    );
    const { expectStop, watch } = containers;
    this.containers = this.part(
      'containers',
      { ...containers, stats: (engineId) => daemon.stats(engineId) },
      { expectStop, watch },
    );
    this.networks = this.part('networks', networks, {});
    this.programs = this.part(
      'programs',
      {
        ...programs,
        start: (engineId, request) => daemon.startProcess(engineId, request),
        attach: (engineId, attachment) => daemon.attachTo(engineId, attachment),
        list: (engineId) => daemon.listPrograms(engineId),
        forget: (engineId, id) => daemon.forgetProgram(engineId, id),
        end: (engineId, program) => {
          daemon.signal(engineId, program);
          return 'ended';
        },
        signal: (engineId, program) => (daemon.signal(engineId, program) > 0 ? 'sent' : 'none'),
        descendants: () => [],
      },
      {
        run: (engineId, request) => this.runProgram(engineId, request),
        prepare: () => Promise.resolve(),
      },
    );
    this.ports = {
      connect: (engineId, port) => daemon.onConnect?.(engineId, port) ?? simulated.ports.connect(engineId, port),
      listening: async (engineId) => daemon.listening(engineId) ?? simulated.ports.listening(engineId),
    };
    this.files = files;
    this.images = this.part('images', images, {
      ensure: (reference, options = {}) => {
        const pull = this.call('images.ensure', [reference, options], () => images.ensure(reference, options));
        const aborted = (): EngineError => new EngineError('aborted', 'the pull was aborted');
        return untilAborted(pull, { signal: options.signal, aborted });
      },
    });
    this.layers = this.part('layers', layers, {
      send: (layer, output) => this.sendLayer(layer, output),
      receive: (layer, input) => this.receiveLayer(layer, input),
    });
    this.volumes = this.part(
      'volumes',
      {
        ...volumes,
        digest: (volume, { onReport }) => {
          const { content, taken } = daemon.endWork(daemon.beginWork(volume, 'check'));
          onReport(`total ${String(taken)} ${String(taken)}`);
          return { sha256: createHash('sha256').update(content).digest('hex'), bytes: taken, size: taken };
        },
      },
      {
        copy: (copy) => this.copyVolume(copy),
        send: (volume, output) => this.sendVolume(volume, output),
        receive: (volume, input) => this.receiveVolume(volume, input),
      },
    );
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

  private async runProgram(engineId: string, request: ExecRequest): Promise<{ exitCode: number }> {
    const { daemon } = this;
    // Not the port's own methods: tests count their calls, and inject faults into them.
    const programs: Pick<EnginePrograms, 'start' | 'end'> = {
      start: async (id, program) => Promise.resolve(daemon.startProcess(id, program)),
      end: async (id, marked) => Promise.resolve(daemon.signal(id, marked)).then(() => 'ended'),
    };
    this.execsRunning += 1;
    try {
      // The command begins with the call, and continues when the caller stops waiting.
      const running = this.call('programs.run', [engineId, request], () => {
        const exit = runProgram(programs, engineId, request);
        exit.catch(() => undefined);
        return { exit };
      });
      const { exit } = await running;
      const end = await exit;
      await this.pass();
      return end;
    } finally {
      this.execsRunning -= 1;
    }
  }

  /** Two calls, so that a fault can strike in the middle, when the helper container exists. */
  private async copyVolume(copy: VolumeCopy): Promise<{ bytes: number }> {
    const worker = await this.call('volumes.copy', [copy], () => this.daemon.beginCopy(copy));
    copy.onProgress?.({ percent: 0, message: 'copying the data' });
    const copied = await this.call('volumes.copy', [copy], () => this.daemon.finishCopy(copy, worker));
    copy.onProgress?.({ percent: 100, message: 'the data is copied' });
    return copied;
  }

  /** Two calls, like a copy. */
  private async sendVolume(volume: VolumeWork, output: Writable): Promise<void> {
    const worker = await this.call('volumes.send', [volume], () => this.daemon.beginWork(volume, 'send'));
    const { content, taken } = await this.call('volumes.send', [volume], () => this.daemon.endWork(worker));
    output.end(JSON.stringify({ content, taken }));
  }

  /** Two calls, like a copy. */
  private async receiveVolume(volume: VolumeWork, input: Readable): Promise<void> {
    const worker = await this.call('volumes.receive', [volume], () => {
      this.daemon.write(volume.name, 'half of a copy');
      return this.daemon.beginWork(volume, 'move');
    });
    const archive = await text(addAbortSignal(volume.signal, input)).catch((cause: unknown) => {
      throw new EngineError('aborted', 'the work on a volume was aborted', { cause });
    });
    await this.call('volumes.receive', [volume], () => {
      const target = this.daemon.endWork(worker);
      const { content, taken } = JSON.parse(archive) as { content: string; taken: number };
      if (taken > (target.diskMb ?? Infinity) * 2 ** 20)
        throw new EngineError('data_too_large', 'the new volume is full');
      this.daemon.write(volume.name, content, taken);
    });
  }

  private async sendLayer(layer: LayerWork, output: Writable): Promise<void> {
    output.end(await this.call('layers.send', [layer], () => this.daemon.saveLayer(layer.reference)));
  }

  private async receiveLayer(layer: LayerWork, input: Readable): Promise<void> {
    const archive = await text(addAbortSignal(layer.signal, input)).catch((cause: unknown) => {
      throw new EngineError('aborted', 'the work on an image was aborted', { cause });
    });
    await this.call('layers.receive', [layer], () => this.daemon.loadLayer(archive));
  }

  /**
   * Composes a part of the port.
   *
   * @param calls the methods that are calls to Docker; faults can be put on each of them
   * @param others the methods that are no calls, or that make their calls themselves
   */
  private part<P extends Part>(
    part: P,
    calls: Calls<TransferringEngine[P]>,
    others: Partial<TransferringEngine[P]>,
  ): TransferringEngine[P] {
    const methods = Object.entries<unknown>(calls).map(([name, method]) => [
      name,
      (...args: unknown[]) =>
        this.call(`${part}.${name}` as EngineMethod, args, () => (method as (...given: unknown[]) => unknown)(...args)),
    ]);
    const composed = Object.fromEntries(methods) as object;
    return Object.defineProperties(composed, Object.getOwnPropertyDescriptors(others)) as TransferringEngine[P];
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
