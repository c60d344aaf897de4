import { Column, DeleteDateColumn, Entity, Index, PrimaryColumn } from 'typeorm';
import { TIMESTAMP } from '../database/column-types';
import type { AgentFacts } from '../events';
import type { AgentStats } from './agent-protocol';

/** The truth about an agent: what its owner says of it, and whether it is connected. */
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

  /** As its owner wrote it, until the agent itself says. */
  @Column({ type: 'varchar', length: 64, nullable: true })
  os: string | null;

  @Column({ type: 'varchar', length: 64, nullable: true })
  arch: string | null;

  /** Of the agent's program, as that says. */
  @Column({ type: 'varchar', length: 64, nullable: true })
  version: string | null;

  @Column({ type: 'simple-json' })
  tags: string[];

  /** The only token that lets the agent in. */
  @Column({ name: 'token_id', type: 'varchar', length: 36 })
  tokenId: string;

  /** Grows with every connection and every end of one: a connection of an older epoch speaks for the agent no more. */
  @Column({ type: 'integer', default: 0 })
  epoch: number;

  @Column({ type: 'boolean' })
  online: boolean;

  /** When the present connection was made, or the last one; null before the first. */
  @Column({ name: 'connected_at', type: TIMESTAMP, nullable: true })
  connectedAt: Date | null;

  /** The last sign of life; null before the first. */
  @Column({ name: 'seen_at', type: TIMESTAMP, nullable: true })
  seenAt: Date | null;

  /** As last reported; null before the first report. */
  @Column({ type: 'simple-json', nullable: true })
  stats: AgentStats | null;

  @Column({ name: 'created_at', type: TIMESTAMP })
  createdAt: Date;

  @DeleteDateColumn({ name: 'deleted_at', type: TIMESTAMP })
  deletedAt: Date | null;
}

/** An agent's row as plain data. Only the repository writes rows. */
export type AgentRow = Readonly<AgentEntity>;

/** An agent's id as clients know it; what follows `agent:` is the row's. */
export function publicId({ id }: Pick<AgentRow, 'id'>): string {
  return `agent:${id}`;
}

/** What events and responses show of an agent. */
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
