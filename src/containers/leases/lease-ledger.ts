import type { HeldLease } from './lease-store';
import { isTermOver } from './lease-term';

/** A lease that its holder no longer acts on, and the evidence for that. */
export interface AbandonedLease {
  readonly lease: HeldLease;
  readonly why: 'not_renewed' | 'absent' | 'unheld';
}

interface Seen {
  readonly since: number;
  readonly absentSince: number | null;
  readonly unheldSince: number | null;
}

/**
 * The leases that this process has seen. It measures by its own monotonic clock which of them are over. It never
 * compares timestamps that other processes wrote, as their clocks may have been set since.
 *
 * ```
 *  holder    writes the lease ── may act for a term ──▶|
 *  others         see it ── unchanged for a term ─────────▶ over
 *
 *  holder    proves its presence ── may act for 2 s ──▶|
 *  others         miss its presence ── for 3 s, the lease unchanged ──▶ over
 *
 *  holder    stops acting on it, or never learns that it has it; its row says otherwise ── for 8 s ──▶ over
 * ```
 */
export class LeaseLedger {
  private seen = new Map<string, Seen>();

  /** All in milliseconds. `unheldForMs`: longer than the answer to an acquisition can take. */
  constructor(
    private readonly options: { readonly termMs: number; readonly absentForMs: number; readonly unheldForMs: number },
  ) {}

  /**
   * Records all current leases.
   *
   * @param now monotonic, in milliseconds, read after the leases
   * @returns the leases that are over; one whose term is already over in its row only if its holder is absent
   */
  note(leases: readonly HeldLease[], now: number): AbandonedLease[] {
    const { termMs, absentForMs, unheldForMs } = this.options;
    const before = this.seen;
    this.seen = new Map();
    const left: AbandonedLease[] = [];
    const isFor = (ms: number, from: number | null): boolean => from !== null && now - from >= ms;
    for (const lease of leases) {
      const key = `${lease.kind} ${lease.leaseId} ${String(lease.expiresAt.getTime())}`;
      const { since, absentSince, unheldSince } = before.get(key) ?? {
        since: now,
        absentSince: null,
        unheldSince: null,
      };
      const known = {
        since,
        absentSince: lease.isAbsent ? (absentSince ?? now) : null,
        unheldSince: lease.isUnheld ? (unheldSince ?? now) : null,
      };
      this.seen.set(key, known);
      if (isFor(absentForMs, known.absentSince)) left.push({ lease, why: 'absent' });
      else if (isTermOver(lease.expiresAt)) continue;
      else if (isFor(unheldForMs, known.unheldSince)) left.push({ lease, why: 'unheld' });
      else if (isFor(termMs, since)) left.push({ lease, why: 'not_renewed' });
    }
    return left;
  }
}
