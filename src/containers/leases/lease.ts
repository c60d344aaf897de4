import type { Grant, LeaseStore } from './lease-store';
import type { LeaseTerm, Stamp } from './lease-term';

/** The lease has ended or was taken over: its holder must not write any more. */
export class LeaseLostError extends Error {
  override readonly name = 'LeaseLostError';
}

/**
 * An exclusive right to work on one container: to operate on it, to install its role, or to purge its data. This
 * process holds the lease and renews it until it ends. Every write of the holder is conditional on the lease in the
 * database. Before any other action that must not be done twice, `assertHeld` makes sure that no other process has
 * taken the container over.
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

  /** Aborted when the work must not continue; the reason is the error to throw. */
  get signal(): AbortSignal {
    return this.lost.signal;
  }

  /** To be called before each step. @throws LeaseLostError */
  async assertHeld(): Promise<void> {
    this.lost.signal.throwIfAborted();
    if (!this.term.isSure && !(await this.term.confirm())) this.lose();
    this.lost.signal.throwIfAborted();
  }

  /** Stops the renewals; writes nothing. If the row still has the lease, `LeaseWatch` ends it there. */
  end(): void {
    if (this.ended) return;
    this.ended = true;
    clearInterval(this.renewal);
    this.leases.noteEnded(this.grant);
    this.onEnd();
  }

  /** Verifies the lease by a write to the database, even if it seems to be held. @throws LeaseLostError */
  protected async verify(): Promise<void> {
    this.lost.signal.throwIfAborted();
    if (!(await this.term.rewrite())) this.lose();
    this.lost.signal.throwIfAborted();
  }

  /** Records that the lease was renewed as part of another write. */
  protected wasWritten(stamp: Stamp): void {
    this.term.wasWritten(stamp);
  }

  protected lose(why = 'the lease has ended, or another process took the container over'): void {
    this.lost.abort(new LeaseLostError(why));
  }

  /** Called once, when the lease ends. */
  protected onEnd(): void {
    // Subclasses override this.
  }

  /** Called after each renewal; may throw. */
  protected async onRenewed(): Promise<void> {
    // Subclasses override this.
  }

  /**
   * Called when a renewal or {@link onRenewed} failed; the next renewal tries again.
   *
   * @param _isOver whether other processes that have seen the lease may consider it abandoned
   */
  protected onUnanswered(_isOver: boolean): void {
    // Subclasses override this.
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
