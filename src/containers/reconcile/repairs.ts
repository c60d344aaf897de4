import { Inject, Injectable } from '@nestjs/common';
import { Mutex, Semaphore } from 'async-mutex';
import type { Logger } from 'pino';
import { ContainerEngine, EngineError } from '../../docker';
import { LOGGER } from '../../logging';
import type { ContainerRow } from '../container.entity';
import type { SweptRow } from '../container.queries';
import { ContainerRepository } from '../container.repository';
import { isBenignConflict } from '../operations/operation-runner';
import { ContainerOperations } from '../operations/operations';
import { RecoveryQueue } from '../operations/recovery-queue';
import { KnownEngine } from './known-engine';
import type { ReconcileAction } from './reconcile-plan';
import type { ReconcileStats } from './reconcile-stats';
import { ContainerWatcher } from './watcher';

/**
 * The actions that are performed while Docker is not the known one: none that removes what may be somebody's data
 * there.
 */
const HARMLESS: ReadonlySet<ReconcileAction['do']> = new Set(['look', 'finish', 'reconnect']);

/** Maximum concurrent repairs, to spare the daemon. Abandoned operations are not among them. */
const CONCURRENCY = 8;

type PlainAction = Exclude<ReconcileAction, { do: 'finish' }>;

/** The sweep that asks for a repair. */
interface RepairOptions {
  readonly stats: ReconcileStats;
  /** Aborted when the process ends: no further data is moved. */
  readonly signal: AbortSignal;
}

/** Performs the actions that a sweep has found; a failed one is left to the next sweep. */
@Injectable()
export class Repairs {
  private readonly moving = new Mutex();
  private readonly semaphore = new Semaphore(CONCURRENCY);

  constructor(
    private readonly engine: ContainerEngine,
    private readonly known: KnownEngine,
    private readonly repository: ContainerRepository,
    private readonly operations: ContainerOperations,
    private readonly recovery: RecoveryQueue,
    private readonly watcher: ContainerWatcher,
    @Inject(LOGGER) private readonly logger: Logger,
  ) {}

  /** Never throws. Resolves when the repair is done, or has failed; at once if it resumes an abandoned operation. */
  async perform(action: ReconcileAction, options: RepairOptions): Promise<void> {
    if (this.known.changed && !HARMLESS.has(action.do)) return;
    // A creation may pull for minutes; neither this sweep nor the next has to wait for that.
    if (action.do === 'finish') void this.resume(action.row, options.stats);
    else await this.semaphore.runExclusive(() => this.repair(action, options));
  }

  /** A list shows no difference if a container was restarted; overdue inspections are made all the same. */
  async inspectOverdue(): Promise<void> {
    const inspecting = this.watcher
      .takeOverdue()
      .map((id) => this.semaphore.runExclusive(() => this.watcher.inspect(id)));
    await Promise.all(inspecting);
  }

  private async resume({ id }: SweptRow, stats: ReconcileStats): Promise<void> {
    stats.found('finish');
    stats.done('finish', await this.recovery.resume(id));
  }

  private async repair(action: PlainAction, { stats, signal }: RepairOptions): Promise<void> {
    stats.found(action.do);
    try {
      await this.act(action, signal);
      stats.done(action.do, 'ok');
      if (action.do === 'reconcile') {
        this.logger.info({ container_id: action.row.id }, 'recovered from an interrupted operation');
      }
    } catch (error) {
      stats.done(action.do, isBenignConflict(error) ? 'passed' : 'failed');
      if (isBenignConflict(error)) return;
      const subject = action.do === 'remove_orphan' ? { docker_id: action.dockerId } : { container_id: action.row.id };
      this.logger.warn({ err: error, ...subject }, `${action.do} failed; the next sweep tries again`);
    }
  }

  private async act(action: PlainAction, signal: AbortSignal): Promise<void> {
    switch (action.do) {
      case 'look':
        return this.watcher.inspect(action.row.id);
      case 'reconnect':
        return this.reconnect(action.row);
      case 'move_data':
        return this.moveData(action.row, signal);
      case 'reconcile':
        return this.withRow(action.row, (row) => this.operations.reconcile(row));
      case 'remove_orphan':
        this.logger.info({ docker_id: action.dockerId }, 'removing a container without a row');
        return this.engine.removeContainer(action.dockerId);
    }
  }

  /** Safe during any operation: it removes nothing. */
  private async reconnect({ id, dockerId }: SweptRow): Promise<void> {
    try {
      if (dockerId !== null) await this.engine.reconnectContainer(dockerId);
    } catch (error) {
      if (!(error instanceof EngineError) || error.code !== 'container_not_found') throw error;
    }
    // It has an address again, or is gone.
    await this.watcher.inspect(id);
  }

  /** One at a time, as it is a background copy. */
  private async moveData(swept: SweptRow, signal: AbortSignal): Promise<void> {
    await this.moving.runExclusive(async () => {
      if (!signal.aborted) await this.withRow(swept, (row) => this.operations.moveData(row));
    });
  }

  private async withRow(swept: SweptRow, work: (row: ContainerRow) => Promise<void>): Promise<void> {
    const row = await this.repository.findById(swept.id);
    if (row) await work(row);
  }
}
