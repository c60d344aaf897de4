import { Inject, Injectable } from '@nestjs/common';
import type { Logger } from 'pino';
import { type Config, CONFIG } from '../../config';
import { ContainerEngine, EngineError, type EngineErrorCode } from '../../docker';
import { LOGGER } from '../../logging';
import type { ContainerRow } from '../container.entity';
import { ContainerRepository } from '../container.repository';
import type { Verb } from '../container-state';
import { Claim } from './claim';
import { ContainerClaims } from './claims';
import { Facts, StepExecutor } from './executor';
import { InFlight } from './in-flight';
import { Plan, PlanInput, planOperation, sameResources, Sighting } from './plan';
import { ProgressReporter } from './progress';
import { Recovery } from './recovery';
import {
  recreation,
  settleDeleted,
  settleStarted,
  settleStopped,
  settleUpdated,
  Wanted,
  wasRestarted,
} from './settlement';
import { WayBack } from './way-back';

/** What a start did; the optional parts only where the container was made anew. */
export interface Started {
  readonly row: ContainerRow;
  readonly recreated?: true;
  readonly old_id?: string;
  readonly volume_kept?: boolean;
}

/** What a start that was refused tells of the container. */
const SIGHTED: Readonly<Partial<Record<EngineErrorCode, Sighting>>> = {
  container_not_found: 'missing',
  container_paused: 'paused',
  container_broken: 'dead',
};

