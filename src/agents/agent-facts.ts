import type { AgentFacts } from '../events';
import type { AgentRow } from './agent.entity';

/** An agent's id as clients know it; what follows `agent:` is the row's. */
export function publicId({ id }: Pick<AgentRow, 'id'>): string {
  return `agent:${id}`;
}

/** What events and answers tell of an agent. */
export function agentFacts(row: AgentRow): AgentFacts {
  return {
    id: publicId(row),
    type: 'agent',
    name: row.name,
    status: row.online ? 'online' : 'offline',
    os: row.os,
    arch: row.arch,
    tags: [...row.tags],
  };
}
