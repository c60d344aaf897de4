import { Injectable } from '@nestjs/common';
import { Clock } from '../clock';
import { EngineError } from '../docker';
import { DomainError } from '../errors';
import { type Page, readPage } from '../http';
import { noteSubject } from './assert-owner';
import { ContainerRepository } from './container.repository';
import { DeletedContainers } from './deleted-containers';
import { ContainerStoppedView, stopped } from './dto/container-answers';
import { listedContainer, type ListedContainerView, type ListedStatus } from './dto/listed-container-view';
import { ContainerLifecycle } from './lifecycle/container-lifecycle';
import { KnownEngine } from './lifecycle/known-engine';
import { Reconciler } from './lifecycle/reconciler';
import { RunLimits } from './lifecycle/run-limits';
import type { SweepReport } from './lifecycle/sweep-tally';

/** What operators may do with anybody's containers, by the same lifecycle. Who may be one, the caller has to know. */
@Injectable()
export class ContainersOperator {
  constructor(
    private readonly repository: ContainerRepository,
    private readonly deleted: DeletedContainers,
    private readonly lifecycle: ContainerLifecycle,
    private readonly reconciler: Reconciler,
    private readonly known: KnownEngine,
    private readonly limits: RunLimits,
    private readonly clock: Clock,
  ) {}

  /** Everybody's containers or one user's, newest first. @throws DomainError `invalid_parameters` */
  async list(query: {
    readonly user_id?: string;
    readonly status?: ListedStatus;
    readonly limit?: number;
    readonly cursor?: string;
  }): Promise<Page<ListedContainerView>> {
    const { user_id: userId, status } = query;
    const whose = userId === undefined ? {} : { userId };
    const page = await readPage(
      query,
      (range) =>
        status === 'deleted'
          ? this.deleted.listRestorable({ ...whose, ...range })
          : this.repository.list({ ...whose, ...range, ...(status && { status }) }),
      (row) => row,
    );
    const now = this.clock.now();
    const sessionEnds = await this.limits.sessionEndsOf(page.items.map((row) => row.userId));
    const items = page.items.map((row) =>
      listedContainer(row, { now, sessionEnd: sessionEnds.get(row.userId) ?? null }),
    );
    return { ...page, items };
  }

  /** @throws DomainError `container_not_found`, `ambiguous_id`, `stop_failed`, `operation_in_progress` */
  async stop(id: string): Promise<ContainerStoppedView> {
    const reference = await this.repository.resolve(id);
    const row = reference && (await this.repository.find(reference));
    if (!row) throw new DomainError('container_not_found');
    noteSubject(row);
    return stopped(await this.lifecycle.stop(row));
  }

  /**
   * Takes the Docker that is there now for the one that the containers are in. What it does not have is then lost, and its
   * purges are made.
   *
   * @throws DomainError `not_ready` where Docker does not answer
   */
  async acceptDocker(): Promise<{ docker_id: string | null; previous_docker_id: string | null }> {
    try {
      const { id, previous } = await this.known.accept();
      void this.reconciler.sweep();
      return { docker_id: id, previous_docker_id: previous };
    } catch (error) {
      if (!(error instanceof EngineError)) throw error;
      throw new DomainError('not_ready', { code: error.code, cause: error });
    }
  }

  /** Compares everything with Docker now. @throws DomainError `not_ready` where Docker does not answer */
  async reconcile(): Promise<SweepReport> {
    try {
      return await this.reconciler.sweepNow();
    } catch (error) {
      if (!(error instanceof EngineError)) throw error;
      throw new DomainError('not_ready', { code: error.code, cause: error });
    }
  }
}
