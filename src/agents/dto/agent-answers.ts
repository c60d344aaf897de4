import { ApiProperty, PickType } from '@nestjs/swagger';
import { AgentView } from './agent-view';

/** What `POST /api/agents` answers. */
export class AgentCreatedView extends PickType(AgentView, ['id', 'name']) {
  @ApiProperty({
    example: `berth_${'1f2e3d4c'.repeat(8)}`,
    description: 'What the agent connects with; shown this once.',
  })
  readonly token: string;
}

/** What `POST /api/containers/:id/stop` answers for an agent. */
export class AgentStoppedView extends PickType(AgentView, ['id', 'name']) {
  @ApiProperty({ type: String, enum: ['offline'] })
  readonly status: 'offline';
  @ApiProperty({ enum: ['agent disconnected', 'agent was already offline'] })
  readonly message: string;
}

/** What `DELETE /api/containers/:id` answers for an agent. */
export class AgentDeletedView extends PickType(AgentView, ['id', 'name']) {
  @ApiProperty({ example: 'agent deleted' })
  readonly message: string;
}
