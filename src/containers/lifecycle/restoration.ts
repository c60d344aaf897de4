import { Injectable } from '@nestjs/common';
import type { Principal } from '../../auth';
import { Clock } from '../../clock';
import { DomainError } from '../../errors';
import { TiersService } from '../../tiers';
import { assertOwner } from '../assert-owner';
import { assertSession } from '../assert-session';
import type { ContainerReference } from '../container-reference';
import type { ContainerRow } from '../container.entity';
import { ContainerRepository } from '../container.repository';
import { DeletedContainers } from '../deleted-containers';
import { ContainerClaims } from './claims';
import { settleRestored } from './settlement';

/** How often a row may change under a restore. */
const MAX_ROUNDS = 10;

/** Brings deleted containers back, for as long as their data is kept. Docker is not asked: the next start makes them anew. */
@Injectable()
export class Restoration {
  constructor(
    private readonly repository: ContainerRepository,
    private readonly deleted: DeletedContainers,
    private readonly claims: ContainerClaims,
    private readonly tiers: TiersService,
    private readonly clock: Clock,
  ) {}

  /**
   * @returns the live row: restored, or as it is if it was live already
   * @throws DomainError `container_not_found` (past its time, too), `not_authorized`, `guest_session_expired`, `name_taken`,
   *   `container_limit_reached`, `operation_in_progress` while its deletion goes on
   */
  async restore(
    caller: Pick<Principal, 'userId' | 'tier' | 'sessionExpiresAt'>,
    reference: ContainerReference,
  ): Promise<ContainerRow> {
    // Each further round finds what somebody else has made of the row meanwhile.
    for (let rounds = 0; rounds < MAX_ROUNDS; rounds += 1) {
      const row = await this.find(caller, reference);
      if (row.deletedAt === null) return row;
      const limit = this.tiers.limitsOf(caller.tier).containers;
      const restored = await this.deleted.restore({ row, ...settleRestored(row) }, { limit, tier: caller.tier });
      if (restored) return restored;
    }
    throw new DomainError('operation_in_progress', { fields: { operation: 'restore' }, retryAfter: 1 });
  }

  private async find(
    caller: Pick<Principal, 'userId' | 'sessionExpiresAt'>,
    reference: ContainerReference,
  ): Promise<ContainerRow> {
    const live = await this.repository.find(reference);
    const row = live ?? (await this.deleted.findRestorable(reference));
    if (!row) throw new DomainError('container_not_found');
    assertOwner(caller, row);
    assertSession(caller, this.clock.now());
    if (!live) return row;
    // It may be about to be deleted; asked for afterwards, this restore is meant to undo that.
    return (await this.claims.afterDeletion(live)) ?? this.find(caller, reference);
  }
}
