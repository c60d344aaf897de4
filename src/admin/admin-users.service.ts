import { Injectable } from '@nestjs/common';
import { TokenService, type UserEntity, UserService } from '../auth';
import { type Page, readPage } from '../http';
import { requestContext } from '../logging';
import type { ListUsersDto } from './dto/requests';

/** What operators may do to users and to their tokens. Whom it was done to is noted, for the audit. */
@Injectable()
export class AdminUsers {
  constructor(
    private readonly users: UserService,
    private readonly tokens: TokenService,
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

  /** Their containers' runs follow by themselves. @throws DomainError `user_not_found`, `invalid_parameters` */
  async move(id: string, tier: string): Promise<UserEntity> {
    const user = await this.users.move(id, tier);
    noteSubject(user.id);
    return user;
  }

  /** @returns how many. @throws DomainError `user_not_found` */
  async revokeTokens(id: string): Promise<number> {
    const user = await this.users.get(id);
    noteSubject(user.id);
    return this.tokens.revokeAll(user.id);
  }

  /** Revokes anybody's token. @returns whose it was. @throws DomainError `token_not_found` */
  async revokeToken(tokenId: string): Promise<string> {
    const userId = await this.tokens.ownerOf(tokenId);
    noteSubject(userId);
    await this.tokens.revoke({ userId, tokenId });
    return userId;
  }
}

function noteSubject(userId: string): void {
  const context = requestContext.getStore();
  if (context) context.subjectUserId = userId;
}
