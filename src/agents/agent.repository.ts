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

/** Which agent, and whose: its user's row is what changes of it are made under. */
export type AgentKey = Pick<AgentRow, 'id' | 'userId'>;

/**
 * The sole writer of agents. Who may speak for an agent is decided under its user's lock, and every change counts its
 * epoch up.
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

  /** @returns null if there is none, or it is deleted */
  find(id: string): Promise<AgentRow | null> {
    return this.database.manager.findOneBy(AgentEntity, { id });
  }

  /** A user's agents, newest first. */
  list(filter: { userId: string; name?: string; online?: true }): Promise<AgentRow[]> {
    return this.database.manager.find(AgentEntity, { where: filter, order: { createdAt: 'DESC', id: 'DESC' } });
  }

  /** Everybody who is online and, if that is given, whose last sign of life was not within these times. */
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

  /** Notes a new connection, which takes the place of any other. @returns null if there is no such agent any more */
  connect(key: AgentKey, connection: { hello: Hello; now: Date }): Promise<AgentRow | null> {
    return this.change(key, (row) => connected(row, connection));
  }

  /**
   * Ends a connection: the one of this epoch, or where none is given whichever there is.
   *
   * @param end.lastSeenAt only if that was the last sign of life
   * @returns null if there is none (any more), so that each disconnection is emitted once
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

  /** Soft: its name and its place in the count are free at once. @returns null if there is no such agent any more */
  delete(key: AgentKey, now: Date): Promise<AgentRow | null> {
    return this.change(key, (row) => deleted(row, now));
  }

  /** Writes a sign of life. @returns false if that connection speaks for the agent no more */
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
      // The user first, as everything that appends events does: two orders of locking would be a deadlock.
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
