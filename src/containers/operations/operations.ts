import { Inject, Injectable } from '@nestjs/common';
import type { Logger } from 'pino';
import type { Principal } from '../../auth';
import { type Config, CONFIG } from '../../config';
import { ContainerEngine, EngineError } from '../../docker';
import { DomainError } from '../../errors';
import { LOGGER } from '../../logging';
import { Clock } from '../../scheduling';
import { TiersService } from '../../tiers';
import { assertOwner, assertSession } from '../container-access';
import type { ContainerReference } from '../container-id';
import { OperationMetrics } from '../container-metrics';
import type { ContainerRow, Ending, Operation, Started, Verb } from '../container.entity';
import { ContainerRepository, DeletedContainers } from '../container.repository';
import { planExpiry, RunPolicies } from '../expiry/run-policy';
import type { Stamp } from '../leases/lease-term';
import { ContainerLeases, Lease } from '../leases/leases';
import { Purge } from '../reconcile/purge';
import { DataVolumes } from './data-volumes';
import { InFlight, PlanRunner, type ProgressReporter, ProgressReports, Recovery, Rollback } from './operation-runner';
import {
  deletedOutcome,
  type Outcome,
  recreation,
  restoredOutcome,
  settleRelabelled,
  startedOutcome,
  stoppedOutcome,
  updatedOutcome,
  Wanted,
  wasRestarted,
} from './outcome';
import { sameResources } from './plan';

/**
 * Creates the Docker container of a row that was inserted with its lease. The only operation without a waiting caller:
 * it runs in the background, emits its progress, and on failure leaves the row in `error`.
 */
@Injectable()
export class Creation {
  constructor(
    private readonly leases: ContainerLeases,
    private readonly plans: PlanRunner,
    private readonly reports: ProgressReports,
    private readonly recovery: Recovery,
    private readonly rollback: Rollback,
    private readonly inFlight: InFlight,
    private readonly metrics: OperationMetrics,
    private readonly engine: ContainerEngine,
    private readonly limits: RunPolicies,
    @Inject(LOGGER) private readonly logger: Logger,
  ) {}

  /** For a row that was just inserted. A failure is recorded in the row and its event. */
  async begin(row: ContainerRow, stamp: Stamp): Promise<void> {
    await this.inFlight.track(async () => this.run(await this.leases.adopt(row, stamp)));
  }

  /**
   * For a row whose creation was interrupted, unless it has been recovered since.
   *
   * @throws DomainError `operation_in_progress`, `container_not_found`
   */
  async resume(row: ContainerRow): Promise<void> {
    await this.inFlight.track(async () => {
      const lease = await this.leases.acquire(row, 'create', 0);
      if (lease.interrupted === 'create') await this.run(lease);
      else if (lease.interrupted === null) await lease.commit({});
      else await lease.abandon(lease.interrupted);
    });
  }

  private async run(lease: Lease): Promise<void> {
    const reporter = this.reports.of(lease);
    try {
      await this.metrics.measure('create', () => this.make(lease, reporter));
    } catch (error) {
      await reporter.flush();
      await this.rollback.rollBack(lease, 'create', error);
    }
  }

  private async make(lease: Lease, reporter: ProgressReporter): Promise<void> {
    if (lease.interrupted) await this.recovery.recover(lease, lease.interrupted);
    lease.markRecovered();
    const { onStep, onPull } = reporter;
    const { facts } = await this.plans.run(lease, { verb: 'create' }, { onStep, onPull });
    const { runtime } = this.engine.capabilities;
    const [policy] = await Promise.all([this.limits.policyOf(lease.row.userId), reporter.flush()]);
    const { patch, events } = startedOutcome(lease.row, facts, { runtime, policy });
    const { id, dockerId } = await lease.commit(patch, events);
    this.logger.info({ container_id: id, docker_id: dockerId }, 'created');
  }
}

/**
 * Performs the operations that clients request: acquire the lease, plan, execute, commit the outcome, one operation at
 * a time per container. A failure is rolled back before the caller hears of it, or left to the next lease holder if
 * Docker refuses the rollback too.
 */
@Injectable()
export class ContainerOperations {
  constructor(
    private readonly leases: ContainerLeases,
    private readonly repository: ContainerRepository,
    private readonly plans: PlanRunner,
    private readonly creation: Creation,
    private readonly reports: ProgressReports,
    private readonly recovery: Recovery,
    private readonly rollback: Rollback,
    private readonly engine: ContainerEngine,
    private readonly inFlight: InFlight,
    private readonly metrics: OperationMetrics,
    private readonly volumes: DataVolumes,
    private readonly purge: Purge,
    private readonly limits: RunPolicies,
    private readonly clock: Clock,
    @Inject(CONFIG) private readonly config: Config,
  ) {}

