import { Inject, Injectable } from '@nestjs/common';
import { Clock } from '../../clock';
import { type Config, CONFIG } from '../../config';
import { ContainerEngine, EngineError } from '../../docker';
import type { ContainerRow } from '../container.entity';
import { ContainerRepository } from '../container.repository';
import type { Ending, Operation, Verb } from '../container-state';
import { OperationMetrics } from '../measuring/operation-metrics';
import { Claim } from './claim';
import { ContainerClaims } from './claims';
import { Creation } from './creation';
import { DataVolumes } from './data-volumes';
import { InFlight } from './in-flight';
import { planLimits } from './limit-plan';
import { sameResources } from './plan';
import { PlanRunner } from './plan-runner';
import { ProgressReports } from './progress-reports';
import { Purge } from './purge';
import { Recovery } from './recovery';
import { RunLimits } from './run-limits';
import {
  recreation,
  settleDeleted,
  settleRelabelled,
  type Settlement,
  settleStarted,
  settleStopped,
  settleUpdated,
  Wanted,
  wasRestarted,
} from './settlement';
import type { Started } from './started';
import { WayBack } from './way-back';

/**
 * Carries out what is asked of a container: claim, plan, execute, settle, each operation alone on its container. Whatever
 * fails on the way is taken back before the caller hears of it, or left to the next claim where Docker does not even let
 * it be taken back.
 */
@Injectable()
export class ContainerLifecycle {
  constructor(
    private readonly claims: ContainerClaims,
    private readonly repository: ContainerRepository,
    private readonly plans: PlanRunner,
    private readonly creation: Creation,
    private readonly reports: ProgressReports,
    private readonly recovery: Recovery,
    private readonly wayBack: WayBack,
    private readonly engine: ContainerEngine,
    private readonly inFlight: InFlight,
    private readonly metrics: OperationMetrics,
    private readonly volumes: DataVolumes,
    private readonly purge: Purge,
    private readonly limits: RunLimits,
    private readonly clock: Clock,
    @Inject(CONFIG) private readonly config: Config,
  ) {}

  /** @throws DomainError `start_failed`, `operation_in_progress`, `container_not_found` */
  async start(row: ContainerRow): Promise<Started> {
    return this.operate(row, 'start', (claim) => this.bringUp(claim));
  }

  /** @throws DomainError `stop_failed`, `operation_in_progress`, `container_not_found` */
  async stop(row: ContainerRow): Promise<ContainerRow> {
    return this.operate(row, 'stop', (claim) => this.bringDown(claim));
  }

  /**
   * Stops a container that nobody asked to stop, if its user's terms still say so once it is held: the tier may have changed,
   * or the container been used. Does not wait for another operation.
   *
   * @throws DomainError `stop_failed`, `operation_in_progress`, `container_not_found`
   */
  async end(row: ContainerRow, ending: Ending): Promise<void> {
    const work = async (claim: Claim): Promise<void> => {
      // Uses are noted without the claim, so the row that it was taken with may not tell of the last one.
      const current = (await this.repository.findById(claim.row.id)) ?? claim.row;
      const action = planLimits(current, await this.limits.termsOf(current.userId), { warningMs: 0 });
      if (action?.do !== 'stop') {
        await claim.settle(action?.do === 'correct' ? action.run : {});
        return;
      }
      await this.bringDown(claim, action.ending);
    };
    await this.operate(row, ending, work, { waitMs: 0 });
  }

  /** @throws DomainError `delete_failed`, `operation_in_progress`, `container_not_found` */
  async delete(row: ContainerRow): Promise<ContainerRow> {
    await this.claims.cancelCreation(row);
    return this.operate(row, 'delete', (claim) => this.remove(claim));
  }

  /**
   * Renames and resizes. Only a resize needs Docker.
   *
   * @throws DomainError `invalid_parameters` if the data is too large, `update_failed`, `name_taken`, `operation_in_progress`, `container_not_found`
   */
  async update(row: ContainerRow, wanted: Wanted): Promise<{ row: ContainerRow; restarted: boolean }> {
    return this.measured('update', async () => {
      const claim = await this.claims.acquire(row, 'update');
      if (sameResources(claim.row, wanted)) return { row: await this.rename(claim, wanted), restarted: false };
      return this.operateUnder(claim, 'update', () => this.resize(claim, wanted));
    });
  }

