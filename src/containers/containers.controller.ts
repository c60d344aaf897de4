import { Body, Controller, Delete, Get, HttpCode, Param, Patch, Post, Put, Query } from '@nestjs/common';
import { ApiAcceptedResponse, ApiOkResponse, ApiOperation, ApiTags } from '@nestjs/swagger';
import { AgentDeletedView, AgentStoppedView, AgentView } from '../agents';
import { Audited } from '../audit';
import { CurrentPrincipal, ForContainerTokens, type Principal, Scopes } from '../auth';
import { ApiFaults } from '../errors';
import { Compressed, ConnectionEnd, Location, PatchPipe, Tagged, type TaggedRequest, TakesMergePatch } from '../http';
import { ApiIdempotencyKey, Keyed, type KeyedRequest, REPLAYED_HEADER } from '../idempotency';
import { ContainersService } from './containers.service';
import { ApiContainerById, ApiIfMatch, ApiOkEither, TAG_HEADERS } from './dto/openapi';
import {
  CreateContainerDto,
  DeleteContainerDto,
  ListContainersDto,
  PatchContainerDto,
  patchOf,
  ReplaceLabelsDto,
  type SettingsPatch,
  UpdateContainerDto,
  WaitContainerDto,
} from './dto/requests';
import {
  ContainerCreatedView,
  ContainerDeletedView,
  ContainerListView,
  ContainerPausedView,
  ContainerRestoredView,
  ContainerResumedView,
  ContainerStartedView,
  ContainerStoppedView,
  ContainerUpdatedView,
  ContainerView,
  VariableListView,
  VariableView,
} from './dto/responses';
import { assertMayStart } from './model/start-command';
import { StatusWait } from './status-wait';

const DEFAULT_WAIT_SECONDS = 30;

const SETTINGS = { whole: UpdateContainerDto, patch: PatchContainerDto, patchOf };

/** The container lifecycle over HTTP. */
@ApiTags('containers')
@Controller('containers')
export class ContainersController {
  constructor(
    private readonly containers: ContainersService,
    private readonly statusWait: StatusWait,
  ) {}

  @Post()
  @HttpCode(202)
  @Scopes('write')
  @Audited('container.create')
  @Location<ContainerCreatedView>(({ db_id }) => `/api/containers/${db_id}`)
  @ApiOperation({ summary: 'Create a container' })
  @ApiIdempotencyKey()
  @ApiAcceptedResponse({ type: ContainerCreatedView, headers: REPLAYED_HEADER })
  @ApiFaults(
    'insufficient_permissions',
    'guest_session_expired',
    'exec_not_allowed',
    'container_limit_reached',
    'name_taken',
    'idempotency_key_reused',
    'no_capacity',
    'not_authorized',
    'snapshot_not_found',
    'snapshot_not_ready',
    'node_unavailable',
  )
  create(
    @CurrentPrincipal() caller: Principal,
    @Body() body: CreateContainerDto,
    @Keyed() keyed: KeyedRequest,
  ): Promise<ContainerCreatedView> {
    assertMayStart(caller, body);
    return this.containers.create(caller, body, keyed);
  }

  @Get()
  @ForContainerTokens()
  @Scopes('read')
  @Compressed()
  @ApiOperation({ summary: 'List your containers and online agents' })
  @ApiOkResponse({ type: ContainerListView })
  list(@CurrentPrincipal() caller: Principal, @Query() query: ListContainersDto): Promise<ContainerListView> {
    return this.containers.list(caller, query);
  }

  @Get(':id')
  @ForContainerTokens()
  @Scopes('read')
  @ApiOperation({ summary: 'Get a container or an agent' })
  @ApiOkEither(ContainerView, AgentView, TAG_HEADERS)
  @ApiContainerById()
  get(
    @CurrentPrincipal() caller: Principal,
    @Param('id') id: string,
    @Tagged() tag: TaggedRequest,
  ): Promise<ContainerView | AgentView> {
    return this.containers.get(caller, id, { tag });
  }

