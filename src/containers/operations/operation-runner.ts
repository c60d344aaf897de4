import { Inject, Injectable } from '@nestjs/common';
import type { Logger } from 'pino';
import { ContainerEngine, containerFields, EngineError, saysNotRunning } from '../../engine';
import { databaseFault, DomainError, ErrorCode, type FailureReason } from '../../errors';
import type { EventDraft } from '../../events';
import { LOGGER } from '../../logging';
import { noCapacity } from '../rows/reserved-capacity';
import { type ContainerRow, type Ending, isUp, type Verb } from '../model/container.entity';
import { LeaseLostError } from '../leases/lease';
import type { Grant } from '../leases/lease-store';
import { ContainerLeases } from './container-leases';
import { OperationLease } from './operation-lease';
import { CreationPlacement } from './creation-placement';
import { type Execution, StepExecutor, type StepResults } from './executor';
import { type Completed, OperationContext, type OperationDefinition, type PlannedOperation } from './operation';
import { type Outcome, supersededOutcome } from './outcome';
import { ProgressReporter } from './progress';
import { RunningWork } from './running-work';
import type { ObservedState, Plan } from './steps';

/** Maximum plans made for one operation when Docker contradicts their assumptions; a new node starts a new count. */
const MAX_PLANS = 3;

/** A plan that was executed, and the progress that must be written with the outcome. */
interface Executed {
  readonly cleanup: Plan['cleanup'];
  readonly results: StepResults;
  readonly progress: readonly EventDraft[];
}

/**
 * Runs every operation in the same way, one at a time per container:
 *
 * ```
 *  acquire the lease ─▶ recover what was abandoned ─▶ prepare ─▶ plan and execute ─▶ commit ─▶ clean up
 *                                  │                     │               │              │
 *                                  └──────── failed ─────┴───────────────┴──────────────┴─▶ roll back, or leave that
 *                                                                                           to the next lease holder
 * ```
 *
 * Operations are counted and timed, and a shutdown waits for them: a client that hangs up does not cancel its own.
 */
@Injectable()
export class OperationRunner {
  constructor(
    private readonly leases: ContainerLeases,
    private readonly engine: ContainerEngine,
    private readonly executor: StepExecutor,
    private readonly context: OperationContext,
    private readonly placement: CreationPlacement,
    private readonly work: RunningWork,
    @Inject(LOGGER) private readonly logger: Logger,
  ) {}

  /**
   * Runs an operation from its lease to its outcome. A failure is rolled back before this rejects, or left to the next
   * lease holder if the rollback fails too.
   *
   * @throws DomainError `operation_in_progress`, `container_not_found`, and the verb's own failure
   */
  async run<Result>(row: ContainerRow, operation: OperationDefinition<Result>): Promise<Result> {
    try {
      return operation.result(await this.runOnce(row, operation));
    } catch (error) {
      if (operation.isRepeatedAfter?.(error) !== true) throw error;
      return operation.result(await this.runOnce(row, operation));
    }
  }

  /**
   * Waits for a snapshot of the container, which suspends it.
   *
   * @returns the row after that; as given if the container was deleted
   * @throws DomainError `operation_in_progress` after `OPERATION_WAIT_SECONDS`
   */
  async afterSnapshot(row: ContainerRow): Promise<ContainerRow> {
    if (row.operation !== 'snapshot') return row;
    return (await this.leases.after(row, (operation) => operation === 'snapshot')) ?? row;
  }

  /**
   * Runs the creation of a row that was inserted with its lease. It has no waiting caller: progress is emitted, and a
   * failure is logged, and recorded in the row and its event. Never throws.
   */
  async runCreation(row: ContainerRow, grant: Grant, operation: OperationDefinition<unknown>): Promise<void> {
    try {
      await this.work.track(async () => this.attemptCreation(await this.leases.adopt(row, grant), operation));
    } catch (error) {
      this.logger.error({ err: error, container_id: row.id }, 'container creation failed unexpectedly');
    }
  }

