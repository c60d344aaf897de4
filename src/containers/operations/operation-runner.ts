import { BeforeApplicationShutdown, Inject, Injectable } from '@nestjs/common';
import type { Logger } from 'pino';
import { type Config, CONFIG } from '../../config';
import {
  ContainerEngine,
  type CopyProgress,
  EngineError,
  type EngineErrorCode,
  isHalfGone,
  type PullProgress,
} from '../../docker';
import { databaseFault, DomainError, ErrorCode } from '../../errors';
import type { EventDraft } from '../../events';
import { LOGGER } from '../../logging';
import {
  containerFacts,
  type ContainerRow,
  type Ending,
  isEnding,
  isRolledBack,
  type Operation,
  type Verb,
} from '../container.entity';
import { ContainerRepository, LeaseLostError } from '../container.repository';
import { RunPolicies } from '../expiry/run-policy';
import { Instance } from '../instance';
import { CancelledError, Lease } from '../leases/leases';
import { KnownEngine } from '../reconcile/known-engine';
import { DataVolumes } from './data-volumes';
import { type Execution, type Facts, StepExecutor } from './executor';
import { ObservedOutcome, outcomeOfObservation } from './observation';
import { failedCreationOutcome, type Outcome, stoppedOutcome } from './outcome';
import { type ObservedState, type Plan, type PlanInput, planOperation, type Step } from './plan';
import { planRollback, RollbackStep } from './rollback-plan';

/** The operations that are running in this process, so that a shutdown can wait for them. */
@Injectable()
export class InFlight {
  private readonly running = new Set<Promise<unknown>>();

  /** Runs `work` and tracks it until it ends. A client that hangs up does not cancel it. */
  async track<T>(work: () => Promise<T>): Promise<T> {
    const promise = work();
    this.running.add(promise);
    try {
      return await promise;
    } finally {
      this.running.delete(promise);
    }
  }

  get count(): number {
    return this.running.size;
  }

  /** Waits at most `ms` for running operations, including those that they start. @returns whether all ended */
  async drain(ms: number): Promise<boolean> {
    const deadline = performance.now() + ms;
    while (this.running.size > 0 && performance.now() < deadline) {
      let timer: NodeJS.Timeout | undefined;
      const timeout = new Promise<void>((resolve) => (timer = setTimeout(resolve, deadline - performance.now())));
      await Promise.race([Promise.allSettled(this.running), timeout]);
      clearTimeout(timer);
    }
    return this.running.size === 0;
  }
}

/** Recovers a container from a failed or interrupted operation; its lease is held throughout. */
@Injectable()
export class Recovery {
  constructor(
    private readonly engine: ContainerEngine,
    private readonly instance: Instance,
    private readonly volumes: DataVolumes,
    private readonly known: KnownEngine,
    private readonly limits: RunPolicies,
    @Inject(LOGGER) private readonly logger: Logger,
  ) {}

  /**
   * Removes Docker containers that the row does not know, restores its own, and updates the row to the observed state.
   *
   * @param interrupted the interrupted operation; decides between rollback and completion
   * @throws EngineError if Docker refuses; nothing is lost then, and a retry is safe
   */
  async recover(lease: Lease, interrupted: Operation): Promise<void> {
    const { row } = lease;
    const listed = await this.engine.listContainers({ instance: this.instance.id, containerId: row.id });
    const current = row.dockerId === null ? null : await this.engine.inspectContainer(row.dockerId);
    const volumes = await this.volumes.ofContainer(row);
    for (const step of planRollback({ row, interrupted, listed, current, volumes })) {
      await lease.assertHeld();
      await this.perform(step);
    }
    await this.observe(lease, interrupted);
  }

  /** Updates the row to the observed state, under the lease. @throws EngineError */
  async observe(lease: Lease, interrupted: Operation | null = null): Promise<void> {
    const followed = await this.compare(lease.row, interrupted);
    if (followed) await lease.record(followed.patch, followed.events);
  }

  /**
   * Inspects the row's container.
   *
   * @param interrupted the interrupted operation; tells a requested stop from an exit
   * @returns the change that the row has to follow; null if it agrees
   * @throws EngineError
   */
  async compare(row: ContainerRow, interrupted: Operation | null): Promise<ObservedOutcome | null> {
    if (row.dockerId === null) return null;
    const observed = await this.engine.inspectContainer(row.dockerId);
    const policy = await this.limits.policyOf(row.userId);
    const followed = outcomeOfObservation(row, observed, { death: null, policy });
    // Our own stop is not an exit, even if its end was observed by someone else.
    if (followed?.patch.status === 'stopped' && observed !== null) {
      if (interrupted === 'stop' || interrupted === 'delete') return stoppedOutcome(row);
      if (isEnding(interrupted)) return stoppedOutcome(row, interrupted);
    }
    return followed;
  }

