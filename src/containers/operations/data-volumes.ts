import { Inject, Injectable } from '@nestjs/common';
import { setTimeout as delay } from 'node:timers/promises';
import type { Logger } from 'pino';
import { type Config, CONFIG } from '../../config';
import {
  ContainerEngine,
  EngineError,
  layerImage,
  Listed,
  ListedVolume,
  nodeUnavailable,
  saysUnavailable,
  type WrittenLayer,
} from '../../engine';
import { invalidParameters } from '../../errors';
import { ImageStore } from '../../images';
import { LOGGER } from '../../logging';
import { Capacity } from '../capacity/capacity';
import { type ContainerRow, keptWith, MIB } from '../model/container.entity';
import { Instance } from '../rows/instance';
import { SnapshotRepository } from '../rows/snapshot.repository';
import { hasImage, isMade, type SnapshotRow, snapshotVolume } from '../model/snapshot.entity';
import type { OperationLease } from './operation-lease';
import {
  type ContainerLimits,
  containerName,
  type Destination,
  type LayerToKeep,
  movedVolumeName,
  type Seed,
} from './steps';

/**
 * A volume needs more room than its data: for file-system metadata (a copy can be slightly larger than its source), and
 * for the container to start and write a log before its user can free space.
 */
const MARGIN = { share: 0.05, leastMb: 16 };

/** The minimum size, in MiB, of a volume that this much data may move to. */
export function leastDiskMb(bytes: number): number {
  const dataMb = bytes / MIB;
  return Math.ceil(dataMb + Math.max(dataMb * MARGIN.share, MARGIN.leastMb));
}

/** @throws DomainError `invalid_parameters`, naming `disk_mb` and the minimum */
export function assertDataFits(bytes: number, diskMb: number): void {
  const min = leastDiskMb(bytes);
  if (diskMb >= min) return;
  const message = `must be at least ${String(min)} for the ${String(Math.ceil(bytes / MIB))} MiB of data in the container`;
  throw invalidParameters([{ field: 'disk_mb', message, min }]);
}

/** The files of a container that a snapshot can contain. */
export interface KeepableFiles {
  /** The size of the data; null: there is no volume. */
  readonly dataBytes: number | null;
  /** null: the writable layer cannot be kept, or there is no container. */
  readonly layer: WrittenLayer | null;
}

/**
 * The pause between two looks at a snapshot that is being made. It grows by a millisecond each time: a copy of much
 * data takes minutes.
 */
const LOOK_MS = { first: 25, longest: 250 } as const;
/** After so many looks, snapshots whose process has died are marked as failed. */
const LOOKS_FOR_THE_DEAD = 40;

/** The snapshot that a container is to be made from could not be made, or was removed: the container never can be. */
export class SeedGoneError extends EngineError {
  constructor(snapshotId: string) {
    super('copy_failed', `there is no snapshot ${snapshotId} any more`);
  }
}

const NOT_MOVED = 'the data cannot be moved; it stays in a volume without labels and size';

/**
 * The volumes that hold, or held, containers' data. Where a volume's size is fixed at creation, a resize takes a new
 * volume, and an interrupted resize may leave one behind. Otherwise a container on a single machine keeps one volume
 * for life, and Docker is not asked for volumes; on a cluster a move takes a new volume, so Docker is always asked.
 */
@Injectable()
export class DataVolumes {
  private readonly overfull = new Set<string>();

  constructor(
    private readonly engine: ContainerEngine,
    private readonly images: ImageStore,
    private readonly instance: Instance,
    private readonly snapshots: SnapshotRepository,
    private readonly capacity: Capacity,
    @Inject(CONFIG) private readonly config: Config,
    @Inject(LOGGER) private readonly logger: Logger,
  ) {}

  /**
   * The volume that the data has to move to if the container gets these resources. Measures the data first, which may
   * be in use meanwhile.
   *
   * @param row leased
   * @returns the name of a volume that does not exist yet; null if the data stays, or if there is no data
   * @throws DomainError `invalid_parameters` if the data does not fit, EngineError
   */
  async destination(row: ContainerRow, wanted: ContainerLimits): Promise<string | null> {
    if (!this.move || row.operationId === null) return null;
    if (row.diskMb === wanted.diskMb) {
      // The request did not ask for this move, so its failure must not fail the request.
      return this.destinationOfUnlabelled(row).catch((error: unknown) => {
        this.logger.warn({ err: error, container_id: row.id, volume: row.volumeName }, NOT_MOVED);
        return null;
      });
    }
    const bytes = await this.measure(row);
    if (bytes === null) return null;
    assertDataFits(bytes, wanted.diskMb);
    return movedVolumeName(row, row.operationId);
  }

