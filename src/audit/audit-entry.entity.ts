import { Column, Entity, Index, PrimaryColumn } from 'typeorm';
import { TIMESTAMP } from '../database/column-types';
import type { WorkInside } from '../logging';

/**
 * Who did what to what, when and from where, and how it ended. No secrets, and nothing of what was sent or answered.
 */
@Entity('audit_entries')
@Index('audit_entries_at', ['at'])
@Index('audit_entries_user_id', ['userId', 'at'])
@Index('audit_entries_subject_user_id', ['subjectUserId', 'at'])
@Index('audit_entries_container_id', ['containerId', 'at'])
export class AuditEntryEntity {
  @PrimaryColumn({ type: 'varchar', length: 36 })
  id: string;

  /** When it began. */
  @Column({ type: TIMESTAMP })
  at: Date;

  /** Such as `container.start`. */
  @Column({ type: 'varchar', length: 64 })
  action: string;

  /** `pending` until it has ended: for good, if the process died. Then `ok`, or the code of the error. */
  @Column({ type: 'varchar', length: 64 })
  outcome: string;

  /** Who did it; null: Berth itself, or somebody whom the login did not let in. */
  @Column({ name: 'user_id', type: 'varchar', length: 36, nullable: true })
  userId: string | null;

  @Column({ name: 'token_id', type: 'varchar', length: 36, nullable: true })
  tokenId: string | null;

  /** Whose thing it was done to. */
  @Column({ name: 'subject_user_id', type: 'varchar', length: 36, nullable: true })
  subjectUserId: string | null;

  /** The database id of the container that it was done to, as soon as that is known. */
  @Column({ name: 'container_id', type: 'varchar', length: 36, nullable: true })
  containerId: string | null;

  /** The id in the request, as it was written there; of what was made, where it had none. */
  @Column({ name: 'target_id', type: 'varchar', length: 128, nullable: true })
  targetId: string | null;

  @Column({ type: 'varchar', length: 64, nullable: true })
  address: string | null;

  @Column({ name: 'request_id', type: 'varchar', length: 128, nullable: true })
  requestId: string | null;

  /** Of what was done inside a container: the program's name, or the bytes of a file. */
  @Column({ type: 'simple-json', nullable: true })
  detail: WorkInside | null;

  @Column({ name: 'finished_at', type: TIMESTAMP, nullable: true })
  finishedAt: Date | null;
}
