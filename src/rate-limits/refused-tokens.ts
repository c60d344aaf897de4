import { Injectable } from '@nestjs/common';
import { LruMap } from '../scheduling';
import { type Count, RateCounters } from './rate-counters';

/** How many tokens a process knows to be somebody's; some 250 bytes each. */
const MOST_KNOWN = 10_000;

/**
 * Stands before the verification of tokens that this process has not seen to be valid yet. An address from which too
 * many were refused may bring no further ones for a while, so guessing costs the database nothing. Tokens that are
 * known go on to work from there: whoever shares an address with somebody who guesses does not pay for it.
 */
@Injectable()
export class RefusedTokens {
  private readonly owners = new LruMap<string>(MOST_KNOWN);

  constructor(private readonly counters: RateCounters) {}

  /** @returns the id of the user whose token this key's was the last time that it was verified here */
  ownerOf(key: string): string | undefined {
    return this.owners.get(key);
  }

  /**
   * @returns the count where this address has used up its refusals, so that tokens that are not known are turned away
   */
  async exhausted(address: string): Promise<Count | null> {
    const count = await this.counters.look('refusals', address);
    return count?.remaining === 0 ? count : null;
  }

  accept(key: string, userId: string): void {
    this.owners.set(key, userId);
  }

  async refuse(address: string, key: string | null): Promise<void> {
    if (key !== null) this.owners.delete(key);
    await this.counters.hit('refusals', address);
  }
}