  /** @throws DomainError `start_failed`, `operation_in_progress`, `container_not_found` */
  async start(row: ContainerRow): Promise<Started> {
    return this.operate(row, 'start', (lease) => this.runStart(lease));
  }

  /** @throws DomainError `stop_failed`, `operation_in_progress`, `container_not_found` */
  async stop(row: ContainerRow): Promise<ContainerRow> {
    return this.operate(row, 'stop', (lease) => this.runStop(lease));
  }

  /**
   * Stops a container without a request, if its user's policy still says so once it is leased: the tier may have
   * changed, or the container been used. Does not wait for another operation.
   *
   * @throws DomainError `stop_failed`, `operation_in_progress`, `container_not_found`
   */
  async expire(row: ContainerRow, ending: Ending): Promise<void> {
    const work = async (lease: Lease): Promise<void> => {
      // Uses are noted without the lease, so the leased row may lack the last one.
      const current = (await this.repository.findById(lease.row.id)) ?? lease.row;
      const action = planExpiry(current, await this.limits.policyOf(current.userId), { warningMs: 0 });
      if (action?.do !== 'stop') {
        await lease.commit(action?.do === 'correct' ? action.run : {});
        return;
      }
      await this.runStop(lease, action.ending);
    };
    await this.operate(row, ending, work, { waitMs: 0 });
  }

  /** @throws DomainError `delete_failed`, `operation_in_progress`, `container_not_found` */
  async delete(row: ContainerRow): Promise<ContainerRow> {
    await this.leases.cancelCreation(row);
    return this.operate(row, 'delete', (lease) => this.runDelete(lease));
  }

  /**
   * Renames and resizes. Only a resize needs Docker.
   *
   * @throws DomainError `invalid_parameters` if the data is too large, `update_failed`, `name_taken`,
   * `operation_in_progress`, `container_not_found`
   */
  async update(row: ContainerRow, wanted: Wanted): Promise<{ row: ContainerRow; restarted: boolean }> {
    return this.measured('update', async () => {
      const lease = await this.leases.acquire(row, 'update');
      if (sameResources(lease.row, wanted)) return { row: await this.rename(lease, wanted), restarted: false };
      return this.operateUnder(lease, 'update', () => this.resize(lease, wanted));
    });
  }

  /**
   * Moves a stopped container's data to a volume with a size limit, if Docker has lost the size of the current one.
   * Does not wait for another operation.
   *
   * @throws DomainError `update_failed`, `operation_in_progress`, `container_not_found`
   */
  async moveData(row: ContainerRow): Promise<void> {
    const work = async (lease: Lease): Promise<void> => {
      await this.reconcileRow(lease);
      const moveTo = lease.row.status === 'stopped' ? await this.volumes.destinationOfUnlabelled(lease.row) : null;
      if (moveTo === null) await lease.commit({});
      else await this.replace(lease, lease.row, moveTo);
    };
    await this.operate(row, 'update', work, { waitMs: 0 });
  }

  /** Replaces all labels; makes no Docker call. @throws DomainError `operation_in_progress`, `container_not_found` */
  async relabel(row: ContainerRow, labels: Readonly<Record<string, string>>): Promise<ContainerRow> {
    return this.measured('update', async () => {
      const lease = await this.leases.acquire(row, 'update');
      return this.writeAlone(lease, settleRelabelled(lease.row, labels, this.clock.now()));
    });
  }

  /**
   * Finishes or rolls back an operation whose lease expired. Does not wait for another process that is recovering it,
   * and does nothing if one has: the user's later requests must stand.
   *
   * @throws DomainError `operation_in_progress`, `container_not_found`; DomainError, EngineError if it fails again
   */
  async resumeAbandoned(row: ContainerRow): Promise<void> {
    switch (row.operation) {
      case 'create':
        return this.creation.resume(row);
      case 'start':
        return this.resume(row, 'start', (lease) => this.runStart(lease));
      case 'stop':
        return this.resume(row, 'stop', (lease) => this.runStop(lease));
      case 'delete':
        return this.resume(row, 'delete', (lease) => this.runDelete(lease));
      case 'expire':
      case 'idle':
        return this.expire(row, row.operation);
      default:
        return this.reconcile(row);
    }
  }

