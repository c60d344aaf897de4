import { Logger, type OnApplicationShutdown } from '@nestjs/common';
import { setTimeout as delay } from 'node:timers/promises';
import {
  ContainerEngine,
  DATA_PATH,
  type EngineContainers,
  EngineError,
  type EngineHost,
  type EngineImage,
  type EngineImages,
  type EngineLayers,
  type EngineNetworks,
  type EnginePorts,
  type EnginePrograms,
  type EngineVolumes,
  type EnsureImageOptions,
  imageNotBuilt,
  isBuiltHere,
  parseImageReference,
  runProgram,
  SINGLE_MACHINE,
  type VolumeCopy,
  type WatchMessage,
  type WatchSubject,
} from '../../../src/engine';
import { MessageQueue, untilAborted } from '../../../src/scheduling';
import { ContainerFiles, errnoOf } from './files';
import { SandboxRun } from './sandbox-run';
import { CAPABILITIES, type SimulatedContainer, SimulatedDaemon, type SimulatedVolume } from './simulated-daemon';
import { SimulatedFiles } from './simulated-files';
import { SimulationState } from './simulation-state';
import { SimulatedServer } from './streams';

/** What calls take, in milliseconds, at the usual pace. */
const TAKES_MS = { create: 120, start: 250, stop: 80, remove: 100, volume: 30, copy: 1_500 } as const;
/** A pull's parts, each of so many milliseconds. */
const PULL_STEPS = 12;
const PULL_STEP_MS = 350;

/** A machine as a small team has one. */
const MACHINE = { memoryMb: 64 * 1024, cpuShares: 32_000, diskMb: 500 * 1024 } as const;
const MB = 2 ** 20;

/** Maximum size of the files of a volume and the container on it, and of all of them, in bytes. */
const MOST_VOLUME_BYTES = 64 * MB;
const MOST_BYTES = 256 * MB;

/** Images that are made up for their faults, by the last part of their repository's name. */
const FAULTY: Readonly<
  Record<string, 'image_not_found' | 'image_access_denied' | 'image_unavailable' | 'start_refused'>
> = {
  'no-such-image': 'image_not_found',
  'private-image': 'image_access_denied',
  'unreachable-image': 'image_unavailable',
  'broken-image': 'start_refused',
};

function faultOf(reference: string): string | undefined {
  const repository = reference.replace(/@.*$/, '').replace(/:[^/]*$/, '');
  return FAULTY[repository.split('/').at(-1) ?? ''];
}

export interface SimulatedEngineSettings {
  /** What is kept, and where; null: nothing outlives this process. */
  readonly folder: string | null;
  /** How many times as fast as the usual pace; Infinity: nothing takes time. */
  readonly speed: number;
}

/**
 * An engine without containers: their states and events, files in memory, and a shell with simulated programs. For
 * developers of programs that use Berth, on machines without Docker.
 */
export class SimulatedEngine extends ContainerEngine implements OnApplicationShutdown {
  private readonly logger = new Logger(SimulatedEngine.name);
  private readonly runs = new Map<string, SandboxRun>();
  private readonly pulls = new Map<string, Promise<void>>();
  private readonly state: SimulationState | null;
  private readonly pace: number;

  readonly nodes = SINGLE_MACHINE;

  readonly host: EngineHost = {
    capabilities: CAPABILITIES,
    prepare: async () => {
      await this.state?.load();
      this.logger.warn('containers are only SIMULATED: no program of theirs runs, and nothing in them is real');
      return CAPABILITIES;
    },
    maintain: () => Promise.resolve(),
    probingProcesses: () => Promise.resolve([]),
    removeProbes: () => Promise.resolve(),
    ping: () => Promise.resolve(),
    identify: () => Promise.resolve(this.daemon.id),
    resources: () => {
      const used = this.daemon.running().reduce((sum, { spec }) => sum + spec.memoryMb, 0);
      const kept = [...this.daemon.volumes.values()].reduce((sum, { bytes }) => sum + bytes, 0);
      return Promise.resolve({
        ...MACHINE,
        // Of what containers may take, they take a third.
        freeMemoryMb: Math.max(0, Math.round(MACHINE.memoryMb - 2048 - used / 3)),
        freeDiskMb: Math.round(MACHINE.diskMb * 0.6 - kept / MB),
      });
    },
  };

