import { Inject, Injectable } from '@nestjs/common';
import { Database } from '../database';
import { type Logger, LOGGER } from '../logging';
import { Metrics, SampledGauge } from '../metrics';
import { AgentEntity } from './agent.entity';

/** How many agents are connected, as the database says: the same in every process. */
@Injectable()
export class AgentGauge {
  constructor(metrics: Metrics, database: Database, @Inject(LOGGER) logger: Logger) {
    new SampledGauge(metrics, {
      name: 'berth_agents_online',
      help: 'Agents that are connected, to all processes together.',
      sample: async () => [{ value: await database.manager.countBy(AgentEntity, { online: true }) }],
      logger,
    });
  }
}
