import { Inject, Injectable, OnApplicationBootstrap, OnModuleDestroy } from '@nestjs/common';
import { Mutex, Semaphore } from 'async-mutex';
import type { Logger } from 'pino';
import { type Config, CONFIG } from '../../config';
import { Database } from '../../database';
import { ContainerEngine, EngineError, type ListedVolume } from '../../docker';
import { LOGGER } from '../../logging';
import { Capacity } from '../capacity/capacity';
import { SweepMetrics } from '../container-metrics';
import type { ContainerRow } from '../container.entity';
import { ContainerRepository, type SweptRow } from '../container.repository';
import { Instance } from '../instance';
import { DataVolumes } from '../operations/data-volumes';
import { isPassing } from '../operations/operation-runner';
import { ContainerOperations } from '../operations/operations';
import { Resumption } from '../operations/resumption';
import { KnownEngine } from './known-engine';
import { Purge } from './purge';
import { type ReconcileAction, ReconcilePlan } from './reconcile-plan';
import { ReconcileStats, SweepReport } from './reconcile-stats';
import { ContainerWatcher } from './watcher';

/** Volumes that carry our label and belong to no row. They may hold the data of a lost database: none is removed. */
@Injectable()
export class OrphanVolumes {
  private readonly seen = new Set<string>();

  constructor(
    private readonly repository: ContainerRepository,
    @Inject(LOGGER) private readonly logger: Logger,
  ) {}

  /**
   * Logs each of them once.
   *
   * @param volumes without a live row; those of deleted containers are kept until their purge
   */
  async note(volumes: readonly ListedVolume[]): Promise<void> {
    const unseen = volumes.filter(({ name }) => !this.seen.has(name));
    const ids = unseen.flatMap(({ containerId }) => (containerId === null ? [] : [containerId]));
    const known = await this.repository.idsWithData(ids);
    for (const { name, containerId } of unseen) {
      this.seen.add(name);
      if (containerId !== null && known.has(containerId)) continue;
      this.logger.warn(
        { volume: name, container_id: containerId },
        'a volume belongs to no container; it is left alone',
      );
    }
  }
}

/**
 * The actions that a sweep performs while Docker is not the known one: none that removes what may be somebody's data
 * there.
 */
const HARMLESS: ReadonlySet<ReconcileAction['do']> = new Set(['look', 'finish', 'reconnect']);

/** Maximum concurrent repairs, to spare the daemon. Abandoned operations are not among them. */
const CONCURRENCY = 8;

type PlainAction = Exclude<ReconcileAction, { do: 'finish' }>;

/**
 * Reconciles rows with Docker: watches Docker's event stream, and compares everything at start, after each reconnection
 * of the stream, and every `SWEEP_INTERVAL_SECONDS`. If Docker does not answer, nothing changes.
 */
@Injectable()
export class Reconciler implements OnApplicationBootstrap, OnModuleDestroy {
  private readonly stopped = new AbortController();
  private readonly sweeping = new Mutex();
  private readonly moving = new Mutex();
  private readonly semaphore = new Semaphore(CONCURRENCY);
  private timer: NodeJS.Timeout | undefined;
  /** Whether Docker's events were missed at some time since the last sweep: before the start, or without a stream. */
  private wasUnwatched = true;

  constructor(
    private readonly engine: ContainerEngine,
    private readonly repository: ContainerRepository,
    private readonly capacity: Capacity,
    private readonly operations: ContainerOperations,
    private readonly resumption: Resumption,
    private readonly observer: ContainerWatcher,
    private readonly purge: Purge,
    private readonly known: KnownEngine,
    private readonly metrics: SweepMetrics,
    private readonly volumes: DataVolumes,
    private readonly orphans: OrphanVolumes,
    private readonly instance: Instance,
    private readonly database: Database,
    @Inject(CONFIG) private readonly config: Config,
    @Inject(LOGGER) private readonly logger: Logger,
  ) {}

  /** Prepares Docker, then watches it. @throws ConfigError, EngineError when sandboxes cannot run here as configured */
  async onApplicationBootstrap(): Promise<void> {
    const instance = await this.instance.load();
    const capabilities = await this.engine.prepare(instance);
    this.logger.info({ instance, ...capabilities }, 'Docker is ready');
    await this.known.check();
    // On SQLite this is the only process, so all holders of leases are dead.
    if (this.database.isSqlite) await this.repository.expireAllLeases();
    void this.watch();
    this.timer = setInterval(() => void this.sweep(), this.config.SWEEP_INTERVAL_SECONDS * 1000).unref();
  }

