import { Inject, Injectable } from '@nestjs/common';
import type { Logger } from 'pino';
import { EngineError, type EngineErrorCode } from '../../docker';
import { LOGGER } from '../../logging';
import type { ContainerRow } from '../container.entity';
import type { Claim } from './claim';
import { type Execution, type Facts, StepExecutor } from './executor';
import { InFlight } from './in-flight';
import { type Plan, type PlanInput, planOperation, type Sighting } from './plan';
import { Recovery } from './recovery';

/** What a start that was refused tells of the container. */
const SIGHTED: Readonly<Partial<Record<EngineErrorCode, Sighting>>> = {
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

  /** @returns the plan that was carried out, and what its steps found out. @throws EngineError, and why the claim's holder has to stop */
  async carryOut(
    claim: Claim,
    input: Omit<PlanInput, 'row' | 'sighting'>,
    listeners: Pick<Execution, 'onStep' | 'onPull' | 'onCopy'> = {},
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
          ...listeners,
        });
        return { plan, facts };
      } catch (error) {
        const contradicted = plans < MAX_PLANS && error instanceof EngineError ? error.code : null;
        const seen = contradicted && input.verb === 'start' ? SIGHTED[contradicted] : undefined;
        // An update may have stopped the container, which the next plan has to find as it was.
        const way = input.verb === 'update' ? 'undo' : 'reconcile';
        if (contradicted === 'name_in_use') await this.recovery.recover(claim, way);
        else if (seen === undefined) throw error;
        else sighting = seen;
      }
    }
  }

  /** What a committed operation leaves to do on nobody's time. The sweep does it if this process does not get to it. */
  finishUp(plan: Plan, row: ContainerRow, facts: Facts): void {
    if (plan.afterwards.length === 0) return;
    void this.inFlight
      .track(() =>
        this.executor.execute(plan.afterwards, { row, resources: row, assertWanted: () => Promise.resolve() }, facts),
      )
      .catch((error: unknown) =>
        this.logger.warn({ err: error, container_id: row.id }, 'the clean-up is left to the sweep'),
      );
  }
}
