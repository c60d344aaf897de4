import { randomUUID } from 'node:crypto';
import { Inject, Injectable } from '@nestjs/common';
import { type Config, CONFIG } from '../../config';
import { DomainError } from '../../errors';
import { Signals } from '../../signals';
import { ClaimTerms, isTermOver, type Stamp } from '../claim-term';
import type { ContainerRow } from '../container.entity';
import { ContainerRepository } from '../container.repository';
import type { Operation } from '../container-state';
import { Claim } from './claim';
import { LocalQueue } from '../../local-queue';

/** How often a waiter looks whether another process has let go; within this process it is told at once. */
const POLL_MS = 100;

/** What a row says of the operation that holds it. */
export type OperationColumns = Pick<
  ContainerRow,
  'operation' | 'operationId' | 'operationHolder' | 'operationExpiresAt' | 'operationCancelled'
>;

/**
 * Hands out the right to operate on a container: one holder at a time, across processes. The holder renews it; when it does
 * not any more, `ClaimWatch` ends the claim, and anyone may take over.
 */
@Injectable()
export class ContainerClaims {
  private readonly queue = new LocalQueue();
  private readonly abandonListeners: ((containerId: string) => void)[] = [];

  constructor(
    private readonly repository: ContainerRepository,
    private readonly signals: Signals,
    private readonly terms: ClaimTerms,
    @Inject(CONFIG) private readonly config: Pick<Config, 'OPERATION_WAIT_SECONDS'>,
  ) {}

  /**
   * Waits for the running operation, at most `waitMs`, then holds the container. The claim's row is as of the claim.
   *
   * @param row as it was just read; saves reading it again when nobody is in the way
   * @throws DomainError `operation_in_progress`, `container_not_found`
   */
  async acquire(
    row: ContainerRow,
    operation: Operation,
    waitMs = this.config.OPERATION_WAIT_SECONDS * 1000,
  ): Promise<Claim> {
    const deadline = performance.now() + waitMs;
    const turn = await this.queue.enter(row.id, waitMs);
    if (!turn) throw inProgress(await this.reread(row.id));
    try {
      return await this.claimBefore(deadline, turn.waited ? await this.reread(row.id) : row, operation, turn.leave);
    } catch (error) {
      turn.leave();
      throw error;
    }
  }

  /** A container that was inserted with its claim, by `newClaim`: nobody can be in its way. */
  async adopt(row: ContainerRow, stamp: Stamp): Promise<Claim> {
    const turn = await this.queue.enter(row.id, 0);
    if (!turn) throw inProgress(row);
    return this.hold(row, { stamp, interrupted: null, leave: turn.leave });
  }

  /**
   * Waits for a deletion that is under way, at most `OPERATION_WAIT_SECONDS`; holds nothing.
   *
   * @returns the row if it is live after all, null if it is deleted
   * @throws DomainError `operation_in_progress`
   */
  async afterDeletion(row: ContainerRow): Promise<ContainerRow | null> {
    const deadline = performance.now() + this.config.OPERATION_WAIT_SECONDS * 1000;
    for (let current: ContainerRow | null = row; ; current = await this.repository.findById(row.id)) {
      if (current?.operation !== 'delete') return current;
      const left = deadline - performance.now();
      if (left <= 0) throw inProgress(current);
      await this.releasedOrTimeout(row.id, Math.min(POLL_MS, left));
    }
  }

  /** A claim on a row that is about to be inserted. */
  newClaim(operation: Operation): { columns: OperationColumns & { operationId: string }; stamp: Stamp } {
    const stamp = this.terms.stamp();
    const operationId = randomUUID();
    const columns = {
      operation,
      operationId,
      operationHolder: stamp.holder,
      operationExpiresAt: stamp.expiresAt,
      operationCancelled: false,
    };
    return { columns, stamp };
  }

  /** Asks a running creation to give up; its holder does so at its next step. */
  async cancelCreation(row: ContainerRow): Promise<void> {
    if (row.operation !== 'create') return;
    if (await this.repository.requestCancel(row.id)) {
      this.signals.publish('operation_cancelled', { containerId: row.id });
    }
  }

  /** Calls `listener` whenever a claim of this process ends with something left to do. It must not throw. */
  onAbandoned(listener: (containerId: string) => void): void {
    this.abandonListeners.push(listener);
  }

  private async claimBefore(
    deadline: number,
    first: ContainerRow,
    operation: Operation,
    leave: () => void,
  ): Promise<Claim> {
    for (let row = first; ; row = await this.reread(row.id)) {
      const left = deadline - performance.now();
      if (row.operation === null || isTermOver(row.operationExpiresAt)) {
        const { columns, stamp } = this.newClaim(operation);
        const { operationId } = columns;
        if (await this.repository.claim(row, { operation, operationId, ...stamp })) {
          const held = { ...row, ...columns, revision: row.revision + 1 };
          return this.hold(held, { stamp, interrupted: row.operation, leave });
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
    { stamp, interrupted, leave }: { stamp: Stamp; interrupted: Operation | null; leave: () => void },
  ): Claim {
    return new Claim({
      row,
      stamp,
      interrupted,
      repository: this.repository,
      signals: this.signals,
      terms: this.terms,
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

function inProgress(row: ContainerRow): DomainError {
  return new DomainError('operation_in_progress', { fields: { operation: row.operation ?? 'unknown' }, retryAfter: 1 });
}