  readonly containers: EngineContainers = {
    create: async (spec) => {
      await this.takes(TAKES_MS.create);
      return this.daemon.create(spec);
    },
    createKey: (spec) => attempt(() => this.daemon.createKey(spec)),
    start: async (engineId, options) => {
      await this.takes(TAKES_MS.start);
      const { spec } = this.daemon.existing(engineId, 'start');
      if (faultOf(spec.image) === 'start_refused') throw new EngineError('start_refused', 'it has nothing to run');
      return this.daemon.start(engineId, options);
    },
    pause: (engineId) => attempt(() => this.daemon.pause(engineId)),
    unpause: (engineId) => attempt(() => this.daemon.unpause(engineId)),
    expectStop: () => Promise.resolve(),
    stop: async (engineId, graceSeconds) => {
      await this.takes(TAKES_MS.stop);
      this.daemon.existing(engineId, 'stop');
      await this.runs.get(engineId)?.end(graceSeconds * 1000);
      return this.daemon.stop(engineId);
    },
    remove: async (engineId) => {
      await this.takes(TAKES_MS.remove);
      this.daemon.remove(engineId);
    },
    rename: (engineId, name) => attempt(() => this.daemon.rename(engineId, name)),
    inspect: (engineId) => attempt(() => this.daemon.inspect(engineId)),
    list: (filter) => attempt(() => ({ items: this.daemon.list(filter), silent: [] })),
    stats: (engineId) =>
      attempt(() => {
        const container = this.daemon.existing(engineId, 'stats');
        return this.runOf(container).stats(container.startedAt ?? '');
      }),
    watch: (instance, signal, subject = 'lives') => this.watch(instance, { signal, subject }),
  };

  readonly networks: EngineNetworks = {
    reconnect: (engineId) => attempt(() => this.daemon.reconnect(engineId)),
  };

  readonly programs: EnginePrograms = {
    run: (engineId, request) => runProgram(this.programs, engineId, request),
    start: async (engineId, request) => this.run(engineId, 'exec').start(request),
    attach: (engineId, attachment) => attempt(() => this.run(engineId, 'exec').attach(attachment)),
    list: (engineId) => attempt(() => this.run(engineId, 'exec').list()),
    forget: (engineId, id) => attempt(() => this.run(engineId, 'exec').forget(id)),
    prepare: () => Promise.resolve(),
    end: async (engineId, program) =>
      (await this.run(engineId, 'exec').endProgram(program)) ? 'ended' : 'still_running',
    signal: (engineId, program) => attempt(() => (this.run(engineId, 'exec').signal(program) > 0 ? 'sent' : 'none')),
    descendants: (engineId, { id }) => attempt(() => this.run(engineId, 'exec').descendants(id)),
  };

  /** A port that a simulated program has opened answers every request with the same text. */
  readonly ports: EnginePorts = {
    connect: async (engineId, port) => {
      const open = await this.ports.listening(engineId);
      if (open.some((each) => each.port === port)) return new SimulatedServer(port);
      throw new EngineError('port_closed', 'nothing listens on the port');
    },
    listening: (engineId) =>
      attempt(() =>
        this.run(engineId, 'exec')
          .listening()
          .map((port) => ({ port, addresses: ['0.0.0.0'] })),
      ),
  };

  readonly files = new SimulatedFiles(
    (engineId) => this.run(engineId, 'exec').files(),
    MOST_VOLUME_BYTES,
    (engineId) => this.run(engineId, 'exec').whenOver,
  );