  onModuleDestroy(): void {
    this.stopped.abort();
    clearInterval(this.timer);
  }

  /** Compares every row with Docker once and acts on the differences. Never throws; one at a time. */
  async sweep(): Promise<void> {
    try {
      await this.sweepNow();
    } catch (error) {
      this.logger.warn({ err: error }, 'the sweep was cut short; nothing was changed without proof');
    }
  }

  /**
   * The same for a caller that waits, after a sweep that is already running.
   *
   * @throws EngineError if Docker does not answer
   */
  async sweepNow(): Promise<SweepReport> {
    return this.sweeping.runExclusive(async () => {
      const ended = this.metrics.begin();
      const tally = new ReconcileStats();
      const { wasUnwatched } = this;
      this.wasUnwatched = false;
      try {
        const listed = await this.engine.listContainers({ instance: this.instance.id });
        await this.known.check();
        await this.engine.maintain();
        await this.capacity.recount();
        const volumes = await this.volumes.all();
        const orphanGraceMs = this.config.ORPHAN_GRACE_SECONDS * 1000;
        const plan = new ReconcilePlan({
          listed,
          volumes,
          stuck: this.volumes.stuck,
          now: new Date(),
          orphanGraceMs,
          wasUnwatched,
        });
        const acting: Promise<void>[] = [];
        for await (const actions of this.actions(plan)) {
          if (this.stopped.signal.aborted) return tally.report();
          for (const action of actions) {
            if (this.known.changed && !HARMLESS.has(action.do)) continue;
            // A creation may pull for minutes; neither this sweep nor the next has to wait for that.
            if (action.do === 'finish') void this.finish(action.row, tally);
            else acting.push(this.semaphore.runExclusive(() => this.repair(action, tally)));
          }
        }
        // A list shows no difference if a container was restarted; overdue inspections are made all the same.
        for (const id of this.observer.takeOverdue())
          acting.push(this.semaphore.runExclusive(() => this.observer.inspect(id)));
        await Promise.all(acting);
        await this.orphans.note(plan.orphanVolumes());
        tally.purged(await this.purge.sweep(this.stopped.signal));
        return tally.report();
      } catch (error) {
        this.wasUnwatched ||= wasUnwatched;
        throw error;
      } finally {
        ended();
      }
    });
  }

  /** A page of rows at a time: comparing ten thousand at once would block everything else for some 30 ms. */
  private async *actions(plan: ReconcilePlan): AsyncGenerator<ReconcileAction[]> {
    for await (const rows of this.repository.sweptRows()) yield plan.forRows(rows);
    yield plan.forOrphans();
  }

  private async watch(): Promise<void> {
    for await (const message of this.engine.watch(this.instance.id, this.stopped.signal)) {
      if (message.kind === 'connected') {
        this.wasUnwatched = true;
        void this.sweep();
      } else void this.observer.hint(message.event);
    }
  }

  private async finish({ id }: SweptRow, tally: ReconcileStats): Promise<void> {
    this.metrics.found('finish');
    tally.tookUp();
    tally.done('finish', await this.resumption.resume(id));
  }

  private async repair(action: PlainAction, tally: ReconcileStats): Promise<void> {
    this.metrics.found(action.do);
    try {
      await this.perform(action);
      tally.done(action.do, 'ok');
      if (action.do === 'reconcile') {
        this.logger.info({ container_id: action.row.id }, 'recovered from an interrupted operation');
      }
    } catch (error) {
      tally.done(action.do, isPassing(error) ? 'passed' : 'failed');
      if (isPassing(error)) return;
      const subject = action.do === 'remove_orphan' ? { docker_id: action.dockerId } : { container_id: action.row.id };
      this.logger.warn({ err: error, ...subject }, `${action.do} failed; the next sweep tries again`);
    }
  }

  private async perform(action: PlainAction): Promise<void> {
    switch (action.do) {
      case 'look':
        return this.observer.inspect(action.row.id);
      case 'reconnect':
        return this.reconnect(action.row);
      case 'move_data':
        return this.moveData(action.row);
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
    await this.observer.inspect(id);
  }

  /** One at a time, as it is a background copy. */
  private async moveData(swept: SweptRow): Promise<void> {
    await this.moving.runExclusive(async () => {
      if (!this.stopped.signal.aborted) await this.withRow(swept, (row) => this.operations.moveData(row));
    });
  }

  private async withRow(swept: SweptRow, work: (row: ContainerRow) => Promise<void>): Promise<void> {
    const row = await this.repository.findById(swept.id);
    if (row) await work(row);
  }
}
