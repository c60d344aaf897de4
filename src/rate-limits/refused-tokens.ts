import type { IncomingMessage } from 'node:http';
import { Injectable } from '@nestjs/common';
import { type Principal, TokenService } from '../auth';
import { DomainError } from '../errors';
import { ClientAddress } from '../http';
import { addressKey, tokenKey } from './caller-keys';
import { type Count, RateCounters } from './rate-counters';
import { RecentKeys } from './recent-keys';

/** How many tokens a process knows to be somebody's; some 150 bytes each. */
const MOST_KNOWN = 10_000;

/**
 * Stands before the verification of tokens that this process has not seen to be valid yet. An address from which too many
 * were refused may bring no further ones for a while, so guessing costs the database nothing. Tokens that are known go on
 * to work from there: whoever shares an address with somebody who guesses does not pay for it.
 */
@Injectable()
export class RefusedTokens {
  private readonly known = new RecentKeys(MOST_KNOWN);

  constructor(
    private readonly counters: RateCounters,
    private readonly tokens: TokenService,
    private readonly clients: ClientAddress,
  ) {}

  /** Whether the token of this key was valid the last time that it was verified here. */
  isKnown(key: string): boolean {
    return this.known.has(key);
  }

  /** @returns the count where this address has used up its refusals, so that tokens that are not known are turned away */
  async exhausted(address: string): Promise<Count | null> {
    const count = await this.counters.look('refusals', address);
    return count?.remaining === 0 ? count : null;
  }

  accept(key: string): void {
    this.known.add(key);
  }

  async refuse(address: string, key: string | null): Promise<void> {
    if (key !== null) this.known.delete(key);
    await this.counters.hit('refusals', address);
  }

  /**
   * Verifies the token of a socket that is about to be connected, counted as those of requests are.
   *
   * @returns null if it opens nothing
   * @throws DomainError `rate_limit_exceeded`
   */
  async verify(handshake: IncomingMessage, token: string): Promise<Principal | null> {
    const address = addressKey(this.clients.of(handshake));
    const key = tokenKey(token);
    const exhausted = this.isKnown(key) ? null : await this.exhausted(address);
    if (exhausted) throw new DomainError('rate_limit_exceeded', { retryAfter: exhausted.resetSeconds });
    const principal = await this.tokens.verify(token);
    if (principal) this.accept(key);
    else await this.refuse(address, key);
    return principal;
  }
}
