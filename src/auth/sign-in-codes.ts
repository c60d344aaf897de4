import { Injectable } from '@nestjs/common';
import { randomBytes } from 'node:crypto';
import { Column, Entity, Index, IsNull, PrimaryColumn } from 'typeorm';
import { Database, Retention } from '../database';
import { TIMESTAMP } from '../database/column-types';
import { DomainError } from '../errors';
import { Clock } from '../scheduling';
import { grantedScopes, type Principal } from './principal';
import { type IssuedToken, TokenService } from './token.service';
import { hashToken, TokenEntity } from './token.entity';
import { UserEntity } from './user.entity';

/** A code that is good for one sign-in. The code itself is never stored, only its SHA-256. */
@Entity('sign_in_codes')
export class SignInCodeEntity {
  /** SHA-256 of the code, 64 hex. */
  @PrimaryColumn({ type: 'varchar', length: 64 })
  hash: string;

  /** The token that asked for it; the code is worth nothing once that is. */
  @Column({ name: 'token_id', type: 'varchar', length: 36 })
  tokenId: string;

  @Index('sign_in_codes_expires_at')
  @Column({ name: 'expires_at', type: TIMESTAMP })
  expiresAt: Date;
}

/** Somebody who has just signed in, with the token of their session. */
export interface SignIn extends IssuedToken {
  readonly user: UserEntity;
}

/** How long a session lasts that began with a code. */
const SESSION_MS = 7 * 24 * 3_600_000;
/** The name of such a session's token. */
const SESSION_NAME = 'console';

/**
 * Codes for links that sign somebody in: good once and for minutes, so that a link which ends up in a history or a chat
 * opens nothing, while a token in its place would for as long as it lives.
 */
@Injectable()
export class SignInCodes {
  constructor(
    private readonly database: Database,
    private readonly clock: Clock,
    private readonly tokens: TokenService,
  ) {}

  /** Makes a code that signs in whoever holds the token, with what it may. @param seconds how long it is good */
  async make({ tokenId }: Pick<Principal, 'tokenId'>, seconds: number): Promise<{ code: string; expiresAt: Date }> {
    const code = randomBytes(24).toString('base64url');
    const expiresAt = new Date(this.clock.now().getTime() + seconds * 1000);
    await this.database.manager.insert(SignInCodeEntity, { hash: hashToken(code), tokenId, expiresAt });
    return { code, expiresAt };
  }

  /**
   * Takes a code for the token of a new session, which may what the token may that asked for the code, for a week
   * and no longer than that. Of several who come with the same code at once, one gets a token.
   *
   * @param limit live tokens that the user may have; 0: any number
   * @throws DomainError `sign_in_code_refused`, `user_suspended`, `token_limit_reached`: then the code is still good
   */
  async redeem(code: string, limit: number): Promise<SignIn> {
    const { manager } = this.database;
    const hash = hashToken(code);
    const found = await manager.findOneBy(SignInCodeEntity, { hash });
    const now = this.clock.now();
    const by =
      found && found.expiresAt > now
        ? await manager.findOneBy(TokenEntity, { id: found.tokenId, revokedAt: IsNull() })
        : null;
    const user = by && (by.expiresAt === null || by.expiresAt > now) ? await this.ownerOf(by) : null;
    if (!by || !user) throw new DomainError('sign_in_code_refused');
    if (user.suspendedAt) throw new DomainError('user_suspended');
    return this.database.runInTxLocking(user.id, async () => {
      const { affected } = await this.database.manager.delete(SignInCodeEntity, { hash });
      if (affected !== 1) throw new DomainError('sign_in_code_refused');
      const week = new Date(now.getTime() + SESSION_MS);
      const issued = await this.tokens.issueWithin(limit, {
        userId: user.id,
        name: SESSION_NAME,
        scopes: sessionScopes(by),
        expiresAt: by.expiresAt && by.expiresAt < week ? by.expiresAt : week,
      });
      return { user, text: issued.text, token: issued.token };
    });
  }

  private ownerOf({ userId }: TokenEntity): Promise<UserEntity | null> {
    return this.database.manager.findOneBy(UserEntity, { id: userId });
  }
}

/** All that the token may, `admin` itself among it. */
function sessionScopes(by: TokenEntity): ReturnType<typeof grantedScopes> {
  const own = by.scopes as Principal['scopes'];
  const asked = own.filter((scope) => scope !== 'agent');
  return grantedScopes({ own, asked });
}

/** Removes codes that nobody used in their time. */
@Injectable()
export class SignInCodeRetention extends Retention {
  constructor(database: Database, clock: Clock) {
    super(database, clock, { name: 'sign-in codes', entity: SignInCodeEntity, since: 'expires_at', keptMs: 0 });
  }
}
