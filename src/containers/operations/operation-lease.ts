import type { EventDraft } from '../../events';
import { Signals } from '../../signals';
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
  readonly signals: Signals;
  readonly onEnd: () => void;
  /** Called when the lease ends with a recovery still pending. */
  readonly onAbandoned: (containerId: string) => void;
}

/** An exclusive lease to operate on one container. It ends with `commit`, `abandon` or `end`. */
export class OperationLease extends Lease {
  private current: ContainerRow;
  private abandonedOperation: Operation | null;
  private recoveredOperation: Operation | null = null;
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

  /** The abandoned operation that was recovered under this lease; usually null. */
  get recovered(): Operation | null {
    return this.recoveredOperation;
  }

  /** To be called when the abandoned operation has been recovered. */
  markRecovered(): void {
    this.recoveredOperation = this.abandonedOperation;
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
    this.current = await this.currentRow();
  }

  /** The row as it is in the database: `lastUsedAt` is written without the lease. */
  async currentRow(): Promise<ContainerRow> {
    return (await this.options.repository.findById(this.current.id)) ?? this.current;
  }

  /** @throws DomainError `name_taken` if another container of the user has the name */
  async assertNameFree(name: string): Promise<void> {
    const { id, userId } = this.current;
    await this.options.repository.assertNameFree({ userId, name, except: id });
  }

  /** Has `work` write the row under this lease; the lease continues. @throws LeaseLostError, and as `work` */
  async write<T extends ContainerRow>(work: (row: ContainerRow) => Promise<T>): Promise<T> {
    const written = await work(this.current);
    this.current = written;
    return written;
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
