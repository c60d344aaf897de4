import { Inject, Injectable } from '@nestjs/common';
import { setTimeout as delay } from 'node:timers/promises';
import { type Config, CONFIG } from '../../config';
import { ProcessPresence } from '../../database';
import { Stopwatch } from '../../scheduling';

/**
 * The stored expiry of a lease whose term is over: any process may take the lease over. Any other value only
 * distinguishes one renewal from the next, and is never compared with a clock.
 */
export const TERM_OVER = new Date(0);

export function isTermOver(expiresAt: Date | null): boolean {
  return expiresAt === null || expiresAt <= TERM_OVER;
}

/** The pause before a database that does not answer is queried again. */
const RETRY_MS = 250;

/** What an acquisition or renewal writes. Created before the write, so that the holder's term never ends too late. */
export interface Stamp {
  readonly holder: string;
  readonly expiresAt: Date;
  readonly at: Stopwatch;
  /** The number of the holder's presence session at that time. */
  readonly session: number;
}

/** Creates the terms of the leases of operations, roles and purges. */
@Injectable()
export class LeaseTerms {
  constructor(
    private readonly presence: ProcessPresence,
    @Inject(CONFIG) private readonly config: Pick<Config, 'OPERATION_CLAIM_SECONDS'>,
  ) {}

  get termMs(): number {
    return this.config.OPERATION_CLAIM_SECONDS * 1000;
  }

  /** Names this process in the leases that it holds. */
  get holder(): string {
    return this.presence.holder;
  }

  /** Creates the stamp of a write that is about to be sent. */
  stamp(): Stamp {
    const expiresAt = new Date(Date.now() + this.termMs);
    return { holder: this.presence.holder, expiresAt, at: new Stopwatch(), session: this.presence.session };
  }

  /** @param renew writes the lease again; resolves with false if another holder has it */
  begin(stamp: Stamp, renew: (stamp: Stamp) => Promise<boolean>): LeaseTerm {
    return new LeaseTerm(stamp, { terms: this, presence: this.presence, renew });
  }
}

/**
 * Knows whether the holder of a lease may still act on it: the last write of the lease is younger than the term, and
 * the process has shown its presence without a gap since. Otherwise the holder has to write the lease again first,
 * which fails if another process has taken the lease over.
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

  /** Whether it is certain that no other process has taken the lease over. */
  get isSure(): boolean {
    const { terms, presence } = this.options;
    return this.written.at.age < terms.termMs && presence.isProven(this.written.session);
  }

  /** Whether other processes that have seen the lease may consider it abandoned. */
  get isOver(): boolean {
    return this.written.at.steadyAge >= this.options.terms.termMs;
  }

  /** Records that the lease was renewed as part of another write. */
  wasWritten(stamp: Stamp): void {
    this.written = stamp;
  }

  /** Writes the lease again. @returns false if another holder has the lease. @throws the database's error */
  async renew(): Promise<boolean> {
    const stamp = this.options.terms.stamp();
    if (!(await this.options.renew(stamp))) return false;
    this.written = stamp;
    return true;
  }

  /**
   * Makes sure that this process still has the lease. Retries while the database does not answer, but not beyond the
   * term or the shutdown of the process.
   *
   * @returns false if another holder has, or may have, the lease
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

  /** {@link confirm}, but always writes the lease. */
  async rewrite(): Promise<boolean> {
    return (await this.answered(() => this.renew())) && this.confirm();
  }

  private async answered(ask: () => Promise<boolean>): Promise<boolean> {
    for (;;) {
      try {
        return await ask();
      } catch {
        // Without the second condition, an operation that a shutdown interrupted would query a closed database until
        // its term is over.
        if (this.isOver || this.options.presence.hasEnded) return false;
        await delay(RETRY_MS);
      }
    }
  }
}
