import { Body, Controller, Delete, Get, HttpCode, Param, Patch, Post, Query } from '@nestjs/common';
import { ApiOkResponse, ApiOperation, ApiTags } from '@nestjs/swagger';
import { Audited } from '../audit';
import { CurrentPrincipal, type Principal, Scopes } from '../auth';
import { Compressed } from '../http';
import { ApiFaults } from '../errors';
import { AdminUsers } from './admin-users.service';
import {
  AdminTokenRevokedView,
  AdminUserListView,
  TokensRevokedView,
  UserDeletedView,
  UserUpdatedView,
  viewUser,
  viewUsers,
} from './dto/responses';
import { ListUsersDto, UpdateUserDto } from './dto/requests';

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
