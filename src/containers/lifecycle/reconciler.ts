import { Inject, Injectable, OnApplicationBootstrap, OnModuleDestroy } from '@nestjs/common';
import { Mutex, Semaphore } from 'async-mutex';
import type { Logger } from 'pino';
import { type Config, CONFIG } from '../../config';
import { Database } from '../../database';
import { ContainerEngine } from '../../docker';
import { LOGGER } from '../../logging';
import type { ContainerRow } from '../container.entity';
import { ContainerRepository } from '../container.repository';
import { Instance } from '../instance';
import { ContainerLifecycle } from './container-lifecycle';
import { Observer } from './observer';
import { planSweep, SweepAction, SweptRow } from './sweep-plan';

/** How many differences are dealt with at once: Docker has other work too. */
const HANDS = 8;

/**
 * Keeps rows and Docker together: watches Docker's event stream, and compares everything at start, after each reconnection
 * of the stream, and every `SWEEP_INTERVAL_SECONDS`. A Docker that does not answer changes nothing.
 */
@Injectable()
export class Reconciler implements OnApplicationBootstrap, OnModuleDestroy {
  private readonly stopped = new AbortController();
  private readonly sweeping = new Mutex();
  private readonly hands = new Semaphore(HANDS);
  private timer: NodeJS.Timeout | undefined;

  constructor(
    private readonly engine: ContainerEngine,
    private readonly repository: ContainerRepository,
    private readonly lifecycle: ContainerLifecycle,
    private readonly observer: Observer,
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
    // On SQLite this is the only process, so whoever held a claim is dead.
    if (this.database.isSqlite) await this.repository.expireAllClaims(new Date());
    void this.watch();
    this.timer = setInterval(() => void this.sweep(), this.config.SWEEP_INTERVAL_SECONDS * 1000).unref();
  }

  onModuleDestroy(): void {
    this.stopped.abort();
    clearInterval(this.timer);
  }

  /** Compares every row with Docker once and acts on the differences. Never throws; one at a time. */
  async sweep(): Promise<void> {
    await this.sweeping.runExclusive(async () => {
      try {
        const listed = await this.engine.listContainers({ instance: this.instance.id });
        const rows = await this.repository.listAllLive();
        const acting: Promise<void>[] = [];
        const orphanGraceMs = this.config.ORPHAN_GRACE_SECONDS * 1000;
        for (const action of planSweep({ rows, listed, now: new Date(), orphanGraceMs })) {
          if (this.stopped.signal.aborted) return;
          const acted = this.hands.runExclusive(() => this.act(action));
          // A creation may pull for minutes; the next sweep need not wait for that.
          if (action.do !== 'finish') acting.push(acted);
        }
        await Promise.all(acting);
        await this.purge();
      } catch (error) {
        this.logger.warn({ err: error }, 'the sweep was cut short; nothing was changed without proof');
      }
    });
  }

  private async watch(): Promise<void> {
    for await (const message of this.engine.watch(this.instance.id, this.stopped.signal)) {
      if (message.kind === 'connected') void this.sweep();
      else void this.observer.hint(message.event);
    }
  }

  private async act(action: SweepAction): Promise<void> {
    try {
      await this.perform(action);
      if (action.do === 'finish' || action.do === 'reconcile') {
        const { id, operation } = action.row;
        this.logger.info({ container_id: id, operation }, 'dealt with what an interrupted operation left');
      }
    } catch (error) {
      const subject = action.do === 'remove_orphan' ? { docker_id: action.dockerId } : { container_id: action.row.id };
      this.logger.warn({ err: error, ...subject }, `${action.do} failed; the next sweep tries again`);
    }
  }

  private async perform(action: SweepAction): Promise<void> {
    switch (action.do) {
      case 'look':
        return this.observer.look(action.row.id);
      case 'finish':
        return this.withRow(action.row, (row) => this.lifecycle.finish(row));
      case 'reconcile':
        return this.withRow(action.row, (row) => this.lifecycle.reconcile(row));
      case 'remove_orphan':
        this.logger.info({ docker_id: action.dockerId }, 'removing a container without a row');
        return this.engine.removeContainer(action.dockerId);
    }
  }

  private async withRow(swept: SweptRow, work: (row: ContainerRow) => Promise<void>): Promise<void> {
    const row = await this.repository.findById(swept.id);
    if (row) await work(row);
  }

  /** Removes the volumes of containers that are deleted and past their retention. */
  private async purge(): Promise<void> {
    for (const row of await this.repository.listPurgeable(new Date())) {
      await this.engine.removeVolume(row.volumeName);
      await this.repository.markPurged(row.id, new Date());
      this.logger.info({ container_id: row.id, volume: row.volumeName }, 'purged the data of a deleted container');
    }
  }
}
