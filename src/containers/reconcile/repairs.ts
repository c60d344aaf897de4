import { Inject, Injectable } from '@nestjs/common';
import { Mutex, Semaphore } from 'async-mutex';
import type { Logger } from 'pino';
import { ContainerEngine, containerFields, EngineError } from '../../engine';
import { LOGGER } from '../../logging';
import type { ContainerRow } from '../model/container.entity';
import type { SweptRow } from '../rows/container.queries';
import { ContainerRepository } from '../rows/container.repository';
import { isBenignConflict, OperationRunner } from '../operations/operation-runner';
import { movingData } from '../operations/update';
import { RecoveryQueue } from './recovery-queue';
import { KnownEngine } from '../nodes/known-engine';
import type { ReconcileAction } from './reconcile-plan';
import type { ReconcileStats } from './reconcile-stats';
import { ContainerWatcher } from './watcher';

/** The actions that are performed even while Docker is not the known one: they remove no container or volume there. */
const HARMLESS: ReadonlySet<ReconcileAction['do']> = new Set(['look', 'finish', 'reconnect']);

/** Maximum concurrent repairs, to spare the daemon. `RecoveryQueue` limits abandoned operations separately. */
const CONCURRENCY = 8;

type PlainAction = Exclude<ReconcileAction, { do: 'finish' }>;

/** The sweep that requests a repair. */
interface RepairOptions {
  readonly stats: ReconcileStats;
  /** Aborted when the process ends: no further data is moved. */
  readonly signal: AbortSignal;
}

/** Performs the actions that a sweep has planned. The next sweep, or a recovery's own retry, repeats failures. */
@Injectable()
export class Repairs {
  private readonly moving = new Mutex();
  private readonly semaphore = new Semaphore(CONCURRENCY);

  constructor(
    private readonly engine: ContainerEngine,
    private readonly known: KnownEngine,
    private readonly repository: ContainerRepository,
    private readonly operations: OperationRunner,
    private readonly recovery: RecoveryQueue,
    private readonly watcher: ContainerWatcher,
    @Inject(LOGGER) private readonly logger: Logger,
  ) {}

  /** Never throws. Resolves when the repair has succeeded or failed; at once if it resumes an abandoned operation. */
  async perform(action: ReconcileAction, options: RepairOptions): Promise<void> {
    if (this.known.changed && !HARMLESS.has(action.do)) return;
    // A creation may pull an image for minutes; neither this sweep nor the next should wait for that.
    if (action.do === 'finish') void this.resume(action.row, options.stats);
    else await this.semaphore.runExclusive(() => this.repair(action, options));
  }

  /** Makes the watcher's overdue inspections. The sweep's own lists would not show that a container was restarted. */
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
      const { nodes } = this.engine;
      const subject =
        action.do === 'remove_orphan' ? containerFields(nodes, action.engineId) : { container_id: action.row.id };
      this.logger.warn({ err: error, ...subject }, `${action.do} failed; it is tried again`);
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
        this.logger.info(containerFields(this.engine.nodes, action.engineId), 'removing a container without a row');
        return this.engine.containers.remove(action.engineId);
    }
  }

  /** Safe during any operation, as it removes nothing. */
  private async reconnect({ id, engineId }: SweptRow): Promise<void> {
    try {
      if (engineId !== null) await this.engine.networks.reconnect(engineId);
    } catch (error) {
      if (!(error instanceof EngineError) || error.code !== 'container_not_found') throw error;
    }
    // The container has a new address, or is gone.
    await this.watcher.inspect(id);
  }

  /** One at a time, as it is a background copy. */
  private async moveData(swept: SweptRow, signal: AbortSignal): Promise<void> {
    await this.moving.runExclusive(async () => {
      if (!signal.aborted) await this.withRow(swept, (row) => this.operations.run(row, movingData()));
    });
  }

  private async withRow(swept: SweptRow, work: (row: ContainerRow) => Promise<void>): Promise<void> {
    const row = await this.repository.findById(swept.id);
    if (row) await work(row);
  }
}
