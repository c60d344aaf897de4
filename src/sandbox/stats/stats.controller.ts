import { Controller, Get, Param, Query, Req, Res } from '@nestjs/common';
import { ApiExtraModels, ApiOkResponse, ApiOperation, ApiResponse, ApiTags, getSchemaPath } from '@nestjs/swagger';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { AuditedLook } from '../../audit';
import { CurrentPrincipal, type Principal, Scopes } from '../../auth';
import { ApiContainerById, ContainersService } from '../../containers';
import { ApiFaults } from '../../errors';
import { Compressed, eventStream } from '../../http';
import {
  ContainerStatsView,
  FollowStatsDto,
  StatsEndView,
  StatsHistoryView,
  StatsStreamEndView,
  StatsView,
} from './dto';
import { RunStreams } from '../access/run-streams';
import { ContainerStatistics } from './stats';
import { StatsHistory } from './stats-history';
import { StatsStreams } from './stats-streams';

/** The resource usage of one container. */
@ApiTags('inside containers')
@Controller('containers/:id/stats')
export class StatsController {
  constructor(
    private readonly streams: RunStreams,
    private readonly statistics: ContainerStatistics,
    private readonly containers: ContainersService,
    private readonly past: StatsHistory,
  ) {}

  @Get()
  @Scopes('exec')
  @AuditedLook('container.stats')
  @ApiOperation({
    summary: 'What a running container uses of CPU, memory and network now',
    description:
      'With "Accept: text/event-stream" as Server-Sent Events: "stats" every two seconds, and last "end" ({ reason }), when the ' +
      'container stops, the token ends or the server does. The first answer takes half a second, which the CPU is measured over.',
  })
  @ApiExtraModels(StatsView, StatsEndView)
  @ApiResponse({
    status: 200,
    description: 'At most two seconds old.',
    content: {
      'application/json': { schema: { $ref: getSchemaPath(StatsView) } },
      ...eventStream({ stats: { $ref: getSchemaPath(StatsView) }, end: { $ref: getSchemaPath(StatsEndView) } }),
    },
  })
  @ApiContainerById(
    'guest_session_expired',
    'exec_not_allowed',
    'container_not_running',
    'too_many_connections',
    'stats_failed',
  )
  stats(
    @CurrentPrincipal() caller: Principal,
    @Param('id') id: string,
    @Req() request: FastifyRequest,
    @Res() reply: FastifyReply,
  ): Promise<void> {
    return this.streams.answer({ caller, id, request, reply }, this.statistics.source);
  }

  @Get('history')
  @Scopes('exec')
  @AuditedLook('container.stats')
  @Compressed()
  @ApiOperation({
    summary: 'What a container used of CPU, memory and network in the last hour',
    description:
      'A sample every 30 seconds while the container runs. Each process of the server measures on its own, and forgets the ' +
      'samples when it ends. The 500 most recently used containers are measured, none if STATS_HISTORY is off.',
  })
  @ApiOkResponse({ type: StatsHistoryView })
  @ApiContainerById('guest_session_expired', 'exec_not_allowed')
  async history(@CurrentPrincipal() caller: Principal, @Param('id') id: string): Promise<StatsHistoryView> {
    const container = await this.containers.enter(caller, id);
    return this.past.of(container.id);
  }
}

/** The resource usage of several containers. */
@ApiTags('inside containers')
@Controller('stats')
export class SeveralStatsController {
  constructor(private readonly streams: StatsStreams) {}

  @Get('stream')
  @Scopes('exec')
  @AuditedLook('container.stats', { polls: 'all' })
  @ApiOperation({
    summary: 'Follow what several containers use of CPU, memory and network',
    description:
      'Server-Sent Events: "stats" of each container every five seconds or more often, while it runs or is paused, and last ' +
      '"end" ({ reason }), when the token ends or the server does. Containers that do not exist or are not yours are left out. ' +
      'The stream does not count as use of the containers.',
  })
  @ApiExtraModels(ContainerStatsView, StatsStreamEndView)
  @ApiOkResponse({
    description: 'Does not end with the containers.',
    content: eventStream({
      stats: { $ref: getSchemaPath(ContainerStatsView) },
      end: { $ref: getSchemaPath(StatsStreamEndView) },
    }),
  })
  @ApiFaults(
    'invalid_parameters',
    'insufficient_permissions',
    'guest_session_expired',
    'exec_not_allowed',
    'too_many_connections',
  )
  follow(
    @CurrentPrincipal() caller: Principal,
    @Query() { ids }: FollowStatsDto,
    @Req() request: FastifyRequest,
    @Res() reply: FastifyReply,
  ): void {
    this.streams.follow({ caller, ids: ids.toLowerCase().split(','), request, reply });
  }
}
