import { applyDecorators, Body, Controller, Delete, Get, HttpCode, Param, Patch, Post, Query } from '@nestjs/common';
import {
  ApiAcceptedResponse,
  ApiExtraModels,
  ApiOkResponse,
  ApiOperation,
  ApiParam,
  ApiTags,
  getSchemaPath,
} from '@nestjs/swagger';
import { Audited } from '../audit';
import { CurrentPrincipal, ForContainerTokens, type Principal, Scopes } from '../auth';
import { type ApiFault, ApiFaults } from '../errors';
import { Compressed, ConnectionEnd, Location } from '../http';
import { ApiIdempotencyKey, Keyed, type KeyedRequest, REPLAYED_HEADER } from '../idempotency';
import { ApiContainerById } from './dto/openapi';
import {
  CreateSnapshotDto,
  ForkContainerDto,
  ForkedContainersView,
  ListSnapshotsDto,
  RestoreSnapshotDto,
  SnapshotDeletedView,
  SnapshotListView,
  SnapshotRestoredView,
  SnapshotView,
  UpdateSnapshotDto,
  WaitSnapshotDto,
} from './dto/snapshots';
import { ContainerCreatedView } from './dto/responses';
import { Forks } from './creation/forks';
import { SnapshotFactsView } from './model/snapshot.entity';
import { SnapshotRestoration } from './snapshots/snapshot-restoration';
import { SnapshotsService } from './snapshots.service';

const DEFAULT_WAIT_SECONDS = 30;

/** Documents a route on one snapshot: its id, the given errors, and those of every such route. */
const ApiSnapshotById = (...faults: readonly ApiFault[]): MethodDecorator =>
  applyDecorators(
    ApiParam({ name: 'id', schema: { type: 'string', format: 'uuid' } }),
    ApiFaults('insufficient_permissions', 'not_authorized', 'snapshot_not_found', ...faults),
  );

/** Snapshots of containers over HTTP. */
@ApiTags('snapshots')
@ApiExtraModels(SnapshotFactsView)
@Controller()
export class SnapshotsController {
  constructor(
    private readonly snapshots: SnapshotsService,
    private readonly forks: Forks,
    private readonly restoration: SnapshotRestoration,
  ) {}

  @Post('containers/:id/snapshots')
  @HttpCode(202)
  @ForContainerTokens()
  @Scopes('write')
  @Audited('snapshot.create')
  @Location<SnapshotView>(({ id }) => `/api/snapshots/${id}`)
  @ApiOperation({
    summary: 'Create a snapshot of a container',
    description:
      'Created in the background. It contains the files of the data volume and, if the machine can keep them, the ' +
      'files outside of it (`root`), but no memory and no processes. A running container is suspended while the ' +
      'snapshot is created. A failure leaves the container unchanged.',
  })
  @ApiIdempotencyKey()
  @ApiAcceptedResponse({ type: SnapshotView, headers: REPLAYED_HEADER })
  @ApiContainerById(
    'guest_session_expired',
    'container_not_running',
    'operation_in_progress',
    'snapshot_limit_reached',
    'idempotency_key_reused',
    'snapshot_failed',
    'no_capacity',
  )
  create(
    @CurrentPrincipal() caller: Principal,
    @Param('id') id: string,
    @Body() body: CreateSnapshotDto,
    @Keyed() keyed: KeyedRequest,
  ): Promise<SnapshotView> {
    return this.snapshots.create(caller, id, body, keyed);
  }

  @Post('containers/:id/fork')
  @HttpCode(202)
  @ForContainerTokens()
  @Scopes('write')
  @Audited('container.fork')
  @Location<ContainerCreatedView | ForkedContainersView>((made, { id = '' }) =>
    'containers' in made ? `/api/containers/${id}` : `/api/containers/${made.db_id}`,
  )
  @ApiOperation({
    summary: 'Create copies of a container',
    description:
      'Created in the background. Each copy has the files, settings and variables of the container, but no memory ' +
      'and no processes. A running container is suspended meanwhile. The copies share nothing with the container ' +
      'or with each other.',
  })
  @ApiIdempotencyKey()
  @ApiExtraModels(ContainerCreatedView, ForkedContainersView)
  @ApiAcceptedResponse({
    schema: { oneOf: [ContainerCreatedView, ForkedContainersView].map((view) => ({ $ref: getSchemaPath(view) })) },
    headers: REPLAYED_HEADER,
  })
  @ApiContainerById(
    'guest_session_expired',
    'container_not_running',
    'container_limit_reached',
    'name_taken',
    'operation_in_progress',
    'idempotency_key_reused',
    'snapshot_failed',
    'no_capacity',
  )
  fork(
    @CurrentPrincipal() caller: Principal,
    @Param('id') id: string,
    @Body() body: ForkContainerDto,
    @Keyed() keyed: KeyedRequest,
  ): Promise<ContainerCreatedView | ForkedContainersView> {
    return this.forks.fork(caller, id, body, keyed);
  }

