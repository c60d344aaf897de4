import { Controller, Delete, Param } from '@nestjs/common';
import { ApiOkResponse, ApiOperation, ApiTags } from '@nestjs/swagger';
import { Audited } from '../audit';
import { Scopes } from '../auth';
import { ApiFaults } from '../errors';
import { AdminUsers } from './admin-users.service';
import { AdminTokenRevokedView } from './dto/responses';

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
