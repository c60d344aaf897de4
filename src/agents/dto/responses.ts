import { ApiProperty, PickType } from '@nestjs/swagger';
import { Amount, Choice, Count, Text, Timestamp } from '../../api-fields';
import type { AgentFacts } from '../../events';
import { agentFacts, type AgentRow } from '../agent.entity';

const AGENT_STATUSES = ['online', 'offline'] as const;

/** An agent in `GET /api/agents` and `GET /api/containers`. */
export class AgentView implements AgentFacts {
  @Text({ pattern: '^agent:[0-9a-f-]{36}$', example: 'agent:3f0c8a52-6d1b-4c7e-9b1a-2e5d7f904c11' })
  readonly id: string;
  @Choice(['agent']) readonly type: 'agent';
  @Text({ example: 'workstation' }) readonly name: string;
  @Choice(AGENT_STATUSES, { enumName: 'AgentStatus' })
  readonly status: (typeof AGENT_STATUSES)[number];
  @Text({ nullable: true, example: 'linux' }) readonly os: string | null;
  @Text({ nullable: true, example: 'x64' }) readonly arch: string | null;
  @Text('Version of the agent program.', { nullable: true, example: '0.1.0' })
  readonly version: string | null;
  @ApiProperty({ type: [String], example: ['gpu'] })
  readonly tags: readonly string[];
  @Text({ nullable: true, example: 'under the desk' })
  readonly description: string | null;
  @Timestamp() readonly created_at: string;
  @Timestamp('Start of the current or last connection; null if the agent has never connected.', { nullable: true })
  readonly connected_at: string | null;
  @Timestamp('When the agent last sent anything.', { nullable: true })
  readonly last_seen_at: string | null;
  @ApiProperty({
    type: [Number],
    nullable: true,
    example: [0.4, 0.3, 0.2],
    description: 'Load averages over 1, 5 and 15 minutes, from the last report; null before the first report.',
  })
  readonly load: readonly number[] | null;
  @Amount('MiB.', { nullable: true, example: 32_768 })
  readonly memory_total_mb: number | null;
  @Amount('MiB.', { nullable: true, example: 8192 })
  readonly memory_used_mb: number | null;
  @Amount("Uptime of the agent's machine at the last report.", { nullable: true, example: 86_400 })
  readonly uptime_seconds: number | null;
}

/** An agent in events. */
export class AgentFactsView
  extends PickType(AgentView, ['id', 'type', 'name', 'status', 'os', 'arch', 'tags'])
  implements AgentFacts {}

/** The answer of `GET /api/agents`. */
export class AgentListView {
  @ApiProperty({ type: [AgentView], description: 'Newest first.' })
  readonly agents: readonly AgentView[];
  @Count({ example: 1 }) readonly count: number;
  @Count("Maximum number of agents in the user's tier.", { example: 5 })
  readonly limit: number;
}

export function viewAgent(row: AgentRow): AgentView {
  const { id, type, name, status, os, arch, tags } = agentFacts(row);
  return {
    id,
    type,
    name,
    status,
    os,
    arch,
    tags,
    version: row.version,
    description: row.description,
    created_at: row.createdAt.toISOString(),
    connected_at: row.connectedAt?.toISOString() ?? null,
    last_seen_at: row.seenAt?.toISOString() ?? null,
    load: row.stats?.load ?? null,
    memory_total_mb: row.stats?.memory_total_mb ?? null,
    memory_used_mb: row.stats?.memory_used_mb ?? null,
    uptime_seconds: row.stats?.uptime_seconds ?? null,
  };
}

/** The answer of `POST /api/agents`. */
export class AgentCreatedView extends PickType(AgentView, ['id', 'name']) {
  @Text('Token that the agent connects with. Shown only once.', { example: `berth_${'1f2e3d4c'.repeat(8)}` })
  readonly token: string;
}

/** The answer of `POST /api/containers/:id/stop` for an agent. */
export class AgentStoppedView extends PickType(AgentView, ['id', 'name']) {
  @Choice(['offline']) readonly status: 'offline';
  @Choice(['agent disconnected', 'agent was already offline'])
  readonly message: string;
}

/** The answer of `DELETE /api/containers/:id` for an agent. */
export class AgentDeletedView extends PickType(AgentView, ['id', 'name']) {
  @Choice(['agent deleted']) readonly message: string;
}
