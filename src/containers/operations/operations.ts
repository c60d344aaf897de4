import { Injectable } from '@nestjs/common';
import { EngineError } from '../../docker';
import { Clock } from '../../scheduling';
import type { ContainerRow, DeletionReason, Ending, Started, StopEnding } from '../model/container.entity';
import { ContainerRepository } from '../rows/container.repository';
import { planExpiry, RunPolicies, type RunPolicy } from '../policies/run-policy';
import type { Grant } from '../leases/lease-store';
import type { OperationLease } from './operation-lease';
import { Purge } from './purge';
import { DataVolumes } from './data-volumes';
import type { Facts } from './executor';
import { OperationRunner } from './operation-runner';
import {
  type Asked,
  changesSettings,
  deletedOutcome,
  movedOutcome,
  NOTHING,
  recreation,
  relabelledOutcome,
  startedOutcome,
  stoppedOutcome,
  supersededOutcome,
  updatedOutcome,
  type Wanted,
  wasRestarted,
} from './outcome';
import { sameResources } from './plan';
import { Recovery } from './recovery';

/** What an update did. */
interface Updated {
  readonly row: ContainerRow;
  readonly restarted: boolean;
}

/** The verbs: what each operation does under its lease. `OperationRunner` has the part that all verbs share. */
@Injectable()
export class ContainerOperations {
  constructor(
    private readonly runner: OperationRunner,
    private readonly recovery: Recovery,
    private readonly repository: ContainerRepository,
    private readonly volumes: DataVolumes,
    private readonly policies: RunPolicies,
    private readonly purge: Purge,
    private readonly clock: Clock,
  ) {}

  /**
   * Creates the Docker container of a row that was just inserted with its lease. Runs without a waiting caller:
   * progress is emitted, and a failure leaves the row in `error`, with an event. Never throws.
   */
  async create(row: ContainerRow, grant: Grant): Promise<void> {
    await this.runner.runInserted(row, grant, (lease) => this.runCreate(lease, { isNew: true }));
  }

  /** @throws DomainError `start_failed`, `operation_in_progress`, `container_not_found` */
  async start(row: ContainerRow): Promise<Started> {
    return this.runner.run(row, 'start', (lease) => this.runStart(lease));
  }

  /** @throws DomainError `stop_failed`, `operation_in_progress`, `container_not_found` */
  async stop(row: ContainerRow): Promise<ContainerRow> {
    return this.runner.run(row, 'stop', (lease) => this.runStop(lease));
  }

  /** Cancels a running creation. @throws DomainError `delete_failed`, `operation_in_progress`, `container_not_found` */
  async delete(row: ContainerRow): Promise<ContainerRow> {
    return this.runner.run(row, 'delete', (lease) => this.runDelete(lease));
  }

  /**
   * Deletes a container even if Docker refuses or does not answer: the row is deleted, and sweeps retry the removal of
   * the Docker container.
   *
   * @throws DomainError `operation_in_progress`, `container_not_found`
   */
  async forceDelete(row: ContainerRow): Promise<ContainerRow> {
    return this.runner.underLease(row, 'delete', async (lease) => {
      await this.recovery.recoverIfPossible(lease, 'delete');
      return this.runner.attempt(lease, 'delete', async () => {
        try {
          return await this.runDelete(lease);
        } catch (error) {
          if (!(error instanceof EngineError)) throw error;
          const now = this.clock.now();
          const purgeAt = this.purge.dueAfter(now);
          return lease.commit(deletedOutcome(lease.row, { now, purgeAt, isForced: true }));
        }
      });
    });
  }

  /**
   * Changes the name, resources, network, variables, start command and idle limits. Only new resources, a new network
   * or new variables need Docker; a new name does not, as everything in Docker is named by the database id.
   *
   * @throws DomainError `invalid_parameters` if the data is too large, `update_failed`, `name_taken`,
   * `operation_in_progress`, `container_not_found`
   */
  async update(row: ContainerRow, asked: Asked): Promise<Updated> {
    return this.runner.underLease(row, 'update', async (lease) => {
      const wanted: Wanted = { ...asked, network: asked.network ?? lease.row.network };
      const { env, ...rest } = wanted;
      const isNewEnv = env?.differsFrom(lease.row) === true;
      if (isNewEnv || !sameResources(lease.row, wanted)) {
        return this.runner.attempt(lease, 'update', () => this.runResize(lease, isNewEnv ? wanted : rest));
      }
      const now = this.clock.now();
      const outcome = changesSettings(lease.row, wanted)
        ? updatedOutcome(lease.row, rest, { facts: {}, now })
        : { patch: { lastUsedAt: now }, events: [] };
      return { row: await this.runner.writeAlone(lease, outcome), restarted: false };
    });
  }