  readonly images: EngineImages = {
    ensure: (reference, options) => this.ensureImage(reference, options),
    isAbsent: (reference) => attempt(() => this.daemon.isAbsent(reference)),
    find: (name) => attempt(() => this.daemon.findImage(name)),
    tag: (image) => attempt(() => this.daemon.tagImage(image)),
    remove: (image) => attempt(() => this.daemon.removeImage(image)),
    present: (references) =>
      attempt(() => new Set(references.filter((reference) => this.daemon.images.has(reference)))),
  };

  readonly layers: EngineLayers = {
    persist: () => Promise.resolve(this.daemon.keepsLayers),
    measure: async (engineId) => {
      const container = this.daemon.existing(engineId, 'measure');
      await this.daemon.bringLayer(container);
      const { layer, spec } = container;
      const isOnLayer = this.daemon.isLayer(spec.image);
      const isWritten = layer !== this.daemon.layerOf(spec.image);
      return this.daemon.keepsLayers ? { bytes: layer.length, isWritten, isOnLayer } : null;
    },
    commit: async (layer) => {
      await this.daemon.bringLayer(this.daemon.existing(layer.engineId, 'commit'));
      return this.daemon.commit(layer);
    },
    flatten: () => Promise.resolve(null),
    list: ({ instance }) => attempt(() => ({ items: this.daemon.listLayers(instance), silent: [] })),
  };

  readonly volumes: EngineVolumes = {
    ensure: async (volume) => {
      await this.takes(TAKES_MS.volume);
      return this.daemon.ensureVolume(volume);
    },
    remove: (name) => attempt(() => this.daemon.removeVolume(name)),
    list: (filter) => attempt(() => ({ items: this.daemon.listVolumes(filter), silent: [] })),
    measure: ({ name }) =>
      attempt(() => {
        const found = this.daemon.volumes.get(name);
        return found ? { bytes: found.bytes } : null;
      }),
    copy: (copy) => this.copyVolume(copy),
  };

  constructor(
    { folder, speed }: SimulatedEngineSettings,
    readonly daemon: SimulatedDaemon = new SimulatedDaemon(),
  ) {
    super();
    this.pace = 1 / speed;
    daemon.onRun = (container) => this.ran(container);
    daemon.onEnd = (container) => this.ended(container);
    this.state = folder === null ? null : new SimulationState(folder, daemon, (volume) => this.filesOf(volume));
  }

  async onApplicationShutdown(): Promise<void> {
    for (const run of this.runs.values()) run.over();
    await this.state?.close();
  }

  private async ensureImage(reference: string, options: EnsureImageOptions = {}): Promise<EngineImage> {
    const present = this.daemon.findImage(reference);
    if (present && (options.refresh !== true || isBuiltHere(reference))) return present;
    if (isBuiltHere(reference)) throw imageNotBuilt(reference);
    await options.beforePull?.(present);
    const signal = options.signal ?? new AbortController().signal;
    const aborted = (): EngineError => new EngineError('aborted', 'the pull was aborted');
    if (signal.aborted) throw aborted();
    await untilAborted(this.pull(reference, options), { signal, aborted });
    const image = this.daemon.findImage(reference);
    if (!image) throw new EngineError('image_not_found', `${reference} was removed`);
    return image;
  }

  /** For any number of callers one pull; its progress is shown to all. */
  private async pull(reference: string, { onProgress }: EnsureImageOptions): Promise<void> {
    const running = this.pulls.get(reference) ?? this.beginPull(reference);
    const pull = { isOver: false };
    const over = running.finally(() => (pull.isOver = true));
    over.catch(() => undefined);
    for (let step = 0; step < (this.pace > 0 ? PULL_STEPS : 1) && !pull.isOver; step += 1) {
      const percent = Math.round((100 * step) / PULL_STEPS);
      const message = step === 0 ? 'looking for the image' : `downloading, ${String(percent)} %`;
      onProgress?.({ percent, message });
      await this.takes(PULL_STEP_MS);
    }
    await over;
    onProgress?.({ percent: 100, message: 'the image is here' });
  }

