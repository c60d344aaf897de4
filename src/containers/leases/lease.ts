import type { Grant, LeaseStore } from './lease-store';
import type { LeaseTerm, Stamp } from './lease-term';

/** The lease ended or was taken over: its holder may write no more. */
export class LeaseLostError extends Error {
  override readonly name = 'LeaseLostError';
}

/**
 * An exclusive right to work on one container, held by this process and renewed until it ends: to operate on it, to
 * install its role, or to purge its data. Every write of its holder is conditional on it in the database; before
 * anything else that must not be done twice, `assertHeld` makes sure that nobody has taken it over.
 */
export class Lease {
  private readonly lost = new AbortController();
  private readonly term: LeaseTerm;
  private readonly renewal: NodeJS.Timeout;
  private ended = false;

  constructor(
    readonly grant: Grant,
    private readonly leases: LeaseStore,
  ) {
    leases.noteHeld(grant);
    this.term = leases.terms.begin(grant.stamp, (stamp) => leases.renew(grant, stamp));
    this.renewal = setInterval(() => void this.renew(), leases.terms.termMs / 3).unref();
  }

  /** Aborted when the work must not continue; its reason says why. */
  get signal(): AbortSignal {
    return this.lost.signal;
  }

  /** To be called before each step. @throws LeaseLostError */
  async assertHeld(): Promise<void> {
    this.lost.signal.throwIfAborted();
    if (!this.term.isSure && !(await this.term.confirm())) this.lose();
    this.lost.signal.throwIfAborted();
  }

  /** No further renewals; writes nothing. If the row still has the lease, `LeaseWatch` ends it there. */
  end(): void {
    if (this.ended) return;
    this.ended = true;
    clearInterval(this.renewal);
    this.leases.noteEnded(this.grant);
    this.onEnd();
  }

  /** Verifies the lease in the database, whatever this process knows. @throws LeaseLostError */
  protected async verify(): Promise<void> {
    this.lost.signal.throwIfAborted();
    if (!(await this.term.rewrite())) this.lose();
    this.lost.signal.throwIfAborted();
  }

  /** The lease was renewed as part of another write. */
  protected wasWritten(stamp: Stamp): void {
    this.term.wasWritten(stamp);
  }

  protected lose(why = 'the lease has ended, or another process took the container over'): void {
    this.lost.abort(new LeaseLostError(why));
  }

  /** Once, when the lease ends. */
  protected onEnd(): void {
    // For the users of a lease.
  }

  /** After each renewal; may throw. */
  protected async onRenewed(): Promise<void> {
    // For the users of a lease.
  }

  /**
   * The database did not answer a renewal; the next one tries again. Until then `assertHeld` does not pass.
   *
   * @param isOver whether others consider the lease abandoned, if they have seen it at all
   */
  protected onUnanswered(_isOver: boolean): void {
    // For the users of a lease.
  }

  private async renew(): Promise<void> {
    try {
      if (this.ended) return;
      if (await this.term.renew()) await this.onRenewed();
      else this.lose();
    } catch {
      this.onUnanswered(this.term.isOver);
    }
  }
}
