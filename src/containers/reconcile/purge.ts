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

/** How many volumes are removed at once: Docker has other work too. */
const CONCURRENCY = 4;

/** What became of the containers whose time was over. */
export interface Purged {
  readonly purged: number;
  readonly failed: number;
}

/**
 * Removes the data of deleted containers once it is past its time. The row is claimed first: from then on nobody can restore
 * it, even if this process dies the next moment, and whoever comes next finishes the purge.
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

  /** Purges all that is due, until `signal` aborts; nothing on the word of another Docker than the known one. What fails is left to a later sweep. @throws what the database throws */
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

  /** Purges one container if its time is over. Never throws. @returns null where another is at it, or was before */
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
      // If this takes longer than the lease lasts, another may do the same: gone already is success, and one of them notes it.
      await this.metrics.measure('purge', () => this.removeVolumes(row));
      // A Docker that was exchanged meanwhile knew of no volume, and that was no removal.
      await this.known.assertSame();
    } catch (error) {
      // Where not even the database answers, the lease runs out by itself.
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
