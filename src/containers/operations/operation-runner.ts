import { Inject, Injectable } from '@nestjs/common';
import type { Logger } from 'pino';
import { ContainerEngine, EngineError, type EngineErrorCode } from '../../docker';
import { databaseFault, DomainError, ErrorCode, type FailureReason } from '../../errors';
import type { EventDraft } from '../../events';
import { LOGGER } from '../../logging';
import { noCapacity } from '../rows/reserved-capacity';
import type { ContainerRow, Ending, Operation, Verb } from '../model/container.entity';
import { LeaseLostError } from '../leases/lease';
import type { Grant } from '../leases/lease-store';
import { ContainerLeases } from './container-leases';
import { OperationLease } from './operation-lease';
import { CreationPlacement } from './creation-placement';
import { type Facts, StepExecutor } from './executor';
import type { Outcome } from './outcome';
import { type ObservedState, type Plan, type PlanInput, planOperation } from './plan';
import { ProgressReporter } from './progress';
import { Recovery } from './recovery';
import { RunningWork } from './running-work';

/** The container's state that a refused start implies. */
const STATE_AFTER: Readonly<Partial<Record<EngineErrorCode, ObservedState>>> = {
  container_not_found: 'missing',
  container_paused: 'paused',
  container_broken: 'dead',
};

/** Maximum plans made for one operation when Docker contradicts their assumptions; a new node starts a new count. */
const MAX_PLANS = 3;

/** What an operation does under its lease; it ends with a commit of its outcome. */
type Work<T> = (lease: OperationLease) => Promise<T>;

/**
 * The course of every operation, one at a time per container:
 *
 * ```
 *  acquire the lease ─▶ recover what was abandoned ─▶ plan and execute ─▶ commit ─▶ clean up in the background
 *                                  │                         │              │
 *                                  └──────── failed ─────────┴──────────────┴─▶ roll back, or leave that to the next
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
  async run<T>(
    row: ContainerRow,
    verb: Verb | Ending,
    work: Work<T>,
    { waitMs }: { waitMs?: number } = {},
  ): Promise<T> {
    this.assertAnswers(row);
    const isToStop = (verb === 'stop' || verb === 'delete') && row.status === 'running' && row.operation === null;
    // Sends the inspection that the stop needs; Docker answers it while the lease is written.
    if (isToStop && row.dockerId !== null) await this.engine.expectStop(row.dockerId);
    return this.underLease(row, verb, (lease) => this.attempt(lease, verb, work), { waitMs });
  }

  /**
   * Runs the creation of a row that was inserted with its lease. It has no waiting caller: a failure is logged, and
   * recorded in the row and its event. Never throws.
   */
  async runInserted(row: ContainerRow, grant: Grant, work: Work<unknown>): Promise<void> {
    try {
      await this.work.track(async () => this.create(await this.leases.adopt(row, grant), work));
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
  async resume(row: ContainerRow, verb: Verb, work: Work<unknown>): Promise<void> {
    this.assertAnswers(row);
    await this.work.track(async () => {
      const lease = await this.leases.acquire(row, verb, 0);
      if (lease.interrupted !== verb) await this.recovery.release(lease);
      else if (verb === 'create') await this.create(lease, work);
      else await this.work.measured(verb, () => this.attempt(lease, verb, work));
    });
  }

  /** Whether this Berth runs on a cluster rather than on a single machine. */
  get isClustered(): boolean {
    return this.engine.nodes() !== null;
  }

  /** To be called before an operation begins. @throws DomainError `node_unavailable` */
  assertAnswers({ nodeId }: Pick<ContainerRow, 'nodeId'>): void {
    if (!this.engine.answers(nodeId)) throw new DomainError('node_unavailable');
  }

  /** Acquires the lease and runs `work`, which has to end the lease. Nothing is recovered or rolled back here. */
  async underLease<T>(
    row: ContainerRow,
    operation: Operation,
    work: Work<T>,
    { waitMs }: { waitMs?: number | undefined } = {},
  ): Promise<T> {
    return this.work.measured(operation, async () => work(await this.leases.acquire(row, operation, waitMs)));
  }

  /** Recovers an abandoned operation first, then runs `work`; rolls back if either fails. @throws DomainError */
  async attempt<T>(lease: OperationLease, verb: Verb | Ending, work: Work<T>): Promise<T> {
    try {
      await this.recovery.recoverAbandoned(lease, verb);
      return await work(lease);
    } catch (error) {
      // Nothing was begun in Docker: there is nothing to roll back, and no creation to mark as failed.
      const isRefused = error instanceof DomainError && UNBEGUN.includes(error.kind);
      if (!isRefused) throw toDomainError(verb, await this.recovery.rollBack(lease, verb, error));
      await this.recovery.release(lease);
      throw toDomainError(verb, error);
    }
  }

  /**
   * Writes a change that does not concern Docker. An interrupted operation does not prevent the write: it stays pending
   * for the next holder.
   *
   * @throws DomainError `name_taken`, `update_failed`
   */
  async writeAlone(lease: OperationLease, outcome: Outcome): Promise<ContainerRow> {
    const { interrupted } = lease;
    try {
      if (interrupted === null) return await lease.commit(outcome);
      const after = await lease.record(outcome);
      await lease.abandon(interrupted);
      return after;
    } catch (error) {
      await this.recovery.release(lease);
      throw toDomainError('update', error);
    }
  }

  /**
   * Plans and executes; plans again if Docker contradicts the plan's assumptions. On a cluster, a creation that fails
   * because of its node is placed on another one. Emits the progress of creations and of moves of data.
   *
   * @returns the executed plan, the findings of its steps, and the progress that must be written with the outcome
   * @throws EngineError; LeaseLostError, CancelledError if the holder must stop
   */
  async execute(
    lease: OperationLease,
    input: Omit<PlanInput, 'row' | 'observed'>,
  ): Promise<{ readonly plan: Plan; readonly facts: Facts; readonly progress: readonly EventDraft[] }> {
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
          sealedEnv: input.wanted?.env?.sealed ?? lease.row.sealedEnv,
          assertWanted: () => lease.assertNotCancelled(),
          signal: lease.signal,
          ...progress.listenersOf(input.verb),
        };
        const facts: Facts = {};
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
          else observed = seen;
        }
      }
    } finally {
      await progress.flush();
    }
  }

  /** Background cleanup after a committed operation. If it fails or this process ends, the sweep does it. */
  cleanUp(plan: Plan, row: ContainerRow, facts: Facts): void {
    if (plan.cleanup.length === 0) return;
    const execution = { row, resources: row, sealedEnv: row.sealedEnv, assertWanted: () => Promise.resolve() };
    void this.work
      .track(() => this.executor.execute(plan.cleanup, execution, facts))
      .catch((error: unknown) =>
        this.logger.warn({ err: error, container_id: row.id }, 'the cleanup failed; the sweep tries again'),
      );
  }

  /** Runs the cleanup of a plan under the lease. @throws EngineError, LeaseLostError */
  async finish(
    lease: OperationLease,
    { plan, row, facts }: { plan: Plan; row: ContainerRow; facts: Facts },
  ): Promise<void> {
    const assertWanted = (): Promise<void> => lease.assertHeld();
    await this.executor.execute(plan.cleanup, { row, resources: row, sealedEnv: row.sealedEnv, assertWanted }, facts);
  }

  private async create(lease: OperationLease, work: Work<unknown>): Promise<void> {
    try {
      await this.work.measured('create', () => this.attempt(lease, 'create', work));
    } catch {
      // `attempt` has logged the failure, rolled it back and emitted the event.
      return;
    }
    const { id, dockerId } = lease.row;
    this.logger.info({ container_id: id, docker_id: dockerId }, 'created');
  }
}

