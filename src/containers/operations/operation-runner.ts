import { Inject, Injectable } from '@nestjs/common';
import type { Logger } from 'pino';
import { ContainerEngine, containerFields, EngineError, type EngineErrorCode, saysNotRunning } from '../../engine';
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
import { type Execution, type Facts, StepExecutor } from './executor';
import { type Outcome, supersededOutcome } from './outcome';
import { type ObservedState, type Plan, type PlanInput, planOperation } from './plan';
import { ProgressReporter } from './progress';
import { Recovery } from './recovery';
import { RunningWork } from './running-work';

/** The container's state that a refused start implies. */
const STATE_AFTER: Readonly<Partial<Record<EngineErrorCode, ObservedState>>> = {
  container_not_found: 'missing',
  container_paused: 'paused',
  container_broken: 'dead',
  // It can be started, but is of an earlier version.
  restart_required: 'dead',
};

/** Maximum plans made for one operation when Docker contradicts their assumptions; a new node starts a new count. */
const MAX_PLANS = 3;

/** What an operation is to do in Docker, and what its success writes. */
export interface Course {
  readonly plan: Omit<PlanInput, 'row' | 'observed'>;
  /** Called if the plan failed in Docker: whether the operation has succeeded nevertheless. */
  readonly hasSucceeded?: () => Promise<boolean>;
  /** Called before a container is replaced that Docker can never start again. */
  readonly onBroken?: (code: EngineErrorCode) => Promise<void>;
  /** See {@link Execution}. */
  readonly mostLayerBytes?: number;
  /** Told of the progress, in place of the emission of `container_progress`. */
  readonly listeners?: Pick<Execution, 'onStep' | 'onCopy' | 'onLayer'>;
  /** Called once the plan has been executed. */
  readonly outcome: (facts: Facts) => Outcome | Promise<Outcome>;
  /**
   * If present, the plan's cleanup runs after the outcome is written, before the lease ends with this. If absent, the
   * cleanup runs in the background, after the lease has ended with the outcome.
   */
  readonly afterCleanup?: Outcome;
  /** Called with the row after the commit; must not throw. */
  readonly onCommitted?: (row: ContainerRow) => void;
}

/** An operation as data. */
export interface OperationDefinition {
  readonly verb: Verb | Ending;
  /** The error of a failure, if it is not the verb's. */
  readonly failure?: ErrorCode;
  /** Called first: the outcome if the operation changes nothing in Docker, null if it does. May refuse by an error. */
  readonly ofRowAlone?: (row: ContainerRow) => Outcome | null;
  /** Called once no abandoned operation is left. @returns a course; or the outcome, if Docker has nothing to do */
  readonly prepare: (lease: OperationLease) => Promise<Course | { readonly write: Outcome }>;
  /**
   * The outcome if Docker refuses or does not answer. If present, the operation runs even if the node does not answer,
   * or an abandoned operation cannot be recovered.
   */
  readonly ifRefused?: (row: ContainerRow) => Outcome;
}

/** What a successful operation has done. */
export interface Done {
  /** The row as committed. */
  readonly row: ContainerRow;
  /** The row before the outcome. */
  readonly before: ContainerRow;
  /** The findings of the executed steps; empty if there were none. */
  readonly facts: Facts;
}

