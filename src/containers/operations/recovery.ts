import { Inject, Injectable } from '@nestjs/common';
import type { Logger } from 'pino';
import { ContainerEngine, EngineError, nodeUnavailable } from '../../engine';
import { databaseFault } from '../../errors';
import { LOGGER } from '../../logging';
import { Clock } from '../../scheduling';
import {
  type ContainerRow,
  type Ending,
  isDeletion,
  isRolledBack,
  isStopEnding,
  type Operation,
  type Verb,
} from '../model/container.entity';
import { LeaseLostError } from '../leases/lease';
import { RunPolicies } from '../policies/run-policy';
import { Instance } from '../rows/instance';
import { CancelledError, OperationLease } from './operation-lease';
import { KnownEngine } from '../nodes/known-engine';
import { DataVolumes, SeedGoneError } from './data-volumes';
import { outcomeOfObservation } from './observation';
import {
  deletedOutcome,
  failedCreationOutcome,
  NOTHING,
  type Outcome,
  resumedOutcome,
  stoppedOutcome,
} from './outcome';
import { planRollback, RollbackStep } from './rollback-plan';

/** The reason of a creation that was superseded by another operation, or of a copy whose fork was cut off. */
const INTERRUPTED = 'interrupted';

/**
 * Makes Docker and the row agree again after a failed operation (rollback), or one abandoned by a crashed process; the
 * container's lease is held throughout.
 */
@Injectable()
export class Recovery {
  constructor(
    private readonly engine: ContainerEngine,
    private readonly instance: Instance,
    private readonly volumes: DataVolumes,
    private readonly known: KnownEngine,
    private readonly policies: RunPolicies,
    private readonly clock: Clock,
    @Inject(LOGGER) private readonly logger: Logger,
  ) {}

  /**
   * Removes Docker containers that the row does not know, restores the row's own container, and updates the row to the
   * observed state.
   *
   * @param interrupted the interrupted operation; decides whether the row's container is started again, and how a stop
   * is reported
   * @throws EngineError if Docker refuses; nothing is lost then, and a retry is safe; LeaseLostError
   */
  async recover(lease: OperationLease, interrupted: Operation): Promise<void> {
    const { row } = lease;
    // Lists every node: a move may have been interrupted.
    const { items, silent } = await this.engine.containers.list({ instance: this.instance.id, containerId: row.id });
    if (row.nodeId !== null && silent.includes(row.nodeId)) throw nodeUnavailable(row.nodeId);
    const current = row.engineId === null ? null : await this.engine.containers.inspect(row.engineId);
    const volumes = await this.volumes.ofContainer(row, { mayBeRestored: isRolledBack(interrupted) });
    for (const step of planRollback({ row, interrupted, listed: items, current, volumes })) {
      await lease.assertHeld();
      await this.perform(step);
    }
    await this.observe(lease, interrupted);
    if (interrupted === 'snapshot') await this.volumes.failAbandonedSnapshots();
    const { otherNodeId } = lease.row;
    const isLookedAt = otherNodeId !== null && !silent.includes(otherNodeId) && this.engine.nodes.answers(otherNodeId);
    if (isLookedAt) await lease.record({ patch: { otherNodeId: null }, events: [] });
  }

  /** Updates the row to the observed state, under the lease. @throws EngineError, LeaseLostError */
  async observe(lease: OperationLease, interrupted: Operation | null = null): Promise<void> {
    const followed = await this.compare(lease.row, interrupted);
    if (followed) await lease.record(followed);
  }

  /**
   * Resumes a paused container before an operation that replaces it, and emits that: from here on the operation finds
   * it running, also if it fails.
   *
   * @throws EngineError, LeaseLostError
   */
  async unpause(lease: OperationLease, now: Date): Promise<void> {
    const { status, engineId } = lease.row;
    if (status !== 'paused' || engineId === null) return;
    await lease.assertHeld();
    await this.engine.containers.unpause(engineId);
    await lease.record(resumedOutcome(lease.row, now));
  }

