import type { StartCommand } from '../../containers';

/** How a start command ended. */
export type StartEnd =
  | { readonly reason: 'exited'; readonly exitCode: number }
  /** By a client, for lack of access, or because another command replaced it. */
  | { readonly reason: 'ended'; readonly exitCode: number }
  /** The program does not exist or is not executable. */
  | { readonly reason: 'command_not_started' }
  /** Its container ended while no server saw it. */
  | { readonly reason: 'lost' }
  /** The container stopped, or did not run in the first place. */
  | { readonly reason: 'container_stopped' };

/** Delays before a command that keeps failing is restarted. */
const BACKOFF_MS = { first: 1_000, longest: 60_000 };
/** A command that ran this long was healthy: its failure is the first of a new series. */
const WELL_AFTER_MS = 60_000;
/** Another program may still install a missing one, so a start is retried, but not for ever. */
const MOST_TRIES_NOT_STARTED = 5;
/** Retry delay for the case that the container runs after all. Otherwise its next start begins another course. */
const LOOK_AGAIN_MS = 2_000;

/**
 * Decides what follows the end of a start command.
 *
 * @returns `dueInMs`: when to run the command again, null for not at all; `failures`: its consecutive failures
 */
export function afterEnd(
  end: StartEnd,
  { restart, failures, ranMs }: { restart: StartCommand['restart']; failures: number; ranMs: number },
): { dueInMs: number | null; failures: number } {
  if (end.reason === 'container_stopped') return { dueInMs: LOOK_AGAIN_MS, failures };
  // The command itself did not fail, so it is restarted regardless of its policy.
  if (end.reason === 'lost') return { dueInMs: BACKOFF_MS.first, failures };
  if (end.reason === 'ended' || (end.reason === 'exited' && end.exitCode === 0)) return { dueInMs: null, failures: 0 };
  const inARow = ranMs >= WELL_AFTER_MS ? 1 : failures + 1;
  const isHopeless = end.reason === 'command_not_started' && inARow >= MOST_TRIES_NOT_STARTED;
  if (restart === 'never' || isHopeless) return { dueInMs: null, failures: inARow };
  const backoff = BACKOFF_MS.first * 2 ** Math.min(inARow - 1, 10);
  return { dueInMs: Math.min(backoff, BACKOFF_MS.longest), failures: inARow };
}

/** Delay before the next readiness probe, which grows with the time since the start. */
export function pauseBeforeProbeMs(sinceStartMs: number): number {
  return Math.min(2_000, Math.max(200, sinceStartMs / 10));
}
