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

/** The operations that run in this process now, so that a shutdown can wait for them. */
@Injectable()
export class InFlight {
  private readonly running = new Set<Promise<unknown>>();

  /** Runs `work` and remembers it until it ends. A client that hangs up changes nothing: nobody cancels it. */
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

  /** Waits for what runs, including what that starts, at most `ms`. @returns whether everything ended */
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

/** Leads a container back from an operation that failed or was cut off; the lease is held and stays held. */
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
   * Removes what the row does not know, restores what it does, and lets the row follow what Docker then says.
   *
   * @param interrupted what was going on; says whether the way is back or on
   * @throws EngineError when Docker does not let it; then nothing is lost, and it can be tried again
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
    await this.look(lease, interrupted);
  }

  /** Lets the row follow Docker, under the lease. @throws EngineError */
  async look(lease: Lease, interrupted: Operation | null = null): Promise<void> {
    const followed = await this.compare(lease.row, interrupted);
    if (followed) await lease.record(followed.patch, followed.events);
  }

  /**
   * Looks at the row's container in Docker.
   *
   * @param interrupted what was going on; says whether an end that is seen was one that was wanted
   * @returns what the row has to follow; null where it agrees
   * @throws EngineError
   */
  async compare(row: ContainerRow, interrupted: Operation | null): Promise<ObservedOutcome | null> {
    if (row.dockerId === null) return null;
    const observed = await this.engine.inspectContainer(row.dockerId);
    const terms = await this.limits.policyOf(row.userId);
    const followed = outcomeOfObservation(row, observed, { death: null, policy: terms });
    // A stop of our own is no exit, even if its end was seen by another.
    if (followed?.patch.status === 'stopped' && observed !== null) {
      if (interrupted === 'stop' || interrupted === 'delete') return stoppedOutcome(row);
      if (isEnding(interrupted)) return stoppedOutcome(row, interrupted);
    }
    return followed;
  }

  /** Whether Docker says that the row's container is no more. @throws EngineError when Docker does not say */
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
        // In another Docker it may be all that there is of the data.
        if (this.known.changed) return;
        // It takes space and harms nobody; a container must not hang on it.
        return this.engine.removeVolume(step.volume).catch((error: unknown) => {
          this.logger.warn({ err: error, volume: step.volume }, 'a volume of no use is left to the sweep');
        });
    }
  }
}

/** What a start that was refused tells of the container. */
const STATE_AFTER: Readonly<Partial<Record<EngineErrorCode, ObservedState>>> = {
  container_not_found: 'missing',
  container_paused: 'paused',
  container_broken: 'dead',
};

/** How often a plan is made anew because Docker contradicted what it was made from. */
const MAX_PLANS = 3;

/** Makes the plan of an operation and has it carried out, anew where Docker contradicts what it was made from. */
@Injectable()
export class PlanRunner {
  constructor(
    private readonly executor: StepExecutor,
    private readonly recovery: Recovery,
    private readonly inFlight: InFlight,
    @Inject(LOGGER) private readonly logger: Logger,
  ) {}