  @Get(':id/wait')
  @ForContainerTokens()
  @Scopes('read')
  @ApiOperation({ summary: 'Wait for a container to reach a status' })
  @ApiOkResponse({ type: ContainerView })
  @ApiContainerById('status_not_reached', 'status_unreachable', 'rate_limit_exceeded', 'too_many_connections')
  wait(
    @CurrentPrincipal() caller: Principal,
    @Param('id') id: string,
    @Query() { status, timeout = DEFAULT_WAIT_SECONDS }: WaitContainerDto,
    @ConnectionEnd() signal: AbortSignal,
  ): Promise<ContainerView> {
    return this.statusWait.until(caller, id, { status, timeoutMs: timeout * 1000, signal });
  }

  @Post(':id/start')
  @HttpCode(200)
  @ForContainerTokens()
  @Scopes('write')
  @Audited('container.start')
  @ApiOperation({ summary: 'Start a container; it is recreated with its data if missing from Docker' })
  @ApiOkResponse({ type: ContainerStartedView })
  @ApiContainerById(
    'guest_session_expired',
    'operation_in_progress',
    'start_failed',
    'no_capacity',
    'snapshot_not_found',
  )
  start(@CurrentPrincipal() caller: Principal, @Param('id') id: string): Promise<ContainerStartedView> {
    return this.containers.start(caller, id);
  }

  @Post(':id/stop')
  @HttpCode(200)
  @ForContainerTokens()
  @Scopes('write')
  @Audited('container.stop')
  @ApiOperation({ summary: 'Stop a container, or disconnect an agent' })
  @ApiOkEither(ContainerStoppedView, AgentStoppedView)
  @ApiContainerById('operation_in_progress', 'stop_failed')
  stop(
    @CurrentPrincipal() caller: Principal,
    @Param('id') id: string,
  ): Promise<ContainerStoppedView | AgentStoppedView> {
    return this.containers.stop(caller, id);
  }

  @Post(':id/pause')
  @HttpCode(200)
  @ForContainerTokens()
  @Scopes('write')
  @Audited('container.pause')
  @ApiOperation({
    summary: 'Pause all processes of a container',
    description:
      'The processes keep their memory, which stays reserved, and use no CPU. A start, stop, deletion, resize, ' +
      'command, terminal or file access resumes the container.',
  })
  @ApiOkResponse({ type: ContainerPausedView })
  @ApiContainerById('guest_session_expired', 'container_not_running', 'operation_in_progress', 'pause_failed')
  pause(@CurrentPrincipal() caller: Principal, @Param('id') id: string): Promise<ContainerPausedView> {
    return this.containers.pause(caller, id);
  }

  @Post(':id/resume')
  @HttpCode(200)
  @ForContainerTokens()
  @Scopes('write')
  @Audited('container.resume')
  @ApiOperation({ summary: 'Resume a paused container' })
  @ApiOkResponse({ type: ContainerResumedView })
  @ApiContainerById(
    'guest_session_expired',
    'container_not_running',
    'operation_in_progress',
    'resume_failed',
    'no_capacity',
  )
  resume(@CurrentPrincipal() caller: Principal, @Param('id') id: string): Promise<ContainerResumedView> {
    return this.containers.resume(caller, id);
  }

  @Post(':id/touch')
  @HttpCode(200)
  @ForContainerTokens()
  @Scopes('write')
  @Audited('container.touch')
  @ApiOperation({ summary: 'Mark a container as used, to postpone idle limits' })
  @ApiOkResponse({ type: ContainerView })
  @ApiContainerById('guest_session_expired')
  touch(@CurrentPrincipal() caller: Principal, @Param('id') id: string): Promise<ContainerView> {
    return this.containers.touchNow(caller, id);
  }

