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
   * Verifies a credential that may be no API token, such as a preview's link, under the same limit. If there is none,
   * the address's refusals count as requests do, but apart from its requests to the API.
   *
   * @param options.credential null if the caller gave none
   * @param options.proves whether the result shows that the credential is valid, so that it is known from now on
   * @throws DomainError `rate_limit_exceeded` if the credential is not known and the address has used up its refusals;
   *   as `verify` does: `unauthorized` counts as a refusal, and any error of a credential that is not known
   */
  async guard<T>(
    verify: () => Promise<T>,
    {
      address,
      credential,
      proves = () => true,
    }: { readonly address: string; readonly credential: string | null; readonly proves?: (verified: T) => boolean },
  ): Promise<T> {
    if (credential === null) return this.guardStranger(verify, address);
    const key = tokenKey(credential);
    const isKnown = this.guarded.get(key) !== undefined;
    if (!isKnown) throwIfExhausted(await this.exhausted(address));
    try {
      const verified = await verify();
      if (proves(verified)) this.guarded.set(key, true);
      return verified;
    } catch (error) {
      // An unknown credential was not proved by any refusal either, such as that of a container that is not there.
      if (isRefusal(error) && (!isKnown || error.kind === 'unauthorized')) {
        this.guarded.delete(key);
        await this.refuse(address, null);
      }
      throw error;
    }
  }

  private async guardStranger<T>(verify: () => Promise<T>, address: string): Promise<T> {
    const key = `stranger:${address}`;
    throwIfExhausted(await this.counters.look('requests', key));
    try {
      return await verify();
    } catch (error) {
      if (isRefusal(error)) await this.counters.hit('requests', key);
      throw error;
    }
  }
}

function isRefusal(error: unknown): error is DomainError {
  return error instanceof DomainError && !error.isServerFault;
}

/** @throws DomainError `rate_limit_exceeded` */
function throwIfExhausted(count: Count | null): void {
  if (count?.remaining === 0) throw new DomainError('rate_limit_exceeded', { retryAfter: count.resetSeconds });
}
