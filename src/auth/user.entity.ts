import { Column, Entity, Index, PrimaryColumn } from 'typeorm';
import { TIMESTAMP } from '../database/column-types';

/**
 * A user of the platform. The row is locked while events are appended, so the lock also protects the user's container
 * count.
 */
@Entity('users')
// Names are unique ignoring case, by an index on the lower-case name, which an entity cannot describe.
@Index('users_username_lower', { synchronize: false })
@Index('users_suspended', ['suspendedAt'], { where: 'suspended_at IS NOT NULL' })
export class UserEntity {
  @PrimaryColumn({ type: 'varchar', length: 36 })
  id: string;

  @Column({ type: 'varchar', length: 64, unique: true })
  username: string;

  /** A key of the tier table. */
  @Column({ type: 'varchar', length: 32 })
  tier: string;

  /** `seq` of the user's newest event; 0 before the first. */
  @Column({ name: 'event_seq', type: 'integer', default: 0 })
  eventSeq: number;

  /** When a guest's session ends; null for users without one. */
  @Column({ name: 'session_expires_at', type: TIMESTAMP, nullable: true })
  sessionExpiresAt: Date | null;

  /**
   * Since when the user's tokens are refused and containers stopped; null if not suspended. Also set for deleted
   * users.
   */
  @Column({ name: 'suspended_at', type: TIMESTAMP, nullable: true })
  suspendedAt: Date | null;

  /** When an administrator deleted the user. The row stays for the audit, and while the containers are removed. */
  @Column({ name: 'deleted_at', type: TIMESTAMP, nullable: true })
  deletedAt: Date | null;

  @Column({ name: 'created_at', type: TIMESTAMP })
  createdAt: Date;
}
