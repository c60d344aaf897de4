import { Injectable } from '@nestjs/common';
import { IsNull } from 'typeorm';
import { Database } from '../database';
import { DomainError } from '../errors';
import { Clock } from '../scheduling';
import { invalidToken } from './bearer';
import {
  type BoundContainer,
  earliest,
  grantedEnd,
  grantedScopes,
  type Principal,
  type RouteScope,
  type Scope,
} from './principal';
import { TokenEntity, type TokenFormat } from './token.entity';
import { type IssuedToken, type IssueToken, TokenService } from './token.service';
import { UserEntity } from './user.entity';
import { UserService } from './user.service';

/** The properties of a token that a user requests. */
interface AskedToken {
  readonly name: string;
  readonly scopes: readonly RouteScope[] | undefined;
  /** Lifetime; null and undefined: as long as allowed. */
  readonly days: number | null | undefined;
  readonly format?: TokenFormat;
  /** As of {@link IssueToken}. */
  readonly boundTo?: BoundContainer;
}

/** A token that may create others, and its user. */
export interface TokenIssuer {
  readonly scopes: readonly Scope[];
  readonly user: UserEntity;
  /** The latest expiry of tokens that it creates: its own, or the end of a guest's session. null if unlimited. */
  readonly endsAt: Date | null;
}

/**
 * Creates tokens that are requested with another token. The requesting token is checked again under the lock of the
 * user's row: it may have been revoked since the request was authenticated.
 */
@Injectable()
export class TokenRequests {
  constructor(
    private readonly database: Database,
    private readonly tokens: TokenService,
    private readonly users: UserService,
    private readonly clock: Clock,
  ) {}

  /**
   * Locks the user's row and reads the requesting token. Revocations, suspensions and deletions take the same lock,
   * so the result holds until the end of the transaction. Call it inside a transaction.
   *
   * @returns null if the token is revoked or expired, or its user is deleted
   * @throws DomainError `user_suspended`, `guest_session_expired`
   */
  async lockIssuer({ userId, tokenId }: Pick<Principal, 'userId' | 'tokenId'>): Promise<TokenIssuer | null> {
    await this.users.lock(userId);
    const token = await this.database.manager.findOneBy(TokenEntity, { id: tokenId, userId, revokedAt: IsNull() });
    if (!token || (token.expiresAt && token.expiresAt <= this.clock.now())) return null;
    return this.lockUser(userId, { scopes: token.scopes as Scope[], endsAt: token.expiresAt });
  }

  /**
   * Like {@link lockIssuer}, for a user who proved in another way than with a token who they are.
   *
   * @param may the scopes of the tokens that the user may create, and when they expire at the latest
   */
  async lockUser(userId: string, may: Pick<TokenIssuer, 'scopes' | 'endsAt'>): Promise<TokenIssuer | null> {
    await this.users.lock(userId);
    const user = await this.database.manager.findOneBy(UserEntity, { id: userId, deletedAt: IsNull() });
    if (!user) return null;
    if (user.suspendedAt) throw new DomainError('user_suspended');
    if (user.sessionExpiresAt && user.sessionExpiresAt <= this.clock.now()) {
      throw new DomainError('guest_session_expired');
    }
    return { scopes: may.scopes, user, endsAt: earliest([may.endsAt, user.sessionExpiresAt]) };
  }

  /** Like {@link lockIssuer}, but requires a valid token. @throws DomainError also `unauthorized` */
  async requireIssuer(caller: Pick<Principal, 'userId' | 'tokenId'>): Promise<TokenIssuer> {
    const issuer = await this.lockIssuer(caller);
    if (!issuer) throw invalidToken();
    return issuer;
  }

  /**
   * Creates a token for a user who may have `limit` live ones (0: any number). Agents' tokens do not count, as the
   * tier limits agents. The caller must hold the lock of {@link lockIssuer}, which makes the limit exact.
   *
   * @throws DomainError `token_limit_reached`
   */
  async issueWithin(limit: number, options: IssueToken): Promise<IssuedToken> {
    if (limit === 0) return this.tokens.issue(options);
    const current = await this.tokens.countLive(options.userId);
    if (current >= limit) throw new DomainError('token_limit_reached', { fields: { current, limit } });
    return this.tokens.issue(options);
  }

  /**
   * Creates a token that is requested with another one, with at most the other's scopes and lifetime.
   *
   * @param limit as in {@link issueWithin}
   * @throws DomainError `unauthorized`, `user_suspended`, `guest_session_expired`, `token_limit_reached`,
   *   `insufficient_permissions`, `invalid_parameters`
   */
  async issueFor(
    caller: Pick<Principal, 'userId' | 'tokenId'>,
    limit: number,
    asked: AskedToken,
  ): Promise<IssuedToken> {
    const { userId } = caller;
    return this.database.runInTxLocking(userId, async () => {
      const issuer = await this.requireIssuer(caller);
      return this.issueWithin(limit, {
        userId,
        name: asked.name,
        ...(asked.format !== undefined && { format: asked.format }),
        ...(asked.boundTo !== undefined && { boundTo: asked.boundTo }),
        scopes: grantedScopes({ own: issuer.scopes, asked: asked.scopes }),
        expiresAt: grantedEnd({ own: issuer.endsAt, days: asked.days, now: this.clock.now() }),
      });
    });
  }
}
