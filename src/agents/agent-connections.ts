import { BeforeApplicationShutdown, Injectable } from '@nestjs/common';
import { Signals } from '../signals';
import { AgentConnection } from './agent-connection';

/** The agents that are connected to this process. */
@Injectable()
export class AgentConnections implements BeforeApplicationShutdown {
  private readonly byAgent = new Map<string, Set<AgentConnection>>();
  private readonly stopListening: () => void;

  constructor(signals: Signals) {
    this.stopListening = signals.on('agent_epoch', ({ agentId, epoch }) => this.reviewOlder(agentId, epoch));
  }

  add(connection: AgentConnection): void {
    const { id, epoch } = connection.agent;
    const connections = this.byAgent.get(id) ?? new Set();
    this.byAgent.set(id, connections.add(connection));
    // Of two concurrent connections, the signal of the later one may have arrived before the earlier one was added.
    this.reviewOlder(id, Math.max(epoch, ...Array.from(connections, ({ agent }) => agent.epoch)));
  }

  /** Removes a connection that is over. */
  async leave(connection: AgentConnection): Promise<void> {
    const { id } = connection.agent;
    const connections = this.byAgent.get(id);
    connections?.delete(connection);
    if (connections?.size === 0) this.byAgent.delete(id);
    await connection.end();
  }

  /**
   * Disconnects this process's agents while the database is still open; their clients reconnect, here or to another
   * process.
   */
  async beforeApplicationShutdown(): Promise<void> {
    this.stopListening();
    const all = [...this.byAgent.values()].flatMap((connections) => [...connections]);
    for (const connection of all) connection.breakOff();
    await Promise.all(all.map((connection) => this.leave(connection)));
  }

  private reviewOlder(agentId: string, epoch: number): void {
    for (const connection of this.byAgent.get(agentId) ?? []) {
      if (connection.agent.epoch < epoch) void connection.review();
    }
  }
}
