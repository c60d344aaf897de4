import { type EngineErrorCode, plainId } from '../../engine';
import { DomainError } from '../../errors';
import { containerFacts, type ContainerRow, type Started } from '../model/container.entity';
import { newRun, resumedRun } from '../policies/run-policy';
import type { ContainerPatch } from '../rows/container.repository';
import { SeedGoneError } from './data-volumes';
import type { StepResults } from './executor';
import type { OperationDefinition, OperationContext } from './operation';
import { imageChange, type Outcome, recreated, resumedOutcome } from './outcome';
import {
  confirmFirstRun,
  exists,
  type ObservedState,
  type Plan,
  type PlanInput,
  recreate,
  removeRemains,
  type Seed,
  type Step,
  stepsOnly,
} from './steps';

/** The container's state that a refused start implies. */
const STATE_AFTER: Readonly<Partial<Record<EngineErrorCode, ObservedState>>> = {
  container_not_found: 'missing',
  container_paused: 'paused',
  container_broken: 'broken',
  // It can be started, but is of an earlier version.
  restart_required: 'broken',
};

/**
 * Starts a container, resumes it if it is paused, and recreates it, with its data, if it is missing from Docker or can
 * never be started again.
 *
 * @param options.isReplaced the present Docker container is removed first: a warm slot that does not run
 * @throws DomainError `start_failed`, `no_capacity`, `operation_in_progress`, `container_not_found`;
 *   `snapshot_not_found` if the container was never made and its snapshot is gone
 */
export function starting({ isReplaced = false } = {}): OperationDefinition<Started> {
  return {
    verb: 'start',
    prepare: async (lease, context) => {
      const { recovery, placement, volumes } = context;
      // Docker accepts an unpause of a container that has ended.
      if (lease.row.status === 'paused') await recovery.observe(lease);
      await placement.reserve(lease, lease.row);
      const seed = await volumes.seedOf(lease).catch(refuseWithoutSeed);
      return {
        plan: (input) => planStart(input, { isReplaced, seed }),
        seed,
        recoverAs: 'reconcile',
        onContradiction: async (code) => {
          const state = STATE_AFTER[code] ?? null;
          if (state === 'broken') await volumes.keepBroken(lease, { isSound: code === 'restart_required' });
          return state;
        },
        outcome: (results) => startedOutcome(lease.row, results, context),
      };
    },
    result: ({ row, before, results }) => {
      const isResumed = before.status === 'paused' && results.replacementId === undefined;
      return { row, ...(isResumed && { resumed: true }), ...recreation(before, results) };
    },
  };
}

/** Nothing was begun in Docker: a container without its snapshot stays as it is. */
function refuseWithoutSeed(error: unknown): never {
  if (error instanceof SeedGoneError) throw new DomainError('snapshot_not_found', { cause: error });
  throw error;
}

export function planStart(input: PlanInput, { isReplaced, seed }: { isReplaced: boolean; seed: Seed | null }): Plan {
  if (!exists(input)) {
    const confirm = input.row.engineId === null ? [confirmFirstRun] : [];
    return stepsOnly([...removeRemains(input), ...recreate(input, seed), ...confirm]);
  }
  if (!isReplaced) return stepsOnly([startOrUnpause(input)]);
  const because = 'a warm slot that does not run may have had other use';
  return stepsOnly([{ do: 'remove_container', target: 'current', because }, ...recreate(input, seed)]);
}

function startOrUnpause({ observed, row }: PlanInput): Step {
  return observed === 'paused' || (observed === 'unseen' && row.status === 'paused')
    ? { do: 'unpause_container', target: 'current', because: 'a paused container cannot be started' }
    : { do: 'start_container', target: 'current', because: 'asked to run' };
}

/**
 * The outcome of a creation or a start: running, with an event unless the container was running already. The run begins
 * now, under the policy that the executor read during the start, if any.
 */
export async function startedOutcome(
  row: ContainerRow,
  results: StepResults,
  { policies, clock }: OperationContext,
): Promise<Outcome> {
  const read = results.policy ?? (await policies.policyOf(row.userId));
  const policy = { ...read, now: clock.now() };
  const replacement = recreated(results);
  const used: ContainerPatch = { lastUsedAt: policy.now };
  if (row.status === 'running' && replacement.engineId === undefined && results.wasRunning === true) {
    return { patch: used, events: [] };
  }
  if (row.status === 'paused' && replacement.engineId === undefined) return resumedOutcome(row, policy.now);
  const run = replacement.engineId === undefined ? newRun(row, policy) : resumedRun(row, policy);
  const patch: ContainerPatch = {
    status: 'running',
    statusReason: null,
    runStartedAt: null,
    ...used,
    ...run,
    ...replacement,
  };
  const data = { ...containerFacts({ ...row, ...patch }), ...recreation(row, results) };
  return { patch, events: [{ type: 'container_started', data }] };
}

/** Present only if an existing container was recreated. */
function recreation(row: ContainerRow, results: StepResults): Omit<Started, 'row' | 'resumed'> {
  if (results.replacementId === undefined || row.engineId === null) return {};
  return {
    recreated: true,
    old_id: plainId(row.engineId),
    volume_kept: results.volumeExisted === true,
    ...imageChange(results),
  };
}
