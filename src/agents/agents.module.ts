import { Module } from '@nestjs/common';
import { AuthModule } from '../auth';
import { EventsModule } from '../events';
import { RateLimitsModule } from '../rate-limits';
import { TiersModule } from '../tiers';
import { AgentConnections } from './agent-connections';
import { AgentGauge } from './agent-gauge';
import { AgentRepository } from './agent.repository';
import { AgentsController } from './agents.controller';
import { AgentsGateway } from './agents.gateway';
import { AgentsService } from './agents.service';
import { SilenceSweep } from './silence-sweep';

/** Agents: users' own machines that hold a connection to Berth. */
@Module({
  imports: [AuthModule, EventsModule, RateLimitsModule, TiersModule],
  controllers: [AgentsController],
  providers: [AgentsService, AgentRepository, AgentConnections, AgentsGateway, AgentGauge, SilenceSweep],
  exports: [AgentsService],
})
export class AgentsModule {}
