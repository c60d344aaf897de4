import { Controller, Get, Res } from '@nestjs/common';
import { ApiOkResponse, ApiOperation, ApiProduces, ApiTags } from '@nestjs/swagger';
import type { FastifyReply } from 'fastify';
import { Public } from '../auth';
import { ApiFaults } from '../errors';
import { Metrics } from './metrics';

/** The route that Prometheus scrapes. */
@Public()
@ApiTags('health')
@Controller('metrics')
export class MetricsController {
  constructor(private readonly metrics: Metrics) {}

  @Get()
  @ApiOperation({ summary: 'Get the metrics of this process in Prometheus format' })
  @ApiProduces('text/plain')
  @ApiOkResponse({
    description: 'One line per series.',
    schema: { type: 'string', example: 'berth_containers{status="running"} 12' },
  })
  @ApiFaults('shutting_down')
  async scrape(@Res({ passthrough: true }) reply: FastifyReply): Promise<string> {
    reply.type(this.metrics.contentType);
    return this.metrics.text();
  }
}
