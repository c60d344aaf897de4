import { DomainError } from '../../errors';
import { type ContainerRow, isUp, type PauseReason } from '../model/container.entity';
import type { OperationDefinition } from './operation';
import { NOTHING, pausedOutcome } from './outcome';
import { stepsOnly } from './steps';

/**
 * Suspends the processes of a running container. Its memory stays taken; its CPU is free. A paused container stays as
 * it is.
 *
 * @param reason if the pause was not requested
 * @throws DomainError `container_not_running`, `pause_failed`, `operation_in_progress`, `container_not_found`
 */
export function pausing(reason: PauseReason | null = null): OperationDefinition<ContainerRow> {
  return {
    verb: reason === null ? 'pause' : 'idle_pause',
    prepare: async (lease, { recovery }) => {
      await recovery.observe(lease);
      if (!isUp(lease.row.status)) throw new DomainError('container_not_running');
      if (lease.row.status === 'paused') return { write: NOTHING };
      return {
        plan: () => stepsOnly([{ do: 'pause_container', target: 'current', because: 'asked to pause' }]),
        outcome: () => pausedOutcome(lease.row, reason),
      };
    },
    result: ({ row }) => row,
  };
}
