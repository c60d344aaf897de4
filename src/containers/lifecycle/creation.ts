import { Inject, Injectable } from '@nestjs/common';
import type { Logger } from 'pino';
import { ContainerEngine } from '../../docker';
import { LOGGER } from '../../logging';
import type { Stamp } from '../claim-term';
import type { ContainerRow } from '../container.entity';
import { OperationMetrics } from '../measuring/operation-metrics';
import type { Claim } from './claim';
import { ContainerClaims } from './claims';
import { InFlight } from './in-flight';
import { PlanRunner } from './plan-runner';
import type { ProgressReporter } from './progress';
import { ProgressReports } from './progress-reports';
import { Recovery } from './recovery';
import { RunLimits } from './run-limits';
import { settleStarted } from './settlement';
import { WayBack } from './way-back';

/**
 * Makes the Docker container of a row that was inserted with its claim. The one operation that nobody waits for: it goes on in
 * the background, tells of its progress, and where it fails leaves the row in `error`.
 */
@Injectable()
export class Creation {
  constructor(
    private readonly claims: ContainerClaims,
    private readonly plans: PlanRunner,
    private readonly reports: ProgressReports,
    private readonly recovery: Recovery,
    private readonly wayBack: WayBack,
    private readonly inFlight: InFlight,
    private readonly metrics: OperationMetrics,
    private readonly engine: ContainerEngine,
    private readonly limits: RunLimits,
    @Inject(LOGGER) private readonly logger: Logger,
  ) {}

  /** Of a row that was just inserted. What fails is in the row, and in its event. */
  async begin(row: ContainerRow, stamp: Stamp): Promise<void> {
    await this.inFlight.track(async () => this.run(await this.claims.adopt(row, stamp)));
  }

  /**
   * Of a row whose creation was cut off, unless somebody has dealt with it since.
   *
   * @throws DomainError `operation_in_progress`, `container_not_found`
   */
  async carryOn(row: ContainerRow): Promise<void> {
    await this.inFlight.track(async () => {
      const claim = await this.claims.acquire(row, 'create', 0);
      if (claim.interrupted === 'create') await this.run(claim);
      else if (claim.interrupted === null) await claim.settle({});
      else await claim.abandon(claim.interrupted);
    });
  }

  private async run(claim: Claim): Promise<void> {
    const reporter = this.reports.of(claim);
    try {
      await this.metrics.measure('create', () => this.make(claim, reporter));
    } catch (error) {
      await reporter.flush();
      await this.wayBack.goBack(claim, 'create', error);
    }
  }

  private async make(claim: Claim, reporter: ProgressReporter): Promise<void> {
    if (claim.interrupted) await this.recovery.recover(claim, claim.interrupted);
    claim.tidied();
    const { onStep, onPull } = reporter;
    const { facts } = await this.plans.carryOut(claim, { verb: 'create' }, { onStep, onPull });
    const { runtime } = this.engine.capabilities;
    const [terms] = await Promise.all([this.limits.termsOf(claim.row.userId), reporter.flush()]);
    const { patch, events } = settleStarted(claim.row, facts, { runtime, terms });
    const { id, dockerId } = await claim.settle(patch, events);
    this.logger.info({ container_id: id, docker_id: dockerId }, 'created');
  }
}