  /**
   * Removes containers and volumes that the row does not know, and updates the row to the observed state.
   *
   * @throws EngineError, DomainError
   */
  async reconcile(row: ContainerRow): Promise<void> {
    await this.measured('reconcile', async () => {
      const lease = await this.leases.acquire(row, 'reconcile', 0);
      const interrupted = lease.interrupted ?? 'reconcile';
      try {
        await this.recovery.recover(lease, interrupted);
        await lease.commit({});
      } catch (error) {
        await this.rollback.leaveForRetry(lease, interrupted);
        throw error;
      }
    });
  }

  private async operate<T>(
    row: ContainerRow,
    verb: Verb | Ending,
    work: (lease: Lease, interrupted: Operation | null) => Promise<T>,
    { waitMs }: { waitMs?: number } = {},
  ): Promise<T> {
    return this.measured(verb, async () => {
      const lease = await this.leases.acquire(row, verb, waitMs);
      const { interrupted } = lease;
      return this.operateUnder(lease, verb, () => work(lease, interrupted));
    });
  }

  private async operateUnder<T>(lease: Lease, verb: Verb | Ending, work: () => Promise<T>): Promise<T> {
    try {
      await this.rollback.recoverAbandoned(lease, verb);
      return await work();
    } catch (error) {
      await this.rollback.rollBack(lease, verb, error);
      throw this.rollback.toDomainError(verb, error);
    }
  }

  /** Resumes an abandoned operation, if the lease shows that nobody else has. */
  private async resume(row: ContainerRow, verb: Verb, work: (lease: Lease) => Promise<unknown>): Promise<void> {
    const ifStillDue = async (lease: Lease, interrupted: Operation | null): Promise<void> => {
      await (interrupted === verb ? work(lease) : lease.commit({}));
    };
    await this.operate(row, verb, ifStillDue, { waitMs: 0 });
  }

  /** Makes no Docker call: everything in Docker is named by the database id. */
  private async rename(lease: Lease, wanted: Wanted): Promise<ContainerRow> {
    const { row: before } = lease;
    const { runtime } = this.engine.capabilities;
    const now = this.clock.now();
    const isSame = before.name === wanted.name;
    return this.writeAlone(
      lease,
      isSame ? { patch: { lastUsedAt: now }, events: [] } : updatedOutcome(before, wanted, {}, { runtime, now }),
    );
  }

  /**
   * Writes a change that does not concern Docker. An interrupted operation does not prevent it: that is left unchanged
   * for the next holder.
   */
  private async writeAlone(lease: Lease, { patch, events }: Outcome): Promise<ContainerRow> {
    const { interrupted } = lease;
    try {
      if (interrupted === null) return await lease.commit(patch, events);
      const after = await lease.record(patch, events);
      await lease.abandon(interrupted);
      return after;
    } catch (error) {
      await this.rollback.release(lease);
      throw this.rollback.toDomainError('update', error);
    }
  }

  private async resize(lease: Lease, wanted: Wanted): Promise<{ row: ContainerRow; restarted: boolean }> {
    await this.reconcileRow(lease);
    const before = lease.row;
    await this.repository.assertNameFree({ userId: before.userId, name: wanted.name, except: before.id });
    return this.replace(lease, wanted, await this.volumes.destination(before, wanted));
  }

  private async replace(
    lease: Lease,
    wanted: Wanted,
    moveTo: string | null,
  ): Promise<{ row: ContainerRow; restarted: boolean }> {
    const before = lease.row;
    const reporter = this.reports.of(lease);
    const { plan, facts } = await this.plans
      .run(lease, { verb: 'update', wanted, moveTo }, { onCopy: reporter.onCopy })
      // oxlint-disable-next-line typescript/no-misused-promises -- finally() waits for a promise, whatever its type says
      .finally(() => reporter.flush());
    const { runtime } = this.engine.capabilities;
    const { patch, events } = updatedOutcome(before, wanted, facts, { runtime, now: this.clock.now() });
    const after = await lease.commit(patch, events);
    this.plans.cleanUp(plan, before, facts);
    return { row: after, restarted: wasRestarted(before, facts) };
  }

  private async runStart(lease: Lease): Promise<Started> {
    const { facts } = await this.plans.run(lease, { verb: 'start' });
    const before = lease.row;
    const { runtime } = this.engine.capabilities;
    const policy = await this.limits.policyOf(before.userId);
    const { patch, events } = startedOutcome(before, facts, { runtime, policy });
    return { row: await lease.commit(patch, events), ...recreation(before, facts) };
  }