  /** @returns the plan that was carried out, and what its steps found out. @throws EngineError, and why the lease's holder has to stop */
  async run(
    lease: Lease,
    input: Omit<PlanInput, 'row' | 'observed'>,
    listeners: Pick<Execution, 'onStep' | 'onPull' | 'onCopy'> = {},
  ): Promise<{ plan: Plan; facts: Facts }> {
    let observed: ObservedState = 'unseen';
    for (let plans = 1; ; plans += 1) {
      const plan = planOperation({ ...input, row: lease.row, observed: observed });
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
        // An update may have stopped the container, which the next plan has to find as it was.
        const way = input.verb === 'update' ? 'undo' : 'reconcile';
        if (contradicted === 'name_in_use') await this.recovery.recover(lease, way);
        else if (seen === undefined) throw error;
        else observed = seen;
      }
    }
  }

  /** What a committed operation leaves to do on nobody's time. The sweep does it if this process does not get to it. */
  cleanUp(plan: Plan, row: ContainerRow, facts: Facts): void {
    if (plan.cleanup.length === 0) return;
    void this.inFlight
      .track(() =>
        this.executor.execute(plan.cleanup, { row, resources: row, assertWanted: () => Promise.resolve() }, facts),
      )
      .catch((error: unknown) =>
        this.logger.warn({ err: error, container_id: row.id }, 'the clean-up is left to the sweep'),
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

/** Of a creation that something else takes over from. */
const INTERRUPTED = 'interrupted';

const NOTHING: Outcome = { patch: {}, events: [] };

/** Leads an operation back that cannot go on: its own when a step failed, or that of a holder who died. */
@Injectable()
export class Rollback {
  constructor(
    private readonly recovery: Recovery,
    @Inject(LOGGER) private readonly logger: Logger,
  ) {}

  /**
   * Deals with what an operation left that was interrupted, or could not be rolled back, before `verb` goes on from there. A
   * creation that something else takes over from has failed.
   *
   * @throws EngineError, LeaseLostError
   */
  async recoverAbandoned(lease: Lease, verb: Verb | Ending): Promise<void> {
    if (lease.interrupted === null) return;
    // Only an update goes on from a container that runs again. A stop or a delete must not depend on a start, and a start
    // knows how to deal with a container that cannot be started any more.
    const needless = verb !== 'update' && isRolledBack(lease.interrupted);
    await this.recovery.recover(lease, needless ? 'reconcile' : lease.interrupted);
    if (lease.row.status === 'creating') {
      const { patch, events } = failedCreationOutcome(lease.row, INTERRUPTED);
      await lease.record(patch, events);
    }
    lease.markRecovered();
  }

  /** Takes back what a failed operation did, or leaves that to the next claim. */
  async rollBack(lease: Lease, verb: Verb | Ending, error: unknown): Promise<void> {
    const { id } = lease.row;
    this.logger.warn({ err: error, container_id: id, operation: verb }, `${verb} failed`);
    if (error instanceof LeaseLostError) {
      lease.end();
      return;
    }
    // What a dead holder left still comes first, where it was not even that far.
    const way = lease.interrupted ?? rollbackOf(verb);
    const unmade = verb === 'create' || (verb === 'start' && lease.row.status === 'error');
    try {
      // Before anything is taken back in Docker: what the database did not acknowledge may be the truth by now.
      await lease.confirm();
      // A creation is over even where Docker does not answer; the sweep removes what it may have left.
      await this.recovery.recover(lease, way).catch((fault: unknown) => {
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
      this.logger.error({ err: fault, container_id: id, operation: verb }, `${verb} could not be taken back yet`);
      await this.leaveForRetry(lease, verb === 'create' ? 'create' : way);
    }
  }

  /**
   * Ends a lease whose rollback failed, for `RollbackRetries` and whoever claims next. Where Docker still shows the container,
   * the row follows it in the same transaction, so that nobody is told of a container that runs while it does not. Never throws.
   *
   * @param way what is left to do
   */
  async leaveForRetry(lease: Lease, way: Operation): Promise<void> {
    const followed = await this.recovery.compare(lease.row, way).catch(() => null);
    const mustRunAgain = isRolledBack(way) && lease.row.status === 'running' && followed?.patch.status === 'stopped';
    await lease.abandon(mustRunAgain ? 'restart' : way, followed ?? NOTHING).catch(() => undefined);
  }

  /**
   * Ends the lease of an operation that failed before it did anything in Docker: nothing is to be taken back but what a dead
   * holder left, which stays to be done. Never throws.
   */
  async release(lease: Lease): Promise<void> {
    try {
      // What the database did not acknowledge may be committed, and the lease be over.
      await lease.confirm();
      if (lease.interrupted === null) await lease.commit({});
      else await lease.abandon(lease.interrupted);
    } catch {
      // It runs out by itself.
      lease.end();
    }
  }

  /** What the caller is told of it. */
  toDomainError(verb: Verb | Ending, error: unknown): DomainError {
    if (error instanceof DomainError) return error;
    const fault = databaseFault(error);
    if (fault) return fault;
    const code =
      error instanceof EngineError ? engineCode(error) : error instanceof LeaseLostError ? 'claim_lost' : FAILED[verb];
    return new DomainError(FAILED[verb], { code, cause: error });
  }
}

/** An ending stays one, so that a stop whose answer was lost is told for what it was. */
function rollbackOf(verb: Verb | Ending): Operation {
  if (isEnding(verb)) return verb;
  return verb === 'update' || verb === 'delete' ? 'undo' : 'reconcile';
}

function reasonOf(error: unknown): string {
  if (error instanceof CancelledError) return 'cancelled';
  if (!(error instanceof EngineError)) return 'docker_error';
  return error.code === 'aborted' ? 'cancelled' : error.code;
}

/** Docker's own state of affairs, where it is one that a client can act on. */
function engineCode(error: EngineError): string {
  const told = [
    'docker_unavailable',
    'docker_changed',
    'image_not_found',
    'image_access_denied',
    'image_unavailable',
    'start_refused',
    'data_too_large',
    'copy_failed',
  ];
  return told.includes(error.code) ? error.code : 'docker_error';
}

/** Where each step of a creation lies between 0 and 100; the pull moves on from its own start to the next step's. */
const STAGES: Partial<Record<Step['do'], { stage: string; message: string; progress: number }>> = {
  ensure_volume: { stage: 'volume', message: 'preparing the data volume', progress: 2 },
  ensure_image: { stage: 'image', message: 'preparing the image', progress: 5 },
  create_container: { stage: 'create', message: 'creating the container', progress: 70 },
  start_container: { stage: 'start', message: 'starting the container', progress: 80 },
};
const PULL = { from: 5, to: 60 };

/** Tells an operation's progress in events, in order and before its end; telling may fail without harm to the operation. */
export class ProgressReporter {
  private last: Promise<void> = Promise.resolve();
  private untold: EventDraft[] = [];

  /** @param emit of all that has come together since the last time, in one transaction */
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

  /** Of a move to another volume, which is all that an update tells of. */
  readonly onCopy = ({ percent, message }: CopyProgress): void => {
    this.report({ stage: 'disk', message, progress: percent });
  };

  /** Resolves when everything reported so far is told. */
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

/** Makes the reporters of operations, whose telling never fails an operation. */
@Injectable()
export class ProgressReports {
  constructor(
    private readonly repository: ContainerRepository,
    @Inject(LOGGER) private readonly logger: Logger,
  ) {}

  of({ row }: Lease): ProgressReporter {
    return new ProgressReporter(row, (drafts) =>
      this.repository.emit(row, drafts).catch((error: unknown) => {
        this.logger.warn({ err: error, container_id: row.id }, 'progress could not be told');
      }),
    );
  }
}

const PASSING: readonly DomainError['kind'][] = ['operation_in_progress', 'container_not_found'];

/** Whether what a process wanted to do by itself is done by another one, or was: no failure where several look at the same. */
export function isPassing(error: unknown): boolean {
  return error instanceof DomainError && PASSING.includes(error.kind);
}

/** Lets running operations finish before the process ends; what takes too long is finished by whoever claims it next. */
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
      this.logger.warn({ running: this.inFlight.count }, 'operations are cut off; the next start finishes them');
  }
}
