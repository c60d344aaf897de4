import type { StartCommand } from '../../containers';

/** How a start command ended. */
export type StartEnd =
  | { readonly reason: 'exited'; readonly exitCode: number }
  /** By request, or because another one takes its place. */
  | { readonly reason: 'ended'; readonly exitCode: number }
  /** Its program is not there, or cannot be run. */
  | { readonly reason: 'command_not_started' }
  /** Berth could not hold it any longer, and ended it. */
  | { readonly reason: 'lost' }
  /** The container ended under it, or does not run. */
  | { readonly reason: 'container_stopped' };

/** Of how a command that fails again and again is run again. */
const BACKOFF_MS = { first: 1_000, longest: 60_000 };
/** A command that ran for so long was well: what it fails of is something new. */
const WELL_AFTER_MS = 60_000;
/** A program that is not there may come with what another one installs, but not for ever. */
const MOST_TRIES_NOT_STARTED = 5;
/** Where the container turns out to run after all; otherwise its next start is another course. */
const LOOK_AGAIN_MS = 2_000;

/** What follows the end of a start command: when it is run again, null for not at all, and its failures in a row. */
export function afterEnd(
  end: StartEnd,
  { restart, failures, ranMs }: { restart: StartCommand['restart']; failures: number; ranMs: number },
): { dueInMs: number | null; failures: number } {
  if (end.reason === 'container_stopped') return { dueInMs: LOOK_AGAIN_MS, failures };
  // Not its own doing, so that it is run again whatever its policy.
  if (end.reason === 'lost') return { dueInMs: BACKOFF_MS.first, failures };
  if (end.reason === 'ended' || (end.reason === 'exited' && end.exitCode === 0)) return { dueInMs: null, failures: 0 };
  const inARow = ranMs >= WELL_AFTER_MS ? 1 : failures + 1;
  const isHopeless = end.reason === 'command_not_started' && inARow >= MOST_TRIES_NOT_STARTED;
  if (restart === 'never' || isHopeless) return { dueInMs: null, failures: inARow };
  const backoff = BACKOFF_MS.first * 2 ** Math.min(inARow - 1, 10);
  return { dueInMs: Math.min(backoff, BACKOFF_MS.longest), failures: inARow };
}

/** How long to wait until it is looked again whether something is ready: less often the longer it takes. */
export function pauseBeforeProbeMs(sinceStartMs: number): number {
  return Math.min(2_000, Math.max(200, sinceStartMs / 10));
}

const LISTENING = '0A';

/** Whether a port is listened on, by the text of `/proc/net/tcp` or `/proc/net/tcp6`, or both of them. */
export function isListening(table: string, port: number): boolean {
  const hex = port.toString(16).toUpperCase().padStart(4, '0');
  return table.split('\n').some((line) => {
    const [, local = '', , state] = line.trim().split(/\s+/);
    return state === LISTENING && local.toUpperCase().endsWith(`:${hex}`);
  });
}
