import { Inject, Injectable } from '@nestjs/common';
import type { Logger } from 'pino';
import { ContainerEngine } from '../../engine';
import { LOGGER } from '../../logging';
import { Metrics, SampledGauge } from '../../metrics';
import { DeletedContainers } from '../rows/deleted-containers';
import { Instance } from '../rows/instance';
import { SnapshotRemoval } from '../snapshots/snapshot-removal';
import { KnownEngine } from '../nodes/known-engine';

/**
 * Removes containers from Docker that were deleted by force while Docker refused or did not answer. Until a container
 * is removed, it can neither be restored nor purged: two containers might run on one volume.
 */
@Injectable()
export class PendingRemovals {
  constructor(
    private readonly deleted: DeletedContainers,
    private readonly engine: ContainerEngine,
    private readonly instance: Instance,
    private readonly known: KnownEngine,
    private readonly snapshots: SnapshotRemoval,
    metrics: Metrics,
    @Inject(LOGGER) private readonly logger: Logger,
  ) {
    new SampledGauge(metrics, {
      name: 'berth_pending_removals',
      help: 'Containers deleted by force that Docker has not removed yet, over all processes.',
      labelNames: [],
      sample: async () => [{ labels: {}, value: await this.deleted.countRemoving() }],
      logger,
    });
  }

  /**
   * Tries to remove all of them, and what is left of snapshots, but none while Docker is not the known one, and none
   * on nodes that do not answer. The next sweep retries failures.
   *
   * @param silent the nodes that do not answer
   * @throws the database's error
   */
  async sweep(signal: AbortSignal, silent: ReadonlySet<string> = new Set()): Promise<void> {
    if (this.known.changed) return;
    for (const { id: containerId, nodeId } of await this.deleted.listRemoving()) {
      if (signal.aborted) return;
      if (nodeId !== null && silent.has(nodeId)) continue;
      try {
        await this.remove(containerId, nodeId);
      } catch (error) {
        this.logger.warn(
          { err: error, container_id: containerId },
          'a container that was deleted by force is still in Docker; the next sweep tries again',
        );
      }
    }
    await this.snapshots.sweep(signal, silent);
  }

  /** Safe in several processes at once: a container that is already gone counts as removed. */
  private async remove(containerId: string, node: string | null): Promise<void> {
    const { items } = await this.engine.containers.list({ instance: this.instance.id, containerId, node });
    for (const { engineId } of items) {
      await this.engine.containers.remove(engineId);
    }
    // The absence of the container from another Docker would prove nothing.
    await this.known.assertSame();
    await this.deleted.finishRemoval(containerId);
    this.logger.info({ container_id: containerId }, 'a container that was deleted by force is gone from Docker');
  }
}
