import type { HeldLease } from './held-leases';
import { isTermOver } from './lease-term';

/** A claim that its holder will not act on any more; and how that is known. */
export interface LeftLease {
  readonly lease: HeldLease;
  readonly why: 'not_renewed' | 'absent';
}

/**
 * What one process has seen of leases, from which it knows by its own monotonic clock which of them their holders have lost.
 * Times that other clocks have written are not compared: they may have been set since.
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
   * Takes in all claims that there are.
   *
   * @param now monotonic, in milliseconds, read after the leases were
   * @returns those that are over; one whose term its row says to be over only if its holder will not see to it either
   */
  note(leases: readonly HeldLease[], now: number): LeftLease[] {
    const before = this.seen;
    this.seen = new Map();
    const left: LeftLease[] = [];
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