  /**
   * Moves the data of a stopped container to a volume that is held to its size, where Docker has forgotten the size of the one
   * that it is in. Does not wait for another operation.
   *
   * @throws DomainError `update_failed`, `operation_in_progress`, `container_not_found`
   */
  async moveData(row: ContainerRow): Promise<void> {
    const work = async (claim: Claim): Promise<void> => {
      await this.catchUp(claim);
      const moveTo = claim.row.status === 'stopped' ? await this.volumes.destinationOfUnlabelled(claim.row) : null;
      if (moveTo === null) await claim.settle({});
      else await this.replace(claim, claim.row, moveTo);
    };
    await this.operate(row, 'update', work, { waitMs: 0 });
  }

  /** Replaces all labels; asks Docker for nothing. @throws DomainError `operation_in_progress`, `container_not_found` */
  async relabel(row: ContainerRow, labels: Readonly<Record<string, string>>): Promise<ContainerRow> {
    return this.measured('update', async () => {
      const claim = await this.claims.acquire(row, 'update');
      return this.writeAlone(claim, settleRelabelled(claim.row, labels, this.clock.now()));
    });
  }

  /**
   * Finishes or takes back an operation whose claim ran out. Does not wait for another process that is at it, and does nothing
   * where one has dealt with it: what the user has asked for since must stand.
   *
   * @throws DomainError `operation_in_progress`, `container_not_found`; DomainError, EngineError when it fails again
   */
  async finish(row: ContainerRow): Promise<void> {
    switch (row.operation) {
      case 'create':
        return this.creation.carryOn(row);
      case 'start':
        return this.resume(row, 'start', (claim) => this.bringUp(claim));
      case 'stop':
        return this.resume(row, 'stop', (claim) => this.bringDown(claim));
      case 'delete':
        return this.resume(row, 'delete', (claim) => this.remove(claim));
      case 'expire':
      case 'idle':
        return this.end(row, row.operation);
      default:
        return this.reconcile(row);
    }
  }

  /** Clears away what the row does not know and lets it follow Docker. @throws EngineError, DomainError */
  async reconcile(row: ContainerRow): Promise<void> {
    await this.measured('reconcile', async () => {
      const claim = await this.claims.acquire(row, 'reconcile', 0);
      const way = claim.interrupted ?? 'reconcile';
      try {
        await this.recovery.recover(claim, way);
        await claim.settle({});
      } catch (error) {
        await this.wayBack.giveUp(claim, way);
        throw error;
      }
    });
  }

  private async operate<T>(
    row: ContainerRow,
    verb: Verb | Ending,
    work: (claim: Claim, interrupted: Operation | null) => Promise<T>,
    { waitMs }: { waitMs?: number } = {},
  ): Promise<T> {
    return this.measured(verb, async () => {
      const claim = await this.claims.acquire(row, verb, waitMs);
      const { interrupted } = claim;
      return this.operateUnder(claim, verb, () => work(claim, interrupted));
    });
  }

  private async operateUnder<T>(claim: Claim, verb: Verb | Ending, work: () => Promise<T>): Promise<T> {
    try {
      await this.wayBack.takeOver(claim, verb);
      return await work();
    } catch (error) {
      await this.wayBack.goBack(claim, verb, error);
      throw this.wayBack.failure(verb, error);
    }
  }

  /** Carries on what a dead holder was doing, if the claim shows that nobody else has. */
  private async resume(row: ContainerRow, verb: Verb, work: (claim: Claim) => Promise<unknown>): Promise<void> {
    const ifStillDue = async (claim: Claim, interrupted: Operation | null): Promise<void> => {
      await (interrupted === verb ? work(claim) : claim.settle({}));
    };
    await this.operate(row, verb, ifStillDue, { waitMs: 0 });
  }

  /** Asks Docker for nothing, where everything is named by the database id. */
  private async rename(claim: Claim, wanted: Wanted): Promise<ContainerRow> {
    const { row: before } = claim;
    const { runtime } = this.engine.capabilities;
    const now = this.clock.now();
    const isSame = before.name === wanted.name;
    return this.writeAlone(
      claim,
      isSame ? { patch: { lastUsedAt: now }, events: [] } : settleUpdated(before, wanted, {}, { runtime, now }),
    );
  }

