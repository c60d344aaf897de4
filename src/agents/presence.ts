import type { EventDraft } from '../events';
import type { Hello } from './agent-protocol';
import { type AgentEntity, agentFacts, type AgentRow } from './agent.entity';

export type EndReason = 'closed' | 'silent' | 'stopped' | 'deleted';

export interface AgentChange {
  readonly patch: Partial<Pick<AgentEntity, keyof Hello | 'online' | 'connectedAt' | 'seenAt' | 'deletedAt'>>;
  readonly event: EventDraft | null;
}

/** The agent has connected. A connection that replaces another emits no event, since the agent was already online. */
export function connected(row: AgentRow, { hello, now }: { hello: Hello; now: Date }): AgentChange {
  const patch = { ...hello, online: true, connectedAt: now, seenAt: now };
  return { patch, event: row.online ? null : { type: 'agent_connected', data: agentFacts({ ...row, ...patch }) } };
}

/** @returns null if the agent is not connected */
export function disconnected(row: AgentRow, reason: EndReason): AgentChange | null {
  if (!row.online) return null;
  const patch = { online: false };
  return { patch, event: { type: 'agent_disconnected', data: { ...agentFacts({ ...row, ...patch }), reason } } };
}

/** The agent is deleted, connected or not. */
export function deleted(row: AgentRow, now: Date): AgentChange {
  const ended = disconnected(row, 'deleted');
  return { patch: { online: false, deletedAt: now }, event: ended?.event ?? null };
}

/**
 * Decides from the agent's row what a connection of this epoch has to do: go on, end so that its client reconnects,
 * or end so that it stays away. It must stay away if another connection has replaced it: a reconnect would replace
 * that one in turn, without end.
 */
export function endReason(row: AgentRow | null, epoch: number): 'go_on' | 'come_back' | 'replaced' | 'deleted' {
  if (!row) return 'deleted';
  if (row.epoch === epoch) return 'go_on';
  return row.online ? 'replaced' : 'come_back';
}