  /**
   * The target of a move to another node, and whether there is data to copy. Makes sure that both nodes have the copy
   * image.
   *
   * @param row leased
   * @throws EngineError
   */
  async destinationOn(row: ContainerRow, node: string): Promise<Destination> {
    await this.ensureCopyImage(row.nodeId);
    await this.ensureCopyImage(node);
    const volumes = await this.ofContainer(row);
    const hasData = volumes.some((volume) => volume.name === row.volumeName && volume.node === row.nodeId);
    return { node, volume: movedVolumeName(row, row.operationId ?? ''), hasData };
  }

  /**
   * The container's volumes in Docker, found by label and by name, including the row's own. Empty, without a call, if
   * the container can have no other volume.
   *
   * @param options.mayBeRestored the return to a snapshot, which takes another volume, may have been interrupted
   * @throws EngineError, `node_unavailable` if the row's node does not answer
   */
  async ofContainer(
    row: Pick<ContainerRow, 'id' | 'volumeName' | 'nodeId'>,
    { mayBeRestored = false }: { mayBeRestored?: boolean } = {},
  ): Promise<readonly ListedVolume[]> {
    // True if the data was moved earlier, when this host still replaced volumes.
    const moved = row.volumeName !== containerName(row.id);
    if (!this.move && !moved && !mayBeRestored && row.nodeId === null) return [];
    const { items, silent } = await this.engine.volumes.list({ instance: this.instance.id, containerId: row.id });
    if (row.nodeId !== null && silent.includes(row.nodeId)) throw nodeUnavailable(row.nodeId);
    return items;
  }

  /** Removes all the container's data. @throws EngineError, also if a node that may have a copy does not answer */
  async removeAll(row: Pick<ContainerRow, 'id' | 'volumeName' | 'nodeId' | 'otherNodeId'>): Promise<void> {
    this.assertAnswers(row.otherNodeId);
    const others = await this.ofContainer(row);
    // The node may have stopped answering since; then the list lacks its volumes.
    this.assertAnswers(row.otherNodeId);
    await this.engine.volumes.remove(row.volumeName, row.nodeId);
    for (const { name, node } of others) if (name !== row.volumeName) await this.engine.volumes.remove(name, node);
  }

  private assertAnswers(node: string | null): void {
    if (node !== null && !this.engine.nodes.answers(node)) throw nodeUnavailable(node);
  }

  /**
   * All containers' volumes in Docker. Empty, without a call, on a single machine that never replaces volumes.
   *
   * @throws EngineError
   */
  async all(): Promise<Listed<ListedVolume>> {
    if (!this.move && this.engine.nodes.list() === null) return { items: [], silent: [] };
    const listed = await this.engine.volumes.list({ instance: this.instance.id });
    const names = new Set(listed.items.map(({ name }) => name));
    for (const name of this.overfull) if (!names.has(name)) this.overfull.delete(name);
    return listed;
  }

  /**
   * Names of the unlabelled volumes whose data this process found to exceed their container's size. Their data is not
   * moved.
   */
  get stuck(): ReadonlySet<string> {
    return this.overfull;
  }

  /**
   * The volume that the data has to move to because Docker has lost its volume's labels, and with them the size.
   *
   * @param row leased
   * @returns null if the data stays
   * @throws DomainError `invalid_parameters` if the data does not fit, EngineError
   */
  async destinationOfUnlabelled(row: ContainerRow): Promise<string | null> {
    if (!this.move || row.operationId === null) return null;
    const volume = (await this.ofContainer(row)).find(({ name }) => name === row.volumeName);
    if (volume?.labelled !== false) return null;
    const bytes = await this.measure(row);
    if (bytes === null) return null;
    try {
      assertDataFits(bytes, row.diskMb);
    } catch (error) {
      this.overfull.add(row.volumeName);
      throw error;
    }
    return movedVolumeName(row, row.operationId);
  }