  /**
   * Runs an abandoned operation again, if the acquired lease shows that it is still abandoned. Otherwise another
   * process has recovered it, and the container is left unchanged. Does not wait for another holder.
   *
   * @throws DomainError like {@link run}, except if a creation fails again
   */
  async runAbandoned(row: ContainerRow, operation: OperationDefinition<unknown>): Promise<void> {
    const { verb } = operation;
    this.assertAnswers(row);
    await this.work.track(async () => {
      const lease = await this.leases.acquire(row, verb, 0);
      if (lease.interrupted !== verb) await this.context.recovery.release(lease);
      else if (verb === 'create') await this.attemptCreation(lease, operation);
      else await this.work.measured(verb, () => this.perform(lease, operation));
    });
  }

  /**
   * Removes containers and volumes that the row does not know, and updates the row to the observed state. Does not wait
   * for another operation.
   *
   * @throws EngineError, DomainError
   */
  async reconcile(row: ContainerRow): Promise<void> {
    this.assertAnswers(row);
    await this.work.measured('reconcile', async () => {
      const lease = await this.leases.acquire(row, 'reconcile', 0);
      const interrupted = lease.interrupted ?? 'reconcile';
      try {
        await this.context.recovery.recover(lease, interrupted);
        // The operation that superseded a creation may have been interrupted before it marked the creation as failed.
        await lease.commit(supersededOutcome(lease.row));
      } catch (error) {
        await this.context.recovery.leaveForRetry(lease, interrupted);
        throw error;
      }
    });
  }

  private async runOnce(row: ContainerRow, operation: OperationDefinition<unknown>): Promise<Completed> {
    const { verb, waitMs, ofRowAlone, ifRefused } = operation;
    if (!ofRowAlone && !ifRefused) {
      this.assertAnswers(row);
      const isToStop = (verb === 'stop' || verb === 'delete') && isUp(row.status) && row.operation === null;
      // Sends the inspection that the stop needs; Docker answers it while the lease is written.
      if (isToStop && row.engineId !== null) await this.engine.containers.expectStop(row.engineId);
    }
    return this.work.measured(verb, async () => this.perform(await this.leases.acquire(row, verb, waitMs), operation));
  }

  private async attemptCreation(lease: OperationLease, operation: OperationDefinition<unknown>): Promise<void> {
    try {
      await this.work.measured('create', () => this.perform(lease, operation));
    } catch {
      // `perform` has logged the failure, rolled it back and emitted the event.
      return;
    }
    const { id, engineId } = lease.row;
    this.logger.info({ container_id: id, ...containerFields(this.engine.nodes, engineId) }, 'created');
  }

  /** @throws DomainError `node_unavailable` */
  private assertAnswers({ nodeId }: Pick<ContainerRow, 'nodeId'>): void {
    if (!this.engine.nodes.answers(nodeId)) throw new DomainError('node_unavailable');
  }

  /** Ends the lease: with the outcome, or with the rollback if anything fails. @throws DomainError */
  private async perform(lease: OperationLease, operation: OperationDefinition<unknown>): Promise<Completed> {
    const { verb, ofRowAlone, ifRefused } = operation;
    let alone: Outcome | null;
    try {
      alone = ofRowAlone?.(lease.row, this.context) ?? null;
    } catch (error) {
      await this.context.recovery.release(lease);
      throw error;
    }
    if (alone !== null) return this.writeAlone(lease, alone);
    if (ifRefused) await this.context.recovery.recoverIfPossible(lease, verb);
    try {
      await this.context.recovery.recoverAbandoned(lease, verb);
      if (ofRowAlone) this.assertAnswers(lease.row);
      return await this.carryOut(lease, operation);
    } catch (error) {
      // Nothing was begun in Docker: there is nothing to roll back, and no creation to mark as failed.
      const isRefused = error instanceof DomainError && UNBEGUN.includes(error.kind);
      if (!isRefused) throw toDomainError(operation, await this.context.recovery.rollBack(lease, verb, error));
      await this.context.recovery.release(lease);
      throw toDomainError(operation, error);
    }
  }