  /**
   * Writes what is no affair of Docker's. What an operation left that was cut off is not in the way: it is left to the next
   * holder as it was.
   */
  private async writeAlone(claim: Claim, { patch, events }: Settlement): Promise<ContainerRow> {
    const { interrupted } = claim;
    try {
      if (interrupted === null) return await claim.settle(patch, events);
      const after = await claim.record(patch, events);
      await claim.abandon(interrupted);
      return after;
    } catch (error) {
      await this.wayBack.release(claim);
      throw this.wayBack.failure('update', error);
    }
  }

  private async resize(claim: Claim, wanted: Wanted): Promise<{ row: ContainerRow; restarted: boolean }> {
    await this.catchUp(claim);
    const before = claim.row;
    await this.repository.assertNameFree({ userId: before.userId, name: wanted.name, except: before.id });
    return this.replace(claim, wanted, await this.volumes.destination(before, wanted));
  }

  private async replace(
    claim: Claim,
    wanted: Wanted,
    moveTo: string | null,
  ): Promise<{ row: ContainerRow; restarted: boolean }> {
    const before = claim.row;
    const reporter = this.reports.of(claim);
    const { plan, facts } = await this.plans
      .carryOut(claim, { verb: 'update', wanted, moveTo }, { onCopy: reporter.onCopy })
      // oxlint-disable-next-line typescript/no-misused-promises -- finally() waits for a promise, whatever its type says
      .finally(() => reporter.flush());
    const { runtime } = this.engine.capabilities;
    const { patch, events } = settleUpdated(before, wanted, facts, { runtime, now: this.clock.now() });
    const after = await claim.settle(patch, events);
    this.plans.finishUp(plan, before, facts);
    return { row: after, restarted: wasRestarted(before, facts) };
  }

  private async bringUp(claim: Claim): Promise<Started> {
    const { facts } = await this.plans.carryOut(claim, { verb: 'start' });
    const before = claim.row;
    const { runtime } = this.engine.capabilities;
    const terms = await this.limits.termsOf(before.userId);
    const { patch, events } = settleStarted(before, facts, { runtime, terms });
    return { row: await claim.settle(patch, events), ...recreation(before, facts) };
  }

  /** @param ending why, where nobody asked for it */
  private async bringDown(claim: Claim, ending?: Ending): Promise<ContainerRow> {
    await this.removeUnknown(claim);
    const { facts } = await this.plans.carryOut(claim, { verb: 'stop' });
    // Docker had stopped it before us: an inspection knows why.
    if (facts.stopFound !== 'running') await this.recovery.look(claim);
    const { patch, events } = settleStopped(claim.row, ending);
    return claim.settle(patch, events);
  }

  private async remove(claim: Claim): Promise<ContainerRow> {
    await this.takeDown(claim);
    const retention = this.config.VOLUME_RETENTION;
    const now = this.clock.now();
    const purgeAt = retention === null ? null : new Date(now.getTime() + retention);
    const { patch, events } = settleDeleted(claim.row, { now, purgeAt });
    const after = await claim.settle(patch, events);
    // On nobody's time. The sweep does it if this process does not get to it.
    if (retention === 0) void this.purge.purge(after.id);
    return after;
  }

  private measured<T>(operation: Operation, work: () => Promise<T>): Promise<T> {
    return this.inFlight.track(() => this.metrics.measure(operation, work));
  }

  /** Makes sure of what is there. A creation that failed while Docker was away may have left one that runs on the volume. */
  private async catchUp(claim: Claim): Promise<void> {
    if (claim.row.dockerId === null) await this.recovery.recover(claim, 'reconcile');
    else await this.recovery.look(claim);
  }

  /** A creation that failed while Docker was away may have left a container, even a running one, that its row does not know. */
  private async removeUnknown(claim: Claim): Promise<void> {
    if (claim.row.status === 'error') await this.recovery.recover(claim, 'reconcile');
  }

  /** A removal whose answer was lost is still one: what is gone can only be deleted. */
  private async takeDown(claim: Claim): Promise<void> {
    await this.removeUnknown(claim);
    try {
      await this.plans.carryOut(claim, { verb: 'delete' });
    } catch (error) {
      if (!(error instanceof EngineError) || !(await this.recovery.isGone(claim.row))) throw error;
    }
  }
}
