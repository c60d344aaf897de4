import { Injectable } from '@nestjs/common';
import { IdempotencyKeys, onceOnly } from '../../idempotency';
import { TiersService } from '../../tiers';
import { type Caller, ContainerAccess } from '../access/container-access';
import { Capacity } from '../capacity/capacity';
import type { CreateOptions } from './creation';
import { type CreateSnapshotDto, snapshotView, type SnapshotView } from '../dto/snapshots';
import { bytesOf } from '../model/snapshot.entity';
import { SnapshotMaking } from '../snapshots/snapshot-making';

/** Accepts requests for snapshots. */
@Injectable()
export class SnapshotCreation {
  constructor(
    private readonly containers: ContainerAccess,
    private readonly making: SnapshotMaking,
    private readonly capacity: Capacity,
    private readonly tiers: TiersService,
    private readonly keys: IdempotencyKeys,
  ) {}

  /**
   * Accepts a snapshot of a container. It is made in the background, and events report how it ends.
   *
   * @throws DomainError `container_not_found`, `ambiguous_id`, `not_authorized`, `guest_session_expired`,
   *   `snapshot_limit_reached`, `container_not_running` if the container's creation is under way or has failed,
   *   `operation_in_progress`, `no_capacity`, `idempotency_key_reused`, `snapshot_failed`,
   *   `invalid_parameters` if the files outside the home are larger than the container's disk
   */
  async create(
    caller: Caller,
    id: string,
    request: Readonly<CreateSnapshotDto>,
    { idempotencyKey: key, onReplayed }: CreateOptions = {},
  ): Promise<SnapshotView> {
    const container = await this.containers.findInSession(caller, id);
    const once = onceOnly(key, { route: 'snapshots', container: container.id, ...request });
    const earlier = await this.keys.earlier<SnapshotView>(caller.userId, once);
    if (earlier) {
      onReplayed?.();
      return earlier;
    }
    const { answer, isReplayed } = await this.making.begin(container, {
      name: request.name ?? null,
      description: request.description ?? null,
      labels: request.labels ?? {},
      isTransient: false,
      limits: this.tiers.limitsOf(caller.tier),
      around: async (row, insert) => {
        await this.capacity.assertDisk(bytesOf(row));
        return this.keys.once<SnapshotView>(caller.userId, once, async (keep) => {
          await keep({ answer: snapshotView(row), id: row.id });
          await insert();
        });
      },
    });
    if (isReplayed) onReplayed?.();
    return answer;
  }
}
