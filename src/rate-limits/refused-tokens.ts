import { Injectable } from '@nestjs/common';
import { LruMap } from '../scheduling';
import { type Count, RateCounters } from './rate-counters';

/** Maximum valid tokens that a process remembers, at about 250 bytes each. */
const MOST_KNOWN = 10_000;

/**
 * Protects the verification of tokens that this process has not seen as valid yet. An address with too many refused
 * tokens may not try further ones for a while, so guessing costs the database nothing. Known tokens keep working from
 * that address: users who share it with an attacker are not affected.
 */
@Injectable()
export class RefusedTokens {
  private readonly owners = new LruMap<string>(MOST_KNOWN);

  constructor(private readonly counters: RateCounters) {}

  /** @returns the user of the token with this key, as of its last verification in this process */
  ownerOf(key: string): string | undefined {
    return this.owners.get(key);
  }

  /** @returns the count if the address has used up its refusals, so that unknown tokens are rejected */
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
