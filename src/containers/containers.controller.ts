import { Body, Controller, Delete, Get, HttpCode, Param, Patch, Post, Query } from '@nestjs/common';
import { ApiAcceptedResponse, ApiBearerAuth, ApiOkResponse, ApiOperation, ApiTags } from '@nestjs/swagger';
import { CurrentPrincipal, type Principal, Scopes } from '../auth';
import { ContainersService } from './containers.service';
import { ApiContainerById } from './dto/api-container-by-id';
import { ApiFaults } from './dto/api-faults';
import {
  ContainerCreatedView,
  ContainerDeletedView,
  ContainerStartedView,
  ContainerStoppedView,
  ContainerUpdatedView,
} from './dto/container-answers';
import { ContainerListView } from './dto/container-list-view';
import { ContainerView } from './dto/container-view';
import { CreateContainerDto } from './dto/create-container.dto';
import { ListContainersDto } from './dto/list-containers.dto';
import { UpdateContainerDto } from './dto/update-container.dto';
import { WaitContainerDto } from './dto/wait-container.dto';
import { StatusWait } from './status-wait';

const DEFAULT_WAIT_SECONDS = 30;

/** Says the lifecycle in HTTP. */
@ApiTags('containers')
@ApiBearerAuth()
@Controller('containers')
export class ContainersController {
  constructor(
    private readonly containers: ContainersService,
    private readonly statusWait: StatusWait,
  ) {}

  @Post()
  @HttpCode(202)
  @Scopes('write')
  @ApiOperation({ summary: 'Create a container in the background' })
  @ApiAcceptedResponse({ type: ContainerCreatedView })
  @ApiFaults(
    'invalid_parameters',
    'insufficient_permissions',
    'guest_session_expired',
    'container_limit_reached',
    'name_taken',
  )
  create(@CurrentPrincipal() caller: Principal, @Body() body: CreateContainerDto): Promise<ContainerCreatedView> {
    return this.containers.create(caller, body);
  }

  @Get()
  @Scopes('read')
  @ApiOperation({ summary: "List the user's containers; event_seq says from where to watch" })
  @ApiOkResponse({ type: ContainerListView })
  @ApiFaults('invalid_parameters', 'insufficient_permissions')
  list(@CurrentPrincipal() caller: Principal, @Query() query: ListContainersDto): Promise<ContainerListView> {
    return this.containers.list(caller, query);
  }

  @Get(':id')
  @Scopes('read')
  @ApiOperation({ summary: 'Get a container' })
  @ApiOkResponse({ type: ContainerView })
  @ApiContainerById()
  get(@CurrentPrincipal() caller: Principal, @Param('id') id: string): Promise<ContainerView> {
    return this.containers.get(caller, id);
  }

  @Get(':id/wait')
  @Scopes('read')
  @ApiOperation({ summary: 'Wait until a container has a status' })
  @ApiOkResponse({ type: ContainerView })
  @ApiContainerById('invalid_parameters', 'status_not_reached')
  wait(
    @CurrentPrincipal() caller: Principal,
    @Param('id') id: string,
    @Query() { status, timeout = DEFAULT_WAIT_SECONDS }: WaitContainerDto,
  ): Promise<ContainerView> {
    return this.statusWait.until(caller, id, { status, timeoutMs: timeout * 1000 });
  }

  @Post(':id/start')
  @HttpCode(200)
  @Scopes('write')
  @ApiOperation({ summary: 'Start a container, made anew with its data where it has vanished from Docker' })
  @ApiOkResponse({ type: ContainerStartedView })
  @ApiContainerById('guest_session_expired', 'operation_in_progress', 'start_failed')
  start(@CurrentPrincipal() caller: Principal, @Param('id') id: string): Promise<ContainerStartedView> {
    return this.containers.start(caller, id);
  }

  @Post(':id/stop')
  @HttpCode(200)
  @Scopes('write')
  @ApiOperation({ summary: 'Stop a container' })
  @ApiOkResponse({ type: ContainerStoppedView })
  @ApiContainerById('operation_in_progress', 'stop_failed')
  stop(@CurrentPrincipal() caller: Principal, @Param('id') id: string): Promise<ContainerStoppedView> {
    return this.containers.stop(caller, id);
  }

  @Delete(':id')
  @Scopes('write')
  @ApiOperation({ summary: 'Delete a container; its volume is kept until purge_at' })
  @ApiOkResponse({ type: ContainerDeletedView })
  @ApiContainerById('operation_in_progress', 'delete_failed')
  delete(@CurrentPrincipal() caller: Principal, @Param('id') id: string): Promise<ContainerDeletedView> {
    return this.containers.delete(caller, id);
  }

  @Patch([':id', ':id/settings'])
  @Scopes('write')
  @ApiOperation({ summary: 'Rename or resize a container; its data is kept' })
  @ApiOkResponse({ type: ContainerUpdatedView })
  @ApiContainerById(
    'invalid_parameters',
    'guest_session_expired',
    'name_taken',
    'operation_in_progress',
    'update_failed',
  )
  update(
    @CurrentPrincipal() caller: Principal,
    @Param('id') id: string,
    @Body() body: UpdateContainerDto,
  ): Promise<ContainerUpdatedView> {
    return this.containers.update(caller, id, body);
  }
}
