/** Milliseconds of a UTC day, which has no leap seconds. */
export const DAY_MS = 24 * 3_600_000;

/** Of a container's row what decides how much it uses. */
export interface MeteredRow {
  readonly status: 'creating' | 'running' | 'stopped' | 'error';
  readonly deletedAt: Date | null;
  readonly purgedAt: Date | null;
  readonly memoryMb: number;
  /** Millicores. */
  readonly cpuShares: number;
  readonly diskMb: number;
  /** Up to when its use is in `daily_usage`; null: it uses nothing. */
  readonly meteredSince: Date | null;
}

/** What was used, in amounts × milliseconds: whole numbers, whose sums are exact. */
export interface UsedAmounts {
  readonly runningMs: number;
  readonly memoryMbMs: number;
  readonly cpuSharesMs: number;
  readonly diskMbMs: number;
}

/** What was used on one day. */
export interface DayUse extends UsedAmounts {
  /** The UTC midnight that it begins with. */
  readonly day: Date;
}

/** What the change of a row writes beside it. */
export interface Settlement {
  readonly meteredSince: Date | null;
  readonly used: readonly DayUse[];
}

/** What a container uses at a time. */
interface Rates {
  readonly running: 0 | 1;
  readonly memoryMb: number;
  readonly cpuShares: number;
  readonly diskMb: number;
}

const NOTHING: Rates = { running: 0, memoryMb: 0, cpuShares: 0, diskMb: 0 };

/**
 * From its first run, or its first stop, to its purge. What is being created, or could not be, has nothing of its
 * user's.
 */
function isMetered({ status, purgedAt }: MeteredRow): boolean {
  return purgedAt === null && (status === 'running' || status === 'stopped');
}

/** Memory and CPU while it runs; the disk as long as its data is kept. `UsageReader` has the same rule as SQL. */
function ratesOf(row: MeteredRow): Rates {
  if (!isMetered(row)) return NOTHING;
  const { memoryMb, cpuShares, diskMb } = row;
  const runs = row.status === 'running' && row.deletedAt === null;
  return runs ? { running: 1, memoryMb, cpuShares, diskMb } : { ...NOTHING, diskMb };
}

function isSame(one: Rates, other: Rates): boolean {
  return (Object.keys(NOTHING) as (keyof Rates)[]).every((rate) => one[rate] === other[rate]);
}

/**
 * What is to be written with a change of a row. Where it changes what is used per time, the use until now is settled,
 * by what the row said until now, and counted anew from here: so each moment is settled once, or not yet.
 */
export function settle(row: MeteredRow, next: MeteredRow, now: Date): Settlement {
  const { meteredSince } = row;
  if ((meteredSince !== null) === isMetered(next) && isSame(ratesOf(row), ratesOf(next))) {
    return { meteredSince, used: [] };
  }
  // The clock of the process before may be ahead of this one's: no moment counts twice.
  const until = meteredSince !== null && meteredSince > now ? meteredSince : now;
  return {
    meteredSince: isMetered(next) ? until : null,
    used: meteredSince === null ? [] : usedBetween(ratesOf(row), meteredSince, until),
  };
}

/** Split at UTC midnights, the earliest day first; days on which nothing was used are left out. */
function usedBetween(rates: Rates, from: Date, until: Date): DayUse[] {
  if (isSame(rates, NOTHING)) return [];
  const used: DayUse[] = [];
  for (let start = from.getTime(); start < until.getTime();) {
    const day = midnight(start);
    const end = Math.min(day + DAY_MS, until.getTime());
    const ms = end - start;
    used.push({
      day: new Date(day),
      runningMs: ms * rates.running,
      memoryMbMs: ms * rates.memoryMb,
      cpuSharesMs: ms * rates.cpuShares,
      diskMbMs: ms * rates.diskMb,
    });
    start = end;
  }
  return used;
}

/** The beginning of the UTC day, in milliseconds since 1970. */
export function midnight(time: number): number {
  return Math.floor(time / DAY_MS) * DAY_MS;
}
