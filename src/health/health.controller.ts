import { Controller, Get } from '@nestjs/common';
import { ApiExtraModels, ApiOkResponse, ApiOperation, ApiResponse, ApiTags, getSchemaPath } from '@nestjs/swagger';
import { Public } from '../auth';
import { DomainError, faultResponse } from '../errors';
import { Draining } from '../http';
import { LiveView, NOT_READY_EXAMPLE, NotReadyView, ReadyView } from './health-view';
import { ReadinessCheck } from './readiness';

const ENDING = faultResponse(['shutting_down']).content?.['application/json']?.schema ?? {};
const NOT_READY = {
  'application/json': {
    schema: { oneOf: [{ $ref: getSchemaPath(NotReadyView) }, ENDING] },
    examples: {
      not_ready: { value: NOT_READY_EXAMPLE },
      shutting_down: { $ref: '#/components/examples/shutting_down' },
    },
  },
};

/**
 * Probes for load balancers and supervisors: whether this process may get requests, and whether it must be restarted.
 */
@Public()
@ApiTags('health')
@Controller('health')
export class HealthController {
  constructor(
    private readonly readiness: ReadinessCheck,
    private readonly draining: Draining,
  ) {}

  @Get('live')
  @ApiOperation({ summary: 'Check whether the process is alive' })
  @ApiOkResponse({ type: LiveView })
  live(): LiveView {
    return { status: 'ok' };
  }

  @Get('ready')
  @ApiOperation({
    summary: 'Check whether the process can serve requests: database writable, Docker and Redis reachable',
  })
  @ApiOkResponse({ type: ReadyView })
  @ApiExtraModels(NotReadyView)
  @ApiResponse({
    status: 503,
    description: 'A component is down, or the process is shutting down.',
    content: NOT_READY,
  })
  async ready(): Promise<ReadyView> {
    if (this.draining.begun) throw new DomainError('shutting_down');
    const { ready, reasons, ...found } = await this.readiness.run();
    if (ready) return { status: found.notices.length > 0 ? 'degraded' : 'ok', ...found };
    throw new DomainError('not_ready', { fields: { status: 'error', reasons, ...found } });
  }
}
