import { Controller, Get } from '@nestjs/common';
import { ApiOkResponse, ApiOperation, ApiServiceUnavailableResponse, ApiTags } from '@nestjs/swagger';
import { Public } from '../auth';
import { DomainError } from '../errors';
import { Draining } from '../http';
import { LiveView, NotReadyView, ReadyView } from './health-view';
import { ReadinessCheck } from './readiness';

/** For whoever decides whether this process gets requests, or is to be started again. */
@Public()
@ApiTags('health')
@Controller('health')
export class HealthController {
  constructor(
    private readonly readiness: ReadinessCheck,
    private readonly draining: Draining,
  ) {}

  @Get('live')
  @ApiOperation({ summary: 'Whether the process works at all' })
  @ApiOkResponse({ type: LiveView })
  live(): LiveView {
    return { status: 'ok' };
  }

  @Get('ready')
  @ApiOperation({
    summary: 'Whether the process can serve requests: its database takes writes, Docker and Redis answer',
  })
  @ApiOkResponse({ type: ReadyView })
  @ApiServiceUnavailableResponse({ type: NotReadyView })
  async ready(): Promise<ReadyView> {
    if (this.draining.begun) throw new DomainError('shutting_down');
    const { ready, reasons, ...found } = await this.readiness.run();
    if (ready) return { status: found.notices.length > 0 ? 'degraded' : 'ok', ...found };
    throw new DomainError('not_ready', { fields: { status: 'error', reasons, ...found } });
  }
}
