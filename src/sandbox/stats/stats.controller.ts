import { Controller, Get, Param, Req, Res } from '@nestjs/common';
import { ApiExtraModels, ApiOperation, ApiResponse, ApiTags, getSchemaPath } from '@nestjs/swagger';
import type { FastifyReply, FastifyRequest } from 'fastify';
import { AuditedLook } from '../../audit';
import { CurrentPrincipal, type Principal, Scopes } from '../../auth';
import { ApiContainerById } from '../../containers';
import { eventStream } from '../../http';
import { StatsEndView, StatsView } from './dto';
import { RunStreams } from '../run-streams';
import { ContainerStatistics } from './stats';

/** The current resource usage of containers. */
@ApiTags('inside containers')
@Controller('containers/:id/stats')
export class StatsController {
  constructor(
    private readonly streams: RunStreams,
    private readonly statistics: ContainerStatistics,
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
}
