import { Inject, Injectable, OnApplicationBootstrap, OnModuleDestroy } from '@nestjs/common';
import type { Logger } from 'pino';
import { type Config, CONFIG } from '../../config';
import { LOGGER } from '../../logging';
import { ContainerRepository } from '../container.repository';
import { ContainerLeases } from '../leases/container-leases';
import { isPassing } from './operation-runner';
import { ContainerOperations } from './operations';

/** The delay before the first retry; doubles with each further one. */
const FIRST_PAUSE_MS = 500;

interface Retry {
  readonly attempts: number;
  /** null while a retry is running. */
  timer: NodeJS.Timeout | null;
}

/**
 * Retries failed rollbacks of this process with a backoff, until the delay would reach the sweep interval; then the
 * sweeps take over. State is kept in memory only: the row records what has to be done, and the next lease holder does
 * it.
 */
@Injectable()
export class RollbackRetries implements OnApplicationBootstrap, OnModuleDestroy {
  private readonly retries = new Map<string, Retry>();
  private stopped = false;

  constructor(
    private readonly leases: ContainerLeases,
    private readonly repository: ContainerRepository,
    private readonly operations: ContainerOperations,
    @Inject(CONFIG) private readonly config: Pick<Config, 'SWEEP_INTERVAL_SECONDS'>,
    @Inject(LOGGER) private readonly logger: Logger,
  ) {}

  onApplicationBootstrap(): void {
    this.leases.onAbandoned((containerId) => this.schedule(containerId));
  }

  onModuleDestroy(): void {
    this.stopped = true;
    for (const { timer } of this.retries.values()) if (timer) clearTimeout(timer);
    this.retries.clear();
  }

  private schedule(containerId: string): void {
    const last = this.retries.get(containerId);
    if (this.stopped || last?.timer) return;
    const attempts = last ? last.attempts + 1 : 0;
    const pauseMs = FIRST_PAUSE_MS * 2 ** attempts;
    if (pauseMs >= this.config.SWEEP_INTERVAL_SECONDS * 1000) return;
    this.retries.set(containerId, { attempts, timer: setTimeout(() => void this.retry(containerId), pauseMs).unref() });
  }

  /** Never throws. */
  private async retry(containerId: string): Promise<void> {
    const retry = this.retries.get(containerId);
    if (!retry) return;
    retry.timer = null;
    try {
      const row = await this.repository.findById(containerId);
      if (row?.operation != null) await this.operations.resumeAbandoned(row);
    } catch (error) {
      // It failed again, which has scheduled the next retry, or another holder is recovering it.
      if (!isPassing(error)) this.logger.warn({ err: error, container_id: containerId }, 'the rollback failed again');
    } finally {
      if (this.retries.get(containerId) === retry) this.retries.delete(containerId);
    }
  }
}