  /** Replaces all labels; makes no Docker call. @throws DomainError `operation_in_progress`, `container_not_found` */
  async relabel(row: ContainerRow, labels: Readonly<Record<string, string>>): Promise<ContainerRow> {
    return this.runner.underLease(row, 'update', async (lease) =>
      this.runner.writeAlone(lease, relabelledOutcome(lease.row, labels, this.clock.now())),
    );
  }

  /**
   * Moves a stopped container's data to a volume with a size limit, if Docker has lost the size of the current one.
   * Does not wait for another operation.
   *
   * @throws DomainError `update_failed`, `operation_in_progress`, `container_not_found`
   */
  async moveData(row: ContainerRow): Promise<void> {
    const work = async (lease: OperationLease): Promise<void> => {
      await this.reconcileRow(lease);
      const moveTo = lease.row.status === 'stopped' ? await this.volumes.destinationOfUnlabelled(lease.row) : null;
      if (moveTo === null) await lease.commit(NOTHING);
      else await this.replace(lease, lease.row, moveTo);
    };
    await this.runner.run(row, 'update', work, { waitMs: 0 });
  }

  /**
   * Moves a container with its data to another node. Resolves once nothing of the container is left on the old node. If
   * that cleanup fails, for example because the old node no longer answers, the move still succeeds, and the cleanup is
   * retried.
   *
   * @param to.node the target's id; absent: the node with the most room
   * @throws DomainError `move_failed`, `same_node`, `no_capacity`, `node_unavailable`, `operation_in_progress`,
   * `container_not_found`
   */
  async move(row: ContainerRow, to: { node?: string }, { waitMs }: { waitMs?: number } = {}): Promise<Updated> {
    return this.runner.run(row, 'move', (lease) => this.runMove(lease, to), waitMs === undefined ? {} : { waitMs });
  }

  /**
   * Stops or deletes a container without a request, if its user's policy still requires that once the container is
   * leased: the tier may have changed, or the container may have been used. Does not wait for another operation.
   *
   * @throws DomainError `stop_failed`, `delete_failed`, `operation_in_progress`, `container_not_found`
   */
  async expire(row: ContainerRow, ending: Ending): Promise<void> {
    const work = async (lease: OperationLease): Promise<void> => {
      // `lastUsedAt` is written without the lease, so the leased row may lack the last use.
      const current = (await this.repository.findById(lease.row.id)) ?? lease.row;
      const action = planExpiry(current, await this.policies.policyOf(current.userId));
      if (action?.do === 'stop' && ending !== 'auto_delete') await this.runStop(lease, action.ending);
      else if (action?.do === 'delete' && ending === 'auto_delete') await this.runDelete(lease, action.reason);
      else await lease.commit({ patch: action?.do === 'correct' ? action.run : {}, events: [] });
    };
    await this.runner.run(row, ending, work, { waitMs: 0 });
  }

  /**
   * Finishes or rolls back an operation whose lease expired. Does not wait for another process that is recovering it,
   * and does nothing if another process has recovered it: later requests of the user must stand.
   *
   * @throws DomainError `operation_in_progress`, `container_not_found`; DomainError, EngineError if it fails again
   */
  async resumeAbandoned(row: ContainerRow): Promise<void> {
    switch (row.operation) {
      case 'create':
        return this.runner.resume(row, 'create', (lease) => this.runCreate(lease, { isNew: false }));
      case 'start':
        return this.runner.resume(row, 'start', (lease) => this.runStart(lease));
      case 'stop':
        return this.runner.resume(row, 'stop', (lease) => this.runStop(lease));
      case 'delete':
        return this.runner.resume(row, 'delete', (lease) => this.runDelete(lease));
      case 'expire':
      case 'idle':
      case 'suspend':
      case 'auto_delete':
        return this.expire(row, row.operation);
      default:
        return this.reconcile(row);
    }
  }

  /**
   * Removes containers and volumes that the row does not know, and updates the row to the observed state. Does not wait
   * for another operation.
   *
   * @throws EngineError, DomainError
   */
  async reconcile(row: ContainerRow): Promise<void> {
    this.runner.assertAnswers(row);
    const work = async (lease: OperationLease): Promise<void> => {
      const interrupted = lease.interrupted ?? 'reconcile';
      try {
        await this.recovery.recover(lease, interrupted);
        // The operation that superseded a creation may have been interrupted before it marked the creation as failed.
        await lease.commit(supersededOutcome(lease.row));
      } catch (error) {
        await this.recovery.leaveForRetry(lease, interrupted);
        throw error;
      }
    };
    await this.runner.underLease(row, 'reconcile', work, { waitMs: 0 });
  }

  /** @param options.isNew whether this is the first attempt: nothing has been done in Docker for the row */
  private async runCreate(lease: OperationLease, { isNew }: { isNew: boolean }): Promise<ContainerRow> {
    const { facts, progress } = await this.runner.execute(lease, { verb: 'create', isNew });
    const policy = await this.policyOf(lease, facts);
    const { patch, events } = startedOutcome(lease.row, facts, policy);
    return lease.commit({ patch, events: [...progress, ...events] });
  }

