import { isTermOver } from './claim-term';
import type { HeldClaim } from './held-claims';

/** A claim that its holder will not act on any more; and how that is known. */
export interface LeftClaim {
  readonly claim: HeldClaim;
  readonly why: 'not_renewed' | 'absent';
}

/**
 * What one process has seen of claims, from which it knows by its own monotonic clock which of them their holders have lost.
 * Times that other clocks have written are not compared: they may have been set since.
 *
 * ```
 *  holder    writes the claim ── may act for a term ──▶|
 *  others         see it ── unchanged for a term ─────────▶ over
 *
 *  holder    proves its presence ── may act for 2 s ──▶|
 *  others         miss its presence ── for 3 s, the claim unchanged ──▶ over
 * ```
 */
export class ClaimLedger {
  private seen = new Map<string, { readonly since: number; readonly absentSince: number | null }>();

  /** Both in milliseconds. */
  constructor(private readonly options: { readonly termMs: number; readonly absentForMs: number }) {}

  /**
   * Takes in all claims that there are.
   *
   * @param now monotonic, in milliseconds, read after the claims were
   * @returns those that are over; one whose term its row says to be over only if its holder will not see to it either
   */
  note(claims: readonly HeldClaim[], now: number): LeftClaim[] {
    const before = this.seen;
    this.seen = new Map();
    const left: LeftClaim[] = [];
    for (const claim of claims) {
      const key = `${claim.kind} ${claim.claimId} ${String(claim.expiresAt.getTime())}`;
      const { since, absentSince } = before.get(key) ?? { since: now, absentSince: null };
      const known = { since, absentSince: claim.isAbsent ? (absentSince ?? now) : null };
      this.seen.set(key, known);
      const isAbsent = known.absentSince !== null && now - known.absentSince >= this.options.absentForMs;
      if (isAbsent) left.push({ claim, why: 'absent' });
      else if (!isTermOver(claim.expiresAt) && now - since >= this.options.termMs) {
        left.push({ claim, why: 'not_renewed' });
      }
    }
    return left;
  }
}