  /**
   * The snapshot that the leased container is to be made from. Of one that is still being made, as for a fork, waits
   * for the image: a container can be created from it before the data is copied.
   *
   * @returns null if the container is made from its image, or was made before
   * @throws SeedGoneError if the snapshot could not be made; EngineError, LeaseLostError, CancelledError
   */
  async seedOf(lease: OperationLease): Promise<Seed | null> {
    const { seedSnapshotId: id, nodeId } = lease.row;
    if (id === null) return null;
    const snapshot = await this.awaited(id, { isEnough: hasImage, assertWanted: () => lease.assertNotCancelled() });
    const { keptLayerMb } = snapshot;
    if (leastDiskMb(keptLayerMb * MIB) > lease.row.diskMb) {
      throw new EngineError('data_too_large', 'the kept layers leave no room on the disk');
    }
    // The row of a copy was inserted before the layer was committed.
    if (keptLayerMb !== lease.row.keptLayerMb) await lease.record({ patch: { keptLayerMb }, events: [] });
    const seed = await this.seedFrom(snapshot, nodeId);
    if (isMade(snapshot)) return seed;
    return {
      ...seed,
      untilMade: async (assertWanted) => void (await this.awaited(id, { isEnough: isMade, assertWanted })),
    };
  }

  /** Marks the snapshots as failed that no process makes any more. @throws the database's error */
  async failAbandonedSnapshots(): Promise<void> {
    await this.snapshots.failAbandoned();
  }

  private async awaited(
    id: string,
    { isEnough, assertWanted }: { isEnough: (snapshot: SnapshotRow) => boolean; assertWanted: () => Promise<void> },
  ): Promise<SnapshotRow> {
    for (let looks = 1; ; looks += 1) {
      await assertWanted();
      const snapshot = await this.snapshots.findSeed(id);
      if (snapshot !== null && isEnough(snapshot)) return snapshot;
      if (snapshot?.status !== 'making') throw new SeedGoneError(id);
      // The process that makes it may have died.
      if (looks % LOOKS_FOR_THE_DEAD === 0) await this.failAbandonedSnapshots();
      await delay(Math.min(LOOK_MS.first + looks, LOOK_MS.longest));
    }
  }

  /**
   * What a container that returns to a snapshot is made from, and the name of its new volume.
   *
   * @param row leased
   * @throws DomainError `invalid_parameters` if the data does not fit, EngineError
   */
  async restored(row: ContainerRow, snapshot: SnapshotRow): Promise<{ seed: Seed; volume: string }> {
    assertDataFits(Math.max(snapshot.dataBytes, snapshot.keptLayerMb * MIB), row.diskMb);
    return { seed: await this.seedFrom(snapshot, row.nodeId), volume: movedVolumeName(row, row.operationId ?? '') };
  }

  /**
   * Copies the volume of a snapshot for the files of a template.
   *
   * @returns the size of the data in bytes; 0 if there is none
   * @throws EngineError
   */
  async copySnapshot(from: SnapshotRow, to: SnapshotRow): Promise<number> {
    if (from.dataBytes === 0) return 0;
    const { nodeId: node, diskMb } = from;
    await this.ensureCopyImage(node);
    const volume = snapshotVolume(to);
    const isOf = this.instance.owner(to, { id: to.id, isSnapshot: true });
    await this.engine.volumes.ensure({ name: volume, diskMb, owner: isOf, node, isNew: true });
    const image = this.config.VOLUME_COPY_IMAGE;
    // A worker that is left over is found, and removed, like a container without a row.
    const owner = this.instance.owner(to);
    return (await this.engine.volumes.copy({ from: snapshotVolume(from), to: volume, image, owner, node })).bytes;
  }

  private async seedFrom(snapshot: SnapshotRow, node: string | null): Promise<Seed> {
    const { image, imageId, imageDigest, nodeId } = snapshot;
    const hasData = snapshot.dataBytes > 0;
    const volume = hasData && snapshot.onlyCopyId === null ? snapshotVolume(snapshot) : null;
    const away = nodeId !== null && nodeId !== node ? { node: nodeId } : {};
    if (volume !== null) await this.ensureCopyImage(node);
    if (volume !== null && away.node !== undefined) await this.ensureCopyImage(away.node);
    // On another node, an image that is no layer is found, or pulled, like that of any container.
    const isPlain = away.node !== undefined && snapshot.layerId === imageId;
    const layerId = isPlain ? null : snapshot.layerId;
    return { layerId, image: { image, imageId, imageDigest }, hasData, volume, ...away, untilMade: null };
  }

