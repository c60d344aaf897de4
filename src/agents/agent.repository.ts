import { Injectable } from '@nestjs/common';
import { UserService } from '../auth';
import { Database, isUniqueViolation } from '../database';
import { DomainError } from '../errors';
import { EventLog } from '../events';
import { Signals } from '../signals';
import { TierUsage } from '../tiers';
import type { AgentStats, Hello } from './agent-protocol';
import { AgentEntity, type AgentRow } from './agent.entity';
import { AgentChange, connected, deleted, disconnected, EndReason } from './presence';

/** An agent's id and its user's; changes of the agent are made under the lock of the user's row. */
type AgentKey = Pick<AgentRow, 'id' | 'userId'>;

/**
 * The only writer of agents. Connections are accepted and ended under the lock of the user's row, and every such
 * change increments the epoch.
 */
@Injectable()
export class AgentRepository {
  constructor(
    private readonly database: Database,
    private readonly eventLog: EventLog,
    private readonly users: UserService,
    private readonly usage: TierUsage,
    private readonly signals: Signals,
  ) {}

  /** @returns null if it does not exist or is deleted */
  find(id: string): Promise<AgentRow | null> {
    return this.database.manager.findOneBy(AgentEntity, { id });
  }

  /** A user's agents, newest first. */
  list(filter: { userId: string; name?: string; online?: true }): Promise<AgentRow[]> {
    return this.database.manager.find(AgentEntity, { where: filter, order: { createdAt: 'DESC', id: 'DESC' } });
  }

  /** Lists the agents that are online; with `notSeen`, only those whose last sign of life is outside this interval. */
  listOnline(notSeen?: { after: Date; until: Date }): Promise<AgentRow[]> {
    const query = this.database.manager.createQueryBuilder(AgentEntity, 'a').where('a.online = true');
    if (notSeen) {
      query.andWhere('(a.seenAt <= :after OR a.seenAt > :until)', {
        after: this.database.timestamp(notSeen.after),
        until: this.database.timestamp(notSeen.until),
      });
    }
    return query.getMany();
  }

  /** @throws DomainError `agent_limit_reached`, `agent_name_taken` */
  async insert(row: AgentRow, { limit, tier }: { limit: number; tier: string }): Promise<void> {
    await this.database.runInTxLocking(row.userId, async () => {
      await this.users.lock(row.userId);
      const current = await this.usage.agentsOf(row.userId);
      if (current >= limit) throw new DomainError('agent_limit_reached', { fields: { current, limit, tier } });
      try {
        await this.database.manager.insert(AgentEntity, row);
      } catch (error) {
        if (isUniqueViolation(error)) throw new DomainError('agent_name_taken', { cause: error });
        throw error;
      }
    });
  }

  /** Records a new connection, which replaces any other. @returns null if the agent is deleted */
  connect(key: AgentKey, connection: { hello: Hello; now: Date }): Promise<AgentRow | null> {
    return this.change(key, (row) => connected(row, connection));
  }

  /**
   * Ends the connection of this epoch, or any connection if no epoch is given.
   *
   * @param end.lastSeenAt requires that this was the last sign of life
   * @returns null if there is no such connection, so that each disconnection is emitted once
   */
  disconnect(
    key: AgentKey,
    end: { reason: EndReason; epoch?: number; lastSeenAt?: Date | null },
  ): Promise<AgentRow | null> {
    return this.change(key, (row) => {
      if (end.epoch !== undefined && row.epoch !== end.epoch) return null;
      if (end.lastSeenAt !== undefined && row.seenAt?.getTime() !== end.lastSeenAt?.getTime()) return null;
      return disconnected(row, end.reason);
    });
  }

  /**
   * Soft deletion, which frees the name and the place in the count at once.
   *
   * @returns null if the agent is already deleted
   */
  delete(key: AgentKey, now: Date): Promise<AgentRow | null> {
    return this.change(key, (row) => deleted(row, now));
  }

  /** Writes a sign of life. @returns false if the connection no longer belongs to the agent */
  async beat(sign: { id: string; epoch: number; stats: AgentStats; now: Date }): Promise<boolean> {
    const { id, epoch, stats, now } = sign;
    const { affected } = await this.database.manager.update(
      AgentEntity,
      { id, epoch, online: true },
      { seenAt: now, stats },
    );
    return affected === 1;
  }

  private change(key: AgentKey, decide: (row: AgentRow) => AgentChange | null): Promise<AgentRow | null> {
    return this.database.runInTxLocking(key.userId, async () => {
      // Locks the user first, like all code that appends events: another order could deadlock.
      await this.users.lock(key.userId);
      const row = await this.find(key.id);
      const change = row && decide(row);
      if (!change) return null;
      const epoch = row.epoch + 1;
      const { affected } = await this.database.manager.update(
        AgentEntity,
        { id: row.id, epoch: row.epoch },
        { ...change.patch, epoch },
      );
      if (affected !== 1) throw new Error(`agent ${row.id} was changed by somebody who did not lock its user`);
      if (change.event) await this.eventLog.append({ userId: row.userId, drafts: [change.event] });
      this.database.afterCommit(() => this.signals.publish('agent_epoch', { agentId: row.id, epoch }));
      return { ...row, ...change.patch, epoch };
    });
  }
}
