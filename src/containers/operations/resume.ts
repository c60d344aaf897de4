import { DomainError } from '../../errors';
import { type ContainerRow, isUp } from '../model/container.entity';
import type { OperationDefinition } from './operation';
import { resumedOutcome } from './outcome';
import { stepsOnly } from './steps';

/**
 * Lets the processes of a paused container go on. A running container only counts as used.
 *
 * @throws DomainError `no_capacity` if its CPU is taken, `container_not_running`, `resume_failed`,
 *   `operation_in_progress`, `container_not_found`
 */
export function resuming(): OperationDefinition<ContainerRow> {
  return {
    verb: 'resume',
    prepare: async (lease, { recovery, placement, clock }) => {
      await recovery.observe(lease);
      if (!isUp(lease.row.status)) throw new DomainError('container_not_running');
      if (lease.row.status === 'running') return { write: { patch: { lastUsedAt: clock.now() }, events: [] } };
      await placement.reserve(lease, lease.row);
      return {
        plan: () => stepsOnly([{ do: 'unpause_container', target: 'current', because: 'asked to go on' }]),
        outcome: () => resumedOutcome(lease.row, clock.now()),
      };
    },
    result: ({ row }) => row,
  };
}
