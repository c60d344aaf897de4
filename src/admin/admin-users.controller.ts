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
    summary: 'Create a user with an initial token',
    description:
      'The token is shown only in this response. A token with the scope `admin` expires with the calling token at ' +
      'the latest. `POST /api/auth/codes`, called with the new token, creates a code for the first sign-in.',
  })
  @ApiCreatedResponse({ type: UserCreatedView })
  @ApiFaults('username_taken')
  async create(@CurrentPrincipal() admin: Principal, @Body() body: CreateUserDto): Promise<UserCreatedView> {
    return viewCreatedUser(await this.users.create(admin, body));
  }

  @Patch(':id')
  @Audited('user.update')
  @ApiOperation({
    summary: "Change a user's tier, or suspend or reactivate the user",
    description:
      "Omitted fields stay unchanged. The run limits of the user's containers follow the tier. While a user is " +
      "suspended, all of the user's tokens are refused (403 `user_suspended`), their connections are closed " +
      'immediately, and running containers are stopped within LIMIT_CHECK_SECONDS (reason `user_suspended`) and ' +
      'kept. After reactivation, the tokens work again; the containers stay stopped.',
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
    summary: 'Delete a user with all data',
    description:
      "Cannot be undone. The user's tokens are revoked, and the name becomes available immediately. The containers " +
      'are deleted within LIMIT_CHECK_SECONDS (reason `user_deleted`). Their data, including that of previously ' +
      'deleted containers, is removed by the next reconciliation, regardless of VOLUME_RETENTION.',
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
  @ApiOperation({
    summary: 'Revoke all tokens of a user',
    description: 'All connections of the user are closed, including agents.',
  })
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
    summary: 'Revoke a token of any user',
    description: 'The token stops working immediately, and its connections are closed.',
  })
  @ApiOkResponse({ type: AdminTokenRevokedView })
  @ApiFaults('token_not_found')
  async revoke(@Param('id') id: string): Promise<AdminTokenRevokedView> {
    return { message: 'token revoked', id, user_id: await this.users.revokeToken(id) };
  }
}
