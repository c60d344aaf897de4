import { Inject, Injectable } from '@nestjs/common';
import { setTimeout as delay } from 'node:timers/promises';
import { type Config, CONFIG } from '../../config';
import { ProcessPresence } from '../../database';
import { Moment } from '../../scheduling';
import type { Grant, LeaseStore } from './lease-store';

/**
 * The stored expiry of a lease whose term is over: anyone may take it over. Any other value only distinguishes one
 * renewal from the next, and is never compared with a clock.
 */
export const TERM_OVER = new Date(0);

export function isTermOver(expiresAt: Date | null): boolean {
  return expiresAt === null || expiresAt <= TERM_OVER;
}

/** The pause before a database that does not answer is queried again. */
const RETRY_MS = 250;

/** What a lease is acquired or renewed with. Created before the write, so that it never promises too much. */
export interface Stamp {
  readonly holder: string;
  readonly expiresAt: Date;
  readonly at: Moment;
  /** The holder's presence session at that time. */
  readonly session: number;
}

/** Creates the terms of all leases: of operations, roles and purges. */
@Injectable()
export class LeaseTerms {
  constructor(
    private readonly presence: ProcessPresence,
    @Inject(CONFIG) private readonly config: Pick<Config, 'OPERATION_CLAIM_SECONDS'>,
  ) {}

  get termMs(): number {
    return this.config.OPERATION_CLAIM_SECONDS * 1000;
  }

  /** For a write that is about to be sent. */
  stamp(): Stamp {
    const expiresAt = new Date(Date.now() + this.termMs);
    return { holder: this.presence.holder, expiresAt, at: new Moment(), session: this.presence.session };
  }

  /** @param renew writes the lease again; resolves with false if another holder has it */
  begin(stamp: Stamp, renew: (stamp: Stamp) => Promise<boolean>): LeaseTerm {
    return new LeaseTerm(stamp, { terms: this, presence: this.presence, renew });
  }
}

/**
 * Whether the holder of a lease may still act on it: its last write is younger than the term, and its process has shown
 * its presence without a gap since. Otherwise it has to write the lease again first, which fails if another has taken
 * it over.
 */
export class LeaseTerm {
  constructor(
    private written: Stamp,
    private readonly options: {
      readonly terms: LeaseTerms;
      readonly presence: ProcessPresence;
      readonly renew: (stamp: Stamp) => Promise<boolean>;
    },
  ) {}

  /** Whether it is certain that nobody has taken the lease over. */
  get isSure(): boolean {
    const { terms, presence } = this.options;
    return this.written.at.age < terms.termMs && presence.isProven(this.written.session);
  }

  /** Whether others consider the lease abandoned, if they have seen it at all. */
  get isOver(): boolean {
    return this.written.at.steadyAge >= this.options.terms.termMs;
  }

  /** Records that the lease was renewed as part of another write. */
  wasWritten(stamp: Stamp): void {
    this.written = stamp;
  }

  /** @returns false if another holder has the lease. @throws the database's error */
  async renew(): Promise<boolean> {
    const stamp = this.options.terms.stamp();
    if (!(await this.options.renew(stamp))) return false;
    this.written = stamp;
    return true;
  }

  /**
   * Makes sure of the lease; waits for a database that does not answer, but not beyond the term or the end of the
   * process.
   *
   * @returns false if another holder has the lease, or may have it
   */
  async confirm(): Promise<boolean> {
    while (!this.isSure) {
      const known = await this.answered(async () => {
        const session = await this.options.presence.prove();
        const isNew = session !== this.written.session || this.written.at.age >= this.options.terms.termMs;
        return !isNew || this.renew();
      });
      if (!known) return false;
    }
    return true;
  }

  /** The same, but always writes the lease. */
  async rewrite(): Promise<boolean> {
    return (await this.answered(() => this.renew())) && this.confirm();
  }

  private async answered(ask: () => Promise<boolean>): Promise<boolean> {
    for (;;) {
      try {
        return await ask();
      } catch {
        // An operation that a shutdown interrupted would query a closed database until its term is over.
        if (this.isOver || this.options.presence.hasEnded) return false;
        await delay(RETRY_MS);
      }
    }
  }
}

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
    store: LeaseStore,
  ) {
    this.term = store.terms.begin(grant.stamp, (stamp) => store.renew(grant, stamp));
    this.renewal = setInterval(() => void this.renew(), store.terms.termMs / 3).unref();
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

  /** No further renewals; writes nothing. */
  end(): void {
    if (this.ended) return;
    this.ended = true;
    clearInterval(this.renewal);
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