  /** @param ending the reason, if the stop was not requested */
  private async runStop(lease: Lease, ending?: Ending): Promise<ContainerRow> {
    await this.removeUnknown(lease);
    const { facts } = await this.plans.run(lease, { verb: 'stop' });
    // It had stopped before our request: an inspection knows why.
    if (facts.stopFound !== 'running') await this.recovery.observe(lease);
    const { patch, events } = stoppedOutcome(lease.row, ending);
    return lease.commit(patch, events);
  }

  private async runDelete(lease: Lease): Promise<ContainerRow> {
    await this.takeDown(lease);
    const retention = this.config.VOLUME_RETENTION;
    const now = this.clock.now();
    const purgeAt = retention === null ? null : new Date(now.getTime() + retention);
    const { patch, events } = deletedOutcome(lease.row, { now, purgeAt });
    const after = await lease.commit(patch, events);
    // In the background. The sweep does it if this process does not.
    if (retention === 0) void this.purge.purge(after.id);
    return after;
  }

  private measured<T>(operation: Operation, work: () => Promise<T>): Promise<T> {
    return this.inFlight.track(() => this.metrics.measure(operation, work));
  }

  /**
   * Reconciles the row with Docker first. A creation that failed while Docker was unreachable may have left a container
   * running on the volume.
   */
  private async reconcileRow(lease: Lease): Promise<void> {
    if (lease.row.dockerId === null) await this.recovery.recover(lease, 'reconcile');
    else await this.recovery.observe(lease);
  }

  /**
   * A creation that failed while Docker was unreachable may have left a container, even a running one, that its row
   * does not know.
   */
  private async removeUnknown(lease: Lease): Promise<void> {
    if (lease.row.status === 'error') await this.recovery.recover(lease, 'reconcile');
  }

  /** A removal whose answer was lost still happened: a container that is gone can only be deleted. */
  private async takeDown(lease: Lease): Promise<void> {
    await this.removeUnknown(lease);
    try {
      await this.plans.run(lease, { verb: 'delete' });
    } catch (error) {
      if (!(error instanceof EngineError) || !(await this.recovery.isGone(lease.row))) throw error;
    }
  }
}

/** How often a restore retries because the row changed. */
const MAX_ROUNDS = 10;

/** Restores deleted containers while their data is kept. Makes no Docker call: the next start recreates them. */
@Injectable()
export class Restoration {
  constructor(
    private readonly repository: ContainerRepository,
    private readonly deleted: DeletedContainers,
    private readonly leases: ContainerLeases,
    private readonly tiers: TiersService,
    private readonly clock: Clock,
  ) {}

  /**
   * @returns the live row: restored, or unchanged if it was live already
   * @throws DomainError `container_not_found` (past its retention, too), `not_authorized`, `guest_session_expired`,
   * `name_taken`, `container_limit_reached`, `operation_in_progress` while its deletion is running
   */
  async restore(
    caller: Pick<Principal, 'userId' | 'tier' | 'sessionExpiresAt'>,
    reference: ContainerReference,
  ): Promise<ContainerRow> {
    // Each further round reads the row that a concurrent writer left.
    for (let rounds = 0; rounds < MAX_ROUNDS; rounds += 1) {
      const row = await this.find(caller, reference);
      if (row.deletedAt === null) return row;
      const limit = this.tiers.limitsOf(caller.tier).containers;
      const restored = await this.deleted.restore({ row, ...restoredOutcome(row) }, { limit, tier: caller.tier });
      if (restored) return restored;
    }
    throw new DomainError('operation_in_progress', { fields: { operation: 'restore' }, retryAfter: 1 });
  }

  private async find(
    caller: Pick<Principal, 'userId' | 'sessionExpiresAt'>,
    reference: ContainerReference,
  ): Promise<ContainerRow> {
    const row =
      (await this.repository.find(reference)) ??
      (await this.deleted.findRestorable(reference)) ??
      // Another restore may have completed between the two reads.
      (await this.repository.find(reference));
    if (!row) throw new DomainError('container_not_found');
    assertOwner(caller, row);
    assertSession(caller, this.clock.now());
    if (row.deletedAt !== null) return row;
    // It may be about to be deleted; this restore came later and is meant to undo that.
    return (await this.leases.afterDeletion(row)) ?? this.find(caller, reference);
  }
}
