import { Inject, Injectable } from '@nestjs/common';
import { isUUID } from 'class-validator';
import { randomUUID } from 'node:crypto';
import { Brackets, IsNull, type SelectQueryBuilder } from 'typeorm';
import { type Config, CONFIG } from '../config';
import { Database, Retention } from '../database';
import { DomainError } from '../errors';
import { Clock } from '../scheduling';
import { Signals } from '../signals';
import { type BoundContainer, Principal, Scope } from './principal';
import { type FoundToken, TokenLookup } from './token-lookup';
import { hashToken, isTokenFormat, mintToken, TokenEntity, type TokenFormat } from './token.entity';
import { UserEntity } from './user.entity';
import { UserService } from './user.service';

export interface IssueToken {
  readonly userId: string;
  readonly name: string;
  readonly scopes: readonly Scope[];
  /** Marks a token that no text opens, as that of an SSH key: shown instead of the text's first characters. */
  readonly prefix?: string;
  /** The form of the text; absent: Berth's own. */
  readonly format?: TokenFormat;
  /** The agent that a token with the scope `agent` belongs to. */
  readonly agentId?: string;
  /** The only container that the token opens; absent: all of the user's. */
  readonly boundTo?: BoundContainer;
  /** null if the token does not expire. */
  readonly expiresAt: Date | null;
}

/** A new token. `text` is the token itself; it cannot be shown again. */
export interface IssuedToken {
  readonly text: string;
  readonly token: TokenEntity;
}

/** Maximum tokens in one query. */
const VALID_BATCH = 500;

/** Creates, verifies, lists and revokes tokens. */
@Injectable()
export class TokenService {
  private readonly lookup: TokenLookup;

  constructor(
    private readonly database: Database,
    private readonly signals: Signals,
    private readonly users: UserService,
    private readonly clock: Clock,
  ) {
    this.lookup = new TokenLookup(database);
  }

  /**
   * Verifies a token, for HTTP and for sockets.
   *
   * @returns null if the text is not a token, or the token is unknown, revoked or expired
   * @throws DomainError `user_suspended`
   */
  async verify(text: string): Promise<Principal | null> {
    return isTokenFormat(text) ? this.accepted(await this.lookup.byHash(hashToken(text))) : null;
  }

  /**
   * Like {@link verify}, for a token whose holder has proved another secret, such as the key of an SSH client.
   *
   * @throws DomainError `user_suspended`
   */
  async principalOf(tokenId: string): Promise<Principal | null> {
    return this.accepted(await this.lookup.byId(tokenId));
  }

  /** @throws DomainError `user_suspended` */
  private accepted(found: FoundToken | null): Principal | null {
    if (!found || found.revoked) return null;
    const { tokenExpiresAt } = found.principal;
    if (tokenExpiresAt && tokenExpiresAt.getTime() <= this.clock.now().getTime()) return null;
    if (found.suspended) throw new DomainError('user_suspended');
    return found.principal;
  }

  /** The ids of the users who have a valid token with the scope `admin`, sorted. */
  async administrators(): Promise<string[]> {
    const rows = await this.database.manager
      .createQueryBuilder(TokenEntity, 't')
      .innerJoin(UserEntity, 'u', 'u.id = t.userId AND u.suspendedAt IS NULL')
      .select('t.userId', 'id')
      .distinct()
      .where('t.revokedAt IS NULL AND t.scopes LIKE \'%"admin"%\'')
      .andWhere('(t.expiresAt IS NULL OR t.expiresAt > :now)', { now: this.database.timestamp(this.clock.now()) })
      .orderBy('t.userId')
      .getRawMany<{ id: string }>();
    return rows.map(({ id }) => id);
  }

  /** Creates a token for an existing user. */
  async issue(options: IssueToken): Promise<IssuedToken> {
    const { text, hash, prefix } = mintToken(options.format);
    const token: TokenEntity = {
      id: randomUUID(),
      userId: options.userId,
      name: options.name,
      hash,
      prefix: options.prefix ?? prefix,
      scopes: [...options.scopes],
      agentId: options.agentId ?? null,
      containerId: options.boundTo?.id ?? null,
      withForks: options.boundTo?.withForks ?? false,
      createdAt: this.clock.now(),
      expiresAt: options.expiresAt,
      revokedAt: null,
    };
    await this.database.manager.insert(TokenEntity, token);
    return { text, token };
  }

  /** Number of the user's live tokens. Agents' tokens do not count, as the tier limits agents. */
  countLive(userId: string): Promise<number> {
    return this.live().andWhere('token.userId = :userId', { userId }).andWhere('token.agentId IS NULL').getCount();
  }