  /**
   * Writes a change that does not concern Docker. An interrupted operation does not prevent the write: it stays pending
   * for the next holder.
   *
   * @throws DomainError `name_taken`, `update_failed`
   */
  private async writeAlone(lease: OperationLease, outcome: Outcome): Promise<Completed> {
    const { interrupted, row: before } = lease;
    try {
      if (interrupted === null) return { row: await lease.commit(outcome), before, results: {} };
      const row = await lease.record(outcome);
      await lease.abandon(interrupted);
      return { row, before, results: {} };
    } catch (error) {
      await this.context.recovery.release(lease);
      throw toDomainError({ verb: 'update' }, error);
    }
  }

  private async carryOut(lease: OperationLease, operation: OperationDefinition<unknown>): Promise<Completed> {
    try {
      const prepared = await operation.prepare(lease, this.context);
      return await ('write' in prepared
        ? this.commit(lease, prepared.write)
        : this.executeAndCommit(lease, operation.verb, prepared));
    } catch (error) {
      if (!operation.ifRefused || !(error instanceof EngineError)) throw error;
      return this.commit(lease, operation.ifRefused(lease.row, this.context));
    }
  }

  private async executeAndCommit(
    lease: OperationLease,
    verb: Verb | Ending,
    planned: PlannedOperation,
  ): Promise<Completed> {
    const executed = await this.execute(lease, verb, planned).catch(async (error: unknown) => {
      if (!(error instanceof EngineError) || (await planned.hasSucceeded?.()) !== true) throw error;
      return { cleanup: [], results: {}, progress: [] } satisfies Executed;
    });
    const { cleanup, results, progress } = executed;
    const written = await planned.outcome(results);
    const outcome = { ...written, events: [...progress, ...written.events] };
    const before = lease.row;
    const execution = { row: before, resources: before, seed: null };
    if (planned.afterCleanup === undefined) {
      const row = await lease.commit(outcome);
      // In the background; if it fails or this process ends, the sweep does it.
      this.cleanUp(cleanup, { ...execution, assertWanted: () => Promise.resolve() }, results);
      planned.onCommitted?.(row);
      return { row, before, results };
    }
    const recorded = await lease.record(outcome);
    try {
      await this.executor.execute(cleanup, { ...execution, assertWanted: () => lease.assertHeld() }, results);
      return { row: await lease.commit(planned.afterCleanup), before, results };
    } catch (error) {
      // The outcome stands; the next holder of the lease cleans up.
      await this.context.recovery.leaveCleanup(lease, error);
      return { row: recorded, before, results };
    }
  }

  private async commit(lease: OperationLease, outcome: Outcome): Promise<Completed> {
    const before = lease.row;
    return { row: await lease.commit(outcome), before, results: {} };
  }

  /**
   * Plans and executes; plans again if Docker contradicts the plan's assumptions. On a cluster, a creation that fails
   * because of its node is placed on another one. Emits the progress of creations and of moves of data.
   *
   * @throws EngineError; LeaseLostError, CancelledError if the holder must stop
   */
  private async execute(lease: OperationLease, verb: Verb | Ending, planned: PlannedOperation): Promise<Executed> {
    let { isNew = false } = planned;
    let observed: ObservedState = 'unseen';
    const progress = new ProgressReporter(lease, this.logger);
    const placing = this.placement.of(lease, { verb, isNew });
    try {
      for (let plans = 1; ; plans += 1) {
        const plan = planned.plan({ row: lease.row, observed, isNew });
        const { resources = lease.row, seed = null, mostLayerBytes = 0, layer, listeners } = planned;
        const execution = {
          row: lease.row,
          resources,
          seed,
          mostLayerBytes,
          assertWanted: () => lease.assertNotCancelled(),
          signal: lease.signal,
          ...(listeners ?? progress.listenersOf(verb)),
        };
        const results: StepResults = layer ? { rootKept: layer.isKept } : {};
        try {
          await this.executor.execute(plan.steps, execution, results);
          await placing?.succeeded();
          return { cleanup: plan.cleanup, results, progress: await progress.take() };
        } catch (error) {
          // The failed plan may have created something for the row.
          isNew = false;
          if (await placing?.moveOn(error, results)) {
            plans = 0;
            continue;
          }
          const code = plans < MAX_PLANS && error instanceof EngineError ? error.code : null;
          const isBroken = code === 'container_broken' && plan.steps.some((step) => step.do === 'create_container');
          if (planned.recoverAs && (code === 'name_in_use' || isBroken)) {
            await this.context.recovery.recover(lease, planned.recoverAs);
            continue;
          }
          const next = code && (await planned.onContradiction?.(code));
          if (!next) throw placing?.reason(error) ?? error;
          observed = next;
        }
      }
    } finally {
      await progress.flush();
    }
  }

