import { Inject, Injectable } from '@nestjs/common';
import { Semaphore } from 'async-mutex';
import type { Logger } from 'pino';
import { type Config, CONFIG } from '../../config';
import { LOGGER } from '../../logging';
import type { ContainerRow } from '../model/container.entity';
import { DeletedContainers } from '../rows/deleted-containers';
import { Lease } from '../leases/lease';
import { LeaseStore } from '../leases/lease-store';
import { DataVolumes } from './data-volumes';
import { RunningWork } from './running-work';
import { KnownEngine } from '../nodes/known-engine';

/** Maximum concurrent volume removals, to spare the daemon. */
const CONCURRENCY = 4;

/** The outcomes of the purges that were due. */
export interface Purged {
  readonly purged: number;
  readonly failed: number;
}

/**
 * Removes the data of deleted containers after its retention. The row is leased first: from then on it cannot be
 * restored, even if this process dies at once, and the next holder finishes the purge.
 */
@Injectable()
export class Purge {
  private readonly semaphore = new Semaphore(CONCURRENCY);

  constructor(
    private readonly deleted: DeletedContainers,
    private readonly store: LeaseStore,
    private readonly volumes: DataVolumes,
    private readonly known: KnownEngine,
    private readonly work: RunningWork,
    @Inject(CONFIG) private readonly config: Pick<Config, 'VOLUME_RETENTION'>,
    @Inject(LOGGER) private readonly logger: Logger,
  ) {}

  /** When the data of a container that is deleted now is to be removed; null: never. */
  dueAfter(deletedAt: Date): Date | null {
    const retention = this.config.VOLUME_RETENTION;
    return retention === null ? null : new Date(deletedAt.getTime() + retention);
  }

  /** Purges in the background if `VOLUME_RETENTION` is 0. If that fails or this process ends, the sweep does it. */
  afterDeletion({ id }: ContainerRow): void {
    if (this.config.VOLUME_RETENTION === 0) void this.purge(id);
  }

  /**
   * Purges all containers that are due, until `signal` aborts, but none while Docker is not the known one, and none on
   * nodes that do not answer. A later sweep retries failures.
   *
   * @param silent the nodes that do not answer
   * @throws the database's error
   */
  async sweep(signal: AbortSignal, silent: ReadonlySet<string> = new Set()): Promise<Purged> {
    const outcomes = { purged: 0, failed: 0 };
    if (this.known.changed) return outcomes;
    const due = await this.deleted.listPurgeable(silent);
    const purging = due.map((id) =>
      this.semaphore.runExclusive(async () => {
        if (signal.aborted) return;
        const outcome = await this.purge(id);
        if (outcome !== null) outcomes[outcome] += 1;
      }),
    );
    await Promise.all(purging);
    return outcomes;
  }

  /**
   * Purges one container if its retention is over. Never throws.
   *
   * @returns null if the purge is not due, if another process does it or has done it, or if Docker is not the known one
   */
  async purge(id: string): Promise<keyof Purged | null> {
    return this.work.track(async () => {
      try {
        return (await this.removeData(id)) ? 'purged' : null;
      } catch (error) {
        this.logger.warn({ err: error, container_id: id }, 'the data could not be purged; a later sweep tries again');
        return 'failed';
      }
    });
  }

  private async removeData(id: string): Promise<boolean> {
    if (!(await this.known.check())) return false;
    const grant = this.store.newGrant('operation', id);
    const row = await this.deleted.leasePurge(grant);
    if (!row) return false;
    const lease = new Lease(grant, this.store);
    try {
      // If the lease is lost meanwhile, another process may remove the same volumes. That is safe: the removal of a
      // missing volume succeeds, and only one process records the purge.
      await this.work.measured('purge', () => this.volumes.removeAll(row));
      // If Docker was exchanged meanwhile, the missing volumes prove no removal.
      await this.known.assertSame();
    } catch (error) {
      lease.end();
      // If the database does not answer either, the lease expires by itself.
      await this.deleted.postponePurge(grant).catch(() => undefined);
      throw error;
    }
    lease.end();
    if (!(await this.deleted.finishPurge(grant, row))) return false;
    this.logger.info({ container_id: id, volume: row.volumeName }, 'purged the data of a deleted container');
    return true;
  }
}
