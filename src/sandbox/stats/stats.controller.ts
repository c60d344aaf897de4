import { Controller, Get, Param, Query, Req, Res } from '@nestjs/common';
import { ApiExtraModels, ApiOkResponse, ApiOperation, ApiResponse, ApiTags, getSchemaPath } from '@nestjs/swagger';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { AuditedLook } from '../../audit';
import { CurrentPrincipal, ForContainerTokens, type Principal, Scopes } from '../../auth';
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
@ForContainerTokens()
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
    summary: 'Get CPU, memory and network usage of a container',
    description:
      'With "Accept: text/event-stream", sends Server-Sent Events: "stats" every 2 s, and finally "end" ({ reason ' +
      '}) when the container stops, the token ends or the server shuts down. The first response takes 500 ms, to ' +
      'measure the CPU.',
  })
  @ApiExtraModels(StatsView, StatsEndView)
  @ApiResponse({
    status: 200,
    description: 'At most 2 s old.',
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
    summary: 'Get CPU, memory and network usage of a container over the last hour',
    description:
      'One sample every 30 s while the container is running. Each server process collects its own samples, and ' +
      'discards them when it ends. Samples are collected for the 500 most recently used containers, or for none if ' +
      'STATS_HISTORY is off.',
  })
  @ApiOkResponse({ type: StatsHistoryView })
  @ApiContainerById('guest_session_expired', 'exec_not_allowed')
  async history(@CurrentPrincipal() caller: Principal, @Param('id') id: string): Promise<StatsHistoryView> {
    const container = await this.containers.findToUse(caller, id);
    return this.past.of(container.id);
  }
}

/** The resource usage of several containers. */
@ApiTags('inside containers')
@ForContainerTokens()
@Controller('stats')
export class SeveralStatsController {
  constructor(private readonly streams: StatsStreams) {}

  @Get('stream')
  @Scopes('exec')
  @AuditedLook('container.stats', { polls: 'all' })
  @ApiOperation({
    summary: 'Stream CPU, memory and network usage of several containers',
    description:
      'Server-Sent Events: "stats" of each running or paused container at least every 5 s, and finally "end" ({ ' +
      'reason }) when the token ends or the server shuts down. Containers that do not exist or belong to other ' +
      'users are skipped. The stream does not count as use of the containers.',
  })
  @ApiExtraModels(ContainerStatsView, StatsStreamEndView)
  @ApiOkResponse({
    description: 'The stream stays open when containers stop.',
    content: eventStream({
      stats: { $ref: getSchemaPath(ContainerStatsView) },
      end: { $ref: getSchemaPath(StatsStreamEndView) },
    }),
  })
  @ApiFaults('insufficient_permissions', 'guest_session_expired', 'exec_not_allowed', 'too_many_connections')
  follow(
    @CurrentPrincipal() caller: Principal,
    @Query() { ids }: FollowStatsDto,
    @Req() request: FastifyRequest,
    @Res() reply: FastifyReply,
  ): void {
    this.streams.follow({ caller, ids: ids.toLowerCase().split(','), request, reply });
  }
}
