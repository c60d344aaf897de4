import { type ObservedContainer } from '../../engine';
import { containerFacts, type ContainerRow, isUp, type StopReason } from '../model/container.entity';
import type { ContainerPatch } from '../rows/container.repository';
import { newRun, NO_RUN, type RunPolicy } from '../policies/run-policy';
import { type Outcome, pausedOutcome, resumedOutcome } from './outcome';

/**
 * What Docker's event stream reported about a container's last exit. An inspection no longer shows this once the
 * container runs again.
 */
export interface DeathHint {
  readonly exitCode: number | null;
  readonly oom: boolean;
}

/** The exit code of a process that was ended by SIGKILL, whether the kernel or another process sent it. */
export const SIGKILLED = 137;

/** Input to the comparison that an inspection does not provide. */
interface Circumstances {
  readonly death: DeathHint | null;
  /** The limits for a run that was started outside the API. */
  readonly policy: RunPolicy;
}

/**
 * Compares a row with its observed state (null: no such container). A missing container counts as stopped: a start
 * recreates it. A container that was paused or resumed outside Berth changes the row likewise. A row in `creating` or
 * `error` has no container to follow.
 */
export function outcomeOfObservation(
  row: ContainerRow,
  observed: ObservedContainer | null,
  { death, policy }: Circumstances,
): Outcome | null {
  if (!isUp(row.status) && row.status !== 'stopped') return null;
  if (observed?.state === 'running' || observed?.state === 'paused') {
    const followed = isUp(row.status)
      ? sameRunOrNext(row, observed, { death, policy })
      : started(row, observed, policy);
    return pausedAs(observed.state, { row, followed, policy });
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
  // The first inspection after our own start; there is no other change.
  if (row.runStartedAt === null) return { patch: seen(row, observed), events: [] };
  // Docker's restart policy was faster than this inspection. The previous run's processes are gone, so both its end and
  // the new start are emitted.
  const end = stopped(row, { reason: death?.oom === true ? 'oom' : 'exited', exitCode: death?.exitCode ?? null });
  const start = started({ ...row, ...end.patch }, observed, policy);
  return { patch: start.patch, events: [...end.events, ...start.events] };
}

/** Adds the pause or the resumption to the change that the row follows anyway. */
function pausedAs(
  state: 'running' | 'paused',
  { row, followed, policy }: { row: ContainerRow; followed: Outcome | null; policy: RunPolicy },
): Outcome | null {
  const after = { ...row, ...followed?.patch };
  if (after.status === state) return followed;
  const change = state === 'paused' ? pausedOutcome(after) : resumedOutcome(after, policy.now);
  return { patch: { ...followed?.patch, ...change.patch }, events: [...(followed?.events ?? []), ...change.events] };
}

function started(row: ContainerRow, observed: ObservedContainer, policy: RunPolicy): Outcome {
  const patch: ContainerPatch = {
    status: 'running',
    statusReason: null,
    lastUsedAt: policy.now,
    ...newRun(row, policy),
    ...seen(row, observed),
  };
  return { patch, events: [{ type: 'container_started', data: containerFacts({ ...row, ...patch }) }] };
}

/**
 * Worded for gVisor. Under runc the kernel ends one process, and the container keeps running unless that was its main
 * process.
 */
const OUT_OF_MEMORY =
  'it needed more memory than its limit, which ended all its processes: under gVisor, one over the limit is enough';

function stopped(row: ContainerRow, end: { reason: StopReason; exitCode: number | null }): Outcome {
  const patch: ContainerPatch = {
    status: 'stopped',
    statusReason: end.reason,
    ipAddress: null,
    runStartedAt: null,
    // A start recreates a missing container and continues its run.
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
  if (observed === null || observed.state === 'broken') return { reason: 'missing', exitCode: null };
  const exitCode = death?.exitCode ?? observed.exitCode;
  // Docker's flag is also set if the kernel killed only one process and the container survived. It counts only together
  // with the exit code of SIGKILL.
  const oom = death?.oom === true || (observed.oomKilled && exitCode === SIGKILLED);
  return { reason: oom ? 'oom' : 'exited', exitCode };
}

function seen(row: ContainerRow, observed: ObservedContainer): ContainerPatch {
  return { runStartedAt: observed.startedAt, ipAddress: observed.ipAddress, ...imageOf(row, observed) };
}

/** Sets the image id if the row, written by an earlier version of Berth, has none. */
function imageOf(row: ContainerRow, { imageId }: ObservedContainer): ContainerPatch {
  return row.imageId === null ? { imageId } : {};
}