  /**
   * Whether Docker confirms that the row's container no longer exists.
   *
   * @throws EngineError if Docker does not answer
   */
  async isGone(row: ContainerRow): Promise<boolean> {
    if (row.dockerId === null) return false;
    const observed = await this.engine.inspectContainer(row.dockerId);
    return observed === null || isHalfGone(observed.state);
  }

  private async perform(step: RollbackStep): Promise<void> {
    switch (step.do) {
      case 'remove_container':
        return this.engine.removeContainer(step.dockerId);
      case 'start_container':
        await this.engine.startContainer(step.dockerId);
        return;
      case 'rename_container': {
        return this.engine.renameContainer(step.dockerId, step.name);
      }
      case 'remove_volume':
        // In another Docker it may be the only copy of the data.
        if (this.known.changed) return;
        // A leftover volume only takes space; a container must not depend on its removal.
        return this.engine.removeVolume(step.volume).catch((error: unknown) => {
          this.logger.warn(
            { err: error, volume: step.volume },
            'an unused volume could not be removed; the sweep tries again',
          );
        });
    }
  }
}

/** The container's state that a refused start implies. */
const STATE_AFTER: Readonly<Partial<Record<EngineErrorCode, ObservedState>>> = {
  container_not_found: 'missing',
  container_paused: 'paused',
  container_broken: 'dead',
};

/** Maximum plans made for one operation when Docker contradicts their assumptions. */
const MAX_PLANS = 3;

/** Plans an operation and executes the plan; plans again if Docker contradicts its assumptions. */
@Injectable()
export class PlanRunner {
  constructor(
    private readonly executor: StepExecutor,
    private readonly recovery: Recovery,
    private readonly inFlight: InFlight,
    @Inject(LOGGER) private readonly logger: Logger,
  ) {}

  /**
   * @returns the executed plan, and what its steps found out.
   * @throws EngineError, and the reason why the lease's holder has to stop
   */
  async run(
    lease: Lease,
    input: Omit<PlanInput, 'row' | 'observed'>,
    listeners: Pick<Execution, 'onStep' | 'onPull' | 'onCopy'> = {},
  ): Promise<{ plan: Plan; facts: Facts }> {
    let observed: ObservedState = 'unseen';
    for (let plans = 1; ; plans += 1) {
      const plan = planOperation({ ...input, row: lease.row, observed });
      try {
        const facts = await this.executor.execute(plan.steps, {
          row: lease.row,
          resources: input.wanted ?? lease.row,
          assertWanted: () => lease.assertNotCancelled(),
          signal: lease.signal,
          ...listeners,
        });
        return { plan, facts };
      } catch (error) {
        const contradicted = plans < MAX_PLANS && error instanceof EngineError ? error.code : null;
        const seen = contradicted && input.verb === 'start' ? STATE_AFTER[contradicted] : undefined;
        // An update may have stopped the container; the next plan must find it as it was.
        const recoverAs = input.verb === 'update' ? 'undo' : 'reconcile';
        if (contradicted === 'name_in_use') await this.recovery.recover(lease, recoverAs);
        else if (seen === undefined) throw error;
        else observed = seen;
      }
    }
  }

  /** Background cleanup after a committed operation. The sweep does it if this process does not. */
  cleanUp(plan: Plan, row: ContainerRow, facts: Facts): void {
    if (plan.cleanup.length === 0) return;
    void this.inFlight
      .track(() =>
        this.executor.execute(plan.cleanup, { row, resources: row, assertWanted: () => Promise.resolve() }, facts),
      )
      .catch((error: unknown) =>
        this.logger.warn({ err: error, container_id: row.id }, 'the cleanup failed; the sweep tries again'),
      );
  }
}

const FAILED: Readonly<Record<Verb | Ending, ErrorCode>> = {
  create: 'create_failed',
  start: 'start_failed',
  stop: 'stop_failed',
  delete: 'delete_failed',
  update: 'update_failed',
  expire: 'stop_failed',
  idle: 'stop_failed',
};

