import { Injectable } from '@nestjs/common';
import { DomainError } from '../../errors';
import { IdempotencyKeys, onceOnly, type OnceOnly } from '../../idempotency';
import { TiersService } from '../../tiers';
import { Capacity } from '../capacity/capacity';
import { type Caller, ContainerAccess } from '../access/container-access';
import { type Copies, CopyCreation } from './copies';
import type { CreateOptions } from './creation';
import type { ContainerCreatedView } from '../dto/responses';
import type { ForkContainerDto, ForkedContainersView } from '../dto/snapshots';
import type { ContainerRow } from '../model/container.entity';
import { SnapshotMaking } from '../snapshots/snapshot-making';
import { SnapshotRemoval } from '../snapshots/snapshot-removal';

type Forked = ContainerCreatedView | ForkedContainersView;

/** Makes copies of containers, from a snapshot that exists only meanwhile. */
@Injectable()
export class Forks {
  constructor(
    private readonly containers: ContainerAccess,
    private readonly creation: CopyCreation,
    private readonly making: SnapshotMaking,
    private readonly removal: SnapshotRemoval,
    private readonly capacity: Capacity,
    private readonly tiers: TiersService,
    private readonly keys: IdempotencyKeys,
  ) {}

  /**
   * Accepts copies of a container: all of them or none. They are created in the background, and events report the
   * progress; each waits for the snapshot of the container.
   *
   * @returns the copy; or with `count` all of them
   * @throws DomainError `container_not_found`, `ambiguous_id`, `not_authorized`, `guest_session_expired`,
   *   `container_limit_reached`, `name_taken`, `no_capacity`, `invalid_parameters` if the files outside the home are
   *   larger than the container's disk, `container_not_running` if the container's own creation
   *   is under way or has failed, `operation_in_progress`, `idempotency_key_reused`, `snapshot_failed`
   */
  async fork(
    caller: Caller,
    id: string,
    request: Readonly<ForkContainerDto>,
    { idempotencyKey: key, onReplayed }: CreateOptions = {},
  ): Promise<Forked> {
    const source = await this.containers.findInSession(caller, id);
    const once = onceOnly(key, { route: 'fork', container: source.id, ...request });
    const earlier = await this.keys.earlier<Forked>(caller.userId, once);
    if (earlier) {
      onReplayed?.();
      return earlier;
    }
    const copies = this.creation.copiesOf(caller, source, namesOf(request));
    const result = await this.begin(caller, { source, copies, once, isList: request.count !== undefined });
    if (result.isReplayed) onReplayed?.();
    return result.answer;
  }

  private async begin(
    caller: Caller,
    fork: { source: ContainerRow; copies: Copies; once: OnceOnly | null; isList: boolean },
  ): Promise<{ answer: Forked; isReplayed: boolean }> {
    const { source, copies, once, isList } = fork;
    const [view] = copies.views;
    const [row] = copies.rows;
    if (!view || !row) throw new DomainError('internal_error');
    const answer: Forked = isList ? { containers: copies.views } : view;
    const { snapshotId, ...result } = await this.making.begin(source, {
      name: null,
      description: null,
      labels: {},
      isTransient: true,
      onlyCopy: ({ nodeId }) => {
        const [copy, ...more] = copies.rows;
        return more.length === 0 && copy?.nodeId === nodeId ? copy : null;
      },
      limits: this.tiers.limitsOf(caller.tier),
      around: async (snapshot, insert) => {
        await this.capacity.assertDisk(snapshot.layerBytes);
        const inserted = await copies.within(snapshot, (insertAll) =>
          this.keys.once<Forked>(caller.userId, once, async (keep) => {
            await keep({ answer, id: row.id });
            await insert(insertAll);
          }),
        );
        return { ...inserted, snapshotId: snapshot.id };
      },
    });
    if (!result.isReplayed) void copies.begin().then(() => this.removal.discard(snapshotId));
    return result;
  }
}

/** With a count, a given name is that of all copies, with a number. */
function namesOf({ name, count }: Readonly<ForkContainerDto>): (string | null)[] {
  if (count === undefined) return [name ?? null];
  const numbered = (at: number): string | null => (name === undefined ? null : `${name.slice(0, 61)}-${String(at)}`);
  return Array.from({ length: count }, (_none, at) => numbered(at + 1));
}
