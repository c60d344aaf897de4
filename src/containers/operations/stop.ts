import type { ContainerRow, StopEnding } from '../model/container.entity';
import type { Completed, OperationDefinition } from './operation';
import type { OperationLease } from './operation-lease';
import { stoppedOutcome } from './outcome';
import type { Recovery } from './recovery';
import { exists, type Plan, type PlanInput, stepsOnly, stopCurrent } from './steps';

/** The row of a container that was stopped or deleted, and whether it was paused before. */
export interface Ended {
  readonly row: ContainerRow;
  readonly resumed: boolean;
}

/**
 * Stops a container; a paused one is resumed, so that its processes can end.
 *
 * @param ending the reason, if the stop was not requested
 * @throws DomainError `stop_failed`, `operation_in_progress`, `container_not_found`
 */
export function stopping(ending?: StopEnding): OperationDefinition<Ended> {
  return {
    verb: ending ?? 'stop',
    prepare: async (lease, { recovery }) => {
      await recoverFailedCreation(lease, recovery);
      return {
        plan: planStop,
        outcome: async ({ stopFound }) => {
          // The container had stopped before our request; an inspection shows why.
          if (stopFound !== 'running') await recovery.observe(lease);
          return stoppedOutcome(lease.row, ending);
        },
      };
    },
    result: ended,
  };
}

/** A row in `error` needs no inspection of its own container, but a failed creation may have left one. */
export async function recoverFailedCreation(lease: OperationLease, recovery: Recovery): Promise<void> {
  if (lease.row.status === 'error') await recovery.recover(lease, 'reconcile');
}

export function planStop(input: PlanInput): Plan {
  return stepsOnly(exists(input) ? [stopCurrent('asked to stop')] : []);
}

export function ended({ row, before }: Completed): Ended {
  return { row, resumed: before.status === 'paused' };
}
