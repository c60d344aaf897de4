import { Inject, Injectable } from '@nestjs/common';
import { type Config, CONFIG } from '../../config';
import { DomainError } from '../../errors';
import { LocalQueue } from '../../scheduling';
import { Signals } from '../../signals';
import type { ContainerRow, Operation } from '../model/container.entity';
import { ContainerRepository } from '../rows/container.repository';
import { isTermOver } from '../leases/lease-term';
import { type Grant, LeaseStore } from '../leases/lease-store';
import { OperationLease } from './operation-lease';

/**
 * How often a waiter checks whether another process has released the lease. A release in this process is signalled at
 * once; one in another process is too if Redis is configured.
 */
const POLL_MS = 100;

/** The row's columns about the operation that leases the container. */
export type OperationColumns = Pick<
  ContainerRow,
  'operation' | 'operationId' | 'operationHolder' | 'operationExpiresAt' | 'operationCancelled'
>;

/**
 * Grants leases on containers: one holder at a time, across processes. When a holder stops renewing its lease,
 * `LeaseWatch` ends the lease, and any process may take over.
 */
@Injectable()
export class ContainerLeases {
  private readonly queue = new LocalQueue();
  private readonly abandonListeners: ((containerId: string) => void)[] = [];

  constructor(
    private readonly repository: ContainerRepository,
    private readonly signals: Signals,
    private readonly store: LeaseStore,
    @Inject(CONFIG) private readonly config: Pick<Config, 'OPERATION_WAIT_SECONDS'>,
  ) {}

  /**
   * Waits at most `waitMs` for a running operation, then leases the container. A deletion asks a running creation to
   * cancel. The lease's row is current as of the acquisition.
   *
   * @param row as just read; saves another read if the container is not leased
   * @throws DomainError `operation_in_progress`, `container_not_found`
   */
  async acquire(
    row: ContainerRow,
    operation: Operation,
    waitMs = this.config.OPERATION_WAIT_SECONDS * 1000,
  ): Promise<OperationLease> {
    if (operation === 'delete') await this.cancelCreation(row);
    const deadline = performance.now() + waitMs;
    const turn = await this.queue.enter(row.id, waitMs);
    if (!turn) throw inProgress(await this.reread(row.id));
    try {
      return await this.acquireBefore(deadline, turn.waited ? await this.reread(row.id) : row, operation, turn.leave);
    } catch (error) {
      turn.leave();
      throw error;
    }
  }

  /** Takes up the lease that a container was inserted with (see {@link newLease}): there can be no other holder. */
  async adopt(row: ContainerRow, grant: Grant): Promise<OperationLease> {
    const turn = await this.queue.enter(row.id, 0);
    if (!turn) throw inProgress(row);
    return this.hold(row, { grant, interrupted: null, leave: turn.leave });
  }

  /**
   * Waits at most `OPERATION_WAIT_SECONDS` for operations that are in progress; takes no lease.
   *
   * @param isAwaited whether to wait for the end of this operation
   * @returns the row if the container is still live, null if it is deleted
   * @throws DomainError `operation_in_progress`
   */
  async after(row: ContainerRow, isAwaited: (operation: Operation | null) => boolean): Promise<ContainerRow | null> {
    const deadline = performance.now() + this.config.OPERATION_WAIT_SECONDS * 1000;
    for (let current: ContainerRow | null = row; ; current = await this.repository.findById(row.id)) {
      if (!current || !isAwaited(current.operation)) return current;
      const left = deadline - performance.now();
      if (left <= 0) throw inProgress(current);
      await this.releasedOrTimeout(row.id, Math.min(POLL_MS, left));
    }
  }

  /** Creates a lease on a row that is about to be inserted. */
  newLease(containerId: string, operation: Operation): { columns: OperationColumns; grant: Grant } {
    const grant = this.store.newGrant('operation', containerId);
    return { columns: columnsOf(grant, operation), grant };
  }

  /** Calls `listener` whenever a lease of this process ends with recovery pending. It must not throw. */
  onAbandoned(listener: (containerId: string) => void): void {
    this.abandonListeners.push(listener);
  }

  /** Asks a running creation to cancel; its holder stops at its next step. */
  private async cancelCreation(row: ContainerRow): Promise<void> {
    if (row.operation !== 'create') return;
    if (await this.repository.requestCancel(row.id)) {
      this.signals.publish('operation_cancelled', { containerId: row.id });
    }
  }

  private async acquireBefore(
    deadline: number,
    first: ContainerRow,
    operation: Operation,
    leave: () => void,
  ): Promise<OperationLease> {
    for (let row = first; ; row = await this.reread(row.id)) {
      const left = deadline - performance.now();
      if (row.operation === null || isTermOver(row.operationExpiresAt)) {
        const grant = this.store.newGrant('operation', row.id);
        if (await this.store.acquireAsRead(grant, { operation, revision: row.revision })) {
          const leased = { ...row, ...columnsOf(grant, operation), revision: row.revision + 1 };
          return this.hold(leased, { grant, interrupted: row.operation, leave });
        }
      } else if (left <= 0) {
        throw inProgress(row);
      } else {
        await this.releasedOrTimeout(row.id, Math.min(POLL_MS, left));
      }
    }
  }

  private hold(
    row: ContainerRow,
    { grant, interrupted, leave }: { grant: Grant; interrupted: Operation | null; leave: () => void },
  ): OperationLease {
    return new OperationLease({
      row,
      grant,
      interrupted,
      store: this.store,
      repository: this.repository,
      signals: this.signals,
      onEnd: leave,
      onAbandoned: (containerId) => this.abandonListeners.forEach((listener) => listener(containerId)),
    });
  }

  private async reread(id: string): Promise<ContainerRow> {
    const row = await this.repository.findById(id);
    if (!row) throw new DomainError('container_not_found');
    return row;
  }

  private async releasedOrTimeout(containerId: string, ms: number): Promise<void> {
    await new Promise<void>((resolve) => {
      const done = (): void => {
        clearTimeout(timer);
        stopListening();
        resolve();
      };
      const timer = setTimeout(done, ms);
      const stopListening = this.signals.on('container_released', (released) => {
        if (released.containerId === containerId) done();
      });
    });
  }
}

function columnsOf({ leaseId, stamp }: Grant, operation: Operation): OperationColumns {
  return {
    operation,
    operationId: leaseId,
    operationHolder: stamp.holder,
    operationExpiresAt: stamp.expiresAt,
    operationCancelled: false,
  };
}

function inProgress(row: ContainerRow): DomainError {
  return new DomainError('operation_in_progress', { fields: { operation: row.operation ?? 'unknown' }, retryAfter: 1 });
}
