import { Inject, Injectable } from '@nestjs/common';
import type { Logger } from 'pino';
import { type Config, CONFIG } from '../../config';
import { ContainerEngine, type ListedVolume, nodeName } from '../../engine';
import { LOGGER } from '../../logging';
import { Clock } from '../../scheduling';
import { ContainerRepository } from '../rows/container.repository';
import { Instance } from '../rows/instance';
import { NodeRepository } from '../nodes/node.repository';
import { DataVolumes } from '../operations/data-volumes';
import { KnownEngine } from '../nodes/known-engine';
import { ReconcilePlan, type Unwatched } from './reconcile-plan';

/** Lists this instance's containers and volumes in Docker; a sweep compares the rows with these lists. */
@Injectable()
export class Inventory {
  constructor(
    private readonly engine: ContainerEngine,
    private readonly instance: Instance,
    private readonly known: KnownEngine,
    private readonly volumes: DataVolumes,
    private readonly nodes: NodeRepository,
    private readonly clock: Clock,
    @Inject(CONFIG) private readonly config: Pick<Config, 'ORPHAN_GRACE_SECONDS'>,
  ) {}

  /** Also checks whether this is the known Docker, and repairs what Berth maintains in it. @throws EngineError */
  async take({ wasUnwatched }: { wasUnwatched: Unwatched }): Promise<ReconcilePlan> {
    const containers = await this.engine.containers.list({ instance: this.instance.id });
    await this.known.check();
    await this.engine.host.maintain();
    const volumes = await this.volumes.all();
    const orphanGraceMs = this.config.ORPHAN_GRACE_SECONDS * 1000;
    return ReconcilePlan.of({
      listed: containers.items,
      volumes: volumes.items,
      silent: new Set([...containers.silent, ...volumes.silent, ...(await this.absent())]),
      stuck: this.volumes.stuck,
      now: this.clock.now(),
      orphanGraceMs,
      wasUnwatched,
    });
  }

  /** Known nodes that are not in the cluster now. Their containers and volumes may come back with them. */
  private async absent(): Promise<string[]> {
    const present = this.engine.nodes.list();
    if (present === null) return [];
    const rows = await this.nodes.all();
    return rows.flatMap(({ id }) => (present.some((node) => node.id === id) ? [] : [id]));
  }
}

/**
 * Volumes that carry our label and belong to no row. They may hold the data of a lost database, so they are kept. The
 * exception, on a cluster only, is a volume that is left of a purged container, whose data was on another node by then.
 */
@Injectable()
export class OrphanVolumes {
  /** The names of the volumes that the last sweep found. */
  private seen: ReadonlySet<string> = new Set();

  constructor(
    private readonly repository: ContainerRepository,
    private readonly engine: ContainerEngine,
    private readonly known: KnownEngine,
    @Inject(LOGGER) private readonly logger: Logger,
  ) {}

  /**
   * Logs each orphaned volume once while it exists, and removes the volumes of purged containers.
   *
   * @param volumes without a live row; those of deleted containers are kept until their purge
   */
  async note(volumes: readonly ListedVolume[]): Promise<void> {
    const purged = await this.removePurged(volumes);
    const unseen = volumes.filter(
      ({ name, containerId }) => !this.seen.has(name) && (containerId === null || !purged.has(containerId)),
    );
    const known = await this.repository.idsWithData(containersOf(unseen));
    this.seen = new Set(volumes.map(({ name }) => name));
    for (const { name, containerId } of unseen) {
      if (containerId !== null && known.has(containerId)) continue;
      this.logger.warn(
        { volume: name, container_id: containerId },
        'a volume belongs to no container; it is left alone',
      );
    }
  }

  /**
   * Removes the volumes of purged containers, such as the empty volume that a creation left on a node that stopped
   * answering, when the creation was placed on another node.
   *
   * @returns the ids of the purged containers
   */
  private async removePurged(volumes: readonly ListedVolume[]): Promise<ReadonlySet<string>> {
    const there = volumes.filter(({ node }) => node != null);
    if (there.length === 0 || this.known.changed) return new Set();
    const purged = await this.repository.idsPurged(containersOf(there));
    for (const { name, containerId, node } of there) {
      if (containerId === null || !purged.has(containerId)) continue;
      await this.engine.volumes.remove(name, node).catch((error: unknown) => {
        this.logger.warn(
          { err: error, volume: name, node: nodeName(this.engine.nodes, node ?? null) },
          'the volume of a purged container could not be removed; the next sweep tries again',
        );
      });
    }
    return purged;
  }
}

function containersOf(volumes: readonly ListedVolume[]): string[] {
  return volumes.flatMap(({ containerId }) => (containerId === null ? [] : [containerId]));
}
