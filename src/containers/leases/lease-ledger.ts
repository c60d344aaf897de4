import type { HeldLease } from './lease-store';
import { isTermOver } from './lease-term';

/** A lease that its holder will not act on any more, and how that is known. */
export interface AbandonedLease {
  readonly lease: HeldLease;
  readonly why: 'not_renewed' | 'absent';
}

/**
 * The leases that one process has seen, from which it knows by its own monotonic clock which of them their holders have
 * lost. Timestamps written by other clocks are not compared: those clocks may have been set since.
 *
 * ```
 *  holder    writes the lease ── may act for a term ──▶|
 *  others         see it ── unchanged for a term ─────────▶ over
 *
 *  holder    proves its presence ── may act for 2 s ──▶|
 *  others         miss its presence ── for 3 s, the lease unchanged ──▶ over
 * ```
 */
export class LeaseLedger {
  private seen = new Map<string, { readonly since: number; readonly absentSince: number | null }>();

  /** Both in milliseconds. */
  constructor(private readonly options: { readonly termMs: number; readonly absentForMs: number }) {}

  /**
   * Records all current leases.
   *
   * @param now monotonic, in milliseconds, read after the leases were
   * @returns those that are over; one whose row already says so only if its holder is absent too
   */
  note(leases: readonly HeldLease[], now: number): AbandonedLease[] {
    const before = this.seen;
    this.seen = new Map();
    const left: AbandonedLease[] = [];
    for (const lease of leases) {
      const key = `${lease.kind} ${lease.leaseId} ${String(lease.expiresAt.getTime())}`;
      const { since, absentSince } = before.get(key) ?? { since: now, absentSince: null };
      const known = { since, absentSince: lease.isAbsent ? (absentSince ?? now) : null };
      this.seen.set(key, known);
      const isAbsent = known.absentSince !== null && now - known.absentSince >= this.options.absentForMs;
      if (isAbsent) left.push({ lease, why: 'absent' });
      else if (!isTermOver(lease.expiresAt) && now - since >= this.options.termMs) {
        left.push({ lease, why: 'not_renewed' });
      }
    }
    return left;
  }
}
