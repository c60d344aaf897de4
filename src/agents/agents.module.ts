import { Inject, Injectable, Module } from '@nestjs/common';
import { AuditModule } from '../audit';
import { AuthModule } from '../auth';
import { Database } from '../database';
import { EventsModule } from '../events';
import { IdempotencyModule } from '../idempotency';
import { type Logger, LOGGER } from '../logging';
import { Metrics, SampledGauge } from '../metrics';
import { RateLimitsModule } from '../rate-limits';
import { TiersModule } from '../tiers';
import { AgentConnections } from './agent-connections';
import { AgentEntity } from './agent.entity';
import { AgentRepository } from './agent.repository';
import { AgentsController } from './agents.controller';
import { AgentsGateway } from './agents.gateway';
import { AgentsService } from './agents.service';
import { SilenceSweep } from './silence-sweep';

/** Metric of connected agents. It reads the database, and so is the same in every process. */
@Injectable()
class AgentGauge {
  constructor(metrics: Metrics, database: Database, @Inject(LOGGER) logger: Logger) {
    new SampledGauge(metrics, {
      name: 'berth_agents_online',
      help: 'Connected agents, over all processes.',
      sample: async () => [{ value: await database.manager.countBy(AgentEntity, { online: true }) }],
      logger,
    });
  }
}

/** Agents: users' own machines that hold a connection to Berth. */
@Module({
  imports: [AuditModule, AuthModule, EventsModule, IdempotencyModule, RateLimitsModule, TiersModule],
  controllers: [AgentsController],
  providers: [AgentsService, AgentRepository, AgentConnections, AgentsGateway, AgentGauge, SilenceSweep],
  exports: [AgentsService],
})
export class AgentsModule {}