  /**
   * Inspects the row's container.
   *
   * @param interrupted the interrupted operation; distinguishes a requested stop from an exit
   * @returns the change that the row has to follow; null if the row agrees with Docker
   * @throws EngineError
   */
  async compare(row: ContainerRow, interrupted: Operation | null): Promise<Outcome | null> {
    if (row.engineId === null) return null;
    const observed = await this.engine.containers.inspect(row.engineId);
    const policy = await this.policies.policyOf(row.userId);
    const followed = outcomeOfObservation(row, observed, { death: null, policy });
    // A stop that Berth began is not an exit, even if another process observes its end.
    if (followed?.patch.status === 'stopped' && observed !== null) {
      if (interrupted === 'stop' || isDeletion(interrupted)) return stoppedOutcome(row);
      if (isStopEnding(interrupted)) return stoppedOutcome(row, interrupted);
    }
    return followed;
  }

  /**
   * Whether Docker confirms that the row's container no longer exists, or is half removed.
   *
   * @throws EngineError if Docker does not answer
   */
  async isGone(row: ContainerRow): Promise<boolean> {
    if (row.engineId === null) return false;
    const observed = await this.engine.containers.inspect(row.engineId);
    return observed === null || observed.state === 'broken';
  }

  /**
   * Recovers from an operation that was interrupted, or whose rollback failed, before `verb` continues. A creation that
   * is superseded by another operation has failed.
   *
   * @throws EngineError, LeaseLostError
   */
  async recoverAbandoned(lease: OperationLease, verb: Verb | Ending): Promise<void> {
    if (lease.interrupted === null) return;
    // Only an update or a move needs the container running again. A stop or a deletion must not depend on a start. A
    // start replaces a container that can no longer be started.
    const needless = !isRolledBack(verb) && isRolledBack(lease.interrupted);
    await this.recover(lease, needless ? 'reconcile' : lease.interrupted);
    if (verb !== 'create' && lease.row.status === 'creating') {
      await lease.record(failedCreationOutcome(lease.row, INTERRUPTED));
    }
    lease.markRecovered();
  }

  /** {@link recoverAbandoned} for an operation that continues even if the recovery fails. Never throws. */
  async recoverIfPossible(lease: OperationLease, verb: Verb | Ending): Promise<void> {
    try {
      await this.recoverAbandoned(lease, verb);
    } catch (error) {
      if (error instanceof EngineError) lease.markRecovered();
      // Another error, such as a lost lease, meets the caller again at its next step.
      else this.logger.warn({ err: error, container_id: lease.row.id }, 'could not recover an abandoned operation');
    }
  }

  /**
   * Rolls back a failed operation, or leaves the rollback to the next holder. Never throws.
   *
   * @returns the reason of the failure: `failure`, or `docker_changed` if another Docker refused, or a
   *   `LeaseLostError` if `failure` came from Docker and the lease turns out to be lost: Docker may have refused only
   *   because another process has changed the container
   */
  async rollBack(lease: OperationLease, verb: Verb | Ending, failure: unknown): Promise<unknown> {
    const { id } = lease.row;
    this.logger.warn({ err: failure, container_id: id, operation: verb }, `${verb} failed`);
    const error = failure instanceof EngineError ? await this.known.reasonOf(failure) : failure;
    if (error instanceof LeaseLostError) {
      lease.end();
      return error;
    }
    // An earlier abandoned operation that was not recovered yet takes precedence.
    const interrupted = lease.interrupted ?? rollbackOf(verb);
    const unmade = verb === 'create' || (verb === 'start' && lease.row.status === 'error');
    try {
      // Before any rollback in Docker: a write that the database did not acknowledge may be committed.
      await lease.confirm();
      if (verb === 'create' && databaseFault(error) !== null) {
        // The database answers again, and its error was the only obstacle: the next holder begins the creation anew.
        await lease.abandon('create');
        return error;
      }
      // A creation has failed even if Docker does not answer; the sweep removes its leftovers.
      let isLeft = false;
      await this.recover(lease, interrupted).catch((fault: unknown) => {
        if (!unmade) throw fault;
        isLeft = true;
      });
      if (lease.recovered === 'create' && error instanceof SeedGoneError) {
        // A copy whose fork was interrupted: no start could ever make it.
        const now = this.clock.now();
        await lease.commit(deletedOutcome(lease.row, { now, purgeAt: now, reason: INTERRUPTED, isForced: isLeft }));
        return error;
      }
      const failed = unmade ? reasonOf(error) : lease.row.status === 'creating' ? INTERRUPTED : null;
      await lease.commit(failed === null ? NOTHING : failedCreationOutcome(lease.row, failed));
    } catch (fault) {
      if (fault instanceof LeaseLostError) {
        lease.end();
        return error instanceof EngineError ? fault : error;
      }
      this.logger.error({ err: fault, container_id: id, operation: verb }, `${verb} could not be rolled back yet`);
      await this.leaveForRetry(lease, verb === 'create' ? 'create' : interrupted);
    }
    return error;
  }

