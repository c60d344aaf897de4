import { Controller, Delete, Get } from '@nestjs/common';
import { ApiOkResponse, ApiOperation, ApiTags } from '@nestjs/swagger';
import { Audited } from '../audit';
import { Scopes } from '../auth';
import { WarmPool, WarmPoolEmptiedView, WarmPoolView } from '../containers';
import { ApiFaults } from '../errors';

/** The containers that are started before a user asks for one. */
@ApiTags('admin')
@Controller('admin/warm')
@Scopes('admin')
export class AdminWarmController {
  constructor(private readonly pool: WarmPool) {}

  @Get()
  @ApiOperation({ summary: 'Get warm slots and how many creations used one' })
  @ApiOkResponse({ type: WarmPoolView })
  view(): Promise<WarmPoolView> {
    return this.pool.view();
  }

  @Delete()
  @Audited('warm.empty')
  @ApiOperation({
    summary: 'Remove all unused warm slots',
    description: 'The pool is refilled according to WARM_POOL, so the slots are replaced unless it is `off`.',
  })
  @ApiOkResponse({ type: WarmPoolEmptiedView })
  @ApiFaults('not_ready')
  empty(): Promise<WarmPoolEmptiedView> {
    return this.pool.empty();
  }
}
