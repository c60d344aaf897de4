import { createHash, randomBytes, randomUUID } from 'node:crypto';
import {
  type ContainerSpec,
  type EngineCapabilities,
  EngineError,
  type EngineEvent,
  type EngineImage,
  type EngineState,
  type LayerCommit,
  type LayerImage,
  type ListedContainer,
  type ListedLayer,
  type ListedVolume,
  type ObservedContainer,
  type OwnerLabels,
  type VolumeCopy,
  type WatchMessage,
  type WatchSubject,
} from '../../../src/engine';
import type { ContainerFiles } from './files';

/** A container as the daemon keeps it. */
export interface SimulatedContainer {
  readonly engineId: string;
  readonly spec: ContainerSpec;
  readonly imageId: string;
  readonly createdAt: Date;
  readonly ipAddress: string;
  readonly mounts: readonly string[];
  /** What was written outside the volumes, if {@link SimulatedDaemon.keepsLayers}; empty: nothing. */
  layer: string;
  name: string;
  state: EngineState;
  startedAt: string | null;
  exitCode: number | null;
  oomKilled: boolean;
  /** Whether it is in the sandboxes' network. */
  connected: boolean;
}

/** The content of an image that is made of a writable layer, with that of the layers below. */
export interface SimulatedLayer {
  readonly layer: string;
  readonly at: Date;
  readonly instance: string;
}

/** A data volume. */
export class SimulatedVolume {
  /** Made at the first use. */
  files: ContainerFiles | null = null;

  constructor(
    /** null: not limited. */
    public diskMb: number | null,
    readonly owner: OwnerLabels,
    /** Without labels, only the volume's name tells its owner. */
    public labelled = true,
  ) {}

  /** The space that its content takes. */
  get bytes(): number {
    return this.files?.bytes ?? 0;
  }

  get isEmpty(): boolean {
    return this.files?.isEmpty ?? true;
  }
}

export const CAPABILITIES: EngineCapabilities = {
  runtime: 'simulated',
  diskQuota: 'enforced',
  volumeResize: 'move',
  hostFirewall: 'off',
  allowLists: 'enforced',
};

/** The images that exist before any is pulled. */
const PRESENT = ['berth/sandbox:latest', 'berth/minimal:latest'];

interface Watcher {
  readonly instance: string;
  readonly subject: WatchSubject;
  readonly send: (message: WatchMessage) => void;
}

/**
 * Docker in memory: containers, volumes, images and events, and what survives the end of those who use it. What runs
 * inside containers is another's: see {@link onRun} and {@link onEnd}.
 */
export class SimulatedDaemon {
  /** Of its data: a daemon on other data has another. */
  id: string = randomUUID();
  capabilities = CAPABILITIES;
  readonly containers = new Map<string, SimulatedContainer>();
  readonly volumes: Map<string, SimulatedVolume> = new Map<string, SimulatedVolume>();
  readonly images = new Set(PRESENT);
  /** Ids of versions that no reference names any more. */
  readonly unnamedImages = new Set<string>();
  /** The ids of images that were given further names, by these names. */
  readonly tags = new Map<string, string>();
  /** Whether the files outside the volumes can be committed. */
  keepsLayers = true;
  /** By the image's reference. */
  readonly layers = new Map<string, SimulatedLayer>();
  protected readonly imageVersions = new Map<string, number>();
  private readonly watchers = new Set<Watcher>();
  private clock = Date.now();
  private created = 0;

  /** A container has begun to run. */
  onRun: (container: SimulatedContainer) => void = () => undefined;
  /** A container has ended, and with it all that ran in it. */
  onEnd: (container: SimulatedContainer) => void = () => undefined;
  /** Something was changed that is to be kept. */
  onChange: () => void = () => undefined;

  /** What runs, of one container of Berth's or of all. */
  running(containerId?: string): SimulatedContainer[] {
    return [...this.containers.values()].filter(
      (container) =>
        isUp(container.state) && (containerId === undefined || container.spec.owner.containerId === containerId),
    );
  }

  create(spec: ContainerSpec): string {
    if (!this.findImage(spec.image)) throw new EngineError('image_not_found', `no such image: ${spec.image}`);
    if (this.named(spec.name)) throw new EngineError('name_in_use', `the name ${spec.name} is in use`);
    // Docker makes a volume that is missing.
    if (!this.volumes.has(spec.volumeName)) {
      this.onMissingVolume(spec);
      this.ensureVolume({ name: spec.volumeName, diskMb: spec.diskMb, owner: spec.owner });
    }
    return this.add(spec, [spec.volumeName]).engineId;
  }

