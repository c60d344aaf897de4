import type { TerminalEnd } from '@berth/client';
import { terminalWords } from '../words/terminals';

/** Why a terminal takes no input, in words, and what helps. */
export interface Ending {
  readonly title: string;
  readonly text: string | null;
  readonly action: EndingAction;
  /** True if the user wanted this end, so that no other shell is to begin without being asked for. */
  readonly isWanted: boolean;
}

export type EndingAction = 'restart' | 'start' | 'resume' | 'reload' | 'none';

const WORDS = terminalWords.endings;

const ENDINGS: Readonly<Record<string, Omit<Ending, 'isWanted'>>> = {
  ended: { ...WORDS.ended, action: 'restart' },
  detached: { ...WORDS.detached, action: 'restart' },
  container_stopped: { ...WORDS.containerStopped, action: 'start' },
  container_recreated: { ...WORDS.containerRecreated, action: 'restart' },
  container_deleted: { ...WORDS.containerDeleted, action: 'none' },
  lost: { ...WORDS.lost, action: 'restart' },
};

/** Ends after which the same tab begins no other shell by itself. */
const WANTED: ReadonlySet<string> = new Set(['exited', 'ended', 'container_deleted']);

/** What exit codes of a shell mean that stand for more than the program's own. */
const CODES: Readonly<Record<number, string>> = terminalWords.exitCodes;

/** Explains the end of a shell. @param why puts the reason of a stop in words */
export function endingOf(
  { reason, code, detail }: TerminalEnd,
  why: (detail: string | undefined) => string | null,
): Ending {
  const isWanted = WANTED.has(reason);
  if (reason === 'exited') {
    const title = code === null || code === 0 ? WORDS.exited : WORDS.exitedWith(code);
    return { title, text: code === null ? null : (CODES[code] ?? null), action: 'restart', isWanted };
  }
  if (detail === 'exec_not_allowed') return { ...WORDS.notAllowed, action: 'none', isWanted };
  const known = ENDINGS[reason] ?? { ...WORDS.unknown, action: 'restart' };
  const words = why(detail);
  const text = words === null ? known.text : WORDS.reason(words);
  return { ...known, text, isWanted };
}

/** Explains why the server refuses a terminal. @param words the refusal in words */
export function refusalOf(code: string | null, words: string): Ending {
  const refused = { title: words, text: null, isWanted: false };
  switch (code) {
    case 'unauthorized':
      return { ...WORDS.sessionEnded, action: 'reload', isWanted: false };
    case 'container_not_running':
      return { ...refused, title: WORDS.notRunning, action: 'start' };
    case 'container_not_found':
      return { ...refused, action: 'none' };
    default:
      // Also after rights were lost: they may have been given back.
      return { ...refused, action: 'restart' };
  }
}

/** Explains a container that is not running, in place of how its shell ended. */
export const PAUSED: Ending = { ...WORDS.containerPaused, action: 'resume', isWanted: false };

/** For a shell that is gone from a container that is down, where no message told why. */
export const STOPPED: Ending = { ...WORDS.containerStopped, action: 'start', isWanted: false };
