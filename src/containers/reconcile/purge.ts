import { Inject, Injectable } from '@nestjs/common';
import { Semaphore } from 'async-mutex';
import { randomUUID } from 'node:crypto';
import type { Logger } from 'pino';
import { AuditLog } from '../../audit';
import { Database } from '../../database';
import { ContainerEngine } from '../../docker';
import { LOGGER } from '../../logging';
import { OperationMetrics } from '../container-metrics';
import type { ContainerRow } from '../container.entity';
import { DeletedContainers, type PurgeLease } from '../container.repository';
import { LeaseTerms } from '../leases/lease-term';
import { DataVolumes } from '../operations/data-volumes';
import { InFlight } from '../operations/operation-runner';
import { KnownEngine } from './known-engine';

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
    private readonly engine: ContainerEngine,
    private readonly deleted: DeletedContainers,
    private readonly volumes: DataVolumes,
    private readonly known: KnownEngine,
    private readonly database: Database,
    private readonly audit: AuditLog,
    private readonly inFlight: InFlight,
    private readonly metrics: OperationMetrics,
    private readonly terms: LeaseTerms,
    @Inject(LOGGER) private readonly logger: Logger,
  ) {}

  /**
   * Purges all that is due, until `signal` aborts; nothing while Docker is not the known one. Failures are left to a
   * later sweep.
   *
   * @throws the database's error
   */
  async sweep(signal: AbortSignal): Promise<Purged> {
    const outcomes = { purged: 0, failed: 0 };
    if (this.known.changed) return outcomes;
    const due = await this.deleted.listPurgeable();
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
   * @returns null if another process does it, or has done it
   */
  async purge(id: string): Promise<keyof Purged | null> {
    return this.inFlight.track(async () => {
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
    const lease = { id, operationId: randomUUID() };
    const row = await this.deleted.leasePurge(lease, this.terms.stamp());
    if (!row) return false;
    try {
      // If this outlasts the lease, another process may do the same: an already removed volume is success, and only one
      // of them records it.
      await this.metrics.measure('purge', () => this.removeVolumes(row));
      // If Docker was exchanged meanwhile, its missing volumes prove no removal.
      await this.known.assertSame();
    } catch (error) {
      // If the database does not answer either, the lease expires by itself.
      await this.deleted.postponePurge(lease).catch(() => undefined);
      throw error;
    }
    if (!(await this.noteDone(lease, row))) return false;
    this.logger.info({ container_id: id, volume: row.volumeName }, 'purged the data of a deleted container');
    return true;
  }

  private async removeVolumes(row: ContainerRow): Promise<void> {
    const others = await this.volumes.ofContainer(row);
    for (const name of new Set([row.volumeName, ...others.map((volume) => volume.name)])) {
      await this.engine.removeVolume(name);
    }
  }

  private noteDone(lease: PurgeLease, { id, userId }: ContainerRow): Promise<boolean> {
    return this.database.runInTx(async () => {
      if (!(await this.deleted.finishPurge(lease))) return false;
      await this.audit.recordSystem({ action: 'container.purge', subjectUserId: userId, containerId: id });
      return true;
    });
  }
}
