import { Inject, Injectable } from '@nestjs/common';
import type { Logger } from 'pino';
import { type Config, CONFIG } from '../../config';
import { ContainerEngine, type ListedVolume } from '../../docker';
import { LOGGER } from '../../logging';
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
    @Inject(CONFIG) private readonly config: Pick<Config, 'ORPHAN_GRACE_SECONDS'>,
  ) {}

  /** Also checks whether this is the known Docker, and repairs what Berth maintains in it. @throws EngineError */
  async take({ wasUnwatched }: { wasUnwatched: Unwatched }): Promise<ReconcilePlan> {
    const containers = await this.engine.listContainers({ instance: this.instance.id });
    await this.known.check();
    await this.engine.maintain();
    const volumes = await this.volumes.all();
    const orphanGraceMs = this.config.ORPHAN_GRACE_SECONDS * 1000;
    return new ReconcilePlan({
      listed: containers.items,
      volumes: volumes.items,
      silent: new Set([...containers.silent, ...volumes.silent, ...(await this.absent())]),
      stuck: this.volumes.stuck,
      now: new Date(),
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

/** Volumes that carry our label and belong to no row. They may hold the data of a lost database: none is removed. */
@Injectable()
export class OrphanVolumes {
  private readonly seen = new Set<string>();

  constructor(
    private readonly repository: ContainerRepository,
    @Inject(LOGGER) private readonly logger: Logger,
  ) {}

  /**
   * Logs each of them once.
   *
   * @param volumes without a live row; those of deleted containers are kept until their purge
   */
  async note(volumes: readonly ListedVolume[]): Promise<void> {
    const unseen = volumes.filter(({ name }) => !this.seen.has(name));
    const ids = unseen.flatMap(({ containerId }) => (containerId === null ? [] : [containerId]));
    const known = await this.repository.idsWithData(ids);
    for (const { name, containerId } of unseen) {
      this.seen.add(name);
      if (containerId !== null && known.has(containerId)) continue;
      this.logger.warn(
        { volume: name, container_id: containerId },
        'a volume belongs to no container; it is left alone',
      );
    }
  }
}
