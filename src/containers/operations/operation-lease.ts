import type { EventDraft } from '../../events';
import { Signals } from '../../signals';
import { DomainError } from '../../errors';
import { Capacity } from '../capacity/capacity';
import type { CapacityBounds } from '../rows/reserved-capacity';
import type { ContainerRow, Operation } from '../model/container.entity';
import { ContainerRepository } from '../rows/container.repository';
import { NOTHING, type Outcome } from './outcome';
import { Lease } from '../leases/lease';
import { type Grant, LeaseStore } from '../leases/lease-store';

/** The holder of the creation was asked to cancel it. */
export class CancelledError extends Error {
  override readonly name = 'CancelledError';
}

interface OperationLeaseOptions {
  readonly row: ContainerRow;
  readonly grant: Grant;
  readonly interrupted: Operation | null;
  readonly store: LeaseStore;
  readonly repository: ContainerRepository;
  readonly capacity: Capacity;
  readonly signals: Signals;
  readonly onEnd: () => void;
  /** Called when the lease ends with a recovery still pending. */
  readonly onAbandoned: (containerId: string) => void;
}

/** An exclusive lease to operate on one container. It ends with `commit`, `abandon` or `end`. */
export class OperationLease extends Lease {
  private current: ContainerRow;
  private abandonedOperation: Operation | null;
  private readonly cancelled = new AbortController();
  private readonly either = AbortSignal.any([super.signal, this.cancelled.signal]);
  private readonly stopListening: () => void;

  constructor(private readonly options: OperationLeaseOptions) {
    super(options.grant, options.store);
    this.current = options.row;
    this.abandonedOperation = options.interrupted;
    this.stopListening = options.signals.on('operation_cancelled', ({ containerId }) => {
      if (containerId === this.current.id) this.cancel();
    });
  }

  /** The row as of the last write of this lease. */
  get row(): ContainerRow {
    return this.current;
  }

  /** The operation that an earlier holder abandoned and that must be recovered first; usually null. */
  get interrupted(): Operation | null {
    return this.abandonedOperation;
  }

  /** To be called when the abandoned operation has been recovered. */
  markRecovered(): void {
    this.abandonedOperation = null;
  }

  override get signal(): AbortSignal {
    return this.either;
  }

  /** To be called before each step of an operation, but not of its rollback. @throws LeaseLostError, CancelledError */
  async assertNotCancelled(): Promise<void> {
    await this.assertHeld();
    this.cancelled.signal.throwIfAborted();
  }

  /**
   * Verifies the lease in the database, and reads the row again. A failed write may have been committed: a connection
   * can break between the commit and its acknowledgement. Then the lease has ended, or the row has changed.
   *
   * @throws LeaseLostError, also if the database does not answer before the term is over; the database's error if the
   *   row cannot be read
   */
  async confirm(): Promise<void> {
    await this.verify();
    this.current = (await this.options.repository.findById(this.current.id)) ?? this.current;
  }

  /**
   * Reserves room for a run within these limits, if the container has not reserved it yet: on its node, or on a new
   * node of `pool` if it has none. To be called before anything is done in Docker.
   *
   * @throws DomainError `no_capacity`, and nothing is changed then; LeaseLostError
   */
  async reserve(limits: Pick<ContainerRow, 'memoryMb' | 'cpuShares'>, { pool }: { pool?: string } = {}): Promise<void> {
    const { row } = this;
    if (row.reservedMemoryMb >= limits.memoryMb && row.reservedCpuShares >= limits.cpuShares) return;
    const { capacity, repository } = this.options;
    const where = { node: row.nodeId, isRunning: row.status === 'running', ...(pool !== undefined && { pool }) };
    this.current = await capacity.within((bounds) => repository.reserve(row, limits, bounds), where);
  }

  /**
   * Places the container on another node of the pool, but on none of `except`. Makes no call to the current node.
   *
   * @throws DomainError `no_capacity`, and nothing is changed then; LeaseLostError
   */
  async placeElsewhere(where: { pool: string; except: readonly string[] }): Promise<void> {
    const { row } = this;
    const { capacity, repository } = this.options;
    this.current = await capacity.within((bounds) => repository.placeElsewhere(row, bounds), where);
  }

  /**
   * Reserves room for the container on another node as well, until nothing of the container is left on one of the two.
   * To be called before anything is done in Docker.
   *
   * @param to.node the node's id; absent: the node of the pool with the most room
   * @returns the node's id
   * @throws DomainError `no_capacity`, `same_node`, `node_unavailable` if a third node may still have something of the
   *   container, and nothing is changed then; LeaseLostError
   */
  async reserveElsewhere({ node, pool }: { node?: string; pool: string }): Promise<string> {
    const { row } = this;
    if (node === row.nodeId) throw new DomainError('same_node');
    if (row.otherNodeId !== null) throw new DomainError('node_unavailable');
    const { capacity, repository } = this.options;
    const reserve = (bounds: CapacityBounds): Promise<ContainerRow & { otherNodeId: string }> =>
      repository.reserveElsewhere(row, bounds);
    const reserved = await capacity.within(reserve, {
      node: node ?? null,
      pool,
      except: row.nodeId === null ? [] : [row.nodeId],
    });
    this.current = reserved;
    return reserved.otherNodeId;
  }

  /** Writes the outcome with its events and ends the lease. @throws LeaseLostError, DomainError `name_taken` */
  async commit(outcome: Outcome): Promise<ContainerRow> {
    this.current = await this.options.repository.commit({ row: this.current, ...outcome });
    this.end();
    return this.current;
  }

  /** Writes intermediate findings; the lease continues. @throws LeaseLostError */
  async record(findings: Outcome): Promise<ContainerRow> {
    this.current = await this.options.repository.record({ row: this.current, ...findings });
    return this.current;
  }

  /** Emits the operation's progress; changes nothing. @throws LeaseLostError: then nothing is emitted */
  async emit(events: readonly EventDraft[]): Promise<void> {
    await this.options.repository.emit(this.current, events);
  }

  /**
   * Releases the lease without an outcome; the next holder must handle `as` first.
   *
   * @param seen an observed change to write with the release
   * @throws LeaseLostError; the database's error, and then the lease expires by itself
   */
  async abandon(as: Operation, seen: Outcome = NOTHING): Promise<void> {
    try {
      this.current = await this.options.repository.abandonLease({ row: this.current, ...seen }, as);
      this.options.onAbandoned(this.current.id);
    } finally {
      this.end();
    }
  }

  protected override onEnd(): void {
    this.stopListening();
    this.options.onEnd();
    this.options.signals.publish('container_released', { containerId: this.current.id });
  }

  protected override async onRenewed(): Promise<void> {
    if (await this.options.repository.isCancelled(this.current.id)) this.cancel();
  }

  private cancel(): void {
    if (this.current.operation === 'create') this.cancelled.abort(new CancelledError('the creation was cancelled'));
  }
}
