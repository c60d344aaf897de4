import { Body, Controller, Delete, Get, HttpCode, Param, Post, Query } from '@nestjs/common';
import { ApiBody, ApiOkResponse, ApiOperation, ApiTags } from '@nestjs/swagger';
import { Audited } from '../audit';
import { Scopes } from '../auth';
import { Compressed } from '../http';
import {
  Capacity,
  CapacityHistory,
  CapacityHistoryView,
  CapacityView,
  ContainerDeletedView,
  ContainerMovedView,
  ContainersAdminService,
  ContainerStartedView,
  ContainerStoppedView,
  DeleteContainerDto,
  Moves,
  SweepReport,
} from '../containers';
import { type ApiFault, ApiFaults } from '../errors';
import { AcceptedDockerView, AdminContainerListView, viewContainers } from './dto/responses';
import { ListAnyContainersDto, MoveContainerDto } from './dto/requests';

const OF_ONE: readonly ApiFault[] = ['ambiguous_id', 'container_not_found', 'operation_in_progress'];

/** Operations on all users' containers. */
@ApiTags('admin')
@Controller('admin')
@Scopes('admin')
export class AdminContainersController {
  constructor(
    private readonly containers: ContainersAdminService,
    private readonly machine: Capacity,
    private readonly history: CapacityHistory,
    private readonly moves: Moves,
  ) {}

  @Get('containers')
  @Compressed()
  @ApiOperation({ summary: 'List containers of all users' })
  @ApiOkResponse({ type: AdminContainerListView })
  async list(@Query() query: ListAnyContainersDto): Promise<AdminContainerListView> {
    return viewContainers(await this.containers.list(query));
  }

  @Get('capacity')
  @ApiOperation({ summary: 'Get total, reserved and free capacity' })
  @ApiOkResponse({ type: CapacityView })
  capacity(): Promise<CapacityView> {
    return this.machine.view();
  }

  @Get('capacity/history')
  @ApiOperation({
    summary: 'Get reserved and used capacity over the last day',
    description:
      'One sample every 5 minutes, kept in memory: a restart discards the history. In a cluster, the sum over all ' +
      'nodes; only reservations and container counts are available.',
  })
  @ApiOkResponse({ type: CapacityHistoryView })
  capacityHistory(): CapacityHistoryView {
    return this.history.view();
  }

  @Post('containers/:id/start')
  @HttpCode(200)
  @Audited('container.start')
  @ApiOperation({ summary: 'Start a container of any user' })
  @ApiOkResponse({ type: ContainerStartedView })
  @ApiFaults(...OF_ONE, 'user_suspended', 'guest_session_expired', 'start_failed', 'no_capacity', 'snapshot_not_found')
  start(@Param('id') id: string): Promise<ContainerStartedView> {
    return this.containers.start(id);
  }

  @Post('containers/:id/stop')
  @HttpCode(200)
  @Audited('container.stop')
  @ApiOperation({ summary: 'Stop a container of any user' })
  @ApiOkResponse({ type: ContainerStoppedView })
  @ApiFaults(...OF_ONE, 'stop_failed')
  stop(@Param('id') id: string): Promise<ContainerStoppedView> {
    return this.containers.stop(id);
  }

  @Post('containers/:id/move')
  @HttpCode(200)
  @Audited('container.move')
  @ApiOperation({
    summary: 'Move a container of any user to another node',
    description:
      'The data is moved with the container. A running container is stopped and started again on the new node; ' +
      'files outside the data volume are lost, as in a resize. If the move fails, the container keeps running on ' +
      'its old node. The response is sent when the move is complete.',
  })
  @ApiBody({ type: MoveContainerDto, required: false })
  @ApiOkResponse({ type: ContainerMovedView })
  @ApiFaults(...OF_ONE, 'node_not_found', 'not_clustered', 'same_node', 'wrong_pool', 'no_capacity', 'move_failed')
  move(@Param('id') id: string, @Body() { node }: MoveContainerDto): Promise<ContainerMovedView> {
    return this.moves.move(id, node);
  }

  @Delete('containers/:id')
  @Audited('container.delete')
  @ApiOperation({ summary: 'Delete a container of any user; force=true ignores Docker errors' })
  @ApiOkResponse({ type: ContainerDeletedView })
  @ApiFaults(...OF_ONE, 'delete_failed')
  delete(@Param('id') id: string, @Query() { force }: DeleteContainerDto): Promise<ContainerDeletedView> {
    return this.containers.delete(id, { force: force === 'true' });
  }

  @Post('reconcile')
  @HttpCode(200)
  @Audited('containers.reconcile')
  @ApiOperation({
    summary: 'Reconcile all containers with Docker now',
    description:
      'Reconciliation also runs every SWEEP_INTERVAL_SECONDS. If a run is in progress, the request waits for it.',
  })
  @ApiOkResponse({ type: SweepReport })
  @ApiFaults('not_ready')
  reconcile(): Promise<SweepReport> {
    return this.containers.reconcile();
  }

  @Post('docker/accept')
  @HttpCode(200)
  @Audited('docker.accept')
  @ApiOperation({
    summary: 'Accept the current Docker daemon as the one that holds the containers',
    description:
      'For a deliberate change of the Docker daemon (`docker_identity: changed` in /health/ready). Containers and ' +
      'volumes that the new daemon lacks are then considered lost: held purges are recorded as done, and a start ' +
      'recreates the container with an empty volume.',
  })
  @ApiOkResponse({ type: AcceptedDockerView })
  @ApiFaults('not_ready')
  acceptDocker(): Promise<AcceptedDockerView> {
    return this.containers.acceptDocker();
  }
}
