import type { ContainerRow } from '../model/container.entity';
import type { OperationDefinition } from './operation';
import { startedOutcome } from './start';
import { confirmFirstRun, type Plan, type PlanInput, recreate, removeRemains, type Seed, stepsOnly } from './steps';

/**
 * Creates the Docker container of a row that was inserted with its lease, and starts it. If that fails, the row is left
 * in `error`, with an event; a start tries again.
 *
 * @param options.isNew whether this is the first attempt: nothing has been done in Docker for the row
 */
export function creating({ isNew }: { isNew: boolean }): OperationDefinition<ContainerRow> {
  return {
    verb: 'create',
    prepare: async (lease, context) => {
      const seed = await context.volumes.seedOf(lease);
      return {
        isNew,
        plan: (input) => planCreation(input, { seed }),
        seed,
        recoverAs: 'reconcile',
        outcome: (results) => startedOutcome(lease.row, results, context),
      };
    },
    result: ({ row }) => row,
  };
}

export function planCreation(input: PlanInput, { seed }: { seed: Seed | null }): Plan {
  return stepsOnly([...removeRemains(input), ...recreate(input, seed), confirmFirstRun]);
}
