import { Inject, Injectable } from '@nestjs/common';
import type { Logger } from 'pino';
import {
  ContainerEngine,
  containerOfLayer,
  isLayerImage,
  isSnapshotImage,
  type Listed,
  type ListedLayer,
  snapshotImage,
} from '../../engine';
import { LOGGER } from '../../logging';
import { layerReference, type SnapshotRow, snapshotVolume } from '../model/snapshot.entity';
import { KnownEngine } from '../nodes/known-engine';
import { Clock } from '../../scheduling';
import { Instance } from '../rows/instance';
import { ContainerRepository } from '../rows/container.repository';
import { SnapshotRepository } from '../rows/snapshot.repository';

/** Longer than a commit and a flattening may take: what they make may be in use only after that. */
const YOUNG_MS = 61 * 60_000;

/**
 * Removes what Docker has of failed and deleted snapshots, once no process makes them and no container is being created
 * from them. The row stays until nothing is left, so that any process can go on with it.
 */
@Injectable()
export class SnapshotRemoval {
  constructor(
    private readonly engine: ContainerEngine,
    private readonly snapshots: SnapshotRepository,
    private readonly containers: ContainerRepository,
    private readonly known: KnownEngine,
    private readonly instance: Instance,
    private readonly clock: Clock,
    @Inject(LOGGER) private readonly logger: Logger,
  ) {}

  /**
   * Deletes the snapshots that are over, marks those as failed that no process makes any more or whose node was given
   * up or whose files are missing, and removes what is left of deleted and failed ones. To be called by each sweep.
   *
   * @param silent the nodes that do not answer
   * @throws the database's error, EngineError
   */
  async sweep(signal: AbortSignal, silent: ReadonlySet<string> = new Set()): Promise<void> {
    await this.snapshots.failAbandoned();
    await this.snapshots.giveUp();
    await this.snapshots.giveBack();
    await this.snapshots.deleteDue();
    for (const row of await this.snapshots.listUnclean({ silent })) {
      if (signal.aborted) return;
      await this.remove(row);
    }
    if (signal.aborted) return;
    const layers = await this.engine.layers.list({ instance: this.instance.id });
    await this.compareFiles(layers, silent);
    await this.removeLayers(layers.items, silent);
  }

  /** Notes which snapshots and templates lack their volume or image in Docker, and which have it back. */
  private async compareFiles(layers: Listed<ListedLayer>, silent: ReadonlySet<string>): Promise<void> {
    const rows = await this.snapshots.listWithFiles();
    if (rows.length === 0) return;
    const volumes = await this.engine.volumes.list({ instance: this.instance.id });
    if (!(await this.known.check())) return;
    const unlisted = new Set([...silent, ...layers.silent, ...volumes.silent]);
    for (const row of rows) {
      const { nodeId, layerId, dataBytes } = row;
      if (nodeId !== null && unlisted.has(nodeId)) continue;
      const isHere = ({ node = null }: { readonly node?: string | null }): boolean => node === nodeId;
      const hasVolume = volumes.items.some((volume) => volume.name === snapshotVolume(row) && isHere(volume));
      const hasLayer = layers.items.some((layer) => layer.imageId === layerId && isHere(layer));
      // A snapshot may have been made since the layers were listed.
      const hasImage = layerId === null || hasLayer || (await this.engine.images.find(layerId, nodeId)) !== null;
      await this.snapshots.noteFiles(row, { areThere: (dataBytes === 0 || hasVolume) && hasImage });
    }
  }

  /** {@link sweep} for one snapshot, in the background of a request. Never throws. */
  async clean(id: string): Promise<void> {
    try {
      for (const row of await this.snapshots.listUnclean({ id })) await this.remove(row);
    } catch (error) {
      this.logger.warn({ err: error, snapshot_id: id }, 'a snapshot could not be removed; the sweep tries again');
    }
  }

  /**
   * Deletes the snapshot of a fork whose copies are made, or files of a template that could not be made. Never throws;
   * the sweep does it otherwise.
   */
  async discard(id: string): Promise<void> {
    try {
      await this.snapshots.deleteDue(id);
    } catch (error) {
      this.logger.warn({ err: error, snapshot_id: id }, 'a snapshot that nothing needs is left; the sweep removes it');
    }
    await this.clean(id);
  }

