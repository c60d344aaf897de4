import { Injectable } from '@nestjs/common';
import { EngineError } from '../engine';
import { DomainError } from '../errors';
import { type Page, readPage } from '../http';
import { Clock } from '../scheduling';
import { assertSession, findForOperator } from './access/container-access';
import { ContainerRepository } from './rows/container.repository';
import { DeletedContainers } from './rows/deleted-containers';
import {
  anyContainer,
  type AnyContainerView,
  ContainerDeletedView,
  ContainerStartedView,
  ContainerStoppedView,
  deleted,
  type ListedStatus,
  started,
  stopped,
} from './dto/responses';
import { RunPolicies } from './policies/run-policy';
import { deleting } from './operations/delete';
import { OperationRunner } from './operations/operation-runner';
import { starting } from './operations/start';
import { stopping } from './operations/stop';
import { KnownEngine } from './nodes/known-engine';
import type { SweepReport } from './reconcile/reconcile-stats';
import { Reconciler } from './reconcile/reconciler';

/**
 * Operators' actions on any user's containers. They run the same operations as users' requests. The caller must
 * authorize the operator.
 */
@Injectable()
export class ContainersAdminService {
  constructor(
    private readonly repository: ContainerRepository,
    private readonly deleted: DeletedContainers,
    private readonly operations: OperationRunner,
    private readonly reconciler: Reconciler,
    private readonly known: KnownEngine,
    private readonly policies: RunPolicies,
    private readonly clock: Clock,
  ) {}

  /**
   * All users' containers that fit the filter, newest first.
   *
   * @param query.search see {@link ContainerFilter.search}
   * @throws DomainError `invalid_parameters`
   */
  async list(query: {
    readonly user_id?: string;
    readonly status?: ListedStatus;
    readonly search?: string;
    readonly node?: string;
    readonly limit?: number;
    readonly cursor?: string;
  }): Promise<Page<AnyContainerView>> {
    const { user_id: userId, status, search, node } = query;
    const filter = {
      ...(userId !== undefined && { userId }),
      ...(search !== undefined && { search }),
      ...(node !== undefined && { node }),
    };
    const page = await readPage(
      query,
      (range) =>
        status === 'deleted'
          ? this.deleted.listRestorable({ ...filter, ...range })
          : this.repository.list({ ...filter, ...range, ...(status && { status }) }),
      (row) => row,
    );
    const now = this.clock.now();
    const sessionEnds = await this.policies.sessionEndsOf(page.items.map((row) => row.userId));
    const nodes = await this.repository.nodeNames(page.items);
    const items = page.items.map((row) =>
      anyContainer(row, { now, sessionEnd: sessionEnds.get(row.userId) ?? null }, nodes),
    );
    return { ...page, items };
  }

  /**
   * Starts any user's container, unless Berth would stop it again at once.
   *
   * @throws DomainError `container_not_found`, `ambiguous_id`, `start_failed`, `operation_in_progress`, `no_capacity`;
   *   `user_suspended`, `guest_session_expired`: its user's
   */
  async start(id: string): Promise<ContainerStartedView> {
    const row = await findForOperator(this.repository, id);
    const { suspended, sessionEnd, now } = await this.policies.policyOf(row.userId);
    if (suspended) throw new DomainError('user_suspended');
    assertSession({ sessionExpiresAt: sessionEnd }, now);
    return started(await this.operations.run(row, starting()));
  }

  /** @throws DomainError `container_not_found`, `ambiguous_id`, `stop_failed`, `operation_in_progress` */
  async stop(id: string): Promise<ContainerStoppedView> {
    return stopped(await this.operations.run(await findForOperator(this.repository, id), stopping()));
  }

  /**
   * @param options.force delete the container even if Docker refuses
   * @throws DomainError `container_not_found`, `ambiguous_id`, `delete_failed`, `operation_in_progress`
   */
  async delete(id: string, { force }: { force: boolean }): Promise<ContainerDeletedView> {
    const row = await findForOperator(this.repository, id);
    return deleted(await this.operations.run(row, deleting({ isForced: force })));
  }

  /**
   * Accepts the current Docker daemon as the known one. Containers that are missing from it are then lost, and purges
   * resume.
   *
   * @throws DomainError `not_ready` if Docker does not answer
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

  /** Runs a sweep now. @throws DomainError `not_ready` if Docker does not answer */
  async reconcile(): Promise<SweepReport> {
    try {
      return await this.reconciler.sweepNow();
    } catch (error) {
      if (!(error instanceof EngineError)) throw error;
      throw new DomainError('not_ready', { code: error.code, cause: error });
    }
  }
}