  @Post('containers/:id/restore-snapshot')
  @HttpCode(200)
  @ForContainerTokens()
  @Scopes('write')
  @Audited('container.restore_snapshot')
  @ApiOperation({
    summary: 'Restore a container to one of its snapshots',
    description:
      'The id, name and settings are kept. The container is recreated from the files of the snapshot, and started ' +
      'if it was running. If this fails, it stays as it was.',
  })
  @ApiOkResponse({ type: SnapshotRestoredView })
  @ApiContainerById(
    'guest_session_expired',
    'container_not_running',
    'operation_in_progress',
    'snapshot_limit_reached',
    'snapshot_not_found',
    'snapshot_not_ready',
    'snapshot_failed',
    'restore_failed',
    'no_capacity',
  )
  restore(
    @CurrentPrincipal() caller: Principal,
    @Param('id') id: string,
    @Body() body: RestoreSnapshotDto,
  ): Promise<SnapshotRestoredView> {
    return this.restoration.restore(caller, id, body);
  }

  @Get('snapshots')
  @ForContainerTokens()
  @Scopes('read')
  @Compressed()
  @ApiOperation({ summary: 'List your snapshots' })
  @ApiOkResponse({ type: SnapshotListView })
  list(@CurrentPrincipal() caller: Principal, @Query() query: ListSnapshotsDto): Promise<SnapshotListView> {
    return this.snapshots.list(caller, query);
  }

  @Get('snapshots/:id')
  @ForContainerTokens()
  @Scopes('read')
  @ApiOperation({ summary: 'Get a snapshot' })
  @ApiOkResponse({ type: SnapshotView })
  @ApiSnapshotById()
  get(@CurrentPrincipal() caller: Principal, @Param('id') id: string): Promise<SnapshotView> {
    return this.snapshots.get(caller, id);
  }

  @Get('snapshots/:id/wait')
  @ForContainerTokens()
  @Scopes('read')
  @ApiOperation({ summary: 'Wait for a snapshot to become ready' })
  @ApiOkResponse({ type: SnapshotView })
  @ApiSnapshotById('status_not_reached', 'status_unreachable', 'rate_limit_exceeded', 'too_many_connections')
  wait(
    @CurrentPrincipal() caller: Principal,
    @Param('id') id: string,
    @Query() { timeout = DEFAULT_WAIT_SECONDS }: WaitSnapshotDto,
    @ConnectionEnd() signal: AbortSignal,
  ): Promise<SnapshotView> {
    return this.snapshots.wait(caller, id, { timeoutMs: timeout * 1000, signal });
  }

  @Patch('snapshots/:id')
  @ForContainerTokens()
  @Scopes('write')
  @Audited('snapshot.update')
  @ApiOperation({ summary: 'Update the name, description or labels of a snapshot' })
  @ApiOkResponse({ type: SnapshotView })
  @ApiSnapshotById()
  update(
    @CurrentPrincipal() caller: Principal,
    @Param('id') id: string,
    @Body() body: UpdateSnapshotDto,
  ): Promise<SnapshotView> {
    return this.snapshots.update(caller, id, body);
  }

  @Delete('snapshots/:id')
  @ForContainerTokens()
  @Scopes('write')
  @Audited('snapshot.delete')
  @ApiOperation({ summary: 'Delete a snapshot; containers created from it are not affected' })
  @ApiOkResponse({ type: SnapshotDeletedView })
  @ApiSnapshotById()
  delete(@CurrentPrincipal() caller: Principal, @Param('id') id: string): Promise<SnapshotDeletedView> {
    return this.snapshots.delete(caller, id);
  }
}