  start(engineId: string, { isNew = false }: { isNew?: boolean } = {}): 'started' | 'already_running' {
    const container = this.existing(engineId, 'start');
    if (container.state === 'paused') throw new EngineError('container_paused', 'cannot start a paused container');
    if (!isNew) container.connected = true;
    if (isUp(container.state)) return 'already_running';
    this.begin(container);
    return 'started';
  }

  pause(engineId: string): void {
    const container = this.existing(engineId, 'pause');
    if (container.state === 'paused') return;
    if (container.state !== 'running') throw new EngineError('container_not_running', `${container.name} does not run`);
    container.state = 'paused';
    this.tell(container, 'pause');
  }

  unpause(engineId: string): void {
    const container = this.existing(engineId, 'unpause');
    if (container.state !== 'paused') return;
    container.state = 'running';
    this.tell(container, 'unpause');
  }

  stop(engineId: string): 'stopped' | 'already_stopped' {
    const container = this.existing(engineId, 'stop');
    if (!isUp(container.state) && container.state !== 'restarting') return 'already_stopped';
    this.exit(container, 0);
    return 'stopped';
  }

  remove(engineId: string): void {
    const container = this.containers.get(engineId);
    if (!container) return;
    if (isUp(container.state)) this.exit(container, 137);
    this.containers.delete(engineId);
    this.tell(container, 'destroy');
  }

  rename(engineId: string, name: string): void {
    const container = this.containers.get(engineId);
    if (!container || container.name === name) return;
    if (this.named(name)) throw new EngineError('name_in_use', `the name ${name} is in use`);
    container.name = name;
    this.onChange();
  }

  reconnect(engineId: string): 'reconnected' | 'already_connected' {
    const container = this.existing(engineId, 'reconnect');
    if (container.connected) return 'already_connected';
    container.connected = true;
    return 'reconnected';
  }

  inspect(engineId: string): ObservedContainer | null {
    const container = this.containers.get(engineId);
    if (!container) return null;
    const { name, state, startedAt, exitCode, oomKilled, imageId, spec } = container;
    const isReached = isUp(state) && container.connected && spec.network !== 'none';
    const ipAddress = isReached ? container.ipAddress : null;
    const { runtime } = this.capabilities;
    return { engineId, name, state, startedAt, exitCode, oomKilled, ipAddress, imageId, runtime };
  }

  createKey(spec: ContainerSpec): string | null {
    const image = this.findImage(spec.image);
    const { memoryMb, cpuShares, diskMb, network, processes } = spec;
    if (!image) return null;
    const parts = JSON.stringify([image.id, memoryMb, cpuShares, diskMb, network, processes]);
    return createHash('sha256').update(parts).digest('hex');
  }

