import { Injectable } from '@nestjs/common';
import { type Principal, TokenService, type UserChange, type UserEntity, UserService } from '../auth';
import { Database } from '../database';
import { invalidParameters } from '../errors';
import { type Page, readPage } from '../http';
import { requestContext } from '../logging';
import type { ListUsersDto } from './dto/requests';

/** Operators' actions on users and their tokens. The affected user is recorded for the audit. */
@Injectable()
export class AdminUsers {
  constructor(
    private readonly users: UserService,
    private readonly tokens: TokenService,
    private readonly database: Database,
  ) {}

  /** @throws DomainError `invalid_parameters` */
  list({ username, tier, ...paging }: Readonly<ListUsersDto>): Promise<Page<UserEntity>> {
    const filter = { ...(username !== undefined && { username }), ...(tier !== undefined && { tier }) };
    return readPage(
      paging,
      (range) => this.users.list({ ...filter, ...range }),
      (user) => user,
    );
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
  if (userId === id) throw invalidParameters([{ field: 'id', message: 'must not be your own' }]);
}

function noteSubject(userId: string): void {
  const context = requestContext.getStore();
  if (context) context.subjectUserId = userId;
}
