import { Injectable } from '@nestjs/common';
import { randomUUID } from 'node:crypto';
import { ContainerEngine, EngineError } from '../../engine';
import { ImageStore } from '../../images';
import { Clock } from '../../scheduling';
import { layerReference, type SnapshotRow } from '../model/snapshot.entity';
import { KnownEngine } from '../nodes/known-engine';
import { DataVolumes } from '../operations/data-volumes';
import { SnapshotRepository } from '../rows/snapshot.repository';
import { SnapshotRemoval } from './snapshot-removal';

/** Writes the template. The function that it is given makes the files ready, and belongs to the same transaction. */
type Write<T> = (files: SnapshotRow, finish: () => Promise<void>) => Promise<T>;

/**
 * Copies the files of snapshots for templates: the image gets one more name, and the data a volume of its own. So a
 * template outlives its snapshot and its administrator.
 */
@Injectable()
export class TemplateFiles {
  constructor(
    private readonly engine: ContainerEngine,
    private readonly images: ImageStore,
    private readonly volumes: DataVolumes,
    private readonly known: KnownEngine,
    private readonly snapshots: SnapshotRepository,
    private readonly removal: SnapshotRemoval,
    private readonly clock: Clock,
  ) {}

  /**
   * Copies the files of a snapshot, and has the template written. If anything fails, or this process dies, the copy is
   * removed.
   *
   * @param source a snapshot, or the files of the present template
   * @throws DomainError `snapshot_not_found` if the source was deleted meanwhile; EngineError; the errors of `write`
   */
  async copy<T>(source: SnapshotRow, { hasData }: { hasData: boolean }, write: Write<T>): Promise<T> {
    const row = await this.snapshots.insertFiles(this.rowOf(source));
    try {
      await this.known.assertSame();
      const layerId = await this.copyImage(source, row);
      const dataBytes = hasData ? await this.volumes.copySnapshot(source, row) : 0;
      const { root, layerBytes, keptLayerMb, downtimeMs } = source;
      const made = { root, layerId, layerBytes, keptLayerMb, dataBytes, downtimeMs };
      return await write({ ...row, ...made, status: 'ready' }, async () => {
        if (await this.snapshots.finishFiles(row, made)) return;
        throw new EngineError('aborted', 'the copying was taken for dead');
      });
    } catch (error) {
      await this.giveUp(row);
      throw error;
    } finally {
      this.snapshots.endWork(row);
    }
  }

  /** The files of a template; null: they are not ready, or are deleted. */
  async find(id: string): Promise<SnapshotRow | null> {
    const files = await this.snapshots.find(id);
    return files?.status === 'ready' ? files : null;
  }

  /** Call it in the transaction that deletes or replaces the template, and afterwards {@link remove}. */
  delete(id: string): Promise<void> {
    return this.snapshots.deleteFiles(id);
  }

  /** Removes files that no template has any more, once no container is being created from them. Never throws. */
  remove(id: string): Promise<void> {
    return this.removal.clean(id);
  }

  /** The image of the snapshot, or that of its container if nothing was written outside the data. */
  private async copyImage(source: SnapshotRow, { id, nodeId: node }: SnapshotRow): Promise<string> {
    const { name } = await this.images.forCopy(source, { node });
    await this.engine.images.tag({ id: name, reference: layerReference({ id }), node });
    return name;
  }

  /** The sweep does it otherwise. A commit whose acknowledgement was lost is not undone. */
  private async giveUp(row: SnapshotRow): Promise<void> {
    await this.snapshots.fail(row, 'copy_failed').catch(() => undefined);
    await this.removal.discard(row.id);
  }

  private rowOf(source: SnapshotRow): SnapshotRow {
    const now = this.clock.now();
    return {
      ...source,
      id: randomUUID(),
      description: null,
      labels: {},
      status: 'making',
      statusReason: null,
      isTransient: true,
      copiedFromId: source.id,
      onlyCopyId: null,
      meteredSince: null,
      layerId: null,
      dataBytes: 0,
      createdAt: now,
      updatedAt: now,
      isClean: true,
    };
  }
}