const FAILED: Readonly<Record<Verb | Ending, ErrorCode>> = {
  create: 'create_failed',
  start: 'start_failed',
  stop: 'stop_failed',
  delete: 'delete_failed',
  update: 'update_failed',
  move: 'move_failed',
  expire: 'stop_failed',
  idle: 'stop_failed',
  suspend: 'stop_failed',
  auto_delete: 'delete_failed',
};

/** The error that the caller of an operation receives. */
function toDomainError(verb: Verb | Ending, error: unknown): DomainError {
  if (error instanceof DomainError) return error;
  const fault = databaseFault(error);
  if (fault) return fault;
  if (error instanceof EngineError && error.code === 'no_capacity') {
    return noCapacity([{ resource: 'networks', needed: 1, available: 0 }]);
  }
  const code =
    error instanceof EngineError ? engineCode(error) : error instanceof LeaseLostError ? 'claim_lost' : FAILED[verb];
  return new DomainError(FAILED[verb], { code, cause: error });
}

/** Docker's error code, if a client can act on it. */
function engineCode({
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
const UNBEGUN: readonly DomainError['kind'][] = ['no_capacity', 'node_unavailable', 'same_node'];

const PASSING: readonly DomainError['kind'][] = ['operation_in_progress', 'container_not_found', 'node_unavailable'];

/**
 * True if another process is doing, or has done, this background work, or if the container's node does not answer. Not
 * a failure, as several processes detect the same work.
 */
export function isBenignConflict(error: unknown): boolean {
  return error instanceof DomainError && PASSING.includes(error.kind);
}