  /**
   * Whether a container that is replaced can keep its writable layer, and how. Kept layers count against its disk.
   *
   * @param row leased
   * @param wanted absent: the layers are kept whether they fit or not, as the container's user did not ask for a change
   * @throws DomainError `invalid_parameters` if they do not fit, EngineError
   */
  async layerToKeep(row: ContainerRow, wanted?: ContainerLimits): Promise<LayerToKeep> {
    const layer = await this.layerOf(row);
    if (layer === null) return { isKept: false, reference: null };
    const keptMb = keptWith(row, layer.isWritten ? layer.bytes : 0);
    if (wanted) assertDataFits(keptMb * MIB, wanted.diskMb);
    return {
      isKept: true,
      reference: layer.isWritten ? layerImage(row.id, row.generation) : null,
      imageId: layer.isOnLayer ? row.imageId : null,
    };
  }

  /**
   * The maximum size of a writable layer that is committed once nothing writes to it any more: the container's disk, or
   * the free disk space of the machine less its reserve, if that is less and known.
   *
   * @param diskMb the disk that the layer has to fit on
   */
  async mostLayerBytes(diskMb: number): Promise<number> {
    return Math.min(Math.max(0, diskMb) * MIB, await this.capacity.roomOnDisk());
  }

  /**
   * Makes an image of the writable layer of a container that can never be started again, for the container that
   * replaces it. A layer that cannot be read is lost.
   *
   * @param options.isSound the container is only of an earlier version: it is kept if its layer cannot be read
   * @throws EngineError if the image cannot be made, `data_too_large` if the layer is too large; LeaseLostError
   */
  async keepBroken(lease: OperationLease, { isSound = false } = {}): Promise<void> {
    const { row, signal } = lease;
    const { id, engineId, generation, nodeId: node } = row;
    const layer = await this.layerOf(row).catch((error: unknown) => {
      if (isSound || !(error instanceof EngineError) || saysUnavailable(error)) throw error;
      this.logger.warn({ err: error, container_id: id }, 'the writable layer of a broken container cannot be read');
      return null;
    });
    if (engineId === null || layer?.isWritten !== true) return;
    const reference = layerImage(id, generation);
    const mostBytes = await this.mostLayerBytes(row.diskMb);
    const made = await this.engine.layers.commit({ engineId, reference, mostBytes, signal });
    const { imageId } = (await this.engine.layers.flatten({ reference, node, signal })) ?? made;
    const keptLayerMb = keptWith(row, made.bytes);
    await lease.record({ patch: { imageId, imageDigest: null, keptLayerMb }, events: [] });
  }

  private async layerOf(row: ContainerRow): Promise<WrittenLayer | null> {
    const observed = row.engineId === null ? null : await this.engine.containers.inspect(row.engineId);
    if (observed === null || observed.state === 'broken') return null;
    const isKept = await this.engine.layers.persist({ name: observed.imageId, node: row.nodeId });
    return isKept ? this.engine.layers.measure(observed.engineId) : null;
  }

  /**
   * What of a container's files can be kept. A layer that is not known to be on the host's file system cannot.
   *
   * @param options.isMeasured false: the size of the data does not matter, and counts as 1 byte; saves a worker's run
   */
  async keepable(row: ContainerRow, { isMeasured }: { isMeasured: boolean }): Promise<KeepableFiles> {
    const [dataBytes, layer] = await Promise.all([
      isMeasured ? this.measure(row) : this.unmeasured(row),
      this.layerOf(row),
    ]);
    return { dataBytes, layer };
  }

  private async unmeasured(row: ContainerRow): Promise<number | null> {
    await this.ensureCopyImage(row.nodeId);
    const { items } = await this.engine.volumes.list({
      instance: this.instance.id,
      containerId: row.id,
      node: row.nodeId,
    });
    return items.some(({ name }) => name === row.volumeName) ? 1 : null;
  }

  /** @returns the disk space that the data takes, in bytes; null if there is no volume */
  private async measure(row: ContainerRow): Promise<number | null> {
    await this.ensureCopyImage(row.nodeId);
    const image = this.config.VOLUME_COPY_IMAGE;
    const volume = { name: row.volumeName, image, owner: this.instance.owner(row), node: row.nodeId };
    return (await this.engine.volumes.measure(volume))?.bytes ?? null;
  }

  private get move(): boolean {
    return this.engine.host.capabilities.volumeResize === 'move';
  }

  /** The operator chooses this image: its absence must not be reported as if the user's image were missing. */
  private async ensureCopyImage(node: string | null): Promise<void> {
    try {
      await this.images.ensure(this.config.VOLUME_COPY_IMAGE, { node });
    } catch (error) {
      if (!(error instanceof EngineError) || saysUnavailable(error)) throw error;
      throw new EngineError('docker_error', `VOLUME_COPY_IMAGE is not available: ${error.message}`, { cause: error });
    }
  }
}
