import { ApiProperty, PickType } from '@nestjs/swagger';
import type { AgentFacts } from '../../events';
import { agentFacts, type AgentRow } from '../agent.entity';

const AGENT_STATUSES = ['online', 'offline'] as const;

/** An agent in `GET /api/agents` and `GET /api/containers`. */
export class AgentView implements AgentFacts {
  @ApiProperty({ pattern: '^agent:[0-9a-f-]{36}$', example: 'agent:3f0c8a52-6d1b-4c7e-9b1a-2e5d7f904c11' })
  readonly id: string;
  @ApiProperty({ type: String, enum: ['agent'] })
  readonly type: 'agent';
  @ApiProperty({ example: 'workstation' })
  readonly name: string;
  @ApiProperty({ enum: AGENT_STATUSES, enumName: 'AgentStatus' })
  readonly status: (typeof AGENT_STATUSES)[number];
  @ApiProperty({ type: String, nullable: true, example: 'linux' })
  readonly os: string | null;
  @ApiProperty({ type: String, nullable: true, example: 'x64' })
  readonly arch: string | null;
  @ApiProperty({ type: String, nullable: true, example: '0.1.0', description: 'Version of the agent program.' })
  readonly version: string | null;
  @ApiProperty({ type: [String], example: ['gpu'] })
  readonly tags: readonly string[];
  @ApiProperty({ type: String, nullable: true, example: 'under the desk' })
  readonly description: string | null;
  @ApiProperty({ format: 'date-time' })
  readonly created_at: string;
  @ApiProperty({
    type: String,
    format: 'date-time',
    nullable: true,
    description: 'Start of the current or last connection; null if the agent has never connected.',
  })
  readonly connected_at: string | null;
  @ApiProperty({ type: String, format: 'date-time', nullable: true, description: 'When the agent last sent anything.' })
  readonly last_seen_at: string | null;
  @ApiProperty({
    type: [Number],
    nullable: true,
    example: [0.4, 0.3, 0.2],
    description: 'Load averages over 1, 5 and 15 minutes, from the last report; null before the first report.',
  })
  readonly load: readonly number[] | null;
  @ApiProperty({ type: Number, nullable: true, minimum: 0, example: 32_768, description: 'MiB.' })
  readonly memory_total_mb: number | null;
  @ApiProperty({ type: Number, nullable: true, minimum: 0, example: 8192, description: 'MiB.' })
  readonly memory_used_mb: number | null;
  @ApiProperty({
    type: Number,
    nullable: true,
    minimum: 0,
    example: 86_400,
    description: "Uptime of the agent's machine at the last report.",
  })
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
  @ApiProperty({ type: 'integer', minimum: 0, example: 1 })
  readonly count: number;
  @ApiProperty({ type: 'integer', minimum: 0, example: 5, description: "Maximum number of agents in the user's tier." })
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
  @ApiProperty({
    example: `berth_${'1f2e3d4c'.repeat(8)}`,
    description: 'Token that the agent connects with. Shown only once.',
  })
  readonly token: string;
}

/** The answer of `POST /api/containers/:id/stop` for an agent. */
export class AgentStoppedView extends PickType(AgentView, ['id', 'name']) {
  @ApiProperty({ type: String, enum: ['offline'] })
  readonly status: 'offline';
  @ApiProperty({ enum: ['agent disconnected', 'agent was already offline'] })
  readonly message: string;
}

/** The answer of `DELETE /api/containers/:id` for an agent. */
export class AgentDeletedView extends PickType(AgentView, ['id', 'name']) {
  @ApiProperty({ enum: ['agent deleted'] })
  readonly message: string;
}
