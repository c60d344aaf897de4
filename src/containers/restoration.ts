import { Injectable } from '@nestjs/common';
import { DomainError } from '../errors';
import { Clock } from '../scheduling';
import { TiersService } from '../tiers';
import { assertSession, type Caller, ContainerRights } from './access/container-access';
import type { ContainerReference } from './model/container-id';
import { containerFacts, type ContainerRow, isDeletion } from './model/container.entity';
import { ContainerRepository } from './rows/container.repository';
import { DeletedContainers } from './rows/deleted-containers';
import { ContainerLeases } from './operations/container-leases';
import type { Outcome } from './operations/outcome';
import { NO_RUN } from './policies/run-policy';
import type { ContainerPatch } from './rows/container.repository';

/** `Retry-After`, in seconds: the time that a sweep may take to remove the old container. */
const REMOVAL_RETRY_AFTER = 60;

/** Maximum attempts of a restore whose row changes meanwhile. */
const MAX_ROUNDS = 10;

/** Restores deleted containers while their data is kept. Makes no Docker call: the next start recreates them there. */
@Injectable()
export class Restoration {
  constructor(
    private readonly repository: ContainerRepository,
    private readonly deleted: DeletedContainers,
    private readonly rights: ContainerRights,
    private readonly leases: ContainerLeases,
    private readonly tiers: TiersService,
    private readonly clock: Clock,
  ) {}

  /**
   * @returns the live row: restored, or unchanged if it was live already
   * @throws DomainError `container_not_found` (past its retention, too), `not_authorized`, `guest_session_expired`,
   * `name_taken`, `container_limit_reached`, `operation_in_progress` while its deletion is running, or if the row keeps
   * changing, `removal_pending` while Docker still has its container
   */
  async restore(caller: Caller, reference: ContainerReference): Promise<ContainerRow> {
    // Each further round reads the row as a concurrent writer left it.
    for (let rounds = 0; rounds < MAX_ROUNDS; rounds += 1) {
      const row = await this.find(caller, reference);
      if (row.deletedAt === null) return row;
      // The old container may still run on the volume.
      if (row.removalPendingSince !== null)
        throw new DomainError('removal_pending', { retryAfter: REMOVAL_RETRY_AFTER });
      const limit = this.tiers.limitsOf(caller.tier).containers;
      const restored = await this.deleted.restore({ row, ...restoredOutcome(row) }, { limit, tier: caller.tier });
      if (restored) return restored;
    }
    throw new DomainError('operation_in_progress', { fields: { operation: 'restore' }, retryAfter: 1 });
  }

  private async find(caller: Caller, reference: ContainerReference): Promise<ContainerRow> {
    const row =
      (await this.repository.find(reference)) ??
      (await this.deleted.findRestorable(reference)) ??
      // Another restore may have completed between the two reads.
      (await this.repository.find(reference));
    if (!row) throw new DomainError('container_not_found');
    await this.rights.assertOwner(caller, row);
    assertSession(caller, this.clock.now());
    if (row.deletedAt !== null) return row;
    // The row is live, but a deletion may be running. This restore came later, and has to undo the deletion.
    return (await this.leases.after(row, isDeletion)) ?? this.find(caller, reference);
  }
}

/** The outcome of a restoration. Always `stopped`, as only the container's data is left. */
function restoredOutcome(row: ContainerRow): Outcome {
  const patch: ContainerPatch = {
    deletedAt: null,
    purgeAt: null,
    status: 'stopped',
    statusReason: null,
    ipAddress: null,
    runStartedAt: null,
    ...NO_RUN,
  };
  return { patch, events: [{ type: 'container_restored', data: containerFacts({ ...row, ...patch }) }] };
}
