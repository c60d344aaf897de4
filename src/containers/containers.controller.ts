import { Body, Controller, Delete, Get, HttpCode, Param, Patch, Post, Query } from '@nestjs/common';
import { ApiBearerAuth, ApiOperation, ApiTags } from '@nestjs/swagger';
import { CurrentPrincipal, type Principal, Scopes } from '../auth';
import type { ContainerList, Created, Deleted, StartAnswer, StopAnswer, Updated } from './container-answers';
import type { ContainerView } from './container-view';
import { ContainersService } from './containers.service';
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
  create(@CurrentPrincipal() caller: Principal, @Body() body: CreateContainerDto): Promise<Created> {
    return this.containers.create(caller, body);
  }

  @Get()
  @Scopes('read')
  @ApiOperation({ summary: "List the user's containers; event_seq says from where to watch" })
  list(@CurrentPrincipal() caller: Principal, @Query() query: ListContainersDto): Promise<ContainerList> {
    return this.containers.list(caller, query);
  }

  @Get(':id')
  @Scopes('read')
  @ApiOperation({ summary: 'Get a container' })
  get(@CurrentPrincipal() caller: Principal, @Param('id') id: string): Promise<ContainerView> {
    return this.containers.get(caller, id);
  }

  @Get(':id/wait')
  @Scopes('read')
  @ApiOperation({ summary: 'Wait until a container has a status' })
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
  start(@CurrentPrincipal() caller: Principal, @Param('id') id: string): Promise<StartAnswer> {
    return this.containers.start(caller, id);
  }

  @Post(':id/stop')
  @HttpCode(200)
  @Scopes('write')
  @ApiOperation({ summary: 'Stop a container' })
  stop(@CurrentPrincipal() caller: Principal, @Param('id') id: string): Promise<StopAnswer> {
    return this.containers.stop(caller, id);
  }

  @Delete(':id')
  @Scopes('write')
  @ApiOperation({ summary: 'Delete a container; its volume is kept until purge_at' })
  delete(@CurrentPrincipal() caller: Principal, @Param('id') id: string): Promise<Deleted> {
    return this.containers.delete(caller, id);
  }

  @Patch([':id', ':id/settings'])
  @Scopes('write')
  @ApiOperation({ summary: 'Rename or resize a container; its data is kept' })
  update(
    @CurrentPrincipal() caller: Principal,
    @Param('id') id: string,
    @Body() body: UpdateContainerDto,
  ): Promise<Updated> {
    return this.containers.update(caller, id, body);
  }
}
