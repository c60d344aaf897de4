import { Body, Controller, Delete, Get, HttpCode, Param, Patch, Post, Query } from '@nestjs/common';
import { ApiCreatedResponse, ApiOkResponse, ApiOperation, ApiTags } from '@nestjs/swagger';
import { Audited } from '../audit';
import { CurrentPrincipal, type Principal, Scopes } from '../auth';
import { Compressed, Location } from '../http';
import { ApiFaults } from '../errors';
import { AdminUsers } from './admin-users.service';
import {
  AdminTokenRevokedView,
  AdminUserListView,
  TokensRevokedView,
  UserCreatedView,
  UserDeletedView,
  UserUpdatedView,
  viewCreatedUser,
  viewUser,
  viewUsers,
} from './dto/responses';
import { CreateUserDto, ListUsersDto, UpdateUserDto } from './dto/requests';

/** All users of this server. */
@ApiTags('admin')
@Controller('admin/users')
@Scopes('admin')
export class AdminUsersController {
  constructor(private readonly users: AdminUsers) {}

  @Get()
  @Compressed()
  @ApiOperation({ summary: 'List users' })
  @ApiOkResponse({ type: AdminUserListView })
  async list(@Query() query: ListUsersDto): Promise<AdminUserListView> {
    return viewUsers(await this.users.list(query));
  }

  @Post()
  @Audited('user.create')
  @Location<UserCreatedView>(({ user }) => `/api/admin/users?username=${user.username}`)
  @ApiOperation({
    summary: 'Create a user with a first token',
    description:
      'The answer is the only one that shows the token. A token with the scope `admin` ends with the calling token at the ' +
      'latest. With the new token, `POST /api/auth/codes` makes a link for the first sign-in.',
  })
  @ApiCreatedResponse({ type: UserCreatedView })
  @ApiFaults('username_taken')
  async create(@CurrentPrincipal() admin: Principal, @Body() body: CreateUserDto): Promise<UserCreatedView> {
    return viewCreatedUser(await this.users.create(admin, body));
  }

  @Patch(':id')
  @Audited('user.update')
  @ApiOperation({
    summary: 'Move a user to another tier, suspend them, or end that',
    description:
      'What is left out stays. The runs of their containers follow the tier. While a user is suspended, every token of ' +
      'theirs is refused (403 `user_suspended`); their sockets are closed at once, and their containers are stopped within ' +
      'LIMIT_CHECK_SECONDS (reason `user_suspended`) and kept. When it ends, the tokens work again; the containers stay stopped.',
  })
  @ApiOkResponse({ type: UserUpdatedView })
  @ApiFaults('user_not_found')
  async update(
    @CurrentPrincipal() admin: Principal,
    @Param('id') id: string,
    @Body() change: UpdateUserDto,
  ): Promise<UserUpdatedView> {
    return { message: 'user updated', user: viewUser(await this.users.change(admin, id, change)) };
  }

  @Delete(':id')
  @Audited('user.delete')
  @ApiOperation({
    summary: 'Delete a user with all that is theirs',
    description:
      'Cannot be undone. Their tokens are revoked and their name is free at once. Their containers are deleted within ' +
      'LIMIT_CHECK_SECONDS (reason `user_deleted`); their data, that of containers deleted before too, is removed by the ' +
      'next comparison with Docker, whatever VOLUME_RETENTION is.',
  })
  @ApiOkResponse({ type: UserDeletedView })
  @ApiFaults('user_not_found')
  async delete(@CurrentPrincipal() admin: Principal, @Param('id') id: string): Promise<UserDeletedView> {
    await this.users.delete(admin, id);
    return { message: 'user deleted', id };
  }

  @Post(':id/revoke-tokens')
  @HttpCode(200)
  @Audited('user.revoke_tokens')
  @ApiOperation({ summary: "Revoke all of a user's tokens", description: 'Their sockets are closed, agents included.' })
  @ApiOkResponse({ type: TokensRevokedView })
  @ApiFaults('user_not_found')
  async revokeTokens(@Param('id') id: string): Promise<TokensRevokedView> {
    return { message: 'tokens revoked', id, count: await this.users.revokeTokens(id) };
  }
}

/** Operations on all users' tokens. */
@ApiTags('admin')
@Controller('admin/tokens')
@Scopes('admin')
export class AdminTokensController {
  constructor(private readonly users: AdminUsers) {}

  @Delete(':id')
  @Audited('token.revoke')
  @ApiOperation({
    summary: "Revoke anybody's token",
    description: 'It is refused at once, and its sockets are closed.',
  })
  @ApiOkResponse({ type: AdminTokenRevokedView })
  @ApiFaults('token_not_found')
  async revoke(@Param('id') id: string): Promise<AdminTokenRevokedView> {
    return { message: 'token revoked', id, user_id: await this.users.revokeToken(id) };
  }
}
