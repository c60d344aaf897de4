import type { ContainerRow } from '../container.entity';

/** What bounds the runs of one user's containers, as of `now`. */
export interface RunTerms {
  readonly now: Date;
  /** When the user's session ends, and with it whatever runs; null: they have none. */
  readonly sessionEnd: Date | null;
  /** How long one run may last, in milliseconds; null: as long as it likes. */
  readonly runMs: number | null;
  /** After how long without use a container is stopped, in milliseconds; null: never. */
  readonly idleMs: number | null;
}

/** What a row keeps of its run. */
export type Run = Pick<ContainerRow, 'runSince' | 'expiresAt' | 'expiryWarnedAt'>;

/** Nothing runs. */
export const NO_RUN: Run = { runSince: null, expiresAt: null, expiryWarnedAt: null };

/** When a run that counts since then must end; null: never. A session ends all runs at once, however young. */
export function runEnd({ sessionEnd, runMs }: Pick<RunTerms, 'sessionEnd' | 'runMs'>, since: Date): Date | null {
  if (sessionEnd !== null) return sessionEnd;
  return runMs === null ? null : new Date(since.getTime() + runMs);
}

/** A run that begins now. */
export function newRun(terms: RunTerms): Run {
  return { runSince: terms.now, expiresAt: runEnd(terms, terms.now), expiryWarnedAt: null };
}

/**
 * The run of a container that was made anew because it had vanished: the one that it vanished from, if that is not over yet.
 * Otherwise somebody could make a run last for ever with a broken host, and a client would see the end move for no reason.
 */
export function resumedRun(row: Pick<ContainerRow, 'status' | 'statusReason' | keyof Run>, terms: RunTerms): Run {
  const { runSince, expiresAt, expiryWarnedAt } = row;
  const vanished = row.status === 'running' || (row.status === 'stopped' && row.statusReason === 'missing');
  const over = expiresAt !== null && expiresAt <= terms.now;
  return vanished && runSince !== null && !over ? { runSince, expiresAt, expiryWarnedAt } : newRun(terms);
}