/** A plan that was executed, and the progress that must be written with the outcome. */
interface Executed {
  readonly plan: Plan;
  readonly facts: Facts;
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
    private readonly recovery: Recovery,
    private readonly placement: CreationPlacement,
    private readonly work: RunningWork,
    @Inject(LOGGER) private readonly logger: Logger,
  ) {}

  /**
   * Runs an operation from its lease to its outcome. A failure is rolled back before this rejects, or left to the next
   * lease holder if the rollback fails too.
   *
   * @param options.waitMs how long to wait for another operation; by default `OPERATION_WAIT_SECONDS`
   * @throws DomainError `operation_in_progress`, `container_not_found`, and the verb's own failure
   */
  async run(
    row: ContainerRow,
    operation: OperationDefinition,
    { waitMs }: { waitMs?: number | undefined } = {},
  ): Promise<Done> {
    const { verb, ofRowAlone, ifRefused } = operation;
    if (!ofRowAlone && !ifRefused) {
      this.assertAnswers(row);
      const isToStop = (verb === 'stop' || verb === 'delete') && isUp(row.status) && row.operation === null;
      // Sends the inspection that the stop needs; Docker answers it while the lease is written.
      if (isToStop && row.engineId !== null) await this.engine.containers.expectStop(row.engineId);
    }
    return this.work.measured(verb, async () => this.perform(await this.leases.acquire(row, verb, waitMs), operation));
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
   * Runs the creation of a row that was inserted with its lease. It has no waiting caller: a failure is logged, and
   * recorded in the row and its event. Never throws.
   */
  async runInserted(row: ContainerRow, grant: Grant, operation: OperationDefinition): Promise<void> {
    try {
      await this.work.track(async () => this.create(await this.leases.adopt(row, grant), operation));
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
  async resume(row: ContainerRow, operation: OperationDefinition): Promise<void> {
    const { verb } = operation;
    this.assertAnswers(row);
    await this.work.track(async () => {
      const lease = await this.leases.acquire(row, verb, 0);
      if (lease.interrupted !== verb) await this.recovery.release(lease);
      else if (verb === 'create') await this.create(lease, operation);
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
        await this.recovery.recover(lease, interrupted);
        // The operation that superseded a creation may have been interrupted before it marked the creation as failed.
        await lease.commit(supersededOutcome(lease.row));
      } catch (error) {
        await this.recovery.leaveForRetry(lease, interrupted);
        throw error;
      }
    });
  }

  private async create(lease: OperationLease, operation: OperationDefinition): Promise<void> {
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
  private async perform(lease: OperationLease, operation: OperationDefinition): Promise<Done> {
    const { verb, ofRowAlone, ifRefused } = operation;
    const alone = await this.orRelease(lease, () => ofRowAlone?.(lease.row) ?? null);
    if (alone !== null) return this.writeAlone(lease, alone);
    if (ifRefused) await this.recovery.recoverIfPossible(lease, verb);
    try {
      await this.recovery.recoverAbandoned(lease, verb);
      if (ofRowAlone) this.assertAnswers(lease.row);
      return await this.carryOut(lease, operation);
    } catch (error) {
      // Nothing was begun in Docker: there is nothing to roll back, and no creation to mark as failed.
      const isRefused = error instanceof DomainError && UNBEGUN.includes(error.kind);
      if (!isRefused) throw toDomainError(operation, await this.recovery.rollBack(lease, verb, error));
      await this.recovery.release(lease);
      throw toDomainError(operation, error);
    }
  }

  /** Releases the lease if `work` throws: nothing was begun. */
  private async orRelease<T>(lease: OperationLease, work: () => T): Promise<T> {
    try {
      return work();
    } catch (error) {
      await this.recovery.release(lease);
      throw error;
    }
  }

  /**
   * Writes a change that does not concern Docker. An interrupted operation does not prevent the write: it stays pending
   * for the next holder.
   *
   * @throws DomainError `name_taken`, `update_failed`
   */
  private async writeAlone(lease: OperationLease, outcome: Outcome): Promise<Done> {
    const { interrupted, row: before } = lease;
    try {
      if (interrupted === null) return { row: await lease.commit(outcome), before, facts: {} };
      const row = await lease.record(outcome);
      await lease.abandon(interrupted);
      return { row, before, facts: {} };
    } catch (error) {
      await this.recovery.release(lease);
      throw toDomainError({ verb: 'update' }, error);
    }
  }

  private async carryOut(lease: OperationLease, { prepare, ifRefused }: OperationDefinition): Promise<Done> {
    try {
      const prepared = await prepare(lease);
      return await ('write' in prepared ? this.commit(lease, prepared.write) : this.follow(lease, prepared));
    } catch (error) {
      if (!ifRefused || !(error instanceof EngineError)) throw error;
      return this.commit(lease, ifRefused(lease.row));
    }
  }

  private async follow(lease: OperationLease, course: Course): Promise<Done> {
    const { plan, facts, progress } = await this.execute(lease, course).catch(async (error: unknown) => {
      if (!(error instanceof EngineError) || (await course.hasSucceeded?.()) !== true) throw error;
      return { plan: { steps: [], cleanup: [] }, facts: {}, progress: [] } satisfies Executed;
    });
    const written = await course.outcome(facts);
    const outcome = { ...written, events: [...progress, ...written.events] };
    const before = lease.row;
    const work = { row: before, resources: before, seed: null };
    if (course.afterCleanup === undefined) {
      const row = await lease.commit(outcome);
      // In the background; if it fails or this process ends, the sweep does it.
      this.cleanUp(plan, { ...work, assertWanted: () => Promise.resolve() }, facts);
      course.onCommitted?.(row);
      return { row, before, facts };
    }
    const recorded = await lease.record(outcome);
    try {
      await this.executor.execute(plan.cleanup, { ...work, assertWanted: () => lease.assertHeld() }, facts);
      return { row: await lease.commit(course.afterCleanup), before, facts };
    } catch (error) {
      // The outcome stands; the next holder of the lease cleans up.
      await this.recovery.leaveCleanup(lease, error);
      return { row: recorded, before, facts };
    }
  }

  private async commit(lease: OperationLease, outcome: Outcome): Promise<Done> {
    const before = lease.row;
    return { row: await lease.commit(outcome), before, facts: {} };
  }

  /**
   * Plans and executes; plans again if Docker contradicts the plan's assumptions. On a cluster, a creation that fails
   * because of its node is placed on another one. Emits the progress of creations and of moves of data.
   *
   * @returns also the findings of the steps
   * @throws EngineError; LeaseLostError, CancelledError if the holder must stop
   */
  private async execute(
    lease: OperationLease,
    { plan: input, mostLayerBytes = 0, listeners, onBroken }: Course,
  ): Promise<Executed> {
    const progress = new ProgressReporter(lease, this.logger);
    const placing = this.placement.of(lease, input);
    let observed: ObservedState = 'unseen';
    let { isNew = false } = input;
    try {
      for (let plans = 1; ; plans += 1) {
        const plan = planOperation({ ...input, isNew, row: lease.row, observed });
        const execution = {
          row: lease.row,
          resources: input.wanted ?? lease.row,
          seed: input.seed ?? null,
          mostLayerBytes,
          assertWanted: () => lease.assertNotCancelled(),
          signal: lease.signal,
          ...(listeners ?? progress.listenersOf(input.verb)),
        };
        const facts: Facts = input.layer ? { rootKept: input.layer.isKept } : {};
        try {
          await this.executor.execute(plan.steps, execution, facts);
          await placing?.succeeded();
          return { plan, facts, progress: await progress.take() };
        } catch (error) {
          // The failed plan may have created something for the row.
          isNew = false;
          const contradicted = plans < MAX_PLANS && error instanceof EngineError ? error.code : null;
          if (await placing?.moveOn(error, facts)) {
            plans = 0;
            continue;
          }
          const seen = contradicted && input.verb === 'start' ? STATE_AFTER[contradicted] : undefined;
          // An update may have stopped the container; the next plan must find it running as before.
          const recoverAs = input.verb === 'update' ? 'undo' : 'reconcile';
          // A move is not planned again: it began with a recovery that removed all obstacles, and another `recover`
          // would give up the room that is reserved on the target node.
          if (input.verb === 'move') throw error;
          const isReplacementBroken =
            contradicted === 'container_broken' && plan.steps.some((step) => step.do === 'create_container');
          if (contradicted === 'name_in_use' || isReplacementBroken) await this.recovery.recover(lease, recoverAs);
          else if (seen === undefined) throw placing?.reason(error) ?? error;
          else {
            if (seen === 'dead' && contradicted) await onBroken?.(contradicted);
            observed = seen;
          }
        }
      }
    } finally {
      await progress.flush();
    }
  }

  private cleanUp({ cleanup }: Plan, execution: Execution, facts: Facts): void {
    if (cleanup.length === 0) return;
    void this.work
      .track(() => this.executor.execute(cleanup, execution, facts))
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
  idle: 'stop_failed',
  suspend: 'stop_failed',
  idle_pause: 'pause_failed',
  auto_delete: 'delete_failed',
};

/** The error that the caller of an operation receives. */
function toDomainError(
  { verb, failure = FAILED[verb] }: Pick<OperationDefinition, 'verb' | 'failure'>,
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
