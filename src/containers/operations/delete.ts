import { type ContainerRow, type DeletionReason, isUp } from '../model/container.entity';
import type { OperationDefinition, OperationContext } from './operation';
import { deletedOutcome, type Outcome } from './outcome';
import { exists, type Plan, type PlanInput, removeRemains, type Step, stepsOnly, stopCurrent } from './steps';
import { type Ended, ended, recoverFailedCreation } from './stop';

interface DeletionOptions {
  /** Absent if a user requested the deletion. */
  readonly reason?: DeletionReason | undefined;
  /** Whether the row is deleted even if Docker refuses. */
  readonly isForced?: boolean;
}

/**
 * Deletes a container; its data is kept for a while. Cancels a running creation.
 *
 * @param options.isForced deletes the row even if Docker refuses or does not answer; sweeps retry the removal of the
 *   Docker container
 * @throws DomainError `delete_failed` unless forced, `operation_in_progress`, `container_not_found`
 */
export function deleting({ reason, isForced = false }: DeletionOptions = {}): OperationDefinition<Ended> {
  return {
    verb: reason === undefined ? 'delete' : 'auto_delete',
    prepare: async (lease, context) => {
      const { recovery, purge } = context;
      await recoverFailedCreation(lease, recovery);
      return {
        plan: planDeletion,
        // The removal may have happened although its answer was lost. A container that is gone can only be deleted.
        hasSucceeded: () => recovery.isGone(lease.row),
        outcome: () => deleted(lease.row, context, { reason }),
        onCommitted: (row) => purge.afterDeletion(row),
      };
    },
    ...(isForced && { ifRefused: (row, context) => deleted(row, context, { isForced }) }),
    result: ended,
  };
}

export function planDeletion(input: PlanInput): Plan {
  if (!exists(input)) return stepsOnly(removeRemains(input));
  const { row, observed } = input;
  const isDown = observed === 'exited' || observed === 'created' || (observed === 'unseen' && !isUp(row.status));
  const remove: Step = { do: 'remove_container', target: 'current', because: 'deleted' };
  return stepsOnly(isDown ? [remove] : [stopCurrent('processes get their SIGTERM before the end'), remove]);
}

function deleted(row: ContainerRow, { clock, purge }: OperationContext, why: DeletionOptions): Outcome {
  const now = clock.now();
  const purgeAt = why.reason === 'user_deleted' ? now : purge.dueAfter(now);
  return deletedOutcome(row, { now, purgeAt, ...why });
}
