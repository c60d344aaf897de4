import { Injectable } from '@nestjs/common';
import type { IncomingMessage } from 'node:http';
import { type Principal, TokenService } from '../auth';
import { DomainError } from '../errors';
import { addressKey, ClientAddress } from '../http';
import { RateCounters, tokenKey } from './rate-counters';
import { RefusedTokens } from './refused-tokens';

/** An attempt to log in with a public key. */
interface KeyAttempt {
  readonly address: string | null;
  readonly name: string;
  readonly find: () => Promise<Principal | null>;
  readonly proves: (() => boolean) | undefined;
}

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
    const address = addressKey(this.clients.of(handshake));
    const key = tokenKey(token);
    const owner = this.refusedTokens.ownerOf(key);
    if (owner === undefined) await this.requireRefusalsLeft(address);
    else await this.count(owner);
    const principal = await this.tokens.verify(token);
    if (!principal) {
      await this.refusedTokens.refuse(address, key);
      return null;
    }
    this.refusedTokens.accept(key, principal.userId);
    if (owner === undefined) await this.count(principal.userId);
    return principal;
  }

  /**
   * Like {@link verify}, for a public key. It is no secret: each attempt is charged to the address, and the key's owner
   * is charged for proofs alone.
   *
   * @param attempt.address the client's; null if it is a proxy's, which limits its own clients
   * @param attempt.name identifies the key
   * @param attempt.find whose key it is; null if it is unknown
   * @param attempt.proves whether the client has the private key; undefined if it does not claim to
   * @returns null if the key is unknown, or the proof invalid
   * @throws DomainError `rate_limit_exceeded`; errors of `find`
   */
  async verifyKey({ address, name, find, proves }: KeyAttempt): Promise<Principal | null> {
    const charged = address === null ? null : addressKey(address);
    if (charged !== null) await this.count(charged);
    if (this.refusedTokens.ownerOf(name) === undefined) await this.requireRefusalsLeft(charged ?? name);
    const principal = await find();
    if (!principal) {
      await this.refusedTokens.refuse(charged ?? name, name);
      return null;
    }
    if (!proves) return principal;
    if (!proves()) {
      if (charged !== null) await this.refusedTokens.refuse(charged, null);
      return null;
    }
    this.refusedTokens.accept(name, principal.userId);
    await this.count(principal.userId);
    return principal;
  }

  private async requireRefusalsLeft(key: string): Promise<void> {
    const exhausted = await this.refusedTokens.exhausted(key);
    if (exhausted) throw new DomainError('rate_limit_exceeded', { retryAfter: exhausted.resetSeconds });
  }

  private async count(key: string): Promise<void> {
    const count = await this.counters.hit('requests', key);
    if (count?.exceeded) throw new DomainError('rate_limit_exceeded', { retryAfter: count.resetSeconds });
  }
}