  @Delete(':id')
  @ForContainerTokens()
  @Scopes('write')
  @Audited('container.delete')
  @ApiOperation({ summary: 'Delete a container, keeping its data until purge_at, or an agent' })
  @ApiOkEither(ContainerDeletedView, AgentDeletedView)
  @ApiContainerById('operation_in_progress', 'delete_failed')
  delete(
    @CurrentPrincipal() caller: Principal,
    @Param('id') id: string,
    @Query() { force }: DeleteContainerDto,
  ): Promise<ContainerDeletedView | AgentDeletedView> {
    return this.containers.delete(caller, id, { force: force === 'true' });
  }

  @Post(':id/restore')
  @HttpCode(200)
  @ForContainerTokens()
  @Scopes('write')
  @Audited('container.restore')
  @ApiOperation({ summary: 'Restore a deleted container with its data before its purge_at' })
  @ApiOkResponse({ type: ContainerRestoredView })
  @ApiContainerById(
    'guest_session_expired',
    'container_limit_reached',
    'name_taken',
    'operation_in_progress',
    'removal_pending',
  )
  restore(@CurrentPrincipal() caller: Principal, @Param('id') id: string): Promise<ContainerRestoredView> {
    return this.containers.restore(caller, id);
  }

  @Put(':id/labels')
  @ForContainerTokens()
  @Scopes('write')
  @Audited('container.label')
  @ApiOperation({ summary: 'Replace all labels of a container; it is not restarted' })
  @ApiIfMatch()
  @ApiOkResponse({ type: ContainerView, headers: TAG_HEADERS })
  @ApiContainerById('guest_session_expired', 'operation_in_progress', 'precondition_failed', 'update_failed')
  replaceLabels(
    @CurrentPrincipal() caller: Principal,
    @Param('id') id: string,
    @Body() body: ReplaceLabelsDto,
    @Tagged() tag: TaggedRequest,
  ): Promise<ContainerView> {
    return this.containers.replaceLabels(caller, id, body.labels, { tag });
  }

  @Get(':id/env')
  @ForContainerTokens()
  @Scopes('read')
  @ApiOperation({ summary: 'List the environment variable names of a container' })
  @ApiOkResponse({ type: VariableListView })
  @ApiContainerById()
  variables(@CurrentPrincipal() caller: Principal, @Param('id') id: string): Promise<VariableListView> {
    return this.containers.variables(caller, id);
  }

  @Get(':id/env/:name')
  @ForContainerTokens()
  @Scopes('exec')
  @Audited('container.env_read')
  @ApiOperation({ summary: 'Get an environment variable of a container' })
  @ApiOkResponse({ type: VariableView })
  @ApiContainerById('guest_session_expired', 'exec_not_allowed', 'variable_not_found')
  variable(
    @CurrentPrincipal() caller: Principal,
    @Param('id') id: string,
    @Param('name') name: string,
  ): Promise<VariableView> {
    return this.containers.variable(caller, id, name);
  }

  @Patch([':id', ':id/settings'])
  @ForContainerTokens()
  @Scopes('write')
  @Audited('container.update')
  @TakesMergePatch(SETTINGS)
  @ApiIfMatch()
  @ApiOperation({
    summary: 'Update the settings of a container; its data is kept',
    description:
      'With `application/json`, the name and all resources are required, and `env` replaces all variables. With ' +
      '`application/merge-patch+json` (RFC 7396), any subset of fields is allowed: omitted fields stay unchanged, ' +
      'null removes an optional field, and `env`, `labels` and `start` are merged by key. Both forms are ' +
      'idempotent: repeating the request has no further effect.',
  })
  @ApiOkResponse({ type: ContainerUpdatedView, headers: TAG_HEADERS })
  @ApiContainerById(
    'guest_session_expired',
    'exec_not_allowed',
    'name_taken',
    'operation_in_progress',
    'precondition_failed',
    'update_failed',
    'no_capacity',
  )
  update(
    @CurrentPrincipal() caller: Principal,
    @Param('id') id: string,
    @Body(new PatchPipe(SETTINGS)) patch: SettingsPatch,
    @Tagged() tag: TaggedRequest,
  ): Promise<ContainerUpdatedView> {
    assertMayStart(caller, patch);
    return this.containers.update(caller, id, patch, { tag });
  }
}
