import { Column, Entity, Index, PrimaryColumn } from 'typeorm';
import { TIMESTAMP } from '../database/column-types';

/** Who may see a port: its owner and visitors with a link, or everybody. */
export const PORT_ACCESS = ['private', 'public'] as const;
export type PortAccess = (typeof PORT_ACCESS)[number];

/** A port that everybody may see. A port without a row is private. */
@Entity('public_ports')
export class PublicPortEntity {
  /** The container's id, a colon and the port: the key of one lookup. */
  @PrimaryColumn({ type: 'varchar', length: 42 })
  id: string;

  @Index('public_ports_container')
  @Column({ name: 'container_id', type: 'varchar', length: 36 })
  containerId: string;

  @Column({ type: 'integer' })
  port: number;
}

/** A link to a port. Only the SHA-256 of its token is stored. */
@Entity('preview_links')
@Index('preview_links_port', ['containerId', 'port'])
export class PreviewLinkEntity {
  @PrimaryColumn({ type: 'varchar', length: 36 })
  id: string;

  @Column({ name: 'container_id', type: 'varchar', length: 36 })
  containerId: string;

  @Column({ type: 'integer' })
  port: number;

  /** The container's owner, who made the link. */
  @Column({ name: 'user_id', type: 'varchar', length: 36 })
  userId: string;

  @Column({ type: 'varchar', length: 64, nullable: true })
  name: string | null;

  /** Of the token; for a link of one use, from that use on, of the cookie that the visitor got. */
  @Column({ type: 'varchar', length: 64, unique: true })
  hash: string;

  /** Whether the link admits one visitor alone. */
  @Column({ name: 'is_single', type: 'boolean' })
  isSingle: boolean;

  /** Whether its visitors may start the container. */
  @Column({ name: 'may_start', type: 'boolean' })
  mayStart: boolean;

  /** When a link of one use was used; null: not yet, or it may be used any number of times. */
  @Column({ name: 'used_at', type: TIMESTAMP, nullable: true })
  usedAt: Date | null;

  @Column({ name: 'created_at', type: TIMESTAMP })
  createdAt: Date;

  @Index('preview_links_expires_at')
  @Column({ name: 'expires_at', type: TIMESTAMP })
  expiresAt: Date;
}