  /**
   * Releases a lease whose rollback failed, for `RecoveryQueue` and the next holder. If Docker answers, the row follows
   * the observed state in the same transaction, so that no client sees a stopped container as running. Never throws.
   *
   * @param pending the recovery still to be done
   */
  async leaveForRetry(lease: OperationLease, pending: Operation): Promise<void> {
    const compared = await this.compare(lease.row, pending).catch(() => null);
    // A container that the failed operation suspended is resumed by the retry.
    const isSuspended = isRolledBack(pending) && compared?.patch.status === 'paused';
    const followed = isSuspended ? null : compared;
    const mustRunAgain =
      isRolledBack(pending) && lease.row.status === 'running' && followed?.patch.status === 'stopped';
    await lease.abandon(mustRunAgain ? 'restart' : pending, followed ?? NOTHING).catch(() => undefined);
  }

  /**
   * Releases the lease of an operation that failed before it changed anything in Docker: there is nothing to roll back
   * except an earlier abandoned operation, which stays pending. Never throws.
   */
  async release(lease: OperationLease): Promise<void> {
    try {
      // An unacknowledged write may have been committed, and have ended the lease.
      await lease.confirm();
      if (lease.interrupted === null) await lease.commit(NOTHING);
      else await lease.abandon(lease.interrupted);
    } catch {
      // The lease expires by itself.
      lease.end();
    }
  }

  /** Leaves the failed cleanup of a successful operation to the next holder. Never throws. */
  async leaveCleanup(lease: OperationLease, error: unknown): Promise<void> {
    const { id } = lease.row;
    this.logger.warn({ err: error, container_id: id }, 'the cleanup failed; it is tried again');
    await this.leaveForRetry(lease, 'reconcile');
  }

  private async perform(step: RollbackStep): Promise<void> {
    switch (step.do) {
      case 'remove_container':
        return this.engine.containers.remove(step.engineId);
      case 'start_container':
        await this.engine.containers.start(step.engineId);
        return;
      case 'unpause_container':
        return this.engine.containers.unpause(step.engineId);
      case 'rename_container': {
        return this.engine.containers.rename(step.engineId, step.name);
      }
      case 'remove_volume':
        // In another Docker this volume may be the only copy of the data.
        if (this.known.changed) return;
        // A leftover volume only takes space; a recovery must not fail because of it.
        return this.engine.volumes.remove(step.volume, step.node).catch((error: unknown) => {
          this.logger.warn(
            { err: error, volume: step.volume },
            'an unused volume could not be removed; the next recovery, or the purge, of its container removes it',
          );
        });
    }
  }
}

/** A stop without a request keeps its reason, so that a stop whose answer was lost is reported with its real reason. */
function rollbackOf(verb: Verb | Ending): Operation {
  if (isStopEnding(verb)) return verb;
  return isRolledBack(verb) || isDeletion(verb) ? 'undo' : 'reconcile';
}

function reasonOf(error: unknown): string {
  if (error instanceof CancelledError) return 'cancelled';
  if (!(error instanceof EngineError)) return 'docker_error';
  return error.code === 'aborted' ? 'cancelled' : error.code;
}
