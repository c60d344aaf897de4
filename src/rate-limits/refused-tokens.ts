import { Injectable } from '@nestjs/common';
import { DomainError } from '../errors';
import { LruMap } from '../scheduling';
import { type Count, RateCounters, tokenKey } from './rate-counters';

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
  /** Those of {@link guard}, apart: they may be no API tokens. */
  private readonly guarded = new LruMap<true>(MOST_KNOWN);

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

  /**
   * Verifies a credential that may be no API token, such as a preview's link, under the same limit.
   *
   * @param options.proves whether the result shows that the credential is valid, so that it is known from now on
   * @throws DomainError `rate_limit_exceeded` if the credential is unknown and the address has used up its refusals;
   *   as `verify` does: `unauthorized` counts as a refusal
   */
  async guard<T>(
    verify: () => Promise<T>,
    {
      address,
      credential,
      proves = () => true,
    }: { readonly address: string; readonly credential: string; readonly proves?: (verified: T) => boolean },
  ): Promise<T> {
    const key = tokenKey(credential);
    if (this.guarded.get(key) === undefined) {
      const exhausted = await this.exhausted(address);
      if (exhausted) throw new DomainError('rate_limit_exceeded', { retryAfter: exhausted.resetSeconds });
    }
    try {
      const verified = await verify();
      if (proves(verified)) this.guarded.set(key, true);
      return verified;
    } catch (error) {
      if (error instanceof DomainError && error.kind === 'unauthorized') {
        this.guarded.delete(key);
        await this.refuse(address, null);
      }
      throw error;
    }
  }
}
