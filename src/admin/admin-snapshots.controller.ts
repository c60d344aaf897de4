import { Controller, Delete, Get, Param, Query } from '@nestjs/common';
import { ApiOkResponse, ApiOperation, ApiParam, ApiTags } from '@nestjs/swagger';
import { Audited } from '../audit';
import { Scopes } from '../auth';
import { SnapshotDeletedView, SnapshotsService } from '../containers';
import { ApiFaults } from '../errors';
import { Compressed } from '../http';
import { ListAnySnapshotsDto } from './dto/requests';
import { AdminSnapshotListView } from './dto/responses';

/** Operations on all users' snapshots. */
@ApiTags('admin')
@Controller('admin/snapshots')
@Scopes('admin')
export class AdminSnapshotsController {
  constructor(private readonly snapshots: SnapshotsService) {}

  @Get()
  @Compressed()
  @ApiOperation({ summary: 'List snapshots of all users' })
  @ApiOkResponse({ type: AdminSnapshotListView })
  async list(@Query() query: ListAnySnapshotsDto): Promise<AdminSnapshotListView> {
    const { items: snapshots, next_cursor } = await this.snapshots.listAll(query);
    return { snapshots, next_cursor };
  }

  @Delete(':id')
  @Audited('snapshot.delete')
  @ApiParam({ name: 'id', schema: { type: 'string', format: 'uuid' } })
  @ApiOperation({ summary: 'Delete a snapshot of any user' })
  @ApiOkResponse({ type: SnapshotDeletedView })
  @ApiFaults('snapshot_not_found')
  delete(@Param('id') id: string): Promise<SnapshotDeletedView> {
    return this.snapshots.deleteAny(id);
  }
}
