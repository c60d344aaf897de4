import { Controller, Get, Query } from '@nestjs/common';
import { ApiOkResponse, ApiOperation, ApiTags } from '@nestjs/swagger';
import { CurrentPrincipal, type Principal, Scopes } from '../auth';
import { Compressed } from '../http';
import { AuditReader } from './audit-reader';
import { AuditListView } from './dto/audit-view';
import { ListAuditDto } from './dto/list-audit.dto';

/** The audit log over HTTP. */
@ApiTags('audit')
@Controller('audit')
export class AuditController {
  constructor(private readonly reader: AuditReader) {}

  @Get()
  @Scopes('read')
  @Compressed()
  @ApiOperation({ summary: 'List your audit entries' })
  @ApiOkResponse({ type: AuditListView })
  list(@CurrentPrincipal() caller: Principal, @Query() query: ListAuditDto): Promise<AuditListView> {
    return this.reader.list(caller, query);
  }
}
