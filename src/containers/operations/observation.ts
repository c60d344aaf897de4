import { isHalfGone, type ObservedContainer } from '../../docker';
import { containerFacts, type ContainerRow, type StopReason } from '../container.entity';
import type { ContainerPatch } from '../container.repository';
import { newRun, NO_RUN, type RunPolicy } from '../expiry/run-policy';
import type { Outcome } from './outcome';

/**
 * What Docker's event stream reported about a container's last exit: more than an inspection shows once it runs again.
 */
export interface DeathHint {
  readonly exitCode: number | null;
  readonly oom: boolean;
}

/** The exit code of a process that SIGKILL has ended, by the kernel or by somebody. */
export const SIGKILLED = 137;

/** What an inspection alone does not show. */
export interface Circumstances {
  readonly death: DeathHint | null;
  /** For a run that was started outside the API. */
  readonly policy: RunPolicy;
}

/**
 * Compares a row with its observed state (null: no such container). A missing container counts as stopped: a start
 * recreates it. A row in `creating` or `error` has no container to follow.
 */
export function outcomeOfObservation(
  row: ContainerRow,
  observed: ObservedContainer | null,
  { death, policy }: Circumstances,
): Outcome | null {
  if (row.status !== 'running' && row.status !== 'stopped') return null;
  if (observed?.state === 'running' || observed?.state === 'paused') {
    return row.status === 'running' ? sameRunOrNext(row, observed, { death, policy }) : started(row, observed, policy);
  }
  if (row.status === 'stopped') {
    return observed && row.imageId === null ? { patch: imageOf(row, observed), events: [] } : null;
  }
  return stopped(row, endOf(observed, death));
}

function sameRunOrNext(
  row: ContainerRow,
  observed: ObservedContainer,
  { death, policy }: Circumstances,
): Outcome | null {
  if (observed.startedAt === row.runStartedAt) {
    const isKnown = observed.ipAddress === row.ipAddress && row.imageId !== null;
    return isKnown ? null : { patch: seen(row, observed), events: [] };
  }
  // The first inspection after our own start: nothing else has happened.
  if (row.runStartedAt === null) return { patch: seen(row, observed), events: [] };
  // Docker's restart policy was faster than this inspection: the previous run's processes are gone all the same, so
  // both its end and the new start are emitted.
  const end = stopped(row, { reason: death?.oom === true ? 'oom' : 'exited', exitCode: death?.exitCode ?? null });
  const start = started({ ...row, ...end.patch }, observed, policy);
  return { patch: start.patch, events: [...end.events, ...start.events] };
}

function started(row: ContainerRow, observed: ObservedContainer, policy: RunPolicy): Outcome {
  const patch: ContainerPatch = {
    status: 'running',
    statusReason: null,
    lastUsedAt: policy.now,
    ...newRun(policy),
    ...seen(row, observed),
  };
  return { patch, events: [{ type: 'container_started', data: containerFacts({ ...row, ...patch }) }] };
}

/** Under runc the kernel ends one process, and the container goes on unless that was its main process. */
const OUT_OF_MEMORY =
  'it needed more memory than its limit, which ended all its processes: under gVisor one process over the limit is enough';

function stopped(row: ContainerRow, end: { reason: StopReason; exitCode: number | null }): Outcome {
  const patch: ContainerPatch = {
    status: 'stopped',
    statusReason: end.reason,
    ipAddress: null,
    runStartedAt: null,
    // A start recreates a missing container, and its run continues.
    ...(end.reason === 'missing' ? {} : NO_RUN),
  };
  const facts = containerFacts({ ...row, ...patch });
  const exit = end.exitCode === null ? {} : { exit_code: end.exitCode };
  const message = end.reason === 'oom' ? { message: OUT_OF_MEMORY } : {};
  return {
    patch,
    events: [{ type: 'container_stopped', data: { ...facts, reason: end.reason, ...exit, ...message } }],
  };
}

function endOf(
  observed: ObservedContainer | null,
  death: DeathHint | null,
): { reason: StopReason; exitCode: number | null } {
  if (observed === null || isHalfGone(observed.state)) return { reason: 'missing', exitCode: null };
  const exitCode = death?.exitCode ?? observed.exitCode;
  // Docker's own flag also stays set if only one process was killed and the container survived; only this is the
  // kernel's kill.
  const oom = death?.oom === true || (observed.oomKilled && exitCode === SIGKILLED);
  return { reason: oom ? 'oom' : 'exited', exitCode };
}

function seen(row: ContainerRow, observed: ObservedContainer): ContainerPatch {
  return { runStartedAt: observed.startedAt, ipAddress: observed.ipAddress, ...imageOf(row, observed) };
}

/** A row of an earlier version does not know it yet. */
function imageOf(row: ContainerRow, { imageId }: ObservedContainer): ContainerPatch {
  return row.imageId === null ? { imageId } : {};
}