/** A creation that was superseded by another operation. */
const INTERRUPTED = 'interrupted';

const NOTHING: Outcome = { patch: {}, events: [] };

/** Rolls back a failed operation, or one abandoned by a crashed process. */
@Injectable()
export class Rollback {
  constructor(
    private readonly recovery: Recovery,
    @Inject(LOGGER) private readonly logger: Logger,
  ) {}

  /**
   * Recovers from an operation that was interrupted, or whose rollback failed, before `verb` continues. A creation that
   * is superseded by another operation has failed.
   *
   * @throws EngineError, LeaseLostError
   */
  async recoverAbandoned(lease: Lease, verb: Verb | Ending): Promise<void> {
    if (lease.interrupted === null) return;
    // Only an update needs the container running again. A stop or a delete must not depend on a start, and a start
    // handles a container that can no longer be started.
    const needless = verb !== 'update' && isRolledBack(lease.interrupted);
    await this.recovery.recover(lease, needless ? 'reconcile' : lease.interrupted);
    if (lease.row.status === 'creating') {
      const { patch, events } = failedCreationOutcome(lease.row, INTERRUPTED);
      await lease.record(patch, events);
    }
    lease.markRecovered();
  }

  /** Rolls back a failed operation, or leaves the rollback to the next holder. */
  async rollBack(lease: Lease, verb: Verb | Ending, error: unknown): Promise<void> {
    const { id } = lease.row;
    this.logger.warn({ err: error, container_id: id, operation: verb }, `${verb} failed`);
    if (error instanceof LeaseLostError) {
      lease.end();
      return;
    }
    // An earlier abandoned operation comes first, if it was not even recovered yet.
    const interrupted = lease.interrupted ?? rollbackOf(verb);
    const unmade = verb === 'create' || (verb === 'start' && lease.row.status === 'error');
    try {
      // Before any rollback in Docker: a write that the database did not acknowledge may be committed.
      await lease.confirm();
      // A creation is over even if Docker does not answer; the sweep removes what it may have left.
      await this.recovery.recover(lease, interrupted).catch((fault: unknown) => {
        if (!unmade) throw fault;
      });
      const failed = unmade ? reasonOf(error) : lease.row.status === 'creating' ? INTERRUPTED : null;
      const { patch, events } = failed === null ? NOTHING : failedCreationOutcome(lease.row, failed);
      await lease.commit(patch, events);
    } catch (fault) {
      if (fault instanceof LeaseLostError) {
        lease.end();
        return;
      }
      this.logger.error({ err: fault, container_id: id, operation: verb }, `${verb} could not be rolled back yet`);
      await this.leaveForRetry(lease, verb === 'create' ? 'create' : interrupted);
    }
  }

  /**
   * Releases a lease whose rollback failed, for `RollbackRetries` and the next holder. If the container is visible in
   * Docker, the row follows its state in the same transaction, so that no client sees a stopped container as running.
   * Never throws.
   *
   * @param pending the recovery still to be done
   */
  async leaveForRetry(lease: Lease, pending: Operation): Promise<void> {
    const followed = await this.recovery.compare(lease.row, pending).catch(() => null);
    const mustRunAgain =
      isRolledBack(pending) && lease.row.status === 'running' && followed?.patch.status === 'stopped';
    await lease.abandon(mustRunAgain ? 'restart' : pending, followed ?? NOTHING).catch(() => undefined);
  }

  /**
   * Releases the lease of an operation that failed before it changed anything in Docker: there is nothing to roll back
   * except an earlier abandoned operation, which stays pending. Never throws.
   */
  async release(lease: Lease): Promise<void> {
    try {
      // An unacknowledged write may be committed, and the lease over.
      await lease.confirm();
      if (lease.interrupted === null) await lease.commit({});
      else await lease.abandon(lease.interrupted);
    } catch {
      // It expires by itself.
      lease.end();
    }
  }

  /** The error that the caller receives. */
  toDomainError(verb: Verb | Ending, error: unknown): DomainError {
    if (error instanceof DomainError) return error;
    const fault = databaseFault(error);
    if (fault) return fault;
    const code =
      error instanceof EngineError ? engineCode(error) : error instanceof LeaseLostError ? 'claim_lost' : FAILED[verb];
    return new DomainError(FAILED[verb], { code, cause: error });
  }
}

