import { Injectable } from '@nestjs/common';
import { DomainError } from '../../errors';
import { IdempotencyKeys, onceOnly, type OnceOnly, type RequestKey } from '../../idempotency';
import { TiersService } from '../../tiers';
import { type Caller, ContainerAccess } from '../access/container-access';
import { Capacity } from '../capacity/capacity';
import * as answer from '../dto/responses';
import type { ContainerCreatedView } from '../dto/responses';
import type { ForkContainerDto, ForkedContainersView } from '../dto/snapshots';
import { containerFacts, type ContainerRow } from '../model/container.entity';
import { nameAfter, type SnapshotRow } from '../model/snapshot.entity';
import { creating } from '../operations/create';
import { OperationRunner } from '../operations/operation-runner';
import { ContainerRepository } from '../rows/container.repository';
import type { CapacityBounds } from '../rows/reserved-capacity';
import { SnapshotMaking } from '../snapshots/snapshot-making';
import { SnapshotRemoval } from '../snapshots/snapshot-removal';
import { Insertion } from './insertion';
import { endsOf, Specifications } from './specification';

/** Copies of a container that are about to be inserted. */
interface Copies {
  /** As inserted, once they are: with their nodes. */
  readonly rows: readonly ContainerRow[];
  readonly views: readonly answer.ContainerCreatedView[];
  /**
   * Inserts the copies together with the snapshot that they are made from.
   *
   * @param insert runs its argument in the transaction that inserts the snapshot
   * @throws DomainError `container_limit_reached`, `name_taken`, `no_capacity`
   */
  within<T>(snapshot: SnapshotRow, insert: (insertAll: () => Promise<void>) => Promise<T>): Promise<T>;
  /** Makes the copies; resolves once each is made or has failed. Never rejects. */
  begin(): Promise<void>;
}

/** Creates containers as copies of another. */
@Injectable()
export class CopyCreation {
  constructor(
    private readonly specifications: Specifications,
    private readonly capacity: Capacity,
    private readonly repository: ContainerRepository,
    private readonly insertion: Insertion,
    private readonly operations: OperationRunner,
  ) {}

  /**
   * Prepares copies of a container, which are made from one snapshot of it.
   *
   * @param names one for each copy; null: made up
   * @throws DomainError `invalid_parameters` if the tier does not allow the container's settings any more
   */
  copiesOf(caller: Caller, source: ContainerRow, names: readonly (string | null)[]): Copies {
    const { userId, tier } = caller;
    const settings = this.specifications.ofCopy(tier, source);
    const { limits } = settings;
    const request = { labels: source.labels, ...endsOf(source) };
    const prepared = names.map((name) => {
      const { row, grant } = this.insertion.newRow({ userId, request, settings, snapshot: null });
      return { row: { ...row, name: name ?? nameAfter(source, row.id) }, grant };
    });
    const insertAll = async (snapshot: SnapshotRow, bounds: CapacityBounds): Promise<void> => {
      for (const each of prepared) {
        const { id: seedSnapshotId, keptLayerMb } = snapshot;
        const row = { ...each.row, seedSnapshotId, keptLayerMb };
        const event = { type: 'container_created', data: containerFacts(row) } as const;
        const options = { limit: limits.containers, tier, event, bounds };
        each.row = await this.repository.insert(row, options);
      }
    };
    return {
      get rows() {
        return prepared.map(({ row }) => row);
      },
      views: prepared.map((each) => answer.created(each.row, { session: caller, tier: limits })),
      within: (snapshot, insert) =>
        this.capacity.within((bounds) => insert(() => insertAll(snapshot, bounds)), {
          preferred: snapshot.nodeId,
          pool: limits.pool,
        }),
      begin: async () => {
        await Promise.all(
          prepared.map(({ row, grant }) => this.operations.runCreation(row, grant, creating({ isNew: true }))),
        );
      },
    };
  }
}

type Forked = ContainerCreatedView | ForkedContainersView;

/** Makes copies of containers, from a snapshot that exists only meanwhile. */
@Injectable()
export class Forks {
  constructor(
    private readonly containers: ContainerAccess,
    private readonly copying: CopyCreation,
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
    { key, onReplayed }: RequestKey,
  ): Promise<Forked> {
    const source = await this.containers.findInSession(caller, id);
    const once = onceOnly(key, { route: 'fork', container: source.id, ...request });
    const earlier = await this.keys.earlier<Forked>(caller.userId, once);
    if (earlier) {
      onReplayed?.();
      return earlier;
    }
    const copies = this.copying.copiesOf(caller, source, namesOf(request));
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