  /**
   * Removes the images of layers that no container on their node and no snapshot needs: those that were kept by a
   * resize or brought from another node, those that lost their names, and what a commit made that ended after its
   * snapshot had failed.
   */
  private async removeLayers(items: readonly ListedLayer[], silent: ReadonlySet<string>): Promise<void> {
    const isYoung = ({ createdAt }: ListedLayer): boolean =>
      this.clock.now().getTime() - createdAt.getTime() < YOUNG_MS;
    // Not the names that an operator has given to such images.
    const isOwn = ({ reference, imageId }: ListedLayer): boolean => reference === imageId || isLayerImage(reference);
    const old = items.filter((layer) => isOwn(layer) && !isYoung(layer));
    if (old.length === 0 || !(await this.known.check())) return;
    // Read after the list: a snapshot has its row before its image.
    const ofSnapshots = await this.ofSnapshots(old);
    const held = await this.containers.held();
    // An image has its name only at the end of its copy.
    const isBusy = ({ reference, node = null }: ListedLayer): boolean =>
      held.some(({ id, nodeId, otherNodeId }) =>
        containerOfLayer(reference) === null
          ? node === nodeId || (node !== null && node === otherNodeId)
          : containerOfLayer(reference) === id,
      );
    const needed = new Map<string | null, ReadonlySet<string>>();
    for (const layer of old) {
      const { reference, imageId, node = null } = layer;
      if (ofSnapshots.has(reference) || isBusy(layer) || (node !== null && silent.has(node))) continue;
      const ids = needed.get(node) ?? (await this.containers.neededImages(node)).ids;
      needed.set(node, ids);
      if (ids.has(imageId)) continue;
      await this.engine.images.remove({ reference, id: imageId, node }).catch((error: unknown) => {
        this.logger.warn({ err: error, image: reference }, 'a layer could not be removed; the sweep tries again');
      });
    }
  }

  /**
   * The images that rows of snapshots name. All of the instance's, if Docker has a snapshot's volume without a row: as
   * rows outlive their volumes, the database was lost or is an older one.
   */
  private async ofSnapshots(layers: readonly ListedLayer[]): Promise<ReadonlySet<string>> {
    const references = layers.map(({ reference }) => reference).filter(isSnapshotImage);
    if (references.length === 0) return new Set();
    const { items: volumes } = await this.engine.volumes.list({ instance: this.instance.id });
    const rows = await this.snapshots.idsWithFiles();
    const isCurrent = volumes.every(({ snapshotId = null }) => snapshotId === null || rows.has(snapshotId));
    return new Set(isCurrent ? [...rows].map(snapshotImage) : references);
  }

  private async remove(row: SnapshotRow): Promise<void> {
    const { id, nodeId } = row;
    try {
      // Under another Docker, a missing volume proves nothing.
      if (!(await this.known.check())) return;
      await this.engine.volumes.remove(snapshotVolume(row), nodeId);
      if (!(await this.removeLayer(row))) return;
      await this.known.assertSame();
      await this.snapshots.markClean(row);
      this.logger.info({ snapshot_id: id }, 'removed what was left of a snapshot');
    } catch (error) {
      this.logger.warn({ err: error, snapshot_id: id }, 'a snapshot could not be removed; the sweep tries again');
    }
  }

  /**
   * @returns false if a container was made from the layer: it needs the image whenever it is recreated. Without a layer
   *   it is the image of the snapshot's container, which is found again by its own name
   */
  private async removeLayer(row: SnapshotRow): Promise<boolean> {
    const reference = layerReference(row);
    const image = await this.engine.images.find(reference, row.nodeId);
    if (image === null) return true;
    if (image.id !== row.imageId && (await this.containers.neededImages(row.nodeId)).ids.has(image.id)) return false;
    const outcome = await this.engine.images.remove({ reference, id: image.id, node: row.nodeId });
    return outcome !== 'in_use';
  }
}
