import { isHalfGone, type ObservedContainer } from '../../docker';
import type { EventDraft } from '../../events';
import { containerFacts, type ContainerRow, type StopReason } from '../container.entity';
import type { ContainerPatch } from '../container.repository';
import { newRun, NO_RUN, type RunPolicy } from '../expiry/run-policy';

/** What Docker's event stream told of a container's last end: more than an inspection can, once it runs again. */
export interface DeathHint {
  readonly exitCode: number | null;
  readonly oom: boolean;
}

/** What an inspection alone does not tell. */
export interface Circumstances {
  readonly death: DeathHint | null;
  /** For a run that began behind the API's back. */
  readonly policy: RunPolicy;
}

/** A change that makes the row what Docker says; null where they agree. */
export interface ObservedOutcome {
  readonly patch: ContainerPatch;
  readonly events: readonly EventDraft[];
}

/**
 * Compares a row with what an inspection saw (null: there is no such container). A missing container is a stopped one: it is
 * started again by making it anew. A row in `creating` or `error` has no container to follow.
 */
export function outcomeOfObservation(
  row: ContainerRow,
  observed: ObservedContainer | null,
  { death, policy: terms }: Circumstances,
): ObservedOutcome | null {
  if (row.status !== 'running' && row.status !== 'stopped') return null;
  if (observed?.state === 'running' || observed?.state === 'paused') {
    return row.status === 'running'
      ? sameRunOrNext(row, observed, { death, policy: terms })
      : started(row, observed, terms);
  }
  if (row.status === 'stopped') return null;
  return stopped(row, endOf(observed, death));
}

function sameRunOrNext(
  row: ContainerRow,
  observed: ObservedContainer,
  { death, policy: terms }: Circumstances,
): ObservedOutcome | null {
  if (observed.startedAt === row.runStartedAt) {
    return observed.ipAddress === row.ipAddress ? null : { patch: seen(observed), events: [] };
  }
  // The first look after our own start: nothing happened but that.
  if (row.runStartedAt === null) return { patch: seen(observed), events: [] };
  // Docker's restart policy was quicker than this look: what ran in it is gone all the same, so both ends are told.
  const end = stopped(row, { reason: death?.oom === true ? 'oom' : 'exited', exitCode: death?.exitCode ?? null });
  const start = started({ ...row, ...end.patch }, observed, terms);
  return { patch: start.patch, events: [...end.events, ...start.events] };
}

function started(row: ContainerRow, observed: ObservedContainer, terms: RunPolicy): ObservedOutcome {
  const patch: ContainerPatch = {
    status: 'running',
    statusReason: null,
    lastUsedAt: terms.now,
    ...newRun(terms),
    ...seen(observed),
  };
  return { patch, events: [{ type: 'container_started', data: containerFacts({ ...row, ...patch }) }] };
}

function stopped(row: ContainerRow, end: { reason: StopReason; exitCode: number | null }): ObservedOutcome {
  const patch: ContainerPatch = {
    status: 'stopped',
    statusReason: end.reason,
    ipAddress: null,
    runStartedAt: null,
    // A start makes a missing container anew, and its run goes on.
    ...(end.reason === 'missing' ? {} : NO_RUN),
  };
  const facts = containerFacts({ ...row, ...patch });
  const exit = end.exitCode === null ? {} : { exit_code: end.exitCode };
  return { patch, events: [{ type: 'container_stopped', data: { ...facts, reason: end.reason, ...exit } }] };
}

function endOf(
  observed: ObservedContainer | null,
  death: DeathHint | null,
): { reason: StopReason; exitCode: number | null } {
  if (observed === null || isHalfGone(observed.state)) return { reason: 'missing', exitCode: null };
  const exitCode = death?.exitCode ?? observed.exitCode;
  // Docker's own flag also stays set when one process was killed and the container went on; only 137 is the kernel's kill.
  const oom = death?.oom === true || (observed.oomKilled && exitCode === 137);
  return { reason: oom ? 'oom' : 'exited', exitCode };
}

function seen(observed: ObservedContainer): ContainerPatch {
  return { runStartedAt: observed.startedAt, ipAddress: observed.ipAddress };
}