  private async runStart(lease: OperationLease): Promise<Started> {
    await lease.reserve(lease.row, await this.poolOf(lease.row));
    const { facts } = await this.runner.execute(lease, { verb: 'start' });
    const before = lease.row;
    const policy = await this.policyOf(lease, facts);
    return { row: await lease.commit(startedOutcome(before, facts, policy)), ...recreation(before, facts) };
  }

  /** The pool for a new placement, if the row has no node any more. */
  private async poolOf({ nodeId, userId }: ContainerRow): Promise<{ pool?: string }> {
    return nodeId === null && this.runner.isClustered ? { pool: await this.policies.poolOf(userId) } : {};
  }

  /** The policy that the executor read during the start, if any, otherwise the current one. The run begins now. */
  private async policyOf({ row }: OperationLease, { policy }: Facts): Promise<RunPolicy> {
    return policy ? { ...policy, now: this.clock.now() } : this.policies.policyOf(row.userId);
  }

  /** @param ending the reason, if the stop was not requested */
  private async runStop(lease: OperationLease, ending?: StopEnding): Promise<ContainerRow> {
    await this.removeUnknown(lease);
    const { facts } = await this.runner.execute(lease, { verb: 'stop' });
    // The container had stopped before our request; an inspection shows why.
    if (facts.stopFound !== 'running') await this.recovery.observe(lease);
    return lease.commit(stoppedOutcome(lease.row, ending));
  }

  /** @param reason if the deletion was not requested */
  private async runDelete(lease: OperationLease, reason?: DeletionReason): Promise<ContainerRow> {
    await this.removeUnknown(lease);
    try {
      await this.runner.execute(lease, { verb: 'delete' });
    } catch (error) {
      // The removal may have happened although its answer was lost. A container that is gone can only be deleted.
      if (!(error instanceof EngineError) || !(await this.recovery.isGone(lease.row))) throw error;
    }
    const now = this.clock.now();
    const purgeAt = reason === 'user_deleted' ? now : this.purge.dueAfter(now);
    const after = await lease.commit(deletedOutcome(lease.row, { now, purgeAt, reason }));
    this.purge.afterDeletion(after);
    return after;
  }

  private async runResize(lease: OperationLease, wanted: Wanted): Promise<Updated> {
    this.runner.assertAnswers(lease.row);
    await this.reconcileRow(lease);
    const before = lease.row;
    await this.repository.assertNameFree({ userId: before.userId, name: wanted.name, except: before.id });
    if (before.status === 'running') await lease.reserve(wanted);
    return this.replace(lease, wanted, await this.volumes.destination(before, wanted));
  }

  private async replace(lease: OperationLease, wanted: Wanted, moveTo: string | null): Promise<Updated> {
    const before = lease.row;
    const { plan, facts, progress } = await this.runner.execute(lease, { verb: 'update', wanted, moveTo });
    const { patch, events } = updatedOutcome(before, wanted, { facts, now: this.clock.now() });
    const after = await lease.commit({ patch, events: [...progress, ...events] });
    this.runner.cleanUp(plan, before, facts);
    return { row: after, restarted: wasRestarted(before, facts) };
  }

  private async runMove(lease: OperationLease, { node }: { node?: string }): Promise<Updated> {
    // Cleans up every node: leftovers of an earlier attempt would be in the way.
    await this.recovery.recover(lease, 'reconcile');
    const pool = await this.policies.poolOf(lease.row.userId);
    const target = await lease.reserveElsewhere({ pool, ...(node !== undefined && { node }) });
    const before = lease.row;
    const move = await this.volumes.destinationOn(before, target);
    const { plan, facts, progress } = await this.runner.execute(lease, { verb: 'move', move });
    const { patch, events } = movedOutcome(before, move, facts);
    const moved = await lease.record({ patch, events: [...progress, ...events] });
    const restarted = wasRestarted(before, facts);
    try {
      await this.runner.finish(lease, { plan, row: before, facts });
      return { row: await lease.commit({ patch: { otherNodeId: null }, events: [] }), restarted };
    } catch (error) {
      // The container has moved; the leftovers on the old node are removed later.
      await this.recovery.leaveCleanup(lease, error);
      return { row: moved, restarted };
    }
  }

  /**
   * Reconciles the row with Docker before an update. For a row without a container this removes unknown containers: a
   * creation that failed while Docker was unreachable may have left one running on the volume.
   */
  private async reconcileRow(lease: OperationLease): Promise<void> {
    if (lease.row.dockerId === null) await this.recovery.recover(lease, 'reconcile');
    else await this.recovery.observe(lease);
  }

  /** Reconciles a row in `error` before a stop or a deletion. These need no inspection of the row's own container. */
  private async removeUnknown(lease: OperationLease): Promise<void> {
    if (lease.row.status === 'error') await this.recovery.recover(lease, 'reconcile');
  }
}
