import { Column, DeleteDateColumn, Entity, Index, PrimaryColumn } from 'typeorm';
import { TIMESTAMP } from '../database/column-types';
import type { AgentFacts } from '../events';
import type { AgentStats } from './agent-protocol';

/** An agent: its owner's description of it, and the state of its connection. */
@Entity('agents')
@Index('agents_live_name', ['userId', 'name'], { unique: true, where: 'deleted_at IS NULL' })
@Index('agents_silent', ['seenAt'], { where: 'online = true' })
export class AgentEntity {
  @PrimaryColumn({ type: 'varchar', length: 36 })
  id: string;

  @Column({ name: 'user_id', type: 'varchar', length: 36 })
  userId: string;

  @Column({ type: 'varchar', length: 64 })
  name: string;

  @Column({ type: 'varchar', length: 500, nullable: true })
  description: string | null;

  /** Set by the owner, and replaced by the agent's own value when it connects. */
  @Column({ type: 'varchar', length: 64, nullable: true })
  os: string | null;

  @Column({ type: 'varchar', length: 64, nullable: true })
  arch: string | null;

  /** Version of the agent's program, as the program reports it. */
  @Column({ type: 'varchar', length: 64, nullable: true })
  version: string | null;

  @Column({ type: 'simple-json' })
  tags: string[];

  /** The only token with which the agent can connect. */
  @Column({ name: 'token_id', type: 'varchar', length: 36 })
  tokenId: string;

  /**
   * Incremented by every connection and every end of one. A connection of an older epoch no longer belongs to the
   * agent.
   */
  @Column({ type: 'integer', default: 0 })
  epoch: number;

  @Column({ type: 'boolean' })
  online: boolean;

  /** When the current or last connection was made; null before the first. */
  @Column({ name: 'connected_at', type: TIMESTAMP, nullable: true })
  connectedAt: Date | null;

  /** The last sign of life; null before the first. */
  @Column({ name: 'seen_at', type: TIMESTAMP, nullable: true })
  seenAt: Date | null;

  /** The last heartbeat's data; null before the first. */
  @Column({ type: 'simple-json', nullable: true })
  stats: AgentStats | null;

  @Column({ name: 'created_at', type: TIMESTAMP })
  createdAt: Date;

  @DeleteDateColumn({ name: 'deleted_at', type: TIMESTAMP })
  deletedAt: Date | null;
}

/** An agent's row as plain data. Only the repository writes rows. */
export type AgentRow = Readonly<AgentEntity>;

/** An agent's id in the API: `agent:` and the row's id. */
export function publicId({ id }: Pick<AgentRow, 'id'>): string {
  return `agent:${id}`;
}

/** An agent's data in events and answers. */
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
