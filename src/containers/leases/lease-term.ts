import { Inject, Injectable } from '@nestjs/common';
import { setTimeout as delay } from 'node:timers/promises';
import { type Config, CONFIG } from '../../config';
import { ProcessPresence } from '../../database';
import { Moment } from '../../scheduling';

/**
 * The end of a lease's term in its row, once the term is over: anyone may take it over. Any other time only tells one renewal
 * from the next, and is compared with no clock.
 */
export const TERM_OVER = new Date(0);

export function isTermOver(expiresAt: Date | null): boolean {
  return expiresAt === null || expiresAt <= TERM_OVER;
}

/** How soon a database that does not answer is asked again. */
const ASK_AGAIN_MS = 250;

/** What a lease is written with, for its first time or to renew it. Made before the write, so that it never promises too much. */
export interface Stamp {
  readonly holder: string;
  readonly expiresAt: Date;
  readonly at: Moment;
  /** The presence that its holder showed then. */
  readonly session: number;
}

/** Makes the terms of leases, of operations, roles and purges alike. */
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

  /** @param renew writes a lease anew; resolves with false if it is another's by now */
  begin(stamp: Stamp, renew: (stamp: Stamp) => Promise<boolean>): LeaseTerm {
    return new LeaseTerm(stamp, { terms: this, presence: this.presence, renew });
  }
}

/**
 * Whether the holder of a lease may still act on it. It may while its last write of the lease is younger than the term and its
 * process has shown its presence without a break since; otherwise it has to write the lease again first, which fails if
 * another has taken it over.
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

  /** Whether nobody can have taken the lease over. */
  get isSure(): boolean {
    const { terms, presence } = this.options;
    return this.written.at.age < terms.termMs && presence.isProven(this.written.session);
  }

  /** Whether others take the lease for one that was left, if they have seen it at all. */
  get isOver(): boolean {
    return this.written.at.steadyAge >= this.options.terms.termMs;
  }

  /** Takes in that the lease was written again, together with something else. */
  wasWritten(stamp: Stamp): void {
    this.written = stamp;
  }

  /** @returns false if the lease is another's. @throws what the database throws */
  async renew(): Promise<boolean> {
    const stamp = this.options.terms.stamp();
    if (!(await this.options.renew(stamp))) return false;
    this.written = stamp;
    return true;
  }

  /**
   * Makes sure of the lease; waits for a database that does not answer, but not beyond the term.
   *
   * @returns false if the lease is another's, or may be
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

  /** The same, and writes the lease anew in any case. */
  async rewrite(): Promise<boolean> {
    return (await this.answered(() => this.renew())) && this.confirm();
  }

  private async answered(ask: () => Promise<boolean>): Promise<boolean> {
    for (;;) {
      try {
        return await ask();
      } catch {
        if (this.isOver) return false;
        await delay(ASK_AGAIN_MS);
      }
    }
  }
}
