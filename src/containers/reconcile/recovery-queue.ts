import { Inject, Injectable, OnApplicationBootstrap, OnModuleDestroy } from '@nestjs/common';
import { Semaphore } from 'async-mutex';
import type { Logger } from 'pino';
import { type Config, CONFIG } from '../../config';
import { LOGGER } from '../../logging';
import type { ContainerRow, Operation } from '../model/container.entity';
import { ContainerRepository } from '../rows/container.repository';
import { ContainerLeases } from '../operations/container-leases';
import { Purge } from '../operations/purge';
import { creating } from '../operations/create';
import { deleting } from '../operations/delete';
import { expiring } from '../operations/expire';
import { isBenignConflict, OperationRunner } from '../operations/operation-runner';
import { starting } from '../operations/start';
import { stopping } from '../operations/stop';

/** Maximum concurrent operations of each kind, to spare the daemon. */
const CONCURRENCY = 8;

/** The delay before the first retry of a failed rollback; doubles with each further retry. */
const FIRST_PAUSE_MS = 500;

/** How a resumed operation ended; `passed`: there was nothing left to do, or another holder is doing it. */
type RecoveryOutcome = 'ok' | 'passed' | 'failed';

const OF_PURGE: Readonly<Record<string, RecoveryOutcome>> = { purged: 'ok', failed: 'failed' };

interface Retry {
  readonly attempts: number;
  /** null while a retry is running. */
  timer: NodeJS.Timeout | null;
}

/**
 * Finishes or rolls back abandoned operations, one attempt per container at a time. Sweeps and the lease watch name the
 * containers. Rollbacks that failed in this process are retried with a backoff, until the delay would reach the sweep
 * interval. The row records what has to be done, so nothing is lost if the process ends.
 */
@Injectable()
export class RecoveryQueue implements OnApplicationBootstrap, OnModuleDestroy {
  /** Creations have their own limit: each may pull an image for minutes, and nothing else should wait for that. */
  private readonly creations = new Semaphore(CONCURRENCY);
  /** Snapshots too: their containers stay suspended until then. */
  private readonly snapshots = new Semaphore(CONCURRENCY);
  private readonly others = new Semaphore(CONCURRENCY);
  private readonly underWay = new Map<string, Promise<RecoveryOutcome>>();
  private readonly retries = new Map<string, Retry>();
  private stopped = false;

  constructor(
    private readonly leases: ContainerLeases,
    private readonly repository: ContainerRepository,
    private readonly operations: OperationRunner,
    private readonly purge: Purge,
    @Inject(CONFIG) private readonly config: Pick<Config, 'SWEEP_INTERVAL_SECONDS'>,
    @Inject(LOGGER) private readonly logger: Logger,
  ) {}

  onApplicationBootstrap(): void {
    this.leases.onAbandoned((containerId) => this.retryLater(containerId));
  }

  onModuleDestroy(): void {
    this.stopped = true;
    for (const { timer } of this.retries.values()) if (timer) clearTimeout(timer);
    this.retries.clear();
  }

  /** Resumes the abandoned operation on this container. Never throws: a later sweep retries. */
  resume(containerId: string): Promise<RecoveryOutcome> {
    let resumed = this.underWay.get(containerId);
    if (resumed === undefined) {
      resumed = this.attempt(containerId).finally(() => this.underWay.delete(containerId));
      this.underWay.set(containerId, resumed);
    }
    return resumed;
  }

  private async attempt(containerId: string): Promise<RecoveryOutcome> {
    try {
      const row = await this.repository.findById(containerId);
      return await this.semaphoreOf(row?.operation).runExclusive(() => this.finish(containerId));
    } catch (error) {
      if (isBenignConflict(error)) return 'passed';
      this.logger.warn(
        { err: error, container_id: containerId },
        'an interrupted operation could not be finished yet; it is tried again',
      );
      return 'failed';
    }
  }

  private semaphoreOf(operation: Operation | null | undefined): Semaphore {
    if (operation === 'create') return this.creations;
    return operation === 'snapshot' ? this.snapshots : this.others;
  }

  private async finish(containerId: string): Promise<RecoveryOutcome> {
    const row = await this.repository.findById(containerId);
    if (row === null) return OF_PURGE[String(await this.purge.purge(containerId))] ?? 'passed';
    if (row.operation === null) return 'passed';
    await recoverAbandoned(this.operations, row);
    this.logger.info(
      { container_id: containerId, operation: row.operation },
      'recovered from an interrupted operation',
    );
    return 'ok';
  }

  private retryLater(containerId: string): void {
    const last = this.retries.get(containerId);
    if (this.stopped || last?.timer) return;
    const attempts = last ? last.attempts + 1 : 0;
    const pauseMs = FIRST_PAUSE_MS * 2 ** attempts;
    if (pauseMs >= this.config.SWEEP_INTERVAL_SECONDS * 1000) return;
    this.retries.set(containerId, { attempts, timer: setTimeout(() => void this.retry(containerId), pauseMs).unref() });
  }

  /** A failure schedules the next retry. Never throws. */
  private async retry(containerId: string): Promise<void> {
    const retry = this.retries.get(containerId);
    if (!retry) return;
    retry.timer = null;
    try {
      const row = await this.repository.findById(containerId);
      // A container that was deleted meanwhile is purged when its retention ends, not by a retry.
      if (row?.operation != null) await this.resume(containerId);
    } catch (error) {
      this.logger.warn({ err: error, container_id: containerId }, 'a rollback could not be retried');
    } finally {
      if (this.retries.get(containerId) === retry) this.retries.delete(containerId);
    }
  }
}

/**
 * Finishes or rolls back an operation whose lease expired. After a pause or a resumption the row follows Docker: it is
 * not repeated, since a client may have used the container since. Does not wait for another process that is recovering
 * it, and does nothing if another process has recovered it: later requests of the user must stand.
 *
 * @throws DomainError `operation_in_progress`, `container_not_found`; DomainError, EngineError if it fails again
 */
export async function recoverAbandoned(operations: OperationRunner, row: ContainerRow): Promise<void> {
  switch (row.operation) {
    case 'create':
      return operations.runAbandoned(row, creating({ isNew: false }));
    case 'start':
      return operations.runAbandoned(row, starting());
    case 'stop':
      return operations.runAbandoned(row, stopping());
    case 'delete':
      return operations.runAbandoned(row, deleting());
    case 'expire':
    case 'lifetime':
    case 'idle':
    case 'suspend':
    case 'auto_delete':
      return operations.run(row, expiring(row.operation));
    default:
      return operations.reconcile(row);
  }
}
