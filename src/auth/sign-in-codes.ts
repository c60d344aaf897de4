import { Injectable } from '@nestjs/common';
import { randomBytes } from 'node:crypto';
import { Column, Entity, Index, PrimaryColumn } from 'typeorm';
import { Database, Retention } from '../database';
import { TIMESTAMP } from '../database/column-types';
import { DomainError } from '../errors';
import { Clock } from '../scheduling';
import { grantedScopes, type Principal, type RouteScope } from './principal';
import { type TokenIssuer, TokenRequests } from './token-requests';
import type { IssuedToken } from './token.service';
import { hashToken } from './token.entity';
import { UserEntity } from './user.entity';

/** A code that is valid for one sign-in. Only its SHA-256 is stored. */
@Entity('sign_in_codes')
export class SignInCodeEntity {
  /** SHA-256 of the code, 64 hex. */
  @PrimaryColumn({ type: 'varchar', length: 64 })
  hash: string;

  @Column({ name: 'user_id', type: 'varchar', length: 36 })
  userId: string;

  /** The token that created the code; if it becomes invalid, so does the code. null: the user signed in elsewhere. */
  @Column({ name: 'token_id', type: 'varchar', length: 36, nullable: true })
  tokenId: string | null;

  /** The scopes of the session; null: those of the token. */
  @Column({ type: 'simple-json', nullable: true })
  scopes: RouteScope[] | null;

  /** When the session ends at the latest; null: with the token. */
  @Column({ name: 'session_ends_at', type: TIMESTAMP, nullable: true })
  sessionEndsAt: Date | null;

  @Index('sign_in_codes_expires_at')
  @Column({ name: 'expires_at', type: TIMESTAMP })
  expiresAt: Date;
}

/** A user who has just signed in, with the token of the session. */
export interface SignIn extends IssuedToken {
  readonly user: UserEntity;
}

/** How long the session of a sign-in code lasts. */
const SESSION_MS = 7 * 24 * 3_600_000;
/** How long a code is valid that a browser redeems as soon as it gets it. */
const ELSEWHERE_MS = 60_000;
/** The name of the session's token. */
const SESSION_NAME = 'console';

/**
 * One-time codes for sign-in links, valid for minutes. Such a link may end up in a history or a chat, where a token
 * in its place would stay usable until it expires.
 */
@Injectable()
export class SignInCodes {
  constructor(
    private readonly database: Database,
    private readonly clock: Clock,
    private readonly requests: TokenRequests,
  ) {}

  /**
   * Creates a sign-in code for the token's user, with the token's scopes.
   *
   * @param seconds lifetime of the code
   * @throws DomainError `unauthorized`, `user_suspended`, `guest_session_expired`
   */
  async make(
    caller: Pick<Principal, 'userId' | 'tokenId'>,
    seconds: number,
  ): Promise<{ code: string; expiresAt: Date }> {
    const code = randomBytes(24).toString('base64url');
    const expiresAt = new Date(this.clock.now().getTime() + seconds * 1000);
    await this.database.runInTxLocking(caller.userId, async () => {
      await this.requests.requireIssuer(caller);
      const { userId, tokenId } = caller;
      const ofToken = { userId, tokenId, scopes: null, sessionEndsAt: null };
      await this.database.manager.insert(SignInCodeEntity, { hash: hashToken(code), expiresAt, ...ofToken });
    });
    return { code, expiresAt };
  }

  /**
   * Creates a sign-in code for a user who has proved elsewhere who they are, valid for a minute.
   *
   * @param session the scopes of the session, and when it ends at the latest
   */
  async makeFor(userId: string, session: { readonly scopes: RouteScope[]; readonly endsAt: Date }): Promise<string> {
    const code = randomBytes(24).toString('base64url');
    await this.database.manager.insert(SignInCodeEntity, {
      hash: hashToken(code),
      userId,
      tokenId: null,
      scopes: session.scopes,
      sessionEndsAt: session.endsAt,
      expiresAt: new Date(this.clock.now().getTime() + ELSEWHERE_MS),
    });
    return code;
  }

  /**
   * Exchanges a code for the token of a new session. The session has the scopes of the token that created the code,
   * or those of the code. It lasts as long as the code says, or a week, and no longer than that token or a guest's
   * session. If a code is redeemed several times at once,
   * only one call gets a token.
   *
   * @param limit live tokens that the user may have; 0: any number
   * @throws DomainError `sign_in_code_refused`; `user_suspended` and `token_limit_reached`, which leave the code
   *   valid; `guest_session_expired`
   */
  async redeem(code: string, limit: number): Promise<SignIn> {
    const hash = hashToken(code);
    const { userId } = (await this.database.manager.findOneBy(SignInCodeEntity, { hash })) ?? {};
    if (userId === undefined) throw new DomainError('sign_in_code_refused');
    return this.database.runInTxLocking(userId, async () => {
      const { manager } = this.database;
      // Only the lock of the user's row guarantees that the code's token is not revoked concurrently.
      const found = await manager.findOneBy(SignInCodeEntity, { hash });
      const now = this.clock.now();
      const issuer = found && found.expiresAt > now ? await this.issuerOf(found) : null;
      const { affected } = issuer ? await manager.delete(SignInCodeEntity, { hash }) : { affected: 0 };
      if (!issuer || affected !== 1) throw new DomainError('sign_in_code_refused');
      const longest = found?.sessionEndsAt ?? new Date(now.getTime() + SESSION_MS);
      const { text, token } = await this.requests.issueWithin(limit, {
        userId,
        name: SESSION_NAME,
        scopes: sessionScopes(issuer),
        expiresAt: issuer.endsAt && issuer.endsAt < longest ? issuer.endsAt : longest,
      });
      return { user: issuer.user, text, token };
    });
  }

  private issuerOf({ userId, tokenId, scopes, sessionEndsAt }: SignInCodeEntity): Promise<TokenIssuer | null> {
    if (tokenId !== null) return this.requests.lockIssuer({ userId, tokenId });
    return this.requests.lockUser(userId, { scopes: scopes ?? [], endsAt: sessionEndsAt });
  }
}

/** All scopes that the token holds, including `admin` itself. */
function sessionScopes({ scopes }: TokenIssuer): ReturnType<typeof grantedScopes> {
  return grantedScopes({ own: scopes, asked: scopes.filter((scope) => scope !== 'agent') });
}

/** Deletes expired codes. */
@Injectable()
export class SignInCodeRetention extends Retention {
  constructor(database: Database, clock: Clock) {
    super(database, clock, { name: 'sign-in codes', entity: SignInCodeEntity, since: 'expires_at', keptMs: 0 });
  }
}