  list(filter: { instance: string; containerId?: string }): ListedContainer[] {
    return [...this.containers.values()]
      .filter(({ spec: { owner } }) => owner.instance === filter.instance)
      .filter(({ spec: { owner } }) => filter.containerId === undefined || owner.containerId === filter.containerId)
      .map(({ engineId, name, state, createdAt, spec, connected }) => ({
        engineId,
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
    const existed = volume !== undefined && (volume.labelled || isUsed || !volume.isEmpty);
    if (!existed) {
      this.addVolume(name, diskMb, owner);
      this.onChange();
    }
    return { existed };
  }

  addVolume(name: string, diskMb: number | null, owner: OwnerLabels): SimulatedVolume {
    const volume = this.newVolume(diskMb, owner);
    this.volumes.set(name, volume);
    return volume;
  }

  protected newVolume(diskMb: number | null, owner: OwnerLabels): SimulatedVolume {
    return new SimulatedVolume(diskMb, owner);
  }

  listVolumes(filter: { instance: string; containerId?: string }): ListedVolume[] {
    return [...this.volumes]
      .filter(([, { owner }]) => owner.instance === filter.instance)
      .filter(([, { owner }]) => filter.containerId === undefined || owner.containerId === filter.containerId)
      .map(([name, { owner, labelled }]) => ({
        name,
        containerId: owner.isSnapshot ? null : owner.containerId,
        labelled,
        ...(owner.isSnapshot && { snapshotId: owner.containerId }),
      }));
  }

  removeVolume(name: string): void {
    const user = [...this.containers.values()].find(({ mounts }) => mounts.includes(name));
    if (user) throw new EngineError('docker_error', `volume ${name} is in use by ${user.name}`);
    this.volumes.delete(name);
    this.onChange();
  }

  /** The first half of a copy: the container that copies is there, and the target is of no use. */
  beginCopy({ from, to, image, owner }: VolumeCopy): SimulatedContainer {
    this.volume(from);
    const worker = this.beginHelper({ image, owner, purpose: 'move', mounts: [to, from] });
    this.volume(to).files = null;
    return worker;
  }

  /** Creates and starts a helper container for work on its first mount. It replaces a leftover with the same name. */
  protected beginHelper(helper: {
    readonly image: string;
    readonly owner: OwnerLabels;
    readonly purpose: string;
    readonly mounts: readonly [string, ...string[]];
  }): SimulatedContainer {
    const { image, owner, purpose, mounts } = helper;
    if (!this.images.has(image)) throw new EngineError('docker_error', `no such image: ${image}`);
    const name = `berth-${owner.containerId}-${purpose}`;
    const leftover = [...this.containers.values()].find((container) => container.name === name);
    if (leftover) this.remove(leftover.engineId);
    const limits = { memoryMb: 0, cpuShares: 0, diskMb: 0, network: 'none', processes: 0 } as const;
    const worker = this.add({ name, image, ...limits, volumeName: mounts[0], owner, generation: 0 }, mounts);
    worker.state = 'running';
    return worker;
  }

  /** The second half. */
  finishCopy({ from, to }: VolumeCopy, worker: SimulatedContainer): { bytes: number } {
    if (!this.containers.delete(worker.engineId)) throw new EngineError('copy_failed', 'the copying was cut off');
    return { bytes: this.copied(this.volume(from), this.volume(to)) };
  }

  /** @throws EngineError `data_too_large` */
  protected copied(_from: SimulatedVolume, to: SimulatedVolume): number {
    this.onChange();
    return to.bytes;
  }

  /** A pull is over. @throws EngineError `image_not_found` */
  pull(reference: string): void {
    this.images.add(reference);
    this.onChange();
  }

  /**
   * Makes an image of a container's layer.
   *
   * @throws EngineError `container_not_found`, `container_not_running`, `data_too_large`
   */
  commit({ engineId, reference, mostBytes }: LayerCommit): LayerImage {
    const { state, name, layer, spec } = this.existing(engineId, 'commit');
    if (state === 'running') throw new EngineError('container_not_running', `${name} is neither paused nor stopped`);
    if (layer.length > mostBytes) throw new EngineError('data_too_large', `the layer of ${name} is too large`);
    this.layers.set(reference, { layer, at: new Date(this.tick()), instance: spec.owner.instance });
    this.images.add(reference);
    this.onChange();
    return { imageId: this.imageId(reference), bytes: layer.length };
  }

  /** @throws EngineError `image_not_found` */
  tagImage({ id, reference }: { id: string; reference: string }): void {
    if (this.findImage(id) === null) throw new EngineError('image_not_found', `no such image: ${id}`);
    const [, layer] = [...this.layers].find(([name]) => this.imageId(name) === id) ?? [];
    if (layer) this.layers.set(reference, layer);
    this.tags.set(reference, id);
    this.images.add(reference);
    this.onChange();
  }

  listLayers(instance: string): ListedLayer[] {
    return [...this.layers]
      .filter(([reference, made]) => this.images.has(reference) && made.instance === instance)
      .map(([reference, { at: createdAt }]) => ({ reference, imageId: this.imageId(reference), createdAt }));
  }

  /** By a reference or an id. */
  findImage(name: string): EngineImage | null {
    if (name.startsWith('sha256:')) {
      const isNamed = [...this.images].some((reference) => this.imageId(reference) === name);
      return isNamed || this.unnamedImages.has(name) ? { id: name, digest: null } : null;
    }
    if (!this.images.has(name)) return null;
    const id = this.imageId(name);
    return { id, digest: this.isInRegistry(name) ? id : null };
  }

  /** Of the version that is here. */
  imageId(reference: string, version = this.imageVersions.get(reference) ?? 1): string {
    const [, digest] = reference.split('@');
    return (
      digest ??
      this.tags.get(reference) ??
      `sha256:${createHash('sha256')
        .update(`${reference} ${String(version)}`)
        .digest('hex')}`
    );
  }

  removeImage({ reference, id }: { reference: string; id: string }): 'removed' | 'in_use' | 'kept' | 'gone' {
    if (!this.findImage(id)) return 'gone';
    const names = [...this.images].filter((name) => this.imageId(name) === id);
    const isUsed = [...this.containers.values()].some(({ imageId }) => imageId === id);
    // Docker takes one of several names away from an image in use, too.
    if (isUsed && !(names.length > 1 && names.includes(reference))) return 'in_use';
    if (names.includes(reference)) {
      this.images.delete(reference);
      this.layers.delete(reference);
      this.tags.delete(reference);
      this.onChange();
      return 'removed';
    }
    return this.unnamedImages.delete(id) ? 'removed' : 'kept';
  }

  isAbsent(reference: string): boolean {
    return !this.images.has(reference) && !this.isInRegistry(reference);
  }

  protected isInRegistry(_reference: string): boolean {
    return true;
  }

  /** Opens a watcher; it is sent `connected` first. @returns the way to close it */
  attach(instance: string, subject: WatchSubject, send: (message: WatchMessage) => void): () => void {
    const watcher = { instance, subject, send };
    this.watchers.add(watcher);
    send({ kind: 'connected', node: null });
    return () => {
      this.watchers.delete(watcher);
    };
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

  /** The main process ends. */
  exit(container: SimulatedContainer, exitCode: number): void {
    container.state = 'exited';
    container.exitCode = exitCode;
    this.onEnd(container);
    this.tell(container, 'die', exitCode);
  }

  /** @throws EngineError `start_refused` */
  begin(container: SimulatedContainer): void {
    this.run(container);
  }

  protected run(container: SimulatedContainer): void {
    container.state = 'running';
    // Nanoseconds, as Docker writes them.
    container.startedAt = new Date(this.tick()).toISOString().replace('Z', '000000Z');
    container.exitCode = null;
    container.oomKilled = false;
    this.onRun(container);
    this.tell(container, 'start');
  }

  /** A container is created whose volume is not there. */
  protected onMissingVolume(_spec: ContainerSpec): void {
    // Docker makes one.
  }

  protected tell(container: SimulatedContainer, action: EngineEvent['action'], exitCode: number | null = null): void {
    this.onChange();
    const { containerId, instance } = container.spec.owner;
    const event = { engineId: container.engineId, containerId, action, exitCode, at: new Date(this.tick()) };
    const subject: WatchSubject = action === 'exec_start' ? 'warm_programs' : 'lives';
    for (const watcher of this.watchers) {
      if (watcher.instance === instance && watcher.subject === subject) watcher.send({ kind: 'event', event });
    }
  }

  /** @throws EngineError `container_not_found` */
  existing(engineId: string, verb: string): SimulatedContainer {
    const container = this.containers.get(engineId);
    if (!container) throw new EngineError('container_not_found', `${verb}: no such container ${engineId}`);
    return container;
  }

  /** @throws EngineError `container_not_found`, `container_not_running`, `container_paused` */
  runningOne(engineId: string, verb: string): SimulatedContainer {
    const container = this.existing(engineId, verb);
    if (container.state === 'paused') throw new EngineError('container_paused', `cannot ${verb} in a paused container`);
    if (container.state !== 'running') throw new EngineError('container_not_running', `${container.name} does not run`);
    return container;
  }

  protected add(spec: ContainerSpec, mounts: readonly string[]): SimulatedContainer {
    this.created += 1;
    const engineId = randomBytes(32).toString('hex');
    const container: SimulatedContainer = {
      engineId,
      spec,
      imageId: this.findImage(spec.image)?.id ?? spec.image,
      createdAt: new Date(this.tick()),
      ipAddress: `172.30.${String((this.created >> 8) & 255)}.${String(this.created & 255)}`,
      mounts,
      layer: this.layerOf(spec.image),
      name: spec.name,
      state: 'created',
      startedAt: null,
      exitCode: null,
      oomKilled: false,
      connected: true,
    };
    this.containers.set(engineId, container);
    this.onChange();
    return container;
  }

  /** Brings `layer` up to date with the files of a container that has run. */
  async bringLayer(container: SimulatedContainer): Promise<void> {
    const files = this.volumes.get(container.spec.volumeName)?.files;
    container.layer = (await files?.layerOf(container.engineId)) ?? container.layer;
  }

  /** What was written to the layers of an image. @param image a reference or an id */
  layerOf(image: string): string {
    const [, found] = [...this.layers].find(([name]) => name === image || this.imageId(name) === image) ?? [];
    return found?.layer ?? '';
  }

  isLayer(image: string): boolean {
    return [...this.layers.keys()].some((name) => name === image || this.imageId(name) === image);
  }

  volume(name: string): SimulatedVolume {
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

/** Whether a container has processes. */
export function isUp(state: EngineState): boolean {
  return state === 'running' || state === 'paused';
}
