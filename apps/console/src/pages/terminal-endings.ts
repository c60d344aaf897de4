import type { TerminalEnd } from '@berth/client';

/** Why a terminal takes no input, in words, and what helps. */
export interface Ending {
  readonly title: string;
  readonly text: string | null;
  readonly action: EndingAction;
  /** True if the user wanted this end, so that no other shell is to begin without being asked for. */
  readonly isWanted: boolean;
}

export type EndingAction = 'restart' | 'start' | 'resume' | 'reload' | 'none';

const ENDINGS: Readonly<Record<string, Omit<Ending, 'isWanted'>>> = {
  ended: { title: 'The terminal was ended.', text: 'Another window or program ended it.', action: 'restart' },
  detached: { title: 'The terminal was ended.', text: 'No window was attached to it for too long.', action: 'restart' },
  container_stopped: { title: 'The container was stopped.', text: null, action: 'start' },
  container_recreated: {
    title: 'The container was recreated.',
    text: 'Its data was kept. Its programs and terminals have ended.',
    action: 'restart',
  },
  container_deleted: {
    title: 'The container was deleted.',
    text: 'It can be restored for a while: see “Deleted”.',
    action: 'none',
  },
  server_stopped: {
    title: 'The server was restarted, and the terminal ended with it.',
    text: null,
    action: 'restart',
  },
  lost: {
    title: 'The terminal has ended.',
    text: 'The server was restarted, or lost its connection to the container.',
    action: 'restart',
  },
};

/** Ends after which the same tab begins no other shell by itself. */
const WANTED: ReadonlySet<string> = new Set(['exited', 'ended', 'container_deleted']);

/** What exit codes of a shell mean that stand for more than the program's own. */
const CODES: Readonly<Record<number, string>> = {
  126: 'The last program could not be executed.',
  127: 'The last program was not found.',
  130: 'The last program was interrupted by Ctrl+C.',
  137: 'A program was killed (signal 9), which happens when the memory limit is reached.',
  143: 'A program was asked to end (signal 15).',
};

/** Explains the end of a shell. @param why puts the reason of a stop in words */
export function endingOf(
  { reason, code, detail }: TerminalEnd,
  why: (detail: string | undefined) => string | null,
): Ending {
  const isWanted = WANTED.has(reason);
  if (reason === 'exited') {
    const title = code === null || code === 0 ? 'The shell exited.' : `The shell exited with code ${String(code)}.`;
    return { title, text: code === null ? null : (CODES[code] ?? null), action: 'restart', isWanted };
  }
  if (detail === 'exec_not_allowed') {
    const text = 'Your tier no longer allows terminals.';
    return { title: 'The terminal was ended.', text, action: 'none', isWanted };
  }
  const known = ENDINGS[reason] ?? { title: 'The terminal has ended.', text: null, action: 'restart' };
  const words = why(detail);
  const text = words === null ? known.text : `Reason: ${words}.`;
  return { ...known, text, isWanted };
}

/** Explains why the server refuses a terminal. @param words the refusal in words */
export function refusalOf(code: string | null, words: string): Ending {
  const refused = { title: words, text: null, isWanted: false };
  switch (code) {
    case 'unauthorized':
      return {
        title: 'Your session has ended.',
        text: 'Its token was revoked or has expired. Sign in again to come back to this terminal.',
        action: 'reload',
        isWanted: false,
      };
    case 'container_not_running':
      return { ...refused, title: 'The container is not running.', action: 'start' };
    case 'container_not_found':
      return { ...refused, action: 'none' };
    default:
      // Also after rights were lost: they may have been given back.
      return { ...refused, action: 'restart' };
  }
}

/** Explains a container that is not running, in place of how its shell ended. */
export const PAUSED: Ending = {
  title: 'The container is paused.',
  text: 'Its programs continue when you resume it.',
  action: 'resume',
  isWanted: false,
};

/** For a shell that is gone from a container that is down, where no message told why. */
export const STOPPED: Ending = { title: 'The container was stopped.', text: null, action: 'start', isWanted: false };
