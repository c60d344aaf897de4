import { Controller, Get } from '@nestjs/common';
import { ApiOkResponse, ApiOperation, ApiTags } from '@nestjs/swagger';
import { Scopes } from '../auth';
import { RoleCatalog, RoleListView } from './role-catalog';

@ApiTags('roles')
@Controller('roles')
export class RolesController {
  constructor(private readonly catalog: RoleCatalog) {}

  @Get()
  @Scopes('read')
  @ApiOperation({ summary: 'List roles for containers' })
  @ApiOkResponse({ type: RoleListView })
  list(): RoleListView {
    return { roles: this.catalog.list() };
  }
}