/** An ending stays one, so that a stop whose answer was lost is reported with its real reason. */
function rollbackOf(verb: Verb | Ending): Operation {
  if (isEnding(verb)) return verb;
  return verb === 'update' || verb === 'delete' ? 'undo' : 'reconcile';
}

function reasonOf(error: unknown): string {
  if (error instanceof CancelledError) return 'cancelled';
  if (!(error instanceof EngineError)) return 'docker_error';
  return error.code === 'aborted' ? 'cancelled' : error.code;
}

/** Docker's error code, if a client can act on it. */
function engineCode(error: EngineError): string {
  const actionable = [
    'docker_unavailable',
    'docker_changed',
    'image_not_found',
    'image_access_denied',
    'image_unavailable',
    'start_refused',
    'data_too_large',
    'copy_failed',
  ];
  return actionable.includes(error.code) ? error.code : 'docker_error';
}

/** Each creation step's progress, from 0 to 100; a pull advances from its own start to the next step's. */
const STAGES: Partial<Record<Step['do'], { stage: string; message: string; progress: number }>> = {
  ensure_volume: { stage: 'volume', message: 'preparing the data volume', progress: 2 },
  ensure_image: { stage: 'image', message: 'preparing the image', progress: 5 },
  create_container: { stage: 'create', message: 'creating the container', progress: 70 },
  start_container: { stage: 'start', message: 'starting the container', progress: 80 },
};
const PULL = { from: 5, to: 60 };

/** Emits an operation's progress, in order and before its end. Failing to emit does not fail the operation. */
export class ProgressReporter {
  private last: Promise<void> = Promise.resolve();
  private untold: EventDraft[] = [];

  /** @param emit of all events queued since the last call, in one transaction */
  constructor(
    private readonly row: ContainerRow,
    private readonly emit: (drafts: readonly EventDraft[]) => Promise<void>,
  ) {}

  readonly onStep = (step: Step): void => {
    const stage = STAGES[step.do];
    if (stage) this.report(stage);
  };

  readonly onPull = ({ percent, message }: PullProgress): void => {
    const progress = Math.round(PULL.from + ((PULL.to - PULL.from) * percent) / 100);
    this.report({ stage: 'image', message, progress });
  };

  /** For a move to another volume, the only progress that an update emits. */
  readonly onCopy = ({ percent, message }: CopyProgress): void => {
    this.report({ stage: 'disk', message, progress: percent });
  };

  /** Resolves when all progress reported so far has been emitted. */
  async flush(): Promise<void> {
    await this.last;
  }

  private report(stage: { stage: string; message: string; progress: number }): void {
    this.untold.push({ type: 'container_progress', data: { ...containerFacts(this.row), ...stage } });
    this.last = this.last.then(async () => {
      const drafts = this.untold.splice(0);
      if (drafts.length > 0) await this.emit(drafts);
    });
  }
}

/** Makes the progress reporters of operations. */
@Injectable()
export class ProgressReports {
  constructor(
    private readonly repository: ContainerRepository,
    @Inject(LOGGER) private readonly logger: Logger,
  ) {}

  of({ row }: Lease): ProgressReporter {
    return new ProgressReporter(row, (drafts) =>
      this.repository.emit(row, drafts).catch((error: unknown) => {
        this.logger.warn({ err: error, container_id: row.id }, 'progress could not be emitted');
      }),
    );
  }
}

const PASSING: readonly DomainError['kind'][] = ['operation_in_progress', 'container_not_found'];

/** True if another process is doing, or has done, this background work: no failure where several detect the same. */
export function isPassing(error: unknown): boolean {
  return error instanceof DomainError && PASSING.includes(error.kind);
}

/** Lets running operations finish before the process ends; the next lease holder finishes what takes too long. */
@Injectable()
export class ShutdownDrain implements BeforeApplicationShutdown {
  constructor(
    private readonly inFlight: InFlight,
    @Inject(CONFIG) private readonly config: Config,
    @Inject(LOGGER) private readonly logger: Logger,
  ) {}

  async beforeApplicationShutdown(): Promise<void> {
    const running = this.inFlight.count;
    if (running === 0) return;
    this.logger.info({ running }, 'waiting for running operations');
    const done = await this.inFlight.drain(this.config.SHUTDOWN_GRACE_SECONDS * 1000);
    if (!done)
      this.logger.warn({ running: this.inFlight.count }, 'operations were interrupted; the next start recovers them');
  }
}
