import { Inject, Injectable } from '@nestjs/common';
import { Semaphore } from 'async-mutex';
import type { Logger } from 'pino';
import { LOGGER } from '../../logging';
import { ContainerRepository } from '../container.repository';
import { Purge } from '../reconcile/purge';
import { isPassing } from './operation-runner';
import { ContainerOperations } from './operations';

/** Maximum concurrent operations of each kind, to spare the daemon. */
const CONCURRENCY = 8;

/** How a resumed operation ended; `passed`: there was nothing left to do, or another holder does it. */
export type ResumptionOutcome = 'ok' | 'passed' | 'failed';

/**
 * Finishes or rolls back abandoned operations, each once at a time. Creations have their own limit: each may pull an
 * image for minutes, and nothing else should wait for that.
 */
@Injectable()
export class Resumption {
  private readonly creations = new Semaphore(CONCURRENCY);
  private readonly others = new Semaphore(CONCURRENCY);
  private readonly underWay = new Map<string, Promise<ResumptionOutcome>>();

  constructor(
    private readonly repository: ContainerRepository,
    private readonly operations: ContainerOperations,
    private readonly purge: Purge,
    @Inject(LOGGER) private readonly logger: Logger,
  ) {}

  /** Resumes the abandoned operation on this container. Never throws: a later sweep retries. */
  resume(containerId: string): Promise<ResumptionOutcome> {
    let resumed = this.underWay.get(containerId);
    if (resumed === undefined) {
      resumed = this.attempt(containerId).finally(() => this.underWay.delete(containerId));
      this.underWay.set(containerId, resumed);
    }
    return resumed;
  }

  private async attempt(containerId: string): Promise<ResumptionOutcome> {
    try {
      const row = await this.repository.findById(containerId);
      const semaphore = row?.operation === 'create' ? this.creations : this.others;
      return await semaphore.runExclusive(() => this.finish(containerId));
    } catch (error) {
      if (isPassing(error)) return 'passed';
      this.logger.warn({ err: error, container_id: containerId }, 'finish failed; the next sweep tries again');
      return 'failed';
    }
  }

  private async finish(containerId: string): Promise<ResumptionOutcome> {
    const row = await this.repository.findById(containerId);
    if (row === null) return OF_PURGE[String(await this.purge.purge(containerId))] ?? 'passed';
    if (row.operation === null) return 'passed';
    await this.operations.resumeAbandoned(row);
    this.logger.info(
      { container_id: containerId, operation: row.operation },
      'recovered from an interrupted operation',
    );
    return 'ok';
  }
}

const OF_PURGE: Readonly<Record<string, ResumptionOutcome>> = { purged: 'ok', failed: 'failed' };