  /** The user's unrevoked tokens, oldest first, including expired ones. */
  list(userId: string): Promise<TokenEntity[]> {
    return this.database.manager.find(TokenEntity, {
      where: { userId, revokedAt: IsNull() },
      order: { createdAt: 'ASC', id: 'ASC' },
    });
  }

  /**
   * Returns those of these tokens that are valid: not revoked, not expired, and not of a suspended user. For
   * connections that outlive a request.
   */
  async stillValid(tokenIds: readonly string[]): Promise<Set<string>> {
    const valid = new Set<string>();
    for (let start = 0; start < tokenIds.length; start += VALID_BATCH) {
      const rows = await this.live()
        .innerJoin(UserEntity, 'user', 'user.id = token.userId AND user.suspendedAt IS NULL')
        .select('token.id', 'id')
        .andWhere('token.id IN (:...ids)', { ids: tokenIds.slice(start, start + VALID_BATCH) })
        .getRawMany<{ id: string }>();
      for (const { id } of rows) valid.add(id);
    }
    return valid;
  }

  /**
   * Revokes a token of this user: it is refused from now on, cannot create others, and its sockets are closed.
   *
   * @throws DomainError `token_not_found` if it is unknown, another user's, or already revoked
   */
  async revoke({ userId, tokenId }: { userId: string; tokenId: string }): Promise<void> {
    if (!isUUID(tokenId)) throw new DomainError('token_not_found');
    await this.database.runInTxLocking(userId, async () => {
      await this.users.lock(userId);
      const { affected } = await this.database.manager.update(
        TokenEntity,
        { id: tokenId, userId, revokedAt: IsNull() },
        { revokedAt: this.clock.now() },
      );
      if (affected !== 1) throw new DomainError('token_not_found');
      this.database.afterCommit(() => this.signals.publish('token_revoked', { tokenId }));
    });
  }

  /** Revokes the tokens for one container, as part of the current transaction, and closes their sockets. */
  async revokeBoundTo(containerId: string): Promise<void> {
    const bound = { containerId, revokedAt: IsNull() };
    const tokens = await this.database.manager.find(TokenEntity, { select: { id: true }, where: bound });
    if (tokens.length === 0) return;
    await this.database.manager.update(TokenEntity, bound, { revokedAt: this.clock.now() });
    this.database.afterCommit(() => {
      for (const { id } of tokens) this.signals.publish('token_revoked', { tokenId: id });
    });
  }

  /** The id of the token's user. @throws DomainError `token_not_found` if it is unknown or already revoked */
  async ownerOf(tokenId: string): Promise<string> {
    const where = { id: tokenId, revokedAt: IsNull() };
    const token = isUUID(tokenId) ? await this.database.manager.findOneBy(TokenEntity, where) : null;
    if (!token) throw new DomainError('token_not_found');
    return token.userId;
  }

  /**
   * Revokes all tokens of the user, including those of agents, and closes their sockets. A request that was
   * authenticated with one of them before can create no token afterwards.
   *
   * @returns the number of revoked tokens
   */
  async revokeAll(userId: string): Promise<number> {
    return this.database.runInTxLocking(userId, async () => {
      await this.users.lock(userId);
      const tokens = await this.list(userId);
      const revoked: string[] = [];
      for (const { id } of tokens) {
        const unrevoked = { id, revokedAt: IsNull() };
        const { affected } = await this.database.manager.update(TokenEntity, unrevoked, {
          revokedAt: this.clock.now(),
        });
        if (affected === 1) revoked.push(id);
      }
      this.database.afterCommit(() => {
        for (const tokenId of revoked) this.signals.publish('token_revoked', { tokenId });
      });
      return revoked.length;
    });
  }

  /** A query for tokens that are neither revoked nor expired. */
  private live(): SelectQueryBuilder<TokenEntity> {
    return this.database.manager
      .createQueryBuilder(TokenEntity, 'token')
      .where('token.revokedAt IS NULL')
      .andWhere(
        new Brackets((either) =>
          either.where('token.expiresAt IS NULL').orWhere('token.expiresAt > :now', { now: this.clock.now() }),
        ),
      );
  }
}

/** Keeps revoked and expired tokens for `AUDIT_RETENTION`, since audit entries refer to them. */
@Injectable()
export class TokenRetention extends Retention {
  constructor(database: Database, clock: Clock, @Inject(CONFIG) config: Pick<Config, 'AUDIT_RETENTION'>) {
    super(database, clock, {
      name: 'tokens',
      entity: TokenEntity,
      since: 'COALESCE(revoked_at, expires_at)',
      keptMs: config.AUDIT_RETENTION,
    });
  }
}
