import { Inject, Injectable } from '@nestjs/common';
import type { Logger } from 'pino';
import type { ListedVolume } from '../../docker';
import { LOGGER } from '../../logging';
import { ContainerRepository } from '../container.repository';

/** Volumes that carry our label and belong to no row. They may hold data of a database that was lost: none is removed. */
@Injectable()
export class OrphanVolumes {
  private readonly seen = new Set<string>();

  constructor(
    private readonly repository: ContainerRepository,
    @Inject(LOGGER) private readonly logger: Logger,
  ) {}

  /** Logs each of them once. @param volumes without a live row; those of deleted containers are kept until their purge */
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
