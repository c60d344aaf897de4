import { Controller, Get, Query } from '@nestjs/common';
import { ApiOkResponse, ApiOperation, ApiTags } from '@nestjs/swagger';
import { Scopes } from '../auth';
import { Compressed } from '../http';
import { ListUsageDto, UsageListView, UsageReader, viewUsageList } from '../usage';

/** The usage of all users' containers. */
@ApiTags('admin')
@Controller('admin/usage')
@Scopes('admin')
export class AdminUsageController {
  constructor(private readonly reader: UsageReader) {}

  @Get()
  @Compressed()
  @ApiOperation({ summary: 'List usage of all users by day' })
  @ApiOkResponse({ type: UsageListView })
  async list(@Query() query: ListUsageDto): Promise<UsageListView> {
    return viewUsageList(await this.reader.list(query));
  }
}