/** How often a plan is made anew because Docker contradicted what it was made from. */
const MAX_PLANS = 3;

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
    private readonly executor: StepExecutor,
    private readonly recovery: Recovery,
    private readonly wayBack: WayBack,
    private readonly engine: ContainerEngine,
    private readonly inFlight: InFlight,
    @Inject(CONFIG) private readonly config: Config,
    @Inject(LOGGER) private readonly logger: Logger,
  ) {}

  /** @throws DomainError `start_failed`, `operation_in_progress`, `container_not_found` */
  async start(row: ContainerRow): Promise<Started> {
    return this.operate(row, 'start', async (claim) => {
      const { facts } = await this.carryOut(claim, { verb: 'start' });
      const before = claim.row;
      const { patch, events } = settleStarted(before, facts, this.engine.capabilities.runtime);
      return { row: await claim.settle(patch, events), ...recreation(before, facts) };
    });
  }

  /** @throws DomainError `stop_failed`, `operation_in_progress`, `container_not_found` */
  async stop(row: ContainerRow): Promise<ContainerRow> {
    return this.operate(row, 'stop', async (claim) => {
      const { facts } = await this.carryOut(claim, { verb: 'stop' });
      // Docker had stopped it before us: an inspection knows why.
      if (facts.stopFound !== 'running') await this.recovery.look(claim);
      const { patch, events } = settleStopped(claim.row);
      return claim.settle(patch, events);
    });
  }

  /** @throws DomainError `delete_failed`, `operation_in_progress`, `container_not_found` */
  async delete(row: ContainerRow): Promise<ContainerRow> {
    await this.claims.cancelCreation(row);
    return this.operate(row, 'delete', async (claim) => {
      const retention = this.config.VOLUME_RETENTION;
      const { plan, facts } = await this.takeDown(claim, { removeVolume: retention === 0 });
      const before = claim.row;
      const now = new Date();
      const purgeAt = retention === null ? null : new Date(now.getTime() + retention);
      const { patch, events } = settleDeleted(before, { now, purgeAt });
      const after = await claim.settle(patch, events);
      this.finishUp(plan, before, facts);
      return after;
    });
  }

  /** @throws DomainError `update_failed`, `name_taken`, `operation_in_progress`, `container_not_found` */
  async update(row: ContainerRow, wanted: Wanted): Promise<{ row: ContainerRow; restarted: boolean }> {
    return this.operate(row, 'update', async (claim) => {
      if (!sameResources(claim.row, wanted)) await this.recovery.look(claim);
      const before = claim.row;
      if (before.name === wanted.name && sameResources(before, wanted)) {
        return { row: await claim.settle({}), restarted: false };
      }
      await this.repository.assertNameFree({ userId: before.userId, name: wanted.name, except: before.id });
      const { plan, facts } = await this.carryOut(claim, { verb: 'update', wanted });
      const { patch, events } = settleUpdated(before, wanted, facts, this.engine.capabilities.runtime);
      const after = await claim.settle(patch, events);
      this.finishUp(plan, before, facts);
      return { row: after, restarted: wasRestarted(before, facts) };
    });
  }

  /** Makes the Docker container of a row that was inserted with its claim; goes on in the background and never throws. */
  async create(row: ContainerRow): Promise<void> {
    await this.inFlight.track(async () => this.runCreation(await this.claims.adopt(row)));
  }

  /** Finishes or takes back an operation whose claim ran out. @throws DomainError, EngineError when it fails again */
  async finish(row: ContainerRow): Promise<void> {
    switch (row.operation) {
      case 'create':
        return this.inFlight.track(async () => this.runCreation(await this.claims.acquire(row, 'create', 0)));
      case 'start':
        await this.start(row);
        return;
      case 'stop':
        await this.stop(row);
        return;
      case 'delete':
        await this.delete(row);
        return;
      default:
        await this.reconcile(row);
    }
  }

  /** Clears away what the row does not know and lets it follow Docker. @throws EngineError, DomainError */
  async reconcile(row: ContainerRow): Promise<void> {
    await this.inFlight.track(async () => {
      const claim = await this.claims.acquire(row, 'reconcile', 0);
      const way = claim.interrupted ?? 'reconcile';
      try {
        await this.recovery.recover(claim, way);
        await claim.settle({});
      } catch (error) {
        await claim.abandon(way);
        throw error;
      }
    });
  }

  private async operate<T>(row: ContainerRow, verb: Verb, work: (claim: Claim) => Promise<T>): Promise<T> {
    return this.inFlight.track(async () => {
      const claim = await this.claims.acquire(row, verb);
      try {
        await this.wayBack.takeOver(claim);
        return await work(claim);
      } catch (error) {
        await this.wayBack.goBack(claim, verb, error);
        throw this.wayBack.failure(verb, error);
      }
    });
  }

  private async carryOut(
    claim: Claim,
    input: Omit<PlanInput, 'row' | 'sighting'>,
    reporter?: ProgressReporter,
  ): Promise<{ plan: Plan; facts: Facts }> {
    let sighting: Sighting = 'unseen';
    for (let plans = 1; ; plans += 1) {
      const plan = planOperation({ ...input, row: claim.row, sighting });
      try {
        const facts = await this.executor.execute(plan.steps, {
          row: claim.row,
          resources: input.wanted ?? claim.row,
          assertWanted: () => claim.assertWanted(),
          signal: claim.signal,
          ...(reporter && { onStep: reporter.onStep, onPull: reporter.onPull }),
        });
        return { plan, facts };
      } catch (error) {
        const contradicted = plans < MAX_PLANS && error instanceof EngineError ? error.code : null;
        const seen = contradicted && input.verb === 'start' ? SIGHTED[contradicted] : undefined;
        if (contradicted === 'name_in_use') await this.recovery.recover(claim, 'reconcile');
        else if (seen === undefined) throw error;
        else sighting = seen;
      }
    }
  }

  /** A removal whose answer was lost is still one: what is gone can only be deleted. */
  private async takeDown(claim: Claim, options: { removeVolume: boolean }): Promise<{ plan: Plan; facts: Facts }> {
    try {
      return await this.carryOut(claim, { verb: 'delete', ...options });
    } catch (error) {
      if (!(error instanceof EngineError) || !(await this.recovery.isGone(claim.row))) throw error;
      const plan = planOperation({ verb: 'delete', row: claim.row, sighting: 'missing', ...options });
      return { plan, facts: {} };
    }
  }

  private async runCreation(claim: Claim): Promise<void> {
    const reporter = new ProgressReporter(claim.row, (draft) => this.tellProgress(claim, draft));
    try {
      if (claim.interrupted) await this.recovery.recover(claim, claim.interrupted);
      claim.tidied();
      const { facts } = await this.carryOut(claim, { verb: 'create' }, reporter);
      await reporter.flush();
      const { patch, events } = settleStarted(claim.row, facts, this.engine.capabilities.runtime);
      const { id, dockerId } = await claim.settle(patch, events);
      this.logger.info({ container_id: id, docker_id: dockerId }, 'created');
    } catch (error) {
      await reporter.flush();
      await this.wayBack.goBack(claim, 'create', error);
    }
  }

  private async tellProgress(claim: Claim, draft: Parameters<ContainerRepository['tell']>[1]): Promise<void> {
    try {
      await this.repository.tell(claim.row.userId, draft);
    } catch (error) {
      this.logger.warn({ err: error, container_id: claim.row.id }, 'progress could not be told');
    }
  }

  /** What a committed operation leaves to do on nobody's time. The sweep does it if this process does not get to it. */
  private finishUp(plan: Plan, row: ContainerRow, facts: Facts): void {
    if (plan.afterwards.length === 0) return;
    const leftovers =
      row.dockerId === null ? plan.afterwards.filter((step) => step.do === 'remove_volume') : plan.afterwards;
    void this.inFlight
      .track(() => this.executor.execute(leftovers, { row, resources: row, assertWanted: () => undefined }, facts))
      .catch((error: unknown) =>
        this.logger.warn({ err: error, container_id: row.id }, 'the clean-up is left to the sweep'),
      );
  }
}
