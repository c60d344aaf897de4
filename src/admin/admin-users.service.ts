import { Injectable } from '@nestjs/common';
import {
  earliest,
  grantedEnd,
  type IssuedToken,
  type Principal,
  TokenService,
  type UserChange,
  type UserEntity,
  UserService,
  USUAL_SCOPES,
} from '../auth';
import { Database } from '../database';
import { invalidParameters } from '../errors';
import { type Page, readPage } from '../http';
import { requestContext } from '../logging';
import { Clock } from '../scheduling';
import type { CreateUserDto, ListUsersDto } from './dto/requests';

/** Operators' actions on users and their tokens. The affected user is recorded for the audit. */
@Injectable()
export class AdminUsers {
  constructor(
    private readonly users: UserService,
    private readonly tokens: TokenService,
    private readonly database: Database,
    private readonly clock: Clock,
  ) {}

  /** @throws DomainError `invalid_parameters` */
  list({ username, search, tier, ...paging }: Readonly<ListUsersDto>): Promise<Page<UserEntity>> {
    const filter = {
      ...(username !== undefined && { username }),
      ...(search !== undefined && { search }),
      ...(tier !== undefined && { tier }),
    };
    return readPage(
      paging,
      (range) => this.users.list({ ...filter, ...range }),
      (user) => user,
    );
  }

  /**
   * Creates a user with a first token. A token with the scope `admin` ends with the caller's at the latest: an
   * administrator of a day must not create one who stays.
   *
   * @throws DomainError `username_taken`, `invalid_parameters`
   */
  async create(
    admin: Pick<Principal, 'tokenExpiresAt'>,
    { username, tier, scopes = [...USUAL_SCOPES], token_name: name = 'first', expires_in: days }: CreateUserDto,
  ): Promise<{ user: UserEntity; token: IssuedToken }> {
    return this.database.runInTx(async () => {
      const user = await this.users.create({ username, tier });
      const own = earliest([user.sessionExpiresAt, scopes.includes('admin') ? admin.tokenExpiresAt : null]);
      const expiresAt = grantedEnd({ own, days, now: this.clock.now() });
      const token = await this.tokens.issue({ userId: user.id, name, scopes, expiresAt });
      noteSubject(user.id);
      return { user, token };
    });
  }

  /**
   * Changes a user's tier or suspension; their containers follow in the background.
   *
   * @param admin the caller, who must not suspend themselves: only a change in the database could undo it
   * @throws DomainError `user_not_found`, `invalid_parameters`
   */
  async change(admin: Pick<Principal, 'userId'>, id: string, change: UserChange): Promise<UserEntity> {
    if (change.suspended) assertOther(admin, id);
    const user = await this.users.change(id, change);
    noteSubject(user.id);
    return user;
  }

  /**
   * Deletes a user and revokes all tokens; their containers are deleted and purged in the background.
   *
   * @throws DomainError `user_not_found`; `invalid_parameters` for the caller's own id
   */
  async delete(admin: Pick<Principal, 'userId'>, id: string): Promise<void> {
    assertOther(admin, id);
    noteSubject((await this.users.get(id)).id);
    await this.database.runInTxLocking(id, async () => {
      await this.users.delete(id);
      await this.tokens.revokeAll(id);
    });
  }

  /** @returns the number of revoked tokens. @throws DomainError `user_not_found` */
  async revokeTokens(id: string): Promise<number> {
    const user = await this.users.get(id);
    noteSubject(user.id);
    return this.tokens.revokeAll(user.id);
  }

  /** Revokes any user's token. @returns the user's id. @throws DomainError `token_not_found` */
  async revokeToken(tokenId: string): Promise<string> {
    const userId = await this.tokens.ownerOf(tokenId);
    noteSubject(userId);
    await this.tokens.revoke({ userId, tokenId });
    return userId;
  }
}

function assertOther({ userId }: Pick<Principal, 'userId'>, id: string): void {
  if (userId === id) throw invalidParameters([{ field: 'id', message: 'must not be your own user' }]);
}

function noteSubject(userId: string): void {
  const context = requestContext.getStore();
  if (context) context.subjectUserId = userId;
}