  private cleanUp(cleanup: Plan['cleanup'], execution: Execution, results: StepResults): void {
    if (cleanup.length === 0) return;
    void this.work
      .track(() => this.executor.execute(cleanup, execution, results))
      .catch((error: unknown) =>
        this.logger.warn({ err: error, container_id: execution.row.id }, 'the cleanup failed; the sweep tries again'),
      );
  }
}

const FAILED: Readonly<Record<Verb | Ending, ErrorCode>> = {
  create: 'create_failed',
  start: 'start_failed',
  stop: 'stop_failed',
  pause: 'pause_failed',
  resume: 'resume_failed',
  delete: 'delete_failed',
  update: 'update_failed',
  move: 'move_failed',
  snapshot: 'snapshot_failed',
  expire: 'stop_failed',
  lifetime: 'stop_failed',
  idle: 'stop_failed',
  suspend: 'stop_failed',
  idle_pause: 'pause_failed',
  auto_delete: 'delete_failed',
};

/** The error that the caller of an operation receives. */
function toDomainError(
  { verb, failure = FAILED[verb] }: Pick<OperationDefinition<unknown>, 'verb' | 'failure'>,
  error: unknown,
): DomainError {
  if (error instanceof DomainError) return error;
  const fault = databaseFault(error);
  if (fault) return fault;
  if (error instanceof EngineError && error.code === 'no_capacity') {
    return noCapacity([{ resource: 'networks', needed: 1, available: 0 }]);
  }
  const isOfPause = failure === 'pause_failed' || verb === 'resume';
  if (isOfPause && saysNotRunning(error)) return new DomainError('container_not_running', { cause: error });
  const code =
    error instanceof EngineError ? engineCode(error) : error instanceof LeaseLostError ? 'claim_lost' : failure;
  return new DomainError(failure, { code, cause: error });
}

/** Docker's error code, if a client can act on it. */
export function engineCode({
  code,
}: EngineError): FailureReason | 'image_not_found' | 'node_unavailable' | 'container_not_responding' {
  const actionable = [
    'docker_unavailable',
    'node_unavailable',
    'container_not_responding',
    'docker_changed',
    'image_not_found',
    'image_not_built',
    'image_access_denied',
    'image_unavailable',
    'start_refused',
    'data_too_large',
    'copy_failed',
  ] as const;
  return actionable.find((each) => each === code) ?? 'docker_error';
}

/** Errors thrown before anything was begun in Docker. */
const UNBEGUN: readonly DomainError['kind'][] = [
  'no_capacity',
  'node_unavailable',
  'same_node',
  'container_not_running',
  'snapshot_limit_reached',
  'snapshot_not_found',
];

const PASSING: readonly DomainError['kind'][] = ['operation_in_progress', 'container_not_found', 'node_unavailable'];

/**
 * True if another process is doing, or has done, this background work, or if the container's node does not answer. Not
 * a failure, as several processes detect the same work.
 */
export function isBenignConflict(error: unknown): boolean {
  return error instanceof DomainError && PASSING.includes(error.kind);
}
