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
  @ApiOperation({ summary: "List everybody's containers" })
  @ApiOkResponse({ type: AdminContainerListView })
  async list(@Query() query: ListAnyContainersDto): Promise<AdminContainerListView> {
    return viewContainers(await this.containers.list(query));
  }

  @Get('capacity')
  @ApiOperation({ summary: 'What the machine has, what containers reserve of it, and what is free' })
  @ApiOkResponse({ type: CapacityView })
  capacity(): Promise<CapacityView> {
    return this.machine.view();
  }

  @Get('capacity/history')
  @ApiOperation({
    summary: 'What was reserved and used of the machine in the last day',
    description:
      'One sample in five minutes, kept in this process: a restart begins anew. In a cluster the nodes together, of which ' +
      'only the reservations and containers are known.',
  })
  @ApiOkResponse({ type: CapacityHistoryView })
  capacityHistory(): CapacityHistoryView {
    return this.history.view();
  }

  @Post('containers/:id/start')
  @HttpCode(200)
  @Audited('container.start')
  @ApiOperation({ summary: "Start anybody's container" })
  @ApiOkResponse({ type: ContainerStartedView })
  @ApiFaults(...OF_ONE, 'user_suspended', 'guest_session_expired', 'start_failed', 'no_capacity', 'snapshot_not_found')
  start(@Param('id') id: string): Promise<ContainerStartedView> {
    return this.containers.start(id);
  }

  @Post('containers/:id/stop')
  @HttpCode(200)
  @Audited('container.stop')
  @ApiOperation({ summary: "Stop anybody's container" })
  @ApiOkResponse({ type: ContainerStoppedView })
  @ApiFaults(...OF_ONE, 'stop_failed')
  stop(@Param('id') id: string): Promise<ContainerStoppedView> {
    return this.containers.stop(id);
  }

  @Post('containers/:id/move')
  @HttpCode(200)
  @Audited('container.move')
  @ApiOperation({
    summary: "Move anybody's container to another machine of a cluster",
    description:
      'With its data. If it runs, it is stopped, and started again there; what is outside its volume is lost, as with a ' +
      'resize. If anything fails it runs on where it was. The answer comes when that is done, however long it takes.',
  })
  @ApiBody({ type: MoveContainerDto, required: false })
  @ApiOkResponse({ type: ContainerMovedView })
  @ApiFaults(...OF_ONE, 'node_not_found', 'not_clustered', 'same_node', 'wrong_pool', 'no_capacity', 'move_failed')
  move(@Param('id') id: string, @Body() { node }: MoveContainerDto): Promise<ContainerMovedView> {
    return this.moves.move(id, node);
  }

  @Delete('containers/:id')
  @Audited('container.delete')
  @ApiOperation({ summary: "Delete anybody's container, with force=true also where Docker refuses" })
  @ApiOkResponse({ type: ContainerDeletedView })
  @ApiFaults(...OF_ONE, 'delete_failed')
  delete(@Param('id') id: string, @Query() { force }: DeleteContainerDto): Promise<ContainerDeletedView> {
    return this.containers.delete(id, { force: force === 'true' });
  }

  @Post('reconcile')
  @HttpCode(200)
  @Audited('containers.reconcile')
  @ApiOperation({
    summary: 'Compare all containers with Docker now, and do what is to be done',
    description: 'What else happens every SWEEP_INTERVAL_SECONDS. Waits for a comparison that is going on.',
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
    summary: 'Accept the present Docker as the one that the containers are in',
    description:
      'For a Docker that has another id than the known one (`docker_identity: changed` in /health/ready) and is meant to stay. ' +
      'What it does not have is lost from then on: held purges are recorded as done, and starts recreate containers with empty volumes.',
  })
  @ApiOkResponse({ type: AcceptedDockerView })
  @ApiFaults('not_ready')
  acceptDocker(): Promise<AcceptedDockerView> {
    return this.containers.acceptDocker();
  }
}
