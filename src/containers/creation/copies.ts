import { Injectable } from '@nestjs/common';
import { randomUUID } from 'node:crypto';
import { Clock } from '../../scheduling';
import type { Caller } from '../access/container-access';
import { Capacity } from '../capacity/capacity';
import * as answer from '../dto/responses';
import { containerFacts, type ContainerRow } from '../model/container.entity';
import { nameAfter, type SnapshotRow } from '../model/snapshot.entity';
import { newContainer } from './new-container';
import { ContainerLeases } from '../operations/container-leases';
import { creating } from '../operations/create';
import { OperationRunner } from '../operations/operation-runner';
import { ContainerRepository } from '../rows/container.repository';
import type { CapacityBounds } from '../rows/reserved-capacity';
import { endsOf, Specifications } from './specification';

/** Copies of a container that are about to be inserted. */
export interface Copies {
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
    private readonly leases: ContainerLeases,
    private readonly operations: OperationRunner,
    private readonly clock: Clock,
  ) {}

  /**
   * Prepares copies of a container, which are made from one snapshot of it.
   *
   * @param names one for each copy; null: made up
   * @throws DomainError `invalid_parameters` if the tier does not allow the container's settings any more
   */
  copiesOf(caller: Caller, source: ContainerRow, names: readonly (string | null)[]): Copies {
    const now = this.clock.now();
    const settings = this.specifications.ofCopy(caller.tier, source);
    const { limits } = settings;
    const prepared = names.map((name) => {
      const id = randomUUID();
      const sealed = this.specifications.seal(id, settings);
      const { columns: lease, grant } = this.leases.newLease(id, 'create');
      const request = {
        name: name ?? nameAfter(source, id),
        labels: source.labels,
        ...endsOf(source),
      };
      const row = newContainer({ id, userId: caller.userId, request, ...sealed, lease, now });
      return { row, grant };
    });
    const insertAll = async (snapshot: SnapshotRow, bounds: CapacityBounds): Promise<void> => {
      for (const each of prepared) {
        const { id: seedSnapshotId, keptLayerMb } = snapshot;
        const row = { ...each.row, seedSnapshotId, keptLayerMb };
        const event = { type: 'container_created', data: containerFacts(row) } as const;
        const options = { limit: limits.containers, tier: caller.tier, event, bounds };
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
