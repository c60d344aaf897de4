import { Body, Controller, Get, HttpCode, Param, Patch, Post, Query } from '@nestjs/common';
import { ApiNotFoundResponse, ApiOkResponse, ApiOperation, ApiTags } from '@nestjs/swagger';
import { Audited, Scopes } from '../auth';
import { AdminUsers } from './admin-users.service';
import { AdminUserListView, TokensRevokedView, UserMovedView, viewUser, viewUsers } from './dto/responses';
import { ListUsersDto, MoveUserDto } from './dto/requests';

const UNKNOWN = { description: 'user not found: there is none of this id.' };

/** Everybody who uses this server. */
@ApiTags('admin')
@Controller('admin/users')
@Scopes('admin')
export class AdminUsersController {
  constructor(private readonly users: AdminUsers) {}

  @Get()
  @ApiOperation({ summary: 'List users' })
  @ApiOkResponse({ type: AdminUserListView })
  async list(@Query() query: ListUsersDto): Promise<AdminUserListView> {
    return viewUsers(await this.users.list(query));
  }

  @Patch(':id')
  @Audited('user.update')
  @ApiOperation({ summary: 'Move a user to another tier', description: 'The runs of their containers follow.' })
  @ApiOkResponse({ type: UserMovedView })
  @ApiNotFoundResponse(UNKNOWN)
  async move(@Param('id') id: string, @Body() { tier }: MoveUserDto): Promise<UserMovedView> {
    return { message: 'user updated', user: viewUser(await this.users.move(id, tier)) };
  }

  @Post(':id/revoke-tokens')
  @HttpCode(200)
  @Audited('user.revoke_tokens')
  @ApiOperation({ summary: "Revoke all of a user's tokens", description: 'Their sockets are closed, agents included.' })
  @ApiOkResponse({ type: TokensRevokedView })
  @ApiNotFoundResponse(UNKNOWN)
  async revokeTokens(@Param('id') id: string): Promise<TokensRevokedView> {
    return { message: 'tokens revoked', id, count: await this.users.revokeTokens(id) };
  }
}
