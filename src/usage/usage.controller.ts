import { Controller, Get, Query } from '@nestjs/common';
import { ApiOkResponse, ApiOperation, ApiTags } from '@nestjs/swagger';
import { CurrentPrincipal, type Principal, Scopes } from '../auth';
import { UsageRangeDto } from './dto/requests';
import { UsageView, viewUsage } from './dto/responses';
import { UsageReader } from './usage-reader';

/** The use of the caller's containers and snapshots. */
@ApiTags('me')
@Controller('usage')
export class UsageController {
  constructor(private readonly reader: UsageReader) {}

  @Get()
  @Scopes('read')
  @ApiOperation({ summary: 'List your usage by day' })
  @ApiOkResponse({ type: UsageView })
  async list(@CurrentPrincipal() caller: Principal, @Query() range: UsageRangeDto): Promise<UsageView> {
    return viewUsage(await this.reader.ofUser(caller.userId, range));
  }
}
