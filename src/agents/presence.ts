import type { EventDraft } from '../events';
import type { Hello } from './agent-protocol';
import { type AgentEntity, agentFacts, type AgentRow } from './agent.entity';

/** Why a connection is over. */
export type EndReason = 'closed' | 'silent' | 'stopped' | 'deleted';

/** A change of one agent and its event, if it has one. */
export interface AgentChange {
  readonly patch: Partial<Pick<AgentEntity, keyof Hello | 'online' | 'connectedAt' | 'seenAt' | 'deletedAt'>>;
  readonly event: EventDraft | null;
}

/** The agent has connected. Only from offline is that news: a connection that replaces another leaves it online. */
export function connected(row: AgentRow, { hello, now }: { hello: Hello; now: Date }): AgentChange {
  const patch = { ...hello, online: true, connectedAt: now, seenAt: now };
  return { patch, event: row.online ? null : { type: 'agent_connected', data: agentFacts({ ...row, ...patch }) } };
}

/** @returns null where there is no connection to end */
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
 * What a connection of that epoch is to do, now that the agent's row is this: go on, end so that its client comes back
 * by itself, or end so that it stays away. It stays away where another connection has taken its place: if it came back
 * it would push that one out, and so on for ever.
 */
export function endReason(row: AgentRow | null, epoch: number): 'go_on' | 'come_back' | 'replaced' | 'deleted' {
  if (!row) return 'deleted';
  if (row.epoch === epoch) return 'go_on';
  return row.online ? 'replaced' : 'come_back';
}
