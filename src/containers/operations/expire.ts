import { type Ending, isStopEnding } from '../model/container.entity';
import { planExpiry } from '../policies/run-policy';
import { deleting } from './delete';
import type { OperationDefinition } from './operation';
import { pausing } from './pause';
import { stopping } from './stop';

/**
 * Stops, pauses or deletes a container without a request, if its user's policy still requires that once the container
 * is leased: the tier may have changed, or the container may have been used. Does not wait for another operation.
 *
 * @throws DomainError `stop_failed`, `pause_failed`, `delete_failed`, `operation_in_progress`, `container_not_found`
 */
export function expiring(ending: Ending): OperationDefinition<void> {
  return {
    verb: ending,
    waitMs: 0,
    prepare: async (lease, context) => {
      const current = await lease.currentRow();
      const action = planExpiry(current, await context.policies.policyOf(current.userId));
      if (action?.do === 'stop' && isStopEnding(ending)) return stopping(action.ending).prepare(lease, context);
      if (action?.do === 'pause' && ending === 'idle_pause') {
        return pausing(action.reason).prepare(lease, context);
      }
      if (action?.do === 'delete' && ending === 'auto_delete') {
        return deleting({ reason: action.reason }).prepare(lease, context);
      }
      return { write: { patch: action?.do === 'correct' ? action.run : {}, events: [] } };
    },
    result: () => undefined,
  };
}
