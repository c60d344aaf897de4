import { Inject, Injectable } from '@nestjs/common';
import type { Logger } from 'pino';
import { type Config, CONFIG } from '../../config';
import { ContainerEngine, type ListedVolume } from '../../docker';
import { LOGGER } from '../../logging';
import { Clock } from '../../scheduling';
import { ContainerRepository } from '../container.repository';
import { Instance } from '../instance';
import { NodeRepository } from '../nodes/node.repository';
import { DataVolumes } from '../operations/data-volumes';
import { KnownEngine } from './known-engine';
import { ReconcilePlan, type Unwatched } from './reconcile-plan';

/** Lists what this instance has in Docker, for a sweep to compare its rows with. */
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
    const containers = await this.engine.listContainers({ instance: this.instance.id });
    await this.known.check();
    await this.engine.maintain();
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

  /** Nodes that are in the cluster no more, and were not given up: what was there may come back. */
  private async absent(): Promise<string[]> {
    const present = this.engine.nodes();
    if (present === null) return [];
    const rows = await this.nodes.all();
    return rows.flatMap(({ id }) => (present.some((node) => node.id === id) ? [] : [id]));
  }
}

/**
 * Volumes that carry our label and belong to no row. They may hold the data of a lost database: none is removed, but on
 * one of several machines what is left of a purged container, which had been on another one by then.
 */
@Injectable()
export class OrphanVolumes {
  /** Those of the last sweep. */
  private seen: ReadonlySet<string> = new Set();

  constructor(
    private readonly repository: ContainerRepository,
    private readonly engine: ContainerEngine,
    private readonly known: KnownEngine,
    @Inject(LOGGER) private readonly logger: Logger,
  ) {}

  /**
   * Logs each of them once as long as it is there, and removes what is left of purged containers.
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
   * Such as the empty volume of a creation whose node fell silent, and that was placed on another one.
   *
   * @returns the ids of those containers
   */
  private async removePurged(volumes: readonly ListedVolume[]): Promise<ReadonlySet<string>> {
    const there = volumes.filter(({ node }) => node != null);
    if (there.length === 0 || this.known.changed) return new Set();
    const purged = await this.repository.idsPurged(containersOf(there));
    for (const { name, containerId, node } of there) {
      if (containerId === null || !purged.has(containerId)) continue;
      await this.engine.removeVolume(name, node).catch((error: unknown) => {
        this.logger.warn(
          { err: error, volume: name, node },
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
