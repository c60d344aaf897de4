import { Injectable } from '@nestjs/common';
import type { IncomingMessage } from 'node:http';
import { type Principal, TokenService } from '../auth';
import { DomainError } from '../errors';
import { addressKey, ClientAddress } from '../http';
import { RateCounters, tokenKey } from './rate-counters';
import { RefusedTokens } from './refused-tokens';

/** Limits new sockets with the same counters as requests: connections by address, tokens by user. */
@Injectable()
export class SocketLimits {
  constructor(
    private readonly counters: RateCounters,
    private readonly refusedTokens: RefusedTokens,
    private readonly tokens: TokenService,
    private readonly clients: ClientAddress,
  ) {}

  /** Counts a connection's request before any work is done for it. @throws DomainError `rate_limit_exceeded` */
  async admit(handshake: IncomingMessage): Promise<void> {
    await this.admitAddress(this.clients.of(handshake));
  }

  /** Like {@link admit}, for a connection that does not speak HTTP. @throws DomainError `rate_limit_exceeded` */
  async admitAddress(address: string): Promise<void> {
    await this.count(addressKey(address));
  }

  /**
   * Verifies the token of a socket that is about to be connected, and counts the socket for its user.
   *
   * @returns null if the token is invalid
   * @throws DomainError `rate_limit_exceeded`; `user_suspended`
   */
  async verify(handshake: IncomingMessage, token: string): Promise<Principal | null> {
    return this.verifyAt(this.clients.of(handshake), tokenKey(token), () => this.tokens.verify(token));
  }

  /**
   * Like {@link verify}, for another proof than a token.
   *
   * @param from the client's address
   * @param key identifies what the client proves, without revealing it
   * @param find verifies the proof; returns null if it is invalid
   * @throws DomainError `rate_limit_exceeded`; errors of `find`
   */
  async verifyAt(from: string, key: string, find: () => Promise<Principal | null>): Promise<Principal | null> {
    const address = addressKey(from);
    const owner = this.refusedTokens.ownerOf(key);
    if (owner === undefined) {
      const exhausted = await this.refusedTokens.exhausted(address);
      if (exhausted) throw new DomainError('rate_limit_exceeded', { retryAfter: exhausted.resetSeconds });
    } else {
      await this.count(owner);
    }
    const principal = await find();
    if (!principal) {
      await this.refusedTokens.refuse(address, key);
      return null;
    }
    this.refusedTokens.accept(key, principal.userId);
    if (owner === undefined) await this.count(principal.userId);
    return principal;
  }

  private async count(key: string): Promise<void> {
    const count = await this.counters.hit('requests', key);
    if (count?.exceeded) throw new DomainError('rate_limit_exceeded', { retryAfter: count.resetSeconds });
  }
}
