/** The milliseconds of a UTC day; Unix time has no leap seconds. */
export const DAY_MS = 24 * 3_600_000;

export const BYTES_PER_MB = 1024 * 1024;

/** The columns of a container's row that determine its use. */
export interface MeteredRow {
  readonly status: 'creating' | 'running' | 'paused' | 'stopped' | 'error';
  readonly deletedAt: Date | null;
  readonly purgedAt: Date | null;
  readonly memoryMb: number;
  /** Millicores. */
  readonly cpuShares: number;
  readonly diskMb: number;
  /** The time up to which the container's use is in `daily_usage`; null: it is not metered. */
  readonly meteredSince: Date | null;
}

/** The columns of a snapshot's row that determine its use. */
export interface MeteredSnapshot {
  readonly status: 'making' | 'ready' | 'failed' | 'deleting';
  readonly isTransient: boolean;
  readonly dataBytes: number;
  readonly layerBytes: number;
  /** As in {@link MeteredRow}. */
  readonly meteredSince: Date | null;
}

/** Use, of resources as amounts × milliseconds: whole numbers, so sums are exact. */
export interface UsedAmounts {
  readonly runningMs: number;
  readonly memoryMbMs: number;
  readonly cpuSharesMs: number;
  readonly diskMbMs: number;
  readonly snapshotMbMs: number;
  /** Bytes of bodies and WebSockets that previews passed on, in both directions. */
  readonly previewBytes: number;
}

export interface DayUse extends UsedAmounts {
  /** The UTC midnight at the start of the day. */
  readonly day: Date;
}

/** What must be written together with a change of a row: the new `meteredSince`, and the use to record. */
export interface Settlement {
  readonly meteredSince: Date | null;
  readonly used: readonly DayUse[];
}

/** What a container or a snapshot uses per unit of time. */
interface Rates {
  readonly running: 0 | 1;
  readonly memoryMb: number;
  readonly cpuShares: number;
  readonly diskMb: number;
  readonly snapshotMb: number;
}

const NOTHING: Rates = { running: 0, memoryMb: 0, cpuShares: 0, diskMb: 0, snapshotMb: 0 };

/**
 * Whether a container is metered: from its first run or stop until its purge. A container that is being created, or
 * in `error` because its creation failed or its node was lost, has no data.
 */
function isMetered({ status, purgedAt }: MeteredRow): boolean {
  return purgedAt === null && ['running', 'paused', 'stopped'].includes(status);
}

/**
 * A container uses memory and CPU while it runs, its memory while it is paused, and its disk while its data is kept.
 * `UsageReader` has the same rule as SQL.
 */
function ratesOf(row: MeteredRow): Rates {
  if (!isMetered(row)) return NOTHING;
  const { memoryMb, cpuShares, diskMb } = row;
  if (row.deletedAt !== null) return { ...NOTHING, diskMb };
  if (row.status === 'paused') return { ...NOTHING, memoryMb, diskMb };
  return row.status === 'running' ? { ...NOTHING, running: 1, memoryMb, cpuShares, diskMb } : { ...NOTHING, diskMb };
}

/** Like the limits of a tier: from `ready` until the deletion, and none that exists only for a fork. */
function isSnapshotMetered({ status, isTransient }: MeteredSnapshot): boolean {
  return status === 'ready' && !isTransient;
}

/** A snapshot uses its size in whole MiB. `UsageReader` has the same rule as SQL. */
function snapshotRatesOf(row: MeteredSnapshot): Rates {
  const snapshotMb = Math.ceil((row.dataBytes + row.layerBytes) / BYTES_PER_MB);
  return isSnapshotMetered(row) ? { ...NOTHING, snapshotMb } : NOTHING;
}

function isSame(one: Rates, other: Rates): boolean {
  return (Object.keys(NOTHING) as (keyof Rates)[]).every((rate) => one[rate] === other[rate]);
}

/**
 * Returns what to write with a change of a row. If the change alters the rates, or starts or ends metering, the use
 * up to now is settled at the old rates, and metering continues from now. So each moment is settled once, or not yet.
 */
export function settle(row: MeteredRow, next: MeteredRow, now: Date): Settlement {
  const change = { before: ratesOf(row), after: ratesOf(next), isMetered: isMetered(next) };
  return settleRates(row.meteredSince, change, now);
}

/** {@link settle} for a snapshot. */
export function settleSnapshot(row: MeteredSnapshot, next: MeteredSnapshot, now: Date): Settlement {
  const change = { before: snapshotRatesOf(row), after: snapshotRatesOf(next), isMetered: isSnapshotMetered(next) };
  return settleRates(row.meteredSince, change, now);
}

function settleRates(
  meteredSince: Date | null,
  { before, after, isMetered }: { before: Rates; after: Rates; isMetered: boolean },
  now: Date,
): Settlement {
  if ((meteredSince !== null) === isMetered && isSame(before, after)) return { meteredSince, used: [] };
  // The clock of the process that settled last may be ahead of this one's: no moment must count twice.
  const until = meteredSince !== null && meteredSince > now ? meteredSince : now;
  return {
    meteredSince: isMetered ? until : null,
    used: meteredSince === null ? [] : usedBetween(before, meteredSince, until),
  };
}

/** Splits the use at UTC midnights, the earliest day first. Returns nothing if the rates are 0. */
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
      snapshotMbMs: ms * rates.snapshotMb,
      previewBytes: 0,
    });
    start = end;
  }
  return used;
}

/** The start of the UTC day, in milliseconds since 1970. */
export function midnight(time: number): number {
  return Math.floor(time / DAY_MS) * DAY_MS;
}
