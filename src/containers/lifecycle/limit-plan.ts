import type { ContainerRow } from '../container.entity';
import type { Ending } from '../container-state';
import { Run, runEnd, type RunTerms } from './run-end';

/** What the terms of its user ask of a container that runs. */
export type LimitAction =
  | { readonly do: 'stop'; readonly ending: Ending }
  /** The tier is another one by now: the row has no end that it should have, or one that it should not have. */
  | { readonly do: 'correct'; readonly run: Run }
  | { readonly do: 'warn'; readonly expiresAt: Date; readonly secondsLeft: number };

/**
 * Decides by what holds now, whatever held when the run began.
 *
 * @param options.warningMs how long before its end a run is told of it; 0: never
 * @returns null where there is nothing to do
 */
export function planLimits(
  row: Pick<ContainerRow, 'status' | 'lastUsedAt' | keyof Run>,
  terms: RunTerms,
  { warningMs }: { warningMs: number },
): LimitAction | null {
  if (row.status !== 'running') return null;
  const now = terms.now.getTime();
  // A limit that comes to a run without one leaves it its whole time: nobody could have known of it.
  const since = row.expiresAt === null || row.runSince === null ? terms.now : row.runSince;
  const expiresAt = runEnd(terms, since);
  if (expiresAt?.getTime() !== row.expiresAt?.getTime()) {
    return { do: 'correct', run: { runSince: since, expiresAt, expiryWarnedAt: null } };
  }
  if (expiresAt !== null && expiresAt.getTime() <= now) return { do: 'stop', ending: 'expire' };
  if (terms.idleMs !== null && row.lastUsedAt.getTime() + terms.idleMs <= now) return { do: 'stop', ending: 'idle' };
  if (expiresAt === null || row.expiryWarnedAt !== null || warningMs === 0) return null;
  const leftMs = expiresAt.getTime() - now;
  return leftMs <= warningMs ? { do: 'warn', expiresAt, secondsLeft: Math.ceil(leftMs / 1000) } : null;
}
