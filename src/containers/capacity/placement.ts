import { Injectable } from '@nestjs/common';
import { ContainerEngine } from '../../engine';
import { DomainError } from '../../errors';
import { type ContainerRow, isUp } from '../model/container.entity';
import { RunPolicies } from '../policies/run-policy';
import { ContainerRepository } from '../rows/container.repository';
import type { CapacityBounds } from '../rows/reserved-capacity';
import { Capacity, type PlacementConstraint } from './capacity';

/** The row of a container under the lease of its operation. */
interface LeasedRow {
  readonly row: ContainerRow;
  /** Replaces {@link row} by the row that `work` has written. */
  write<T extends ContainerRow>(work: (row: ContainerRow) => Promise<T>): Promise<T>;
}

/** Reserves room for leased containers and, in a cluster, chooses their nodes. Makes no call to a node. */
@Injectable()
export class Placement {
  constructor(
    private readonly engine: ContainerEngine,
    private readonly capacity: Capacity,
    private readonly repository: ContainerRepository,
    private readonly policies: RunPolicies,
  ) {}

  /**
   * Reserves room for a run within these limits, if the container has not reserved it yet: on its node, or on a new
   * node of the user's pool if it has none. To be called before anything is done in Docker.
   *
   * @throws DomainError `no_capacity`, and nothing is changed then; LeaseLostError
   */
  async reserve(lease: LeasedRow, limits: Pick<ContainerRow, 'memoryMb' | 'cpuShares'>): Promise<void> {
    const { nodeId, userId, status, reservedMemoryMb, reservedCpuShares } = lease.row;
    if (reservedMemoryMb >= limits.memoryMb && reservedCpuShares >= limits.cpuShares) return;
    const isPlaced = nodeId !== null || this.engine.nodes.list() === null;
    const pool = isPlaced ? {} : { pool: await this.policies.poolOf(userId) };
    await this.within(lease, { node: nodeId, isRunning: isUp(status), ...pool }, (row, bounds) =>
      // A paused container has its memory already.
      this.repository.reserve(row, limits, status === 'paused' ? { ...bounds, short: [] } : bounds),
    );
  }

  /**
   * Places the container on another node of the user's pool, but on none of `except`.
   *
   * @throws DomainError `no_capacity`, and nothing is changed then; LeaseLostError
   */
  async placeElsewhere(lease: LeasedRow, except: readonly string[]): Promise<void> {
    const pool = await this.policies.poolOf(lease.row.userId);
    await this.within(lease, { pool, except }, (row, bounds) => this.repository.placeElsewhere(row, bounds));
  }

  /**
   * Reserves room for the container on another node as well, until nothing of the container is left on one of the two.
   * To be called before anything is done in Docker.
   *
   * @param to.node the node's id; absent: the node of the user's pool with the most room
   * @returns the node's id
   * @throws DomainError `no_capacity`, `same_node`, `node_unavailable` if a third node may still have something of the
   *   container, and nothing is changed then; LeaseLostError
   */
  async reserveElsewhere(lease: LeasedRow, { node }: { node?: string }): Promise<string> {
    const { nodeId, otherNodeId, userId } = lease.row;
    if (node === nodeId) throw new DomainError('same_node');
    if (otherNodeId !== null) throw new DomainError('node_unavailable');
    const pool = await this.policies.poolOf(userId);
    const except = nodeId === null ? [] : [nodeId];
    const reserved = await this.within(lease, { node: node ?? null, pool, except }, (row, bounds) =>
      this.repository.reserveElsewhere(row, bounds),
    );
    return reserved.otherNodeId;
  }

  private within<T extends ContainerRow>(
    lease: LeasedRow,
    where: PlacementConstraint,
    reserve: (row: ContainerRow, bounds: CapacityBounds) => Promise<T>,
  ): Promise<T> {
    return lease.write((row) => this.capacity.within((bounds) => reserve(row, bounds), where));
  }
}
