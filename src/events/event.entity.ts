import { Column, Entity, Index, PrimaryColumn } from 'typeorm';
import { TIMESTAMP } from '../database/column-types';

/** One event of one user, written in the transaction of the change that it tells of. */
@Entity('events')
export class EventEntity {
  @PrimaryColumn({ name: 'user_id', type: 'varchar', length: 36 })
  userId: string;

  /** 1, 2, 3, … for each user, without gap, in the order of commits. */
  @PrimaryColumn({ type: 'integer' })
  seq: number;

  @Column({ type: 'varchar', length: 32 })
  type: string;

  @Column({ type: 'simple-json' })
  data: Record<string, unknown>;

  @Index('events_created_at')
  @Column({ name: 'created_at', type: TIMESTAMP })
  createdAt: Date;
}