  private beginPull(reference: string): Promise<void> {
    const pull = async (): Promise<void> => {
      if (!parseImageReference(reference)) throw new EngineError('image_not_found', `${reference} is no image`);
      const fault = faultOf(reference);
      await this.takes(fault === undefined || fault === 'start_refused' ? PULL_STEPS * PULL_STEP_MS : PULL_STEP_MS);
      if (fault === 'image_not_found' || fault === 'image_access_denied' || fault === 'image_unavailable') {
        throw new EngineError(fault, `${reference} is made up to fail`);
      }
      this.daemon.pull(reference);
    };
    const running = pull().finally(() => this.pulls.delete(reference));
    this.pulls.set(reference, running);
    return running;
  }

  private async copyVolume(copy: VolumeCopy): Promise<{ bytes: number }> {
    const worker = this.daemon.beginCopy(copy);
    try {
      for (const percent of [0, 25, 50, 75]) {
        copy.onProgress?.({ percent, message: 'copying the data' });
        await this.takes(TAKES_MS.copy / 4);
        if (copy.signal?.aborted === true) throw new EngineError('aborted', 'the copy was aborted');
      }
      await this.copyFiles(this.daemon.volume(copy.from), this.daemon.volume(copy.to));
      const copied = this.daemon.finishCopy(copy, worker);
      copy.onProgress?.({ percent: 100, message: 'the data is copied' });
      return copied;
    } finally {
      this.daemon.containers.delete(worker.engineId);
    }
  }

  private async *watch(
    instance: string,
    { signal, subject }: { signal: AbortSignal; subject: WatchSubject },
  ): AsyncGenerator<WatchMessage, void> {
    const queue = new MessageQueue<WatchMessage>();
    const detach = this.daemon.attach(instance, subject, (message) => queue.put(message));
    try {
      yield* queue.read(signal);
    } finally {
      detach();
    }
  }

  /** A call takes its time. */
  private async takes(ms: number): Promise<void> {
    if (this.pace > 0) await delay(ms * this.pace);
  }

  /** @throws EngineError */
  private run(engineId: string, verb: string): SandboxRun {
    return this.runOf(this.daemon.runningOne(engineId, verb));
  }

  /** Also of a paused container. @throws EngineError `container_not_running` */
  private runOf(container: SimulatedContainer): SandboxRun {
    const run = this.runs.get(container.engineId);
    if (!run) throw new EngineError('container_not_running', `${container.name} does not run`);
    return run;
  }

  private ran(container: SimulatedContainer): void {
    const { engineId, spec, layer } = container;
    this.runs.get(engineId)?.over();
    const files = (): ContainerFiles => this.filesOf(this.daemon.volume(spec.volumeName));
    this.runs.set(engineId, new SandboxRun(spec, { engineId, layer, pace: this.pace, files }));
  }

  private ended({ engineId }: SimulatedContainer): void {
    this.runs.get(engineId)?.over();
    this.runs.delete(engineId);
  }

  /** The files of a volume, and of the container on it. */
  filesOf(volume: SimulatedVolume): ContainerFiles {
    const { daemon } = this;
    return (volume.files ??= new ContainerFiles({
      maxBytes: Math.min(MOST_VOLUME_BYTES, (volume.diskMb ?? Infinity) * MB),
      mayGrow: () => [...daemon.volumes.values()].reduce((sum, { bytes }) => sum + bytes, 0) < MOST_BYTES,
      onChange: () => daemon.onChange(),
    }));
  }

  /** @throws EngineError `data_too_large` */
  private async copyFiles(from: SimulatedVolume, to: SimulatedVolume): Promise<void> {
    const saved = await this.filesOf(from).save(DATA_PATH);
    await errnoOf(this.filesOf(to).restore(saved)).catch((error: unknown) => {
      throw new EngineError('data_too_large', 'the new volume is full', { cause: error });
    });
  }
}

async function attempt<T>(work: () => T): Promise<T> {
  await Promise.resolve();
  return work();
}
